"""
Read orders, hand each to your handler, and settle it: ack, retry, defer or dead-letter.

One turn of the loop looks for one suspect, an entry that nobody has worked on for ``claim_idle_ms``, and reads one
batch of new entries; after a suspect it reads on every 16th turn only. Handlers run one at a time, in the thread that
called ``run()``. For handlers that wait, such as for a database, see ``crew``; for handlers that count, start more
processes. A second thread looks after the entries in hand, see ``hand``.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Generic, Self
from weakref import WeakSet

import redis

from orderstream.config import Settings
from orderstream.connection import ReplyLost, Trouble, trouble
from orderstream.entries import UNOWNED, Entry
from orderstream.errors import ConfigError, HandlerTimeout, from_a_signal
from orderstream.form import T
from orderstream.hand import ACK_FLUSH_S, HOARD_S, Hand
from orderstream.observer import UNOBSERVED_DELIVERIES
from orderstream.policy import Decision, Outcome, RetryPolicy, describe, kind
from orderstream.stream import OrderStream

log = logging.getLogger("orderstream")

Handler = Callable[[T], Awaitable[None] | None]

BATCH_S = 0.05  # ask for about as many entries as can be handled in this time,
BATCH_BYTES = 8_000_000  # and for not much more than this
SMALL_PAGE, LARGE_PAGE = 16, 256  # a small page finds the next suspect quickly, large ones end a walk soon
PAGE_PAUSE = 9  # while new entries come, between two pages of a walk pass so many times the time that a page takes
READ_EVERY = 16  # while suspects wait, new entries are read on every 16th turn
REAP_EVERY_S = 60.0  # between two looks for consumers that died and hold nothing
REAP_IDLE_MS = 600_000  # a consumer that did nothing for so long has probably died
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0

_random = random.Random()  # our own: a handler that calls ``random.seed(7)`` must not make two names the same
in_a_handler: WeakSet[Consumer[Any]] = WeakSet()  # those that are in a handler


class Consumer(Generic[T]):
    """
    One named reader of the stream's group.

    Args:
        stream: From ``connect()``.
        handler: A function or an ``async def``. Called with each order. Return: done. Raise: retry after a backoff.
            Raise ``Reject``: dead-letter now. Raise ``Defer``: later, without spending an attempt. It may see an order
            twice (after a crash, a lost reply), so key its effect by ``order.id``. Whatever it raises is its
            failure, ``SystemExit`` too; only what a signal raises, such as Ctrl-C or an alarm that the handler left
            behind, ends the consumer.
        name: Unique among the group's consumers; None makes one up. Two processes must never share a
            name: each would take the other's entries for its own.
        policy: When to retry; None follows the stream's settings.
        concurrency: How many handlers may run at once: a function in threads, an ``async def`` in an event loop. With
            more than one, orders are not handled in their order. See ``crew``.
        hand: Makes what holds the entries in hand; None makes a ``Hand``, or what ``on_timeout`` asks for.

    Raises:
        ConfigError: The handler is a generator function: to call it would not run it. Or *concurrency* is below 1. Or
            the name is the one that Redis is told when nobody owns an entry.
    """

    many = False  # whether this class can have many handlers at once

    def __new__(cls, stream: OrderStream[T], handler: Handler[T], *_: Any, concurrency: int = 1, **more: Any) -> Self:
        if cls is Consumer and (concurrency != 1 or is_coroutine(handler)):
            from orderstream.crew import CrewConsumer  # not needed where one handler runs at a time

            return super().__new__(CrewConsumer)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        stream: OrderStream[T],
        handler: Handler[T],
        name: str | None = None,
        policy: RetryPolicy | None = None,
        *,
        concurrency: int = 1,
        hand: Callable[..., Hand] | None = None,
    ) -> None:
        settings = stream.settings
        if any(map(_is_generator, _functions(handler))):
            raise ConfigError(f"{handler!r} is a generator function: to call it would not run it; take `yield` out")
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigError(f"concurrency must be a whole number, 1 or more, not {concurrency!r}")
        if not self.many and (concurrency > 1 or is_coroutine(handler)):
            raise ConfigError(
                f"{type(self).__name__} runs one plain function at a time; derive it from orderstream.crew.CrewConsumer"
            )
        if name == UNOWNED:
            raise ConfigError(f"a consumer cannot be called {UNOWNED}: that is the owner of entries that nobody has")
        self.stream = stream
        self.handler = handler
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{_random.getrandbits(64):016x}"
        self.policy = policy or RetryPolicy(settings.max_attempts, settings.backoff_ms, settings.defer_max_age_ms)
        self._stopping = False
        self._hand = (hand or _hand_for(settings))(stream, self.name, self._flush_acks, self._overrun)
        self._observed = UNOBSERVED_DELIVERIES
        self._flushed_at = 0.0
        self._settled = 0
        self._settling = threading.Lock()  # the heartbeat's thread settles entries, too
        self._unsettled: list[tuple[Entry, Decision]] = []  # what could not be settled in an outage
        self._ungiven: Sequence[Entry] = ()  # what could not be given back in one
        self._turns = 0
        self._wanted = 1  # entries to ask for: about BATCH_S of work
        self._group_exists = False
        self._cursor, self._page = "-", SMALL_PAGE
        self._read_some = False  # whether the last read gave entries
        self._left_by: str | None = None  # of the suspect in hand
        self._left_alone = False  # a suspect was found, and waits until nothing else is in hand
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
            self._leave()

    async def run_async(self) -> None:
        """
        Handle orders until ``stop()``, in your event loop: an ``async def`` handler runs in it. To cancel this is to
        stop: it ends when the orders in hand are finished.

        Raises:
            redis.RedisError: As ``run()``.
        """
        from orderstream.crew import run_in_this_loop

        await run_in_this_loop(self)

    def step(self) -> int:
        """
        Take one turn: one suspect at most, and one batch of new entries, for which it waits up to ``block_ms``. After a
        suspect it reads new entries on every 16th turn only. If there are new entries on the first turn, it takes no
        suspect. During an outage of Redis it only pauses.

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
    def in_outage(self) -> bool:
        """True if Redis did not answer or refused: the last turn only paused."""
        return self._pause_s > 0

    # One turn -----------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if not self._group_exists:
            self.stream.create_group()
            self._group_exists = True
        if self._unsettled or self._ungiven:
            self._settle_again()
        self._turns += 1
        if self._turns == 1 and self._read_batch(wait=False):
            return  # a suspect may be what has just ended the process before this one: so others come first
        if time.monotonic() > self._next_reap:
            self._next_reap = time.monotonic() + REAP_EVERY_S
            if gone := self.stream.reap(REAP_IDLE_MS):
                log.info("removed from the group, idle and with nothing pending: %s", ", ".join(map(repr, gone)))
        suspect = self._next_suspect()
        if suspect:
            if self.policy.exhausted(suspect.attempt):
                reason = _exhaustion(suspect, self._left_by)
                self._settle(suspect, Decision(Outcome.DEAD_LETTER, reason=reason))
            else:
                self._work([suspect])
            if self._turns % READ_EVERY:
                return
        self._read_batch(wait=not suspect and self._cursor == "-")

    def _next_suspect(self) -> Entry | None:
        """Look at one page of the pending entries. Each turn looks at the next page. After the last one it rests."""
        now = time.monotonic()
        if self._stopping or now < self._next_walk:
            return None
        with self._carrying() as done:
            acks = [entry.id for entry in done]
            found = self.stream.claim(self.name, self._cursor, self._page, ack=acks, alone=self._alone_from())
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
            if self._read_some:
                after = time.monotonic()
                self._next_walk = after + PAGE_PAUSE * (after - now)
        self._left_by, self._left_alone = found.left_by, found.alone
        return found.entry

    def _alone_from(self) -> int:
        """Return the attempt at which a suspect that was left behind is not claimed now; see ``OrderStream.claim``."""
        return 0

    def _due_in(self, delay_ms: int) -> None:
        """Look for suspects again in *delay_ms* at the latest, because an entry becomes due then."""
        due = time.monotonic() + min(delay_ms, self.stream.settings.claim_idle_ms) / 1000
        self._next_due = min(self._next_due, due)
        self._next_walk = min(self._next_walk, due)

    def _read_batch(self, *, wait: bool) -> int:
        """Read one batch and handle it. Return how many entries it had."""
        batch = self._read(self._wanted, self.stream.settings.block_ms if wait else None)
        began = time.monotonic()
        if begun := self._work(batch):
            pace = begun / max(time.monotonic() - began, 1e-6)
            size = sum(map(len, batch[-1].fields)) + 1  # the next entries are probably about as large
            self._wanted = max(1, min(int(pace * BATCH_S), BATCH_BYTES // size, self.stream.settings.batch))
        return len(batch)

    def _read(self, count: int, longest_ms: int | None) -> list[Entry]:
        """Take up to *count* new entries. Wait for the first one *longest_ms*, or until a suspect is due."""
        if self._stopping:
            return []
        rest_ms = max(1, math.ceil((self._next_walk - time.monotonic()) * 1000))
        block_ms = None if longest_ms is None else min(longest_ms, rest_ms)
        with self._carrying() as done:
            batch = self.stream.read_new(self.name, count, block_ms, ack=[entry.id for entry in done])
        self._take(batch)
        self._read_some = bool(batch)
        return batch

    def _work(self, entries: Sequence[Entry]) -> int:
        """
        Hand *entries* to the handler in turn. Give the rest back when the consumer stops, or when the batch takes long.

        Each line of the loop costs time for every order. So the loop takes no lock and decides nothing for an order
        whose handler returns: a lock is taken once for a batch, and the policy decides only after a failure.

        Returns:
            How many entries were begun.
        """
        hand, clock = self._hand, time.monotonic
        begin, finished = hand.begin, hand.done
        decode, handler = self.stream.form.from_fields, self.handler

        def run(entry: Entry) -> None:
            if (result := handler(decode(entry.fields))) is not None:
                refuse_what_did_not_run(result)

        handle = self._observed.handling(run, self._decide)
        failed, begun = None, 0
        began = now = clock()
        flush_at = self._flushed_at + ACK_FLUSH_S
        in_a_handler.add(self)
        try:
            for entry in entries:
                if self._stopping:
                    break
                if not begin(entry, now):
                    if hand.gave_back:  # this entry, and those behind it
                        break
                    begun += 1
                    self.stream.observer.lease_lost()
                    continue
                begun += 1
                try:
                    handle(entry)
                    finished.append(entry)
                except BaseException as error:  # whatever a handler raises: the policy decides what it means
                    if from_a_signal(error):
                        hand.drop([entry, *finished])
                        raise
                    failed = self._failure(entry, error)  # here, because it runs code of the handler's error
                if failed:
                    hand.rest()
                    self._settle(entry, failed)
                    failed = None
                now = clock()
                if now > flush_at:
                    hand.rest()
                    self._flush_acks()
                    now = self._flushed_at
                    flush_at = now + ACK_FLUSH_S
                    if now - began > HOARD_S:
                        break
            hand.rest()
            if self._observed.wanted:
                self._flush_acks()
        finally:
            in_a_handler.discard(self)
            hand.rest()
            self._give_back(entries[begun:])
        return begun

    def _give_back(self, unstarted: Sequence[Entry]) -> None:
        if left := self._hand.drop(unstarted):  # the other thread may have given them back before
            self._release(left)

    def _release(self, unstarted: Sequence[Entry]) -> None:
        try:
            self._hand.release(unstarted)
            self._due_in(0)
        except ReplyLost:  # they are given back, or stay pending and others claim them
            pass
        except redis.RedisError:
            self._ungiven = unstarted

    # One entry ----------------------------------------------------------------------------------------

    def _decide(self, entry: Entry, error: BaseException) -> Decision:
        try:
            return self.policy.decide(error, entry.attempt, age_ms=entry.age_ms, key=entry.id)
        except BaseException as problem:  # a kind of Defer or Reject of the handler's own may be anything
            if from_a_signal(problem):
                raise
            wrong = TypeError(f"{kind(error)} cannot be used ({kind(problem)})")
            return self.policy.decide(wrong, entry.attempt, key=entry.id)

    def _failure(self, entry: Entry, error: BaseException) -> Decision:
        decision = self._decide(entry, error)
        log.debug("entry %s failed", entry.id, exc_info=error)
        if decision.outcome is Outcome.RETRY:
            why, delay_ms = kind(error), decision.delay_ms
            log.info("entry %s failed at attempt %d (%s), again in %d ms", entry.id, entry.attempt, why, delay_ms)
        return decision

    def _settle(self, entry: Entry, decision: Decision) -> None:
        self._hand.drop([entry])
        try:
            if decision.outcome is Outcome.DEAD_LETTER:
                self._dead_letter(entry, decision.reason)
            else:
                self._delay(entry, decision)
        except redis.RedisError as error:
            self._settle_later(entry, decision, error)
            raise

    def _settle_later(self, entry: Entry, decision: Decision, error: redis.RedisError) -> None:
        if isinstance(error, ReplyLost) and decision.outcome is Outcome.DEFER:
            return  # What takes an attempt back is sent once: the next delivery has the same number, and it would fit.
        self._unsettled.append((entry, decision))

    def _settle_again(self) -> None:
        """Settle what an outage left unsettled. If another consumer has claimed an entry meanwhile, nothing changes."""
        self._flush_acks()  # first: a handler that ran too long may have come to its end after all
        while self._unsettled:
            self._settle(*self._unsettled.pop())
        if self._ungiven:
            ungiven, self._ungiven = self._ungiven, ()
            self._release(ungiven)

    def _delay(self, entry: Entry, decision: Decision) -> None:
        settle = self.stream.retry if decision.outcome is Outcome.RETRY else self.stream.defer
        with self._observed.settling(decision.outcome.value, [entry]) as step:
            step.result = held = settle(self.name, entry, decision.delay_ms)
        self._count(held)
        self._due_in(decision.delay_ms)

    def _dead_letter(self, entry: Entry, reason: str) -> None:
        with self._observed.settling("dead_letter", [entry]) as step:
            step.result = moved = self.stream.dead_letter(self.name, entry, reason) is not None
        if moved:
            self._count(1)
            log.warning("entry %s dead-lettered at attempt %d", entry.id, entry.attempt)

    def _overrun(self, entry: Entry) -> None:
        """Take *entry* from a handler that runs too long. The heartbeat's thread calls this."""
        timeout_s = self.stream.settings.handler_timeout_ms / 1000
        log.warning("entry %s: its handler has run for longer than %g s, and loses it", entry.id, timeout_s)
        with suppress(redis.RedisError):  # it stays pending, and others claim it
            self._settle(entry, self._decide(entry, HandlerTimeout(f"handler ran longer than {timeout_s:g} s")))

    def _leave(self) -> None:
        """Settle what is in hand. If Redis is away, the entries stay pending and others claim them."""
        with suppress(redis.RedisError):
            self._settle_again()
            self._hand.take([])
            self.stream.leave(self.name)
        self._hand.drop(self._hand.done)

    def _carrying(self) -> AbstractContextManager[Sequence[Entry]]:
        """Yield what is done and can be acked on the way of another command."""
        return self._acking()

    def _finish(self) -> None:
        """Settle what this turn has begun."""
        self._flush_acks()

    def _flush_acks(self) -> None:
        if self._hand.done:
            with self._acking() as done, self._observed.settling("ack", done):
                self.stream.ack([entry.id for entry in done])
            self._hand.drop(done)

    @contextmanager
    def _acking(self) -> Iterator[Sequence[Entry]]:
        """Yield what is done, to be acked. If that fails it is put back, for the next time."""
        finished = self._hand.done
        with self._settling:
            done = finished[:]
            del finished[: len(done)]  # the loop may have appended one in between
        try:
            yield done
        except BaseException:
            with self._settling:
                finished[:0] = done
            raise
        self._count(len(done))
        self._flushed_at = time.monotonic()

    def _take(self, entries: Sequence[Entry]) -> None:
        self._hand.take(entries)
        self.stream.observer.watch(self.stream.backlog)
        self._observed = self.stream.observer.delivered(self.name, entries)

    def _count(self, settled: int) -> None:
        with self._settling:
            self._settled += settled

    # Trouble ------------------------------------------------------------------------------------------

    def _turn_or_pause(self, *, flush: bool = False) -> None:
        try:
            self._turn()
            if flush:
                self._finish()
        except redis.RedisError as error:
            match trouble(error):
                case Trouble.FATAL:
                    self._hand.drop(self._hand.done)
                    raise
                case Trouble.NO_GROUP:
                    log.warning("the stream or its group was deleted; creating it again, from the first entry")
                    self._group_exists = False
                case Trouble.OUTAGE:
                    if not self._pause_s:
                        log.warning("waiting for Redis (%s)", describe(error))
                    self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
                    until = time.monotonic() + self._pause_s * _random.uniform(0.5, 1)
                    while not self._stopping and time.monotonic() < until:
                        time.sleep(FIRST_PAUSE_S / 2)
        else:
            if self._pause_s:
                log.warning("Redis works again")
            self._pause_s = 0.0


def _hand_for(settings: Settings) -> Callable[..., Hand]:
    if settings.on_timeout == "log":
        return Hand
    from orderstream.hard_end import EndingHand

    return EndingHand


def _exhaustion(suspect: Entry, left_by: str | None) -> str:
    """Say why *suspect* is dead-lettered without another run."""
    reason = f"max-attempts: {_counted(suspect.attempt - 1)}, none settled"
    return f"{reason}; in the last one its consumer died or could not reach Redis: {left_by}" if left_by else reason


def _counted(deliveries: int) -> str:
    return "1 delivery" if deliveries == 1 else f"{deliveries} deliveries"


def refuse_what_did_not_run(result: object) -> None:
    """Raise an error if a handler returned something that is still to be run: the order was not handled."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        with suppress(Exception):
            result.close()  # type: ignore[union-attr]  # else Python warns of it, too
        raise TypeError(f"the handler returned a {type(result).__name__}, and nobody runs that; write it with `def`")


def is_coroutine(handler: Any) -> bool:
    """Return whether *handler* is an ``async def``, or an object that is called by one."""
    return any(map(inspect.iscoroutinefunction, _functions(handler)))


def _functions(handler: Any) -> tuple[Any, Any]:
    return handler, getattr(handler, "__call__", None)  # noqa: B004 - of an object, its method


def _is_generator(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _mark_copies() -> None:
    for consumer in in_a_handler:
        consumer.stop()
        consumer._hand.copied = True


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_mark_copies)
