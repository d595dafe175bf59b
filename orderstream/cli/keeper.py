"""
Keep what the child processes have in hand: the lease of each entry, and an end for each handler.

A child sends heartbeats by itself. It cannot while a handler holds its interpreter. So the supervisor sends some, too,
for each batch that is in hand for longer than one beat. It ends a child whose handler runs too long. And when a child
is dead it settles what that one had in hand, with the reason, instead of leaving it pending until others claim it.

Whatever comes too late changes nothing, because lua/lease.lua and lua/dead.lua ask for the owner and the attempt.
"""

from __future__ import annotations

import logging
import math
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import redis

from orderstream.cli.ledger import ALIVE, BEGAN, FINAL, FIRST, READY, WAITS, Ledger, Page
from orderstream.cli.supervisor import LEFT, Last, kill
from orderstream.connection import REPLY_MARGIN_S, Trouble, trouble
from orderstream.consumer import LONGEST_PAUSE_S
from orderstream.entries import Entry
from orderstream.errors import HandlerTimeout, OrderStreamError
from orderstream.policy import Outcome, RetryPolicy, describe
from orderstream.stream import OrderStream

log = logging.getLogger("orderstream")

LOOK_S = 0.1  # between two looks at the children
TRY_EVERY_S = 1.0  # between two tries to reach Redis, while a child does not
TURN_S = 4 * REPLY_MARGIN_S  # in a turn, at most two calls fail: each may wait to connect, and for its reply
LAST_S = 2.0  # how long the end waits for what is still to be settled


class ProcessDied(OrderStreamError):
    """The process ended while its handler ran. This is the failure of that order."""


class _Kept(msgspec.Struct):
    """
    A child.

    Attributes:
        ledger: What it has in hand.
        process: None until it is started.
        batch: The one that was in hand at the last beat.
        finished: How many of its entries were finished then.
        overdue: Id of the entry whose handler ran too long, and for which the child is killed.
        told_of: What was logged of its end.
    """

    ledger: Ledger
    process: subprocess.Popen[bytes] | None = None
    batch: int = 0
    finished: int = 0
    overdue: str = ""
    told_of: tuple[object, ...] = ()

    def kill(self, why: str, *of: object) -> None:
        """Kill the child, and log *why*, once. Called at each look, until it is dead."""
        if not self.process:
            return
        kill(self.process)  # first: a log may be slow
        if (why, *of) != self.told_of:
            self.told_of = (why, *of)
            log.warning(why, *of)


class _Left(msgspec.Struct):
    """
    What a child left behind when it ended, and why it ended.

    Attributes:
        finished: What is to be acked.
        running: What has failed of *error*; None if no handler ran, or if the child was stopped.
        unbegun: What is still to be given back.
    """

    name: str
    finished: Sequence[Entry]
    running: Entry | None
    unbegun: Sequence[Entry]
    error: OrderStreamError
    at: float


