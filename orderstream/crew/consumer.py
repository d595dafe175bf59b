"""
The reader: a consumer whose handlers run many at once.

It never has more in hand than one entry for each member of the crew, and about BATCH_S of work ahead. So nobody waits
in its hand for what another process could begin.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import cast

import redis

from orderstream.consumer import (
    BATCH_BYTES,
    BATCH_S,
    Consumer,
    Handler,
    in_a_handler,
    is_coroutine,
    refuse_what_did_not_run,
)
from orderstream.crew.coroutines import Coroutines
from orderstream.crew.ending import EndingCrewHand
from orderstream.crew.hand import CrewHand, Failure, Run
from orderstream.crew.observed import CrewDeliveries
from orderstream.crew.threads import Threads
from orderstream.entries import Entry
from orderstream.errors import HandlerTimeout, from_a_signal
from orderstream.form import T
from orderstream.hand import HOARD_S
from orderstream.policy import Decision, Outcome, RetryPolicy
from orderstream.stream import OrderStream

BUSY_BLOCK_MS = 100  # while handlers run, a read waits no longer: one of them may fail, and its retry become due
DELAYED = Outcome.RETRY, Outcome.DEFER
STDERR = 2


class CrewConsumer(Consumer[T]):
    """See ``Consumer``, which makes one if *concurrency* is above 1, or if the handler is an ``async def``."""

    many = True
    _hand: CrewHand
    _observed: CrewDeliveries

    def __init__(
        self,
        stream: OrderStream[T],
        handler: Handler[T],
        name: str | None = None,
        policy: RetryPolicy | None = None,
        *,
        concurrency: int = 1,
    ) -> None:
        settings = stream.settings
        hand = partial(EndingCrewHand if settings.on_timeout == "exit" else CrewHand, owner=self)
        super().__init__(stream, handler, name, policy, concurrency=concurrency, hand=hand)
        self.concurrency = concurrency
        self._observed = CrewDeliveries()
        self._timeout_s = settings.handler_timeout_ms / 1000
        self._crew: Threads | Coroutines
        if is_coroutine(handler):
            self._crew = Coroutines(
                self._handle_async, self._failed, self._hand, concurrency, self.name, self._timeout_s
            )
        else:
            self._crew = Threads(self._handle, self._hand, concurrency, self.name)
        self._draining = False
        self._ahead = 0  # entries that may wait in hand: about BATCH_S of work
        self._measured, self._measured_at = 0, 0.0
        self._size = 1  # bytes of an entry
        self._drain_s, self._drain_again = HOARD_S, 0.0

    # What you call ------------------------------------------------------------------------------------

    def run(self) -> None:
        self._crew.begin()
        in_a_handler.add(self)
        try:
            super().run()
        finally:
            self._crew.end()
            in_a_handler.discard(self)

    def step(self) -> int:
        self._crew.begin()
        in_a_handler.add(self)
        try:
            return super().step()
        finally:
            if not self._hand.at_work:  # in an outage it may be
                self._crew.pause()
            if not self._draining:
                in_a_handler.discard(self)

    def drain(self, timeout_s: float = 10.0) -> int:
        before, self._draining = self._settled, True
        interrupted = False
        try:
            super().drain(timeout_s)
        except BaseException as error:
            interrupted = not isinstance(error, Exception)  # Ctrl-C waits for no handler
            raise
        finally:
            self._draining = False
            if not interrupted:
                with suppress(redis.RedisError):  # it has been raised already, or Redis is away
                    self._finish()
            if not self._hand.at_work:
                self._crew.end()
            in_a_handler.discard(self)
        return self._settled - before

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run coroutines in *loop*. Threads need none."""
        if isinstance(self._crew, Coroutines):
            self._crew.use(loop)

    # The reader ---------------------------------------------------------------------------------------

    @property
    def _room(self) -> int:
        """How many more entries may be in hand."""
        return self.concurrency + self._ahead - len(self._hand)

    def _turn(self) -> None:
        if self._room > self._ahead // 2:  # else it would read one entry at a time
            super()._turn()
            return
        self._hand.wait_for_less()
        self._look_at_the_pace()
        self._hand.raise_problem()

    def _look_at_the_pace(self) -> None:
        now = time.monotonic()
        if self._hand.gave_back:
            self._hand.gave_back, self._ahead = False, 0
            self._due_in(0)
        elif now - self._measured_at < BATCH_S:
            return
        else:
            pace = (self._settled - self._measured) / (now - self._measured_at)
            self._ahead = min(int(pace * BATCH_S), self.stream.settings.batch)
        self._measured, self._measured_at = self._settled, now

    def _next_suspect(self) -> Entry | None:
        """
        See ``Consumer``. An entry that was left behind may be what ended its consumers. On its last attempt it is
        handled when nothing else is in hand. So if it does it again, nobody else loses an attempt by it.
        """
        suspect = self._claim_next()
        if self._left_alone and self._drained():
            suspect = self._claim_next()
        if suspect and self._left_by and suspect.attempt == self.policy.max_attempts:
            self._work([suspect])
            self._drained()
            return None
        return suspect

    def _claim_next(self) -> Entry | None:
        self._left_alone = False
        claimed = super()._next_suspect()
        return None if claimed and self._hand.has_already(claimed) else claimed

    def _alone_from(self) -> int:
        if not self._hand.at_work:
            return 0
        last = self.policy.max_attempts
        return last if time.monotonic() >= self._drain_again else -last

    def _drained(self) -> bool:
        """
        Wait until nothing is in hand. False: it takes too long. Then the others go on for as long as this has waited,
        and the next time it waits for longer: no slow handler holds up all, and none keeps an entry from its turn.
        """
        until = time.monotonic() + self._drain_s
        while self._hand.at_work and not self._stopping:
            if time.monotonic() > until:
                self._drain_again = until + self._drain_s
                self._drain_s = min(2 * self._drain_s, self._timeout_s)
                return False
            self._hand.wait_for_less()
            self._hand.raise_problem()
        self._drain_s = HOARD_S
        return True

    def _read_batch(self, *, wait: bool) -> int:
        self._look_at_the_pace()
        longest_ms = self.stream.settings.block_ms
        if self._hand.at_work:
            longest_ms = min(longest_ms, BUSY_BLOCK_MS)
        count = max(1, min(self._room, self.stream.settings.batch, BATCH_BYTES // self._size))
        batch = self._read(count, longest_ms if wait else None)
        if batch:
            self._size = sum(map(len, batch[-1].fields)) + 1  # the next entries are probably about as large
        return self._work(batch)

    def _take(self, entries: Sequence[Entry]) -> None:
        self._hand.take(entries)
        self.stream.observer.watch(self.stream.backlog)
        self._observed.add(self.stream.observer.delivered(self.name, entries), entries)

    def _work(self, entries: Sequence[Entry]) -> int:
        """Let the crew have *entries*. Return how many there are."""
        if entries:
            self._hand.feed(entries)
            self._crew.wake()
        return len(entries)

    def _carrying(self) -> AbstractContextManager[Sequence[Entry]]:
        """The keeper acks: what this thread sends may wait at Redis for long."""
        return nullcontext(())

    def _finish(self) -> None:
        """Wait until nothing is in hand. ``drain()`` does not, as long as there are new entries for a free place."""
        while self._hand.at_work and not (self._draining and self._read_some and not self._stopping):
            self._hand.wait_for_less()
            self._hand.raise_problem()

    def _leave(self) -> None:
        self.stop()  # an error may have ended run()
        hand = self._hand
        while hand.at_work and not (self._crew.gone or hand.can_only_wait):
            hand.wait_for_less()
        hand.settle_failures()
        super()._leave()
        hand.empty()

    # The crew -----------------------------------------------------------------------------------------

    def _handle(self, run: Run) -> Decision | None:
        """Run a plain handler. Return what becomes of the entry if it raises."""
        entry = run.entry
        try:
            with self._observed.processing(entry, self._decide):
                if (result := self.handler(self.stream.form.from_fields(entry.fields))) is not None:
                    refuse_what_did_not_run(result)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises: the policy decides what it means
            return self._failure(run.entry, error)  # it may have been claimed again meanwhile
        return None

    async def _handle_async(self, run: Run) -> Decision | None:
        """Run an ``async def`` handler. Return what becomes of the entry if it raises."""
        entry, handler = run.entry, cast("Callable[[T], Awaitable[object]]", self.handler)
        try:
            with self._observed.processing(entry, self._decide):
                try:
                    if (result := await handler(self.stream.form.from_fields(entry.fields))) is not None:
                        refuse_what_did_not_run(result)
                except asyncio.CancelledError:
                    if run.asked_at is None:
                        raise
                    text = f"handler ran longer than {self._timeout_s:g} s, and was cancelled"
                    raise HandlerTimeout(text) from None
        except BaseException as error:
            if from_a_signal(error):
                self._hand.drop([entry])
                self._hand.leave(run)
                raise
            return self._failure(run.entry, error)
        return None

    def _failed(self, run: Run, error: BaseException) -> Decision:
        return self._failure(run.entry, error)

    # The keeper ---------------------------------------------------------------------------------------

    def settle_together(self, failures: Sequence[Failure]) -> None:
        """Settle several failures. All retries take one round trip."""
        self._hand.drop([entry for entry, _ in failures])  # first: a heartbeat now would undo the delay
        groups = [[failure for failure in failures if failure[1].outcome is outcome] for outcome in DELAYED]
        groups += [[failure] for failure in failures if failure[1].outcome is Outcome.DEAD_LETTER]
        for number, group in enumerate(groups):
            try:
                self._settle_alike(group)
            except redis.RedisError as error:
                for entry, decision in group:
                    self._settle_later(entry, decision, error)
                self._unsettled += [failure for later in groups[number + 1 :] for failure in later]
                raise

    def _settle_alike(self, group: Sequence[Failure]) -> None:
        if not group:
            return
        entry, decision = group[0]
        if decision.outcome is Outcome.DEAD_LETTER:
            self._dead_letter(entry, decision.reason)
            return
        delays = [(entry, decision.delay_ms) for entry, decision in group]
        with self._observed.settling(decision.outcome.value, [entry for entry, _ in delays]) as step:
            held = self.stream.hand_over(self.name, delays, counted=decision.outcome is Outcome.RETRY)
            step.result = bool(held)
        self._count(len(held))
        self._due_in(min(delay_ms for _, delay_ms in delays))

    def forget(self, entries: Sequence[Entry]) -> None:
        """See ``hand.Owner``."""
        self._observed.forget(entries)

    def clock(self) -> float:
        """See ``hand.Owner``."""
        return self._crew.clock()

    def holds_up(self) -> asyncio.Task[None] | None:
        """See ``hand.Owner``."""
        return self._crew.holds_up()

    def still_here(self) -> None:
        """See ``hand.Owner``."""

    def _overrun(self, entry: Entry) -> None:
        super()._overrun(entry)
        with suppress(RuntimeError):  # another handler may have its place
            self._crew.wake()
        if self.stream.settings.on_timeout == "exit":
            faulthandler.dump_traceback(STDERR)
            os._exit(1)

