"""
Read orders, hand each to your handler, and settle it: ack, retry, defer or dead-letter.

One turn of the loop looks for one suspect, an entry that nobody has worked on for ``claim_idle_ms``, and reads one
batch of new entries; after a suspect it reads on every 16th turn only. Handlers run one at a time, in the thread that
called ``run()``; for more work start more processes. A second thread sends heartbeats for the entries in hand, so that
nobody else claims them.
"""

from __future__ import annotations

import logging
import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import dropwhile

import redis

from orderstream.connection import Trouble, trouble
from orderstream.entries import Entry
from orderstream.observer import UNOBSERVED_DELIVERIES
from orderstream.order import Order
from orderstream.policy import Decision, Outcome, RetryPolicy, describe
from orderstream.stream import OrderStream

log = logging.getLogger("orderstream")

Handler = Callable[[Order], None]

BATCH_S = 0.05  # ask for about as many entries as can be handled in this time
HOARD_S = 1.0  # when a batch runs longer than this, give back its entries that no handler has begun
ACK_FLUSH_S = 0.01  # after so long, acks do not wait for the next read: a crash repeats less finished work
SMALL_PAGE, LARGE_PAGE = 16, 256  # a small page finds the next suspect quickly, large ones end a walk soon
READ_EVERY = 16  # while suspects wait, new entries are read on every 16th turn
REAP_EVERY_S = 60.0  # between two looks for consumers that died and hold nothing
REAP_IDLE_MS = 600_000  # a consumer that did nothing for so long has probably died
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0

_random = random.Random()  # our own: a handler that calls ``random.seed(7)`` must not make two names the same