class Keeper:
    """
    Looks after what the children have in hand. One thread does so, and it may wait for Redis; nobody waits for it.

    Args:
        stream: A connection of its own.
    """

    def __init__(self, stream: OrderStream) -> None:
        settings = stream.settings
        self._stream = stream
        self._policy = RetryPolicy(settings.max_attempts, settings.backoff_ms)
        self._timeout_s = settings.handler_timeout_ms / 1000
        self._kept: dict[str, _Kept] = {}
        self._was_ready = False
        self._patience_s = (settings.claim_idle_ms + settings.block_ms) / 1000 + LONGEST_PAUSE_S
        self._reached = math.inf  # since when this process reaches Redis, while a child does not
        self._next_try = 0.0
        self._left: queue.SimpleQueue[_Left] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="keeper", daemon=True)
        self._thread.start()

    # What the supervisor tells --------------------------------------------------------------------------

    def opens(self, name: str) -> int:
        """Return the file that a new child inherits."""
        kept = self._kept.get(name)  # it was opened for one that could not be started
        ledger = kept.ledger if kept else Ledger.new(self._stream.settings.batch)
        ledger.words[FIRST] = not self._was_ready
        ledger.times[ALIVE] = time.monotonic()
        self._kept[name] = _Kept(ledger)
        return ledger.file

    def started(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Note that the child runs."""
        self._kept[name].process = process

    def ready(self, name: str) -> bool:
        """Return whether the child *name*, or one before it, has come so far that it takes entries."""
        kept = self._kept.get(name)
        self._was_ready = self._was_ready or bool(kept and kept.ledger.words[READY])
        return self._was_ready

    def ended(self, name: str, how: str, *, stopped: bool) -> Last:
        """Settle what the child had in hand. It must be dead. A stop is no order's failure."""
        self.ready(name)  # later it cannot be asked
        kept = self._kept.pop(name)
        page = kept.ledger.read()
        kept.ledger.close()
        if page:
            self._left.put(self._what_is_left(name, kept, page, how, stopped))
        return Last(kept.ledger.worked, kept.ledger.words[FINAL])

    def _what_is_left(self, name: str, kept: _Kept, page: Page, how: str, stopped: bool) -> _Left:
        running, unbegun = page.running, list(page.unbegun)
        error: OrderStreamError = ProcessDied(f"its process {how}")
        if running and running.id == kept.overdue:
            error = HandlerTimeout(f"handler ran longer than {self._timeout_s:g} s")
        elif running and kept.ledger.words[FINAL] == LEFT:
            error = ProcessDied("it was stopped before its handler ended")
        elif running and stopped:
            unbegun.insert(0, running)
            running = None
        return _Left(name, page.finished, running, unbegun, error, time.monotonic())

    def close(self) -> None:
        """Settle what is left, if Redis answers soon."""
        self._closing.set()
        self._thread.join(LAST_S)

    # The thread -----------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        beat_s = self._stream.settings.claim_idle_ms / 4000
        look_s = min(LOOK_S, beat_s)
        next_beat = time.monotonic() + beat_s
        while not (self._closing.wait(look_s) and self._left.empty()):
            beats = time.monotonic() >= next_beat
            if beats:
                next_beat = time.monotonic() + beat_s
            try:
                for name, kept in list(self._kept.items()):
                    self._kill_if_overdue(name, kept)
                    self._kill_if_it_hangs(name, kept)
                self._kill_who_is_cut_off()
                self._settle_the_left()
                for name, kept in list(self._kept.items()) if beats else ():
                    self._beat(name, kept)
            except Exception:
                log.exception("the supervisor could not look after its processes; it goes on")

    def _kill_if_overdue(self, name: str, kept: _Kept) -> None:
        latest = time.monotonic() - self._timeout_s
        if kept.ledger.times[BEGAN] >= latest:  # most often; a page is much to read
            return
        page = kept.ledger.read()
        if page and page.running and page.began < latest and kept.process:
            kept.overdue = page.running.id
            why = "%s: the handler of entry %s runs for longer than %g s"
            kept.kill(why, name, kept.overdue, self._timeout_s)

    def _kill_if_it_hangs(self, name: str, kept: _Kept) -> None:
        """
        Kill a child that does not go on although no handler runs: what a handler left behind may hold its interpreter.
        One of many handlers at once may do so, too; what a crew has in hand is not written down.
        Before it is ready it imports the handler. It may take as long for that as a handler.
        """
        longest_s = self._patience_s + TURN_S
        if not kept.ledger.words[READY]:
            longest_s = max(longest_s, self._timeout_s)
        times = kept.ledger.times
        if math.isinf(times[BEGAN]) and time.monotonic() - times[ALIVE] > longest_s:
            kept.kill("%s has not gone on for %g s", name, longest_s)

    def _kill_who_is_cut_off(self) -> None:
        """
        Kill each child that has not reached Redis for long, although this process could. A handler may have taken what
        a connection needs, such as the last file.
        """
        waiting = {name: kept for name, kept in list(self._kept.items()) if math.isfinite(kept.ledger.times[WAITS])}
        now = time.monotonic()
        if not waiting:
            self._reached = math.inf
        elif now >= self._next_try:
            self._next_try = now + TRY_EVERY_S
            self._reached = min(self._reached, now) if self._reaches_redis() else math.inf
        for name, kept in waiting.items():
            if now - max(kept.ledger.times[WAITS], self._reached) > self._patience_s:
                kept.kill("%s cannot reach Redis, although its supervisor can", name)

    def _reaches_redis(self) -> bool:
        """Return whether Redis takes writes from this process: a Redis that refuses them refuses the child's, too."""
        try:
            self._stream.create_group()
        except redis.RedisError:
            return False
        return True

    def _beat(self, name: str, kept: _Kept) -> None:
        """
        Keep what a running handler holds up, and ack what is finished.

        Nothing is kept for a child that is not in a handler: if it does not go on, others may claim its entries.
        """
        page = kept.ledger.read()
        if not page or not page.running:
            return
        waits, finished = page.batch == kept.batch, kept.finished
        kept.batch, kept.finished = page.batch, len(page.finished)
        if not waits:
            return
        try:
            if page.finished[:finished]:
                self._stream.ack(entry.id for entry in page.finished[:finished])
            self._stream.heartbeat(name, [page.running, *page.unbegun])
        except redis.RedisError as error:  # the next one may succeed; if not, others claim the entries
            log.debug("no heartbeat for %s: %s", name, describe(error))

    def _settle_the_left(self) -> None:
        """If Redis is away, try again at the next look. Once others may claim the entries there is no need."""
        with suppress(queue.Empty):
            while True:
                left = self._left.get_nowait()
                try:
                    self._settle(left)
                except Exception as error:  # noqa: BLE001 - whatever it is, say whose orders it concerns
                    late = time.monotonic() - left.at > self._stream.settings.claim_idle_ms / 1000
                    if late or trouble(error) is Trouble.FATAL:
                        if left.finished or left.running or left.unbegun:
                            log.warning("what %s had in hand stays pending (%s)", left.name, describe(error))
                    else:
                        self._left.put(left)
                        break

    def _settle(self, left: _Left) -> None:
        stream, name = self._stream, left.name
        if left.finished:
            stream.ack(entry.id for entry in left.finished)
        if left.running:
            self._fail(name, left.running, left.error)
        if unbegun := left.unbegun:
            left.unbegun = ()  # once only: if just the reply is lost, the next child has them at the same attempt
            stream.release(name, unbegun)
        stream.leave(name)

    def _fail(self, name: str, entry: Entry, error: OrderStreamError) -> None:
        decision = self._policy.decide(error, entry.attempt, key=entry.id)
        if decision.outcome is Outcome.DEAD_LETTER:
            if self._stream.dead_letter(name, entry, decision.reason):
                log.warning("entry %s dead-lettered at attempt %d", entry.id, entry.attempt)
        elif self._stream.retry(name, entry, decision.delay_ms):
            why, delay_ms = type(error).__name__, decision.delay_ms
            log.info("entry %s failed at attempt %d (%s), again in %d ms", entry.id, entry.attempt, why, delay_ms)
