"""
Send orders.

When a reply is lost, nobody knows whether Redis has the order. A producer says so, and sends no order a second time.
With ``dedupe`` Redis remembers which orders it has. Sending again is harmless then, and the producer does it by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic

import redis

from orderstream.connection import ReplyLost, Trouble, trouble
from orderstream.errors import ConfigError, SendUnknown
from orderstream.form import T
from orderstream.policy import describe
from orderstream.stream import REMEMBERED_MS, OrderStream

BATCH_BYTES = 1_000_000  # the order that brings a batch to so many bytes is its last; none has as many itself
RESEND_S = 30.0  # a producer with ``dedupe`` begins no further try of a batch after so long
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
assert RESEND_S * 1000 < REMEMBERED_MS  # or Redis would forget a batch that is still sent again

Fields = tuple[Any, ...]  # a name and a value; with ``dedupe`` also the key, which is asked for once
Result = tuple[list[Any], Exception | None]


class Producer(Generic[T]):
    """
    Sends orders to *stream*.

    Args:
        stream: From ``connect()``.
        dedupe: A name for who sends. After a lost reply the producer sends the order again, for ``RESEND_S`` (30 s).
            Under this name Redis remembers each order's key for 100 s after the order was added, whatever the number of
            orders and threads. What arrives within these 100 s, by whatever detour, is not added again. It takes
            about 200 bytes for each order and some speed. It does not hold if Redis evicts keys or loses writes.
            None: a lost reply raises ``SendUnknown``.

    Raises:
        ConfigError: The name is empty.
    """

    def __init__(self, stream: OrderStream[T], dedupe: str | None = None) -> None:
        if dedupe == "":
            raise ConfigError("dedupe needs a name, such as 'till-1'; None sends without")
        self.stream = stream
        self.dedupe = dedupe

    def send(self, order: T) -> str:
        """
        Add one order to the stream.

        Returns:
            Its entry id.

        Raises:
            SendUnknown: The reply was lost; the order may be in the stream. With ``dedupe``: it was sent again and
                again for ``RESEND_S``, or until Redis refused it, and whether it is in is still unknown.
            OrderError: The order may not exist; ``msgspec.structs.replace`` makes such orders. A message of your own
                type cannot be sent: it is too long, or what was sent could not be read.
            redis.ConnectionError: No connection; the order is not in the stream.
            redis.ResponseError: Redis refused it, for example because its memory is full.

        Redis: XADD, O(1); with ``dedupe`` lua/once.lua, O(1).
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        return self.send_many([order])[0]

    def send_many(self, orders: Iterable[T]) -> list[str]:
        """
        Add orders in batches, one round trip for each batch. *orders* is any iterable, however long: only one
        batch at a time is taken from it. A batch has at most ``settings.batch`` orders, and less than 2 MB of JSON.

        Returns:
            Their entry ids, in order.

        Raises:
            SendUnknown: Some orders are in the stream or may be, and then something went wrong. It tells what became
                of every order that was taken from *orders*.
            redis.RedisError: Redis could not be reached or refused the orders before any was added.
            OrderError: The first order may not exist. Nothing was sent.
            Exception: *orders* raised it before it gave an order. Nothing was sent.

        Redis: XADD, O(1) each; with ``dedupe`` lua/once.lua, O(1) each.
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        sent: list[str] = []
        remaining = iter(orders)
        while True:
            taken, entries, ended = self._take(remaining)
            replies, problem = self._send(taken[: len(entries)], entries) if entries else ([], None)
            if (stopped_by := ended if problem is None else problem) is not None:
                replies += [ended] * (len(taken) - len(replies))  # the last order may not exist
                outcome = self._outcome(sent, taken, replies, ended)
                if outcome.sent or outcome.unknown:
                    raise outcome from stopped_by
                raise stopped_by  # certainly nothing is in the stream
            if not entries:
                return sent
            sent += map(bytes.decode, replies)

    def _take(self, remaining: Iterator[T]) -> tuple[list[T], list[Fields], Exception | None]:
        """
        Take the orders of the next batch.

        Returns:
            The orders, their fields, and the error that ended it. If the last order has no fields, it may not exist.
        """
        taken: list[T] = []
        entries: list[Fields] = []
        size = 0
        form = self.stream.form
        to_fields = (lambda order: (*form.to_fields(order), form.key(order))) if self.dedupe else form.to_fields
        try:
            for order in islice(remaining, self.stream.settings.batch):
                taken.append(order)
                entries.append(fields := to_fields(order))
                size += len(fields[1])
                if size >= BATCH_BYTES:
                    break
        except Exception as error:  # noqa: BLE001 - whatever an iterable raises: what it gave before is sent
            return taken, entries, error
        return taken, entries, None

    def _send(self, batch: list[T], entries: list[Fields]) -> Result:
        """
        Add *batch* to the stream.

        Returns:
            For each order its entry id, the error because of which it is certainly not in the stream, or None if its
            reply was lost; and the first thing that went wrong.
        """
        with self.stream.observer.sending(batch) as step:
            replies, problem = self._add(batch, entries, step.fields)
            step.result, step.problem = replies, problem
        return replies, problem

    def _add(self, batch: list[T], entries: list[Fields], carried: Sequence[bytes]) -> Result:
        until, pause_s = time.monotonic() + RESEND_S, FIRST_PAUSE_S
        replies, problem = self._try(batch, entries, carried)
        if not self.dedupe or not isinstance(problem, ReplyLost):
            return replies, problem
        # A later try that failed says nothing about the first one, but it may have added what the first could not.
        unknown: Result = [reply if isinstance(reply, bytes) else None for reply in replies], problem
        while problem and trouble(problem) is Trouble.OUTAGE:
            if time.monotonic() > until:
                return unknown
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            replies, problem = self._try(batch, entries, carried)
        return unknown if problem else (replies, None)

    def _try(self, batch: list[T], entries: list[Fields], carried: Sequence[bytes]) -> Result:
        try:
            if self.dedupe:
                keyed = ((key, fields) for *fields, key in entries)
                replies = self.stream.add_once(self.dedupe, keyed, carried)
            else:
                replies = self.stream.add(entries, carried)
        except ReplyLost as lost:
            return lost.replies + [None] * (len(batch) - len(lost.replies)), lost
        except redis.RedisError as unreachable:
            return [unreachable] * len(batch), unreachable
        if set(map(type, replies)) == {bytes}:
            return replies, None  # nearly every batch ends here
        return replies, next((reply for reply in replies if isinstance(reply, Exception)), None)

    def _outcome(self, sent: list[str], taken: list[T], replies: list[Any], ended: Exception | None) -> SendUnknown:
        """Sort the orders *taken* by their *replies*. *ended* is what their iterable raised, if it did."""
        added = [reply.decode() for reply in replies if isinstance(reply, bytes)]
        unknown = [order for order, reply in zip(taken, replies, strict=True) if reply is None]
        refused = [order for order, reply in zip(taken, replies, strict=True) if isinstance(reply, Exception)]
        first_refusal = next((reply for reply in replies if isinstance(reply, Exception)), None)
        errors = [describe(error) for error in (first_refusal, ended) if error is not None]
        reason = "; ".join(dict.fromkeys(errors))
        return SendUnknown(sent + added, unknown, refused, reason, self.stream.form.name)
