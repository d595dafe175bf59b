"""
What a child process has in hand, in memory that its supervisor reads.

The child writes it and never waits for that. So the supervisor knows what the child was doing even if a handler holds
the child's interpreter, hangs, or ends the process. It is a file without a name, mapped by both:

    words      batch     odd while the child writes a batch down; another number for each batch
               length    of the batch, in bytes
               started   how many entries of the batch have begun
               returned  how many of them have come to their end, as far as that was noted
               began     when the handler that runs began, by the monotonic clock, which all processes share; infinite
                         while none runs
               ready     1 once the child is about to take its first entries
               first     1 if no child was there before
               worked    how many entries of the batches before this one have begun
               final     the code that the child ends with, once it has come to its end by itself; else 0
               waits     since when Redis has not answered the child, by the monotonic clock; infinite while it does
               alive     when the child last went on by itself, by the monotonic clock; a handler may run since then
    failed     one byte for each entry of the batch: 1 if its handler raised, or may not run: it was given back, say
    batch      pairs of id and attempt, in the order in which they are handled
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from orderstream.consumer import Consumer, Handler
from orderstream.entries import Entry
from orderstream.hand import Hand
from orderstream.policy import RetryPolicy
from orderstream.stream import OrderStream

if sys.platform == "linux":
    import fcntl

BATCH, LENGTH, STARTED, RETURNED, BEGAN, READY, FIRST, WORKED, FINAL, WAITS, ALIVE = range(11)
WORDS_SIZE = 128
ENTRY_SIZE = 64  # an id has up to 41 characters; the attempt and the packing need the rest

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode


class Page(msgspec.Struct, frozen=True):
    """
    What a child has in hand at one moment.

    Attributes:
        batch: Tells this batch from every other.
        finished: Their handlers returned. Some of them are acked already.
        running: Its handler runs; None if no handler runs.
        began: When that handler began, by the monotonic clock; infinite if no handler runs.
        unbegun: Their handlers have not begun. None of them is one that the child has given back, or tried to: the next
            child may have that one by now, at the same attempt.
    """

    batch: int
    finished: Sequence[Entry]
    running: Entry | None
    began: float
    unbegun: Sequence[Entry]


class Ledger:
    """
    The memory that a child and its supervisor share.

    Args:
        file: The number of its file, from ``new()`` or inherited from the supervisor.
        size: The most entries of a batch.
    """

    def __init__(self, file: int, size: int) -> None:
        self.file = file
        memory = memoryview(mmap.mmap(file, _bytes(size)))
        self.words = memory[:WORDS_SIZE].cast("q")
        self.times = memory[:WORDS_SIZE].cast("d")
        self.failed = memory[WORDS_SIZE : WORDS_SIZE + size]
        self._batch = memory[WORDS_SIZE + size :]

    @classmethod
    def new(cls, size: int) -> Ledger:
        """Make one, for a child that inherits its file."""
        if sys.platform == "linux":  # no file system can be full of it
            file = os.memfd_create("orderstream", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(file, _bytes(size))
            # A handler that made it shorter would end whoever reads what is gone, by SIGBUS.
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        else:
            with tempfile.TemporaryFile() as made:
                file = os.dup(made.fileno())
            os.ftruncate(file, _bytes(size))
        ledger = cls(file, size)
        ledger.times[BEGAN] = ledger.times[WAITS] = math.inf
        return ledger

    def write(self, entries: Sequence[Entry]) -> None:
        """Note that these entries are in hand now, and no others."""
        batch = _pack([(entry.id, entry.attempt) for entry in entries])
        words = self.words
        words[BATCH] += 1
        self.times[BEGAN] = math.inf
        words[WORKED] += words[STARTED]
        words[STARTED] = words[RETURNED] = 0
        words[LENGTH] = len(batch)
        self._batch[: len(batch)] = batch
        self.failed[: len(entries)] = bytes(len(entries))
        words[BATCH] += 1

    @property
    def worked(self) -> bool:
        """True if a handler has begun in this child."""
        return self.words[WORKED] + self.words[STARTED] > 0

    def read(self) -> Page | None:
        """Return what is in hand; None while the child writes that down, or if a handler has written over it."""
        words = self.words
        batch, started, returned = words[BATCH], words[STARTED], words[RETURNED]
        began = self.times[BEGAN]  # read after `started` and written before it: so it is never of an earlier entry
        packed = bytes(self._batch[: words[LENGTH]])
        failed = bytes(self.failed)
        if batch % 2 or words[BATCH] != batch or not packed:
            return None
        try:
            entries = [Entry(id, (), attempt) for id, attempt in _unpack(packed)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if not 0 <= returned <= started <= len(entries):
            return None
        over = max(returned, started - 1)
        running = entries[started - 1] if math.isfinite(began) and started > returned else None
        return Page(
            batch=batch,
            finished=[entry for entry, raised in zip(entries[:over], failed, strict=False) if not raised],
            running=running,
            began=began if running else math.inf,
            unbegun=[entry for entry, over in zip(entries[started:], failed[started:], strict=False) if not over],
        )

    def close(self) -> None:
        """Close the file. The memory goes with the last who uses it."""
        os.close(self.file)


class ToldHand(Hand):
    """
    A hand whose supervisor is told what it holds.

    The supervisor ends a process whose handler runs too long, so this hand does nothing about it.

    Args:
        ledger: Where to write it down.
        stream, consumer, flush, _: See ``Hand``.
    """

    def __init__(
        self,
        ledger: Ledger,
        stream: OrderStream,
        consumer: str,
        flush: Callable[[], None],
        _: Callable[[Entry], None],
    ) -> None:
        super().__init__(stream, consumer, flush, lambda entry: None)
        self._ledger = ledger
        self._words, self._times = ledger.words, ledger.times
        self._started = 0
        self._written: Sequence[Entry] = ()
        self._writing = threading.Lock()  # both threads give back

    def take(self, entries: Sequence[Entry]) -> None:
        with self._writing:
            self._ledger.write(entries)
            self._written = entries
        self._started = 0
        self._times[WAITS] = math.inf  # Redis has answered: it gave these
        super().take(entries)

    def begin(self, entry: Entry, now: float) -> bool:
        held = super().begin(entry, now)
        if not held:
            self._ledger.failed[self._started] = 1  # so nobody acks it: its handler does not run
        self._started += 1
        self._times[BEGAN] = now if held else math.inf
        self._words[STARTED] = self._started
        return held

    def rest(self) -> None:
        super().rest()  # first: it ends a copy of this process, which must not write into the memory of all
        with suppress(IndexError):  # the other thread has acked it
            if self.done[-1] is self._begun:
                self._words[RETURNED] = self._started
        self._times[ALIVE] = time.monotonic()  # before it says that no handler runs
        self._times[BEGAN] = math.inf

    def drop(self, entries: Iterable[Entry]) -> list[Entry]:
        dropped = list(entries)
        if len(dropped) == 1 and dropped[0] is self._begun:  # as the consumer does before it settles a failure
            self._ledger.failed[self._started - 1] = 1
        return super().drop(dropped)

    def release(self, unstarted: Sequence[Entry]) -> None:
        given_back = {entry.id for entry in unstarted}
        with self._writing:
            for number, entry in enumerate(self._written):
                if entry.id in given_back:
                    self._ledger.failed[number] = 1  # before it is sent: from then on the next child may have it
        super().release(unstarted)


class Told(Consumer):
    """A consumer whose supervisor is told that it goes on, and since when it waits for Redis."""

    _times: memoryview[float]

    def still_here(self) -> None:
        """Say that it goes on."""
        self._times[ALIVE] = time.monotonic()

    def _turn_or_pause(self, *, flush: bool = False) -> None:
        self.still_here()
        super()._turn_or_pause(flush=flush)
        if self.in_outage:
            self._times[WAITS] = min(self._times[WAITS], time.monotonic())


class ToldConsumer(Told):
    """
    A consumer whose supervisor is also told what it has in hand.

    Args:
        ledger: Where to write it down.
        stream, handler, name, policy: See ``Consumer``.
    """

    def __init__(
        self, ledger: Ledger, stream: OrderStream, handler: Handler, name: str | None, policy: RetryPolicy | None
    ) -> None:
        super().__init__(stream, handler, name, policy, hand=partial(ToldHand, ledger))
        self._times = ledger.times


def _bytes(size: int) -> int:
    return WORDS_SIZE + size * (1 + ENTRY_SIZE) + 8
