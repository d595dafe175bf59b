"""
What a consumer has in hand, and the heartbeat that keeps it.

A second thread looks after the entries while a handler runs. It

- sends heartbeats, so that nobody else claims them,
- acks what is done, so that a slow handler does not delay the acks of quick ones before it,
- gives back the entries that no handler has begun, when the consumer stops or when the handler in hand is slow,
- tells the consumer when a handler has run for too long.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import dropwhile
from typing import Any

import redis

from orderstream.entries import Entry
from orderstream.policy import describe
from orderstream.stream import OrderStream

log = logging.getLogger("orderstream")

ACK_FLUSH_S = 0.01  # after so long, acks do not wait for the next read: a crash repeats less finished work
HOARD_S = 1.0  # when a handler or a batch runs longer than this, give back the entries that no handler has begun


class Hand:
    """
    The entries that a consumer has in hand.

    The thread starts with the first entry and ends when there is none.

    Args:
        stream: Where the entries are from.
        consumer: The name of their consumer.
        flush: Acks what is ``done``.
        overrun: Called once for an entry whose handler has run for longer than ``handler_timeout_ms``. From then on
            nobody keeps this entry.

    Attributes:
        done: Entries that were handled, in hand until Redis has confirmed the ack.
        stopping: True: give back what no handler has begun.
        gave_back: True if entries were given back while their batch was being handled.
        copied: True: this is a process that a handler made with os.fork(), and the entries are in another one's hand.
    """

    def __init__(
        self, stream: OrderStream[Any], consumer: str, flush: Callable[[], None], overrun: Callable[[Entry], None]
    ) -> None:
        self.done: list[Entry] = []
        self.stopping = False
        self.gave_back = self.copied = False
        self._stream = stream
        self._consumer = consumer
        self._beat_s = stream.settings.claim_idle_ms / 4000
        self._flush = flush
        self._overrun = overrun
        self._batch: Sequence[Entry] = ()  # in the order in which they are handled
        self._entries: dict[str, Entry] = {}  # those of the batch that are still in hand
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begun: Entry | None = None
        self._began = math.inf  # when its handler began, by the monotonic clock; infinite while no handler runs
        self._told: Entry | None = None  # the last one that overran

    # The consumer's thread ----------------------------------------------------------------------------

    def take(self, entries: Sequence[Entry]) -> None:
        """Replace the entries in hand by *entries*."""
        with self._lock:
            self._batch, self.gave_back = entries, False
            self._entries = {entry.id: entry for entry in entries}
            if entries:
                self._wake()

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

    def rest(self) -> None:
        """Note that no handler runs now. This comes before everything that the consumer tells Redis of its entries."""
        self._began = math.inf
        if self.copied:
            log.error("a handler of %s forked, and the copy came back from it: the copy ends here", self._consumer)
            os._exit(1)

    def drop(self, entries: Iterable[Entry]) -> list[Entry]:
        """
        Note that nobody works on *entries* any more, so that no heartbeat says so.

        Returns:
            Those of them that were in hand.
        """
        with self._lock:
            mine = [entry for entry in entries if self._entries.get(entry.id) is entry]
            for entry in mine:
                del self._entries[entry.id]
        return mine

    def release(self, unstarted: Sequence[Entry]) -> None:
        """Make *unstarted* due now. This delivery is not counted: the next consumer gets them at the same attempt."""
        with self._stream.observer.releasing(self._consumer, unstarted):
            self._stream.release(self._consumer, unstarted)

    # The second thread --------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Start the thread if it does not run. Call this with the lock."""
        if self._thread and self._thread.is_alive():  # after os.fork() it is not
            return
        self._thread = threading.Thread(target=self._look_after, name=f"heartbeat {self._consumer}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread for us: that passes
            log.warning("no thread for the heartbeat of %s; others may claim its orders", self._consumer)
            self._thread = None

    def _look_after(self) -> None:
        next_beat, in_trouble = time.monotonic(), False
        while True:
            self._rest()
            try:
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self._beat_s
                    if not self._beat():
                        return
                    in_trouble = False
                self._look()
            except Exception:  # without this thread, others would claim what is in hand
                if not in_trouble:
                    log.exception("the heartbeat of %s goes on after this", self._consumer)
                in_trouble = True

    def _rest(self) -> None:
        time.sleep(min(self._beat_s, ACK_FLUSH_S))

    def _look(self) -> None:
        """Do what cannot wait for the next beat."""
        begun, began = self._begun, self._began
        ran_s = time.monotonic() - began
        if self.done and ran_s > ACK_FLUSH_S:
            with suppress(redis.RedisError):  # they stay in hand, and the consumer acks them later
                self._flush()
        if self.stopping or ran_s > HOARD_S:
            self._give_back()
        late = ran_s > self._stream.settings.handler_timeout_ms / 1000
        if late and begun and begun is not self._told and self._began == began:
            self._told = begun
            self._overrun(begun)

    def _beat(self) -> bool:
        """Send one heartbeat for all entries in hand. False: there are none, and the thread ends."""
        with self._lock:
            if self._is_empty():
                self._thread = None
                return False
            entries = list(self._entries.values())
        try:
            held = self._stream.heartbeat(self._consumer, entries) if entries else set()
        except redis.RedisError as error:  # the next one may succeed; if not, others claim the entries
            log.debug("no heartbeat: %s", describe(error))
            return True
        self.drop(entry for entry in entries if entry.id not in held)
        return True

    def _is_empty(self) -> bool:
        return not self._entries

    def _give_back(self) -> None:
        """Release every entry that no handler has begun. ``begin`` explains why none of them can begin meanwhile."""
        with self._lock:
            entries, self._entries = self._entries, {}
            begun = self._begun
            from_begun_on = dropwhile(lambda entry: entry is not begun, self._batch)
            waiting = [entry for entry in list(from_begun_on)[1:] if entries.pop(entry.id, None)]
            self.gave_back = self.gave_back or bool(waiting)
            self._entries = entries
        if waiting:
            with suppress(redis.RedisError):  # they stay pending, and others claim them
                self.release(waiting)
