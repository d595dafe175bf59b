"""
What a crew has in hand, and the keeper that looks after it.

Entries wait in one queue. Whoever takes an entry out of it owns that entry: a member of the crew begins it, or the
keeper gives it back. So no entry is both handled and given back.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

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
        since: When it began, by the monotonic clock.
        task: What runs it, if that can be cancelled; None for a thread.
        asked: When it was asked to end; infinite if it was not.
        overran: True if it lost its entry, because it ran too long.
    """

    entry: Entry
    since: float
    task: asyncio.Task[None] | None = None
    asked: float = math.inf
    overran: bool = False

    @property
    def was_asked(self) -> bool:
        return self.asked < math.inf

    def ask(self, now: float) -> None:
        """Ask it to end."""
        assert self.task
        self.asked = now
        with suppress(RuntimeError):  # its loop is closed
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)


class CrewHand(Hand):
    """
    See ``Hand``. What a crew has in hand waits, runs, or is done and not settled yet.

    Args:
        stream, consumer, flush, overrun: See ``Hand``.
        settle: Settles several failures at once.
        forget: Is told of entries that leave the hand and were not handled.
        looks: Is told of each look of the keeper.

    Attributes:
        waiting: Entries that no handler has begun.
        running: Entry id -> the run of its handler.
        failed: Entries whose handlers raised, and what becomes of them.
    """

    def __init__(
        self,
        stream: OrderStream,
        consumer: str,
        flush: Callable[[], None],
        overrun: Callable[[Entry], None],
        settle: Callable[[Sequence[Failure]], None],
        forget: Callable[[Sequence[Entry]], None],
        looks: Callable[[], None],
    ) -> None:
        super().__init__(stream, consumer, flush, overrun)
        self.waiting: SimpleQueue[Entry] = SimpleQueue()
        self.running: dict[str, Run] = {}
        self.failed: deque[Failure] = deque()
        self._hung: set[Run] = set()
        self._telling = False
        self._problem: redis.RedisError | None = None
        self._less = threading.Event()
        self._settle = settle
        self._forget = forget
        self._looks = looks
        self._not_begun: deque[Entry] = deque()  # what the crew was given and may not begin any more
        self._fed = 0  # how many entries have been put into `waiting`
        self._feeds: deque[tuple[float, int]] = deque()  # when entries were put there, and how many were fed by then
        self._looked = self._try_again = 0.0

    def __len__(self) -> int:
        """Return how many entries are in hand."""
        return len(self._entries)

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

    def drop(self, entries: Iterable[Entry]) -> list[Entry]:
        dropped = super().drop(entries)
        self._less.set()
        return dropped

    def empty(self) -> None:
        """Drop all that is left."""
        self.drop(list(self._entries.values()))

    def wait_for_less(self) -> None:
        """Wait a while, or until something was dropped."""
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
        Note that the handler of *entry* begins now. None: it must not begin.

        It first notes the run, then looks whether the entry is in hand. ``_beat`` does it the other way round.
        """
        if self.stopping:
            self._not_begun.append(entry)
            return None
        run = self.running[entry.id] = Run(entry, time.monotonic())
        if self._entries.get(entry.id) is entry:
            return run
        del self.running[entry.id]
        self._forget([entry])
        self._stream.observer.lease_lost()
        return None

    def finish(self, run: Run, failed: Decision | None) -> None:
        """Note that a handler has come to its end. *failed* says what becomes of the entry if it raised."""
        self.rest()  # ends a copy of this process
        if failed:
            self.failed.append((run.entry, failed))
        else:
            self.done.append(run.entry)
        self.leave(run)

    def leave(self, run: Run) -> None:
        """Note that the handler does not run any more."""
        if run.overran:
            self._hung.discard(run)
        if self.running.get(run.entry.id) is run:  # else a second run of the same entry is in there
            del self.running[run.entry.id]

    @property
    def at_work(self) -> bool:
        """True if there is something in hand, or if a handler runs that has not lost its entry."""
        return bool(len(self.running) > self.hung or self._entries or self.failed or self._telling)

    @property
    def hung(self) -> int:
        """How many handlers run that have lost their entry, because they ran too long."""
        return len(self._hung)

    @property
    def can_only_wait(self) -> bool:
        """True if no handler runs, and Redis does not take what is to be said to it."""
        return self._problem is not None and not self.running

    # The keeper -----------------------------------------------------------------------------------------

    def _rest(self) -> None:
        time.sleep(max(0.0, self._looked + min(LOOK_EVERY_S, self._beat_s) - time.monotonic()))
        self._looked = time.monotonic()

    def _look(self) -> None:
        self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Do what cannot wait for the next beat."""
        self._looks()
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
        self._look_for_late(now)

    def settle_failures(self) -> None:
        """Settle what failed, if Redis is there."""
        with suppress(redis.RedisError):
            self._settle_failures()

    def _settle_failures(self) -> None:
        if self.failed:
            with self._telling_redis():
                self._settle(_take_all(self.failed.popleft))

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
        """Return when the oldest entry that waits was fed; infinite if none waits."""
        begun = self._fed - self.waiting.qsize()
        while self._feeds and self._feeds[0][1] <= begun:
            self._feeds.popleft()
        return self._feeds[0][0] if self._feeds else math.inf

    def _give_back(self) -> None:
        mine = self.drop([*_take_all(self._not_begun.popleft), *_take_all(self.waiting.get_nowait)])
        self.gave_back = self.gave_back or bool(mine)
        if mine:
            self._forget(mine)
            with suppress(redis.RedisError):  # they stay pending, and others claim them
                self.release(mine)

    def _look_for_late(self, now: float) -> None:
        """Take its entry from each handler that runs too long. A coroutine is asked to end first."""
        timeout_s = self._stream.settings.handler_timeout_ms / 1000
        for run in list(self.running.values()):  # the oldest first
            if now - run.since <= timeout_s:
                break
            if run.overran:
                continue
            if run.task and not run.was_asked:
                run.ask(now)
            elif not run.task or now - run.asked > CANCEL_S:
                with self._telling_redis():
                    run.overran = True
                    self._hung.add(run)
                    self._overrun(run.entry)

    def _is_empty(self) -> bool:
        return not (self._entries or self.running)


def _take_all(take: Callable[[], Taken]) -> list[Taken]:
    """Take what there is, though others may take some of it, too."""
    taken: list[Taken] = []
    with suppress(Empty, IndexError):
        while True:
            taken.append(take())
    return taken
