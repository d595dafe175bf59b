"""Send orders. A lost reply is said, never hidden: nothing here sends an order twice by itself."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, zip_longest
from typing import Any

import redis

from orderstream.connection import ReplyLost
from orderstream.errors import SendUnknown
from orderstream.order import Order
from orderstream.stream import OrderStream


class Producer:
    """
    Sends orders to *stream*.

    Args:
        stream: From ``connect()``.
    """

    def __init__(self, stream: OrderStream) -> None:
        self.stream = stream

    def send(self, order: Order) -> str:
        """
        Add one order to the stream.

        Returns:
            Its entry id.

        Raises:
            SendUnknown: The reply was lost; the order may be in the stream.
            redis.ConnectionError: No connection; the order is not in the stream.
            redis.ResponseError: Redis refused it, for example because its memory is full.

        Redis: XADD, O(1).
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        return self.send_many([order])[0]

    def send_many(self, orders: Iterable[Order]) -> list[str]:
        """
        Add orders in batches, one round trip for each. Any iterable will do, however long: a batch at
        a time is taken from it.

        Returns:
            Their entry ids, in order.

        Raises:
            SendUnknown: Some orders are not confirmed; nothing after them was taken from *orders*.
                Its cause says why: a lost reply, or what Redis answered.
            redis.RedisError: Redis could not be reached or refused the orders before any was added.

        Redis: XADD, O(1) each.
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        sent: list[str] = []
        remaining = iter(orders)
        while batch := list(islice(remaining, self.stream.settings.batch)):
            replies, problem = self._add(batch)
            sent += [reply.decode() for reply in replies if isinstance(reply, bytes)]
            if problem:
                if not sent and not isinstance(problem, ReplyLost):
                    raise problem  # for certain, nothing is in the stream
                confirmed = [isinstance(reply, bytes) for reply in replies]
                unknown = [order for order, known in zip_longest(batch, confirmed) if not known]
                raise SendUnknown(sent, unknown) from problem
        return sent

    def _add(self, batch: list[Order]) -> tuple[list[Any], Exception | None]:
        """Return what Redis replied, as far as it came back, and the first thing that went wrong."""
        try:
            replies = self.stream.add(order.to_fields() for order in batch)
        except ReplyLost as lost:
            return lost.replies, lost
        except redis.RedisError as unreachable:
            return [], unreachable
        return replies, next((reply for reply in replies if isinstance(reply, Exception)), None)