class Consumer:
    """
    One named reader of the stream's group.

    Args:
        stream: From ``connect()``.
        handler: Called with each order. Return: done. Raise: retry after a backoff. Raise ``Reject``:
            dead-letter now. Raise ``Defer``: later, without spending an attempt. It may see an order
            twice (after a crash, a lost reply), so key its effect by ``order.id``.
        name: Unique among the group's consumers; None makes one up. Two processes must never share a
            name: each would take the other's entries for its own.
        policy: When to retry; None follows the stream's settings.
    """

    def __init__(
        self, stream: OrderStream, handler: Handler, name: str | None = None, policy: RetryPolicy | None = None
    ) -> None:
        settings = stream.settings
        self.stream = stream
        self.handler = handler
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{_random.randrange(16**6):06x}"
        self.policy = policy or RetryPolicy(settings.max_attempts, settings.backoff_ms)
        self._stopping = False
        self._hand = _Hand(stream, self.name)
        self._acks: list[Entry] = []  # handled, in hand until Redis has confirmed the ack
        self._observed = UNOBSERVED_DELIVERIES
        self._flushed_at = 0.0
        self._settled = 0
        self._turns = 0
        self._wanted = 1  # entries to ask for: about BATCH_S of work
        self._group_exists = False
        self._cursor, self._page = "-", SMALL_PAGE
        self._next_walk = 0.0  # when to look for suspects again
        self._next_due = math.inf  # when the first entry that this walk has seen becomes a suspect
        self._next_reap = time.monotonic() + REAP_EVERY_S * _random.random()  # not all consumers at once
        self._pause_s = 0.0  # above 0 during an outage

    def __repr__(self) -> str:
        return f"Consumer({self.name!r}, {self.stream!r})"

    # What you call ------------------------------------------------------------------------------------

    def run(self) -> None:
        """
        Handle orders until ``stop()``. An outage of Redis is waited out.

        Raises:
            redis.RedisError: A person has to act: wrong password, missing permission, a key of the wrong type.
        """
        try:
            while not self._stopping:
                self._turn_or_pause()
        finally:
            with suppress(redis.RedisError):  # if Redis is away, the entries stay pending and others claim them
                self._flush_acks()
                self.stream.leave(self.name)
            self._hand.drop(self._acks)  # nobody works on these any more, so no heartbeat may say so

    def step(self) -> int:
        """
        Take one turn: one suspect at most, and one batch of new entries, for which it waits up to ``block_ms``. After a
        suspect it reads new entries on every 16th turn only. During an outage of Redis it only pauses.

        Returns:
            Deliveries settled: acked, retried, deferred or dead-lettered.

        Raises:
            redis.RedisError: A person has to act.

        Redis: lua/claim.lua, XREADGROUP, XACK.
        """
        before = self._settled
        self._turn_or_pause(flush=True)
        return self._settled - before

    def drain(self, timeout_s: float = 10.0) -> int:
        """
        Take turns until nothing is undelivered, and nothing is pending for any consumer of the group.

        Returns:
            Deliveries settled, see ``step()``.

        Raises:
            TimeoutError: Something was left after *timeout_s* seconds; the message names it.
        """
        before, deadline = self._settled, time.monotonic() + timeout_s
        while not self._stopping:
            settled = self.step()
            late = time.monotonic() > deadline
            if late or not (settled or self._pause_s):
                left = self.stream.backlog()
                if left.done:
                    break
                if late:
                    raise TimeoutError(f"after {timeout_s:g} s there were left: {left.remainder()}")
        return self._settled - before

    def stop(self) -> None:
        """
        Finish the order in hand, give the rest back uncounted, and end ``run()``. A consumer cannot start again.

        The rest is given back at once, even while the handler goes on with the order in hand. You may call this from
        any thread and from a signal handler, because it only sets two flags and takes no lock.
        """
        self._stopping = self._hand.stopping = True

    @property
    def waiting(self) -> bool:
        """True during an outage of Redis: the last turn only paused."""
        return self._pause_s > 0

    # One turn -----------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if not self._group_exists:
            self.stream.create_group()
            self._group_exists = True
            self.stream.observer.watch(self.stream.backlog)
        self._turns += 1
        if time.monotonic() > self._next_reap:
            self._next_reap = time.monotonic() + REAP_EVERY_S
            if gone := self.stream.reap(REAP_IDLE_MS):
                log.info("removed from the group, idle and with nothing pending: %s", ", ".join(map(repr, gone)))
        suspect = self._next_suspect()
        if suspect:
            if self.policy.exhausted(suspect.attempt):
                reason = f"max-attempts: {suspect.attempt - 1} deliveries, none settled: their consumers died"
                self._dead_letter(suspect, reason)
            else:
                self._work([suspect])
            if self._turns % READ_EVERY:
                return
        self._read_batch(wait=not suspect and self._cursor == "-")

    def _next_suspect(self) -> Entry | None:
        """Look at one page of the pending entries. Each turn looks at the next page. After the last one it rests."""
        now = time.monotonic()
        if now < self._next_walk:
            return None
        found = self.stream.claim(self.name, self._cursor, self._page, ack=[entry.id for entry in self._acks])
        self._take([found.entry] if found.entry and not self.policy.exhausted(found.entry.attempt) else [])
        if found.lost:
            log.warning("deleted from the stream before they were handled: %s", ", ".join(found.lost))
            self.stream.observer.lost(len(found.lost))
        self._cursor = found.cursor
        self._due_in(found.soonest_ms)
        if found.entry:
            self._page = SMALL_PAGE
        elif found.cursor == "-":
            settings = self.stream.settings
            rest_s = min(settings.block_ms, settings.claim_idle_ms / 4) / 1000 * _random.uniform(0.75, 1)
            self._next_walk = min(now + rest_s, self._next_due)
            self._next_due, self._page = math.inf, SMALL_PAGE
        else:
            self._page = min(2 * self._page, LARGE_PAGE)
        return found.entry

    def _due_in(self, delay_ms: int) -> None:
        """Look for suspects again in *delay_ms* at the latest, because an entry becomes due then."""
        due = time.monotonic() + delay_ms / 1000
        self._next_due = min(self._next_due, due)
        self._next_walk = min(self._next_walk, due)

    def _read_batch(self, *, wait: bool) -> None:
        if self._stopping:
            return
        rest_ms = max(1, math.ceil((self._next_walk - time.monotonic()) * 1000))
        block_ms = min(self.stream.settings.block_ms, rest_ms) if wait else None
        batch = self.stream.read_new(self.name, self._wanted, block_ms, ack=[entry.id for entry in self._acks])
        self._take(batch)
        began = time.monotonic()
        if done := self._work(batch):
            pace = done / max(time.monotonic() - began, 1e-6)
            self._wanted = max(1, min(int(pace * BATCH_S), self.stream.settings.batch))

    def _work(self, entries: Sequence[Entry]) -> int:
        """
        Hand *entries* to the handler in turn. Give the rest back when the consumer stops, or when the batch takes long.

        Each line of the loop costs time for every order. So the loop takes no lock and decides nothing for an order
        whose handler returns: a lock is taken once for a batch, and the policy decides only after a failure.

        Returns:
            How many entries were begun.
        """
        begin, acks, clock = self._hand.begin, self._acks, time.monotonic
        decode, handler = Order.from_fields, self.handler
        handle = self._observed.handling(lambda entry: handler(decode(entry.fields)), self._decide)
        failure, done = None, 0
        began = now = clock()
        flush_at = self._flushed_at + ACK_FLUSH_S
        try:
            for entry in entries:
                if self._stopping:
                    break
                done += 1  # from here on the batch does not give it back
                if not begin(entry, now):
                    self._lease_lost(entry)
                    continue
                try:
                    handle(entry)
                    acks.append(entry)
                except Exception as error:  # noqa: BLE001 - whatever a handler raises: the policy decides what it means
                    failure = error
                except BaseException:  # Ctrl-C: nobody works on this entry any more, so no heartbeat may say so
                    self._hand.drop([entry, *acks])
                    raise
                if failure is not None:
                    self._settle(entry, failure)
                    failure = None
                now = clock()
                if now > flush_at:
                    self._flush_acks()
                    now = self._flushed_at
                    flush_at = now + ACK_FLUSH_S
                    if now - began > HOARD_S:
                        break
            if self._observed.wanted:
                self._flush_acks()
        finally:
            self._give_back(entries[done:])
        return done

    def _lease_lost(self, entry: Entry) -> None:
        """Note that *entry* is not in hand: another consumer claimed it, or our own ``stop()`` gave it back."""
        self._give_back([entry])  # if the release at the stop failed, the entry is still ours
        if not self._stopping:
            self.stream.observer.lease_lost()

    def _give_back(self, unstarted: Sequence[Entry]) -> None:
        if not unstarted:
            return
        self._hand.drop(unstarted)  # first: a heartbeat after the release would undo it
        with suppress(redis.RedisError):
            self._hand.release(unstarted)
            self._due_in(0)

    # One entry ----------------------------------------------------------------------------------------

    def _decide(self, entry: Entry, error: Exception) -> Decision:
        return self.policy.decide(error, entry.attempt, age_ms=entry.age_ms, key=entry.id)

    def _settle(self, entry: Entry, error: Exception) -> None:
        decision = self._decide(entry, error)
        self._hand.drop([entry])  # first: a heartbeat after the retry would undo its delay
        if decision.outcome is Outcome.DEAD_LETTER:
            self._dead_letter(entry, decision.reason)
            return
        settle = self.stream.retry if decision.outcome is Outcome.RETRY else self.stream.defer
        with self._observed.settling(decision.outcome.value, [entry]) as step:
            step.result = held = settle(self.name, entry, decision.delay_ms)
        self._settled += held
        self._due_in(decision.delay_ms)
        if decision.outcome is Outcome.RETRY:
            then = f"again in {decision.delay_ms} ms" if held else "somebody else has it by now"
            log.info("entry %s failed at attempt %d, %s", entry.id, entry.attempt, then)

    def _dead_letter(self, entry: Entry, reason: str) -> None:
        with self._observed.settling("dead_letter", [entry]) as step:
            step.result = moved = self.stream.dead_letter(self.name, entry, reason) is not None
        if moved:
            self._settled += 1
            log.warning("entry %s dead-lettered at attempt %d", entry.id, entry.attempt)

    def _flush_acks(self) -> None:
        if self._acks:
            with self._observed.settling("ack", self._acks):
                self.stream.ack([entry.id for entry in self._acks])  # if this fails they stay, for the next flush
            self._hand.drop(self._acks)
        self._acked()

    def _take(self, entries: Sequence[Entry]) -> None:
        """
        Replace the entries in hand by *entries*.

        The entries that were in hand before are acked: their XACK went to Redis in front of the command whose reply
        brought *entries*.
        """
        self._hand.take(entries)
        self._acked()
        self._observed = self.stream.observer.delivered(self.name, entries)

    def _acked(self) -> None:
        self._settled += len(self._acks)
        self._acks.clear()
        self._flushed_at = time.monotonic()

    # Trouble ------------------------------------------------------------------------------------------

    def _turn_or_pause(self, *, flush: bool = False) -> None:
        try:
            self._turn()
            if flush:
                self._flush_acks()
        except redis.RedisError as error:
            match trouble(error):
                case Trouble.FATAL:
                    self._hand.drop(self._acks)
                    raise
                case Trouble.NO_GROUP:
                    log.warning("the stream or its group was deleted; creating it again, from the first entry")
                    self._group_exists = False
                case Trouble.OUTAGE:
                    if not self._pause_s:
                        log.warning("Redis does not answer (%s); waiting for it", type(error).__name__)
                    self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
                    until = time.monotonic() + self._pause_s * _random.uniform(0.5, 1)
                    while not self._stopping and time.monotonic() < until:
                        time.sleep(FIRST_PAUSE_S / 2)
        else:
            if self._pause_s:
                log.warning("Redis answers again")
            self._pause_s = 0.0


