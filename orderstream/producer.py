"""
Send orders.

When a reply is lost, nobody knows whether Redis has the order. A producer says so, and sends no order a second time.
With ``dedupe`` Redis remembers which orders it has. Sending again is harmless then, and the producer does it by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Any

import redis

from orderstream.connection import ReplyLost, Trouble, trouble
from orderstream.errors import OrderStreamError
from orderstream.order import Order
from orderstream.stream import REMEMBERED, REMEMBERED_MS, OrderStream

RESEND_S = 30.0  # how long a producer with ``dedupe`` sends an unanswered batch again and again
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
assert RESEND_S * 1000 < REMEMBERED_MS  # or Redis would forget a batch that is still sent again

Result = tuple[list[Any], Exception | None]


class SendUnknown(OrderStreamError):
    """
    Some orders were sent, and no reply says whether Redis took them.

    Send the ``unknown`` ones again if your handlers are idempotent: nothing after them was taken
    from your iterable.

    Attributes:
        sent: Entry ids of the orders that are certainly in the stream, in order.
        unknown: The orders that may be in the stream, in order.
    """

    def __init__(self, sent: Sequence[str], unknown: Sequence[Order]) -> None:
        self.sent = list(sent)
        self.unknown = list(unknown)
        super().__init__(
            f"{len(self.sent)} orders are in the stream, {len(self.unknown)} may be (first: {self.unknown[0].id!r}); "
            "their replies were lost"
        )


class Producer:
    """
    Sends orders to *stream*.

    Args:
        stream: From ``connect()``.
        dedupe: A name. Under it Redis remembers for 100 s which orders it was sent. So after a lost reply the producer
            sends the order again, and the stream holds it once. Give each producer a name of its own, because Redis
            8.6 and newer remember only the last 100 orders of a name. It costs memory and some speed.
            None: a lost reply raises ``SendUnknown``.
    """

    def __init__(self, stream: OrderStream, dedupe: str | None = None) -> None:
        self.stream = stream
        self.dedupe = dedupe
        self._batch = min(stream.settings.batch, REMEMBERED) if dedupe else stream.settings.batch

    def send(self, order: Order) -> str:
        """
        Add one order to the stream.

        Returns:
            Its entry id.

        Raises:
            SendUnknown: The reply was lost; the order may be in the stream. With ``dedupe``: it was sent again and
                again for ``RESEND_S``, or until Redis refused it, and whether it is in is still unknown.
            redis.ConnectionError: No connection; the order is not in the stream.
            redis.ResponseError: Redis refused it, for example because its memory is full.

        Redis: XADD, O(1).
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        return self.send_many([order])[0]

    def send_many(self, orders: Iterable[Order]) -> list[str]:
        """
        Add orders in batches, one round trip for each batch. *orders* is any iterable, however long: only one
        batch at a time is taken from it.

        Returns:
            Their entry ids, in order.

        Raises:
            SendUnknown: Some orders are not confirmed; nothing after them was taken from *orders*.
                Its ``__cause__`` says why: a lost reply, or an error of Redis.
            redis.RedisError: Redis could not be reached or refused the orders before any was added.

        Redis: XADD, O(1) each.
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        sent: list[str] = []
        remaining = iter(orders)
        while batch := list(islice(remaining, self._batch)):
            replies, problem = self._send(batch)
            sent += [reply.decode() for reply in replies if isinstance(reply, bytes)]
            if problem:
                if not sent and not isinstance(problem, ReplyLost):
                    raise problem  # certainly nothing is in the stream
                confirmed = [isinstance(reply, bytes) for reply in replies]
                unknown = [order for order, known in zip_longest(batch, confirmed) if not known]
                raise SendUnknown(sent, unknown) from problem
        return sent

    def _send(self, batch: list[Order]) -> Result:
        """Return the replies that came back, and the first thing that went wrong."""
        with self.stream.observer.sending(batch) as step:
            replies, problem = self._add(batch, step.fields)
            step.result, step.problem = replies, problem
        return replies, problem

    def _add(self, batch: list[Order], carried: Sequence[bytes]) -> Result:
        first = self._try(batch, carried)
        replies, problem = first
        if not self.dedupe or not isinstance(problem, ReplyLost):
            return first
        until, pause_s = time.monotonic() + RESEND_S, FIRST_PAUSE_S
        while problem and trouble(problem) is Trouble.OUTAGE:
            if time.monotonic() > until:
                return first  # a later try that failed says nothing about the first one
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            replies, problem = self._try(batch, carried)
        return (replies, None) if problem is None else first

    def _try(self, batch: list[Order], carried: Sequence[bytes]) -> Result:
        entries = map(Order.to_fields, batch)
        try:
            if self.dedupe:
                keyed = zip((order.id for order in batch), entries, strict=True)
                replies = self.stream.add_once(self.dedupe, keyed, carried)
            else:
                replies = self.stream.add(entries, carried)
        except ReplyLost as lost:
            return lost.replies, lost
        except redis.RedisError as unreachable:
            return [], unreachable
        return replies, next((reply for reply in replies if isinstance(reply, Exception)), None)
