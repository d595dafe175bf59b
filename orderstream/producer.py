"""Send orders. A lost reply is said, never hidden: nothing here sends an order twice by itself."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

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
            sent += self._send_batch(batch, sent)
        return sent

    def _send_batch(self, batch: list[Order], before: list[str]) -> list[str]:
        problem: Exception | None = None
        try:
            replies = self.stream.add([order.to_fields() for order in batch])
        except ReplyLost as lost:
            problem, replies = lost, lost.replies
        except redis.RedisError as unreachable:
            if not before:
                raise
            problem, replies = unreachable, []
        ids = [reply.decode() for reply in replies if isinstance(reply, bytes)]
        if len(ids) == len(batch):
            return ids
        refused = [reply for reply in replies if isinstance(reply, Exception)]
        if refused and not (before or ids or problem):
            raise refused[0]
        replies += [None] * (len(batch) - len(replies))
        unknown = [order for order, reply in zip(batch, replies, strict=True) if not isinstance(reply, bytes)]
        raise SendUnknown(before + ids, unknown) from problem or refused[0]