class _Hand:
    """
    The entries that a consumer has in hand, and the heartbeat for them.

    The heartbeat's thread starts with the first entry and ends when there is none. It sends nothing while a handler
    runs for longer than ``handler_timeout_ms``, because others must be able to claim the entries of a hung handler.
    When the consumer stops, this thread gives back the entries that no handler has begun: the main thread is busy with
    the order in hand.
    """

    def __init__(self, stream: OrderStream, consumer: str) -> None:
        self.stopping = False
        self._stream = stream
        self._consumer = consumer
        self._entries: dict[str, Entry] = {}  # in the order in which they are handled
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begun: Entry | None = None
        self._began = 0.0

    def take(self, entries: Sequence[Entry]) -> None:
        """Replace the entries in hand by *entries*."""
        self._began = time.monotonic()
        with self._lock:
            self._entries = {entry.id: entry for entry in entries}
            if entries and self._thread is None:
                self._thread = threading.Thread(target=self._beat, name=f"heartbeat {self._consumer}", daemon=True)
                self._thread.start()

    def begin(self, entry: Entry, now: float) -> bool:
        """
        Note that the handler of *entry* begins now. False: it is not in hand any more, and must not be handled.

        This takes no lock, because it runs for every order. It first notes which entry begins, then looks whether the
        entry is still in hand. ``_give_back`` does it the other way round: it first takes all entries out of the hand,
        then looks which one has begun. The thread that comes second sees what the first one did. So no entry is both
        handled and given back.
        """
        self._begun, self._began = entry, now
        return entry.id in self._entries

    def drop(self, entries: Iterable[Entry]) -> None:
        with self._lock:
            for entry in entries:
                if self._entries.get(entry.id) is entry:
                    del self._entries[entry.id]

    def release(self, unstarted: Sequence[Entry]) -> None:
        """Make *unstarted* due now. This delivery is not counted: the next consumer gets them at the same attempt."""
        with self._stream.observer.releasing(self._consumer, unstarted):
            self._stream.release(self._consumer, unstarted)

    def _beat(self) -> None:
        settings = self._stream.settings
        while True:
            self._rest(settings.claim_idle_ms / 4000)
            if self.stopping:
                self._give_back()
            with self._lock:
                if not self._entries:
                    self._thread = None
                    return
                entries = list(self._entries.values())
            if time.monotonic() - self._began > settings.handler_timeout_ms / 1000:
                continue
            try:
                held = self._stream.heartbeat(self._consumer, entries)
            except redis.RedisError as error:  # the next one may succeed; if not, others claim the entries
                log.debug("no heartbeat: %s", describe(error))
                continue
            self.drop(entry for entry in entries if entry.id not in held)

    def _rest(self, until_next_s: float) -> None:
        """Wait for the next heartbeat; return early when the consumer stops."""
        until, stopping = time.monotonic() + until_next_s, self.stopping
        while time.monotonic() < until and self.stopping is stopping:
            time.sleep(min(until_next_s, BATCH_S))

    def _give_back(self) -> None:
        """Release every entry that no handler has begun. ``begin`` explains why none of them can begin meanwhile."""
        with self._lock:
            entries, self._entries = self._entries, {}
            begun = self._begun
            from_begun_on = dropwhile(lambda entry: entry is not begun, entries.values())  # in the order of handling
            waiting = list(from_begun_on)[1:]
            for entry in waiting:
                del entries[entry.id]
            self._entries = entries
        if waiting:
            with suppress(redis.RedisError):  # they stay pending, and others claim them
                self.release(waiting)
