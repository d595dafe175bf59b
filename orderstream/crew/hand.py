"""
What a crew has in hand, and the keeper that looks after it.

Entries wait in one queue. Whoever takes an entry out of it owns that entry: a member of the crew begins it, or the
keeper gives it back. So no entry is both handled and given back.

    an entry in hand    is in                 until
    waits               waiting               a member begins it, or the keeper gives it back
    runs                running, as a Run     its handler ends
    is done             done                  Redis has confirmed the ack
    has failed          failed                the keeper has told Redis what becomes of it

    a run               is in                 because
    on time             running               its handler has not run for handler_timeout_ms yet
    asked to end        running               it is a coroutine, was late, and was cancelled
    hung                hung                  it was late, and could not be cancelled; it has lost its entry
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

import msgspec
import redis

from orderstream.entries import Entry
from orderstream.hand import HOARD_S, Hand
from orderstream.policy import Decision
from orderstream.stream import OrderStream

LOOK_EVERY_S = 0.008  # between two looks of the keeper: with the ack, what is done waits less than 10 ms
PAUSE_S = 0.05  # before the keeper tries again what Redis refused
WAIT_S = 0.1  # so long the reader waits at once: it has other things to look at
CANCEL_S = 1.0  # so long a coroutine has to end after it was cancelled

Failure = tuple[Entry, Decision]
Taken = TypeVar("Taken")


class Run(msgspec.Struct, eq=False):
    """
    A handler that runs.

    Attributes:
        entry: What it handles.
        since: When it began, by the clock of its crew.
        task: What runs it, if that can be cancelled; None for a thread.
        asked_at: When it was asked to end; None if it was not.
    """

    entry: Entry
    since: float
    task: asyncio.Task[None] | None = None
    asked_at: float | None = None

    def ask(self, now: float) -> None:
        """Ask it to end."""
        assert self.task
        self.asked_at = now
        with suppress(RuntimeError):  # its loop is closed
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class Owner(Protocol):
    """Whose hand it is: the consumer."""

    def settle_together(self, failures: Sequence[Failure]) -> None:
        """Tell Redis what becomes of several entries."""

    def forget(self, entries: Sequence[Entry]) -> None:
        """Hear of entries that leave the hand and were not handled."""

    def clock(self) -> float:
        """Return how late it is for the handlers."""

    def holds_up(self) -> asyncio.Task[None] | None:
        """Return the task that has held up all others for longer than a handler may run; None if none does."""

    def still_here(self) -> None:
        """Hear that the keeper goes on."""


class CrewHand(Hand):
    """
    See ``Hand``.

    Args:
        stream, consumer, flush, overrun: See ``Hand``.
        owner: Whose hand it is.

    Attributes:
        waiting: Entries that no handler has begun.
        running: The runs that have an entry, the oldest first; the values mean nothing.
        hung: The runs that have lost theirs.
        failed: Entries whose handlers raised, and what becomes of them.
    """

    def __init__(
        self,
        stream: OrderStream,
        consumer: str,
        flush: Callable[[], None],
        overrun: Callable[[Entry], None],
        owner: Owner,
    ) -> None:
        super().__init__(stream, consumer, flush, overrun)
        self.waiting: SimpleQueue[Entry] = SimpleQueue()
        self.running: dict[Run, None] = {}
        self.hung: set[Run] = set()
        self.failed: deque[Failure] = deque()
        self._owner = owner
        self._not_begun: deque[Entry] = deque()  # what the crew was given and may not begin any more
        self._fed = 0  # how many entries have been put into `waiting`
        self._feeds: deque[tuple[float, int]] = deque()  # when entries were put there, and how many were fed by then
        self._less = threading.Event()  # there is less to do than before
        self._telling = False  # entries have left the hand, and Redis is being told what becomes of them
        self._problem: redis.RedisError | None = None  # why the keeper's last call failed
        self._next_look = self._try_again = 0.0

    def __len__(self) -> int:
        """Return how many entries are in hand."""
        return len(self._entries)

    @property
    def at_work(self) -> bool:
        """True if there is something in hand, or if Redis is still to be told of something."""
        return bool(self._entries or self.running or self.failed or self._telling)

    @property
    def can_only_wait(self) -> bool:
        """True if no handler runs, and Redis does not take what is to be said to it."""
        return self._problem is not None and not self.running

    # The reader -----------------------------------------------------------------------------------------

    def take(self, entries: Sequence[Entry]) -> None:
        """Add *entries* to those in hand."""
        if entries:
            with self._lock:
                self._entries.update((entry.id, entry) for entry in entries)
                self._wake()

    def feed(self, entries: Sequence[Entry]) -> None:
        """Let the crew have *entries*."""
        for entry in entries:
            self.waiting.put(entry)
        self._fed += len(entries)
        self._feeds.append((time.monotonic(), self._fed))

    def has_already(self, claimed: Entry) -> bool:
        """
        Return whether *claimed* is one whose handler runs here, or is done. Redis has not heard of it for long. So this
        consumer has claimed its own entry, and goes on with it at the new attempt.
        """
        for run in list(self.running):
            if run.entry.id == claimed.id:
                self.take([claimed])
                run.entry = claimed
                return True
        if any(entry.id == claimed.id for entry in list(self.done)):
            self.drop([claimed])  # it is acked in a moment
            return True
        return False

    def drop(self, entries: Iterable[Entry]) -> list[Entry]:
        dropped = super().drop(entries)
        self._less.set()
        return dropped

    def empty(self) -> None:
        """Drop all that is left."""
        self.drop(list(self._entries.values()))

    def wait_for_less(self) -> None:
        """Wait a while, or until there is less to do."""
        self._less.wait(WAIT_S)
        self._less.clear()
        with self._lock:
            if not self._is_empty():
                self._wake()  # the system may have had no thread for it before

    def raise_problem(self) -> None:
        """Raise the error of Redis if the keeper's last call failed. It goes on trying."""
        if self._problem:
            raise self._problem

    # The crew -------------------------------------------------------------------------------------------

    def start(self, entry: Entry) -> Run | None:
        """
        Note that the handler of *entry* begins now. None: it must not begin, because it is not in hand any more.

        It notes the run first, and then looks into the hand. The keeper drops an entry from the hand first, and then
        looks at the runs. So at least one of the two sees what the other did.
        """
        if self.stopping:
            self._not_begun.append(entry)
            return None
        run = Run(entry, self._owner.clock())
        self.running[run] = None
        if self._entries.get(entry.id) is entry:
            return run
        self.leave(run)
        self._owner.forget([entry])
        self._stream.observer.lease_lost()
        return None

    def finish(self, run: Run, failed: Decision | None) -> None:
        """Note that a handler has come to its end. *failed* says what becomes of the entry if it raised."""
        self.rest()  # ends a copy of this process
        if failed:
            self.failed.append((run.entry, failed))
        else:
            self.done.append(run.entry)
        hung = run in self.hung
        self.leave(run)  # last: until then the handler counts, and nobody goes home
        if hung:
            with self._lock:
                self._wake()  # nothing else may be in hand

    def leave(self, run: Run) -> None:
        """Note that the handler does not run any more."""
        self.running.pop(run, None)
        self.hung.discard(run)

    # The keeper -----------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Do what cannot wait for the next beat."""
        self._owner.still_here()
        if now < self._try_again:
            return
        try:
            self._flush()
            self._settle_failures()
            self._problem = None
        except redis.RedisError as error:  # what is done stays in hand, what failed is settled by the reader
            self._problem, self._try_again = error, now + PAUSE_S
            self._less.set()
        if self.stopping or now - self._waits_since() > HOARD_S:
            with self._telling_redis():
                self._give_back()
        self._look_for_late(self._owner.clock())

    def _look(self) -> None:
        self.look(time.monotonic())

    def _rest(self) -> None:
        time.sleep(max(0.0, self._next_look - time.monotonic()))
        self._next_look = time.monotonic() + min(LOOK_EVERY_S, self._beat_s)

    def _is_empty(self) -> bool:
        return not (self._entries or self.running or self.done)

    def settle_failures(self) -> None:
        """Settle what failed, if Redis is there."""
        with suppress(redis.RedisError):
            self._settle_failures()

    def _settle_failures(self) -> None:
        if self.failed:
            with self._telling_redis():
                self._owner.settle_together(_take_all(self.failed.popleft))

    @contextmanager
    def _telling_redis(self) -> Iterator[None]:
        """Entries leave the hand before Redis is told what becomes of them. Nobody must go home in between."""
        self._telling = True
        try:
            yield
        finally:
            self._telling = False
            self._less.set()

    def _waits_since(self) -> float:
        """Return when the oldest entry that waits was fed; now if none waits."""
        begun = self._fed - self.waiting.qsize()
        while self._feeds and self._feeds[0][1] <= begun:
            self._feeds.popleft()
        return self._feeds[0][0] if self._feeds else time.monotonic()

    def _give_back(self) -> None:
        mine = self.drop([*_take_all(self._not_begun.popleft), *_take_all(self.waiting.get_nowait)])
        self.gave_back = self.gave_back or bool(mine)
        if mine:
            self._owner.forget(mine)
            with suppress(redis.RedisError):  # they stay pending, and others claim them
                self.release(mine)

    def _look_for_late(self, now: float) -> None:
        """Take its entry from each handler that runs too long. A coroutine is asked to end first."""
        timeout_s = self._stream.settings.handler_timeout_ms / 1000
        culprit = self._owner.holds_up()
        for run in list(self.running):  # the oldest first
            if culprit and run.task is culprit:
                self._take_away(run)
            elif now - run.since <= timeout_s:
                if not culprit:
                    break
            elif run.task and run.asked_at is None:
                run.ask(now)
            elif not run.task or now - (run.asked_at or now) > CANCEL_S:
                self._take_away(run)

    def _take_away(self, run: Run) -> None:
        with self._telling_redis():
            self.hung.add(run)
            self.running.pop(run, None)
            self._overrun(run.entry)


def _take_all(take: Callable[[], Taken]) -> list[Taken]:
    """Take what there is, though others may take some of it, too."""
    taken: list[Taken] = []
    with suppress(Empty, IndexError):
        while True:
            taken.append(take())
    return taken
