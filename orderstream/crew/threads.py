"""A crew of threads: each runs one handler at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import Empty

from orderstream.crew.hand import CrewHand, Run
from orderstream.policy import Decision

log = logging.getLogger("orderstream")

IDLE_S = 1.0  # a thread that gets nothing for so long ends
MANY = 200  # threads; with more, Python spends much of its time on who goes on next


class Threads:
    """
    Runs plain functions.

    Args:
        handle: Runs a handler. Returns what becomes of its entry if it failed; otherwise None.
        hand: Where the entries wait.
        concurrency: The most threads that work.
        name: Of the consumer.

    Attributes:
        gone: True if nobody is left who could bring handlers to their end.
    """

    gone = False

    def __init__(self, handle: Callable[[Run], Decision | None], hand: CrewHand, concurrency: int, name: str) -> None:
        if concurrency > MANY:
            log.warning("%s: more than %d threads are slow; better write the handler with `async def`", name, MANY)
        self._handle = handle
        self._hand = hand
        self._concurrency = concurrency
        self._name = name
        self._members: set[threading.Thread] = set()
        self._context = Context()

    @property
    def stuck(self) -> bool:
        """True if as many handlers hang as may run. Nobody can end a thread, but somebody may end the process."""
        return len(self._hand.hung) >= self._concurrency

    def begin(self) -> None:
        """Get ready. A thread begins when it is needed."""
        self._context = copy_context()

    def pause(self) -> None:
        """Need no thread for a while: nothing to do, a thread without work ends by itself."""

    def end(self) -> None:
        """Let go of what was needed: nothing to do."""

    def clock(self) -> float:
        """Return how late it is for the handlers."""
        return time.monotonic()

    def holds_up(self) -> None:
        """Return which handler holds up all others: none, each has a thread of its own."""

    def wake(self) -> None:
        """
        Let as many work as are needed for what waits.

        Raises:
            RuntimeError: There is no thread, and the system has none.
        """
        lacking = min(len(self._hand), self._concurrency) + len(self._hand.hung) - len(self._members)
        for _ in range(lacking):
            member = threading.Thread(target=self._be_a_member, name=f"handler of {self._name}", daemon=True)
            self._members.add(member)
            try:
                member.start()
            except RuntimeError:
                self._members.discard(member)
                if not self._members:
                    raise
                return  # the others do it, more slowly

    def _be_a_member(self) -> None:
        me, waiting, hand = threading.current_thread(), self._hand.waiting, self._hand
        while True:
            try:
                entry = waiting.get(timeout=IDLE_S)
            except Empty:
                self._members.discard(me)  # first, and then it looks again: the reader may have counted on it
                try:
                    entry = waiting.get_nowait()
                except Empty:
                    return
                self._members.add(me)
            if run := hand.start(entry):
                decision = self._context.copy().run(self._handle, run)  # no order sees the variables of another
                late = run in hand.hung
                if late:  # another thread has its place, until this one has said that it does not hang any more
                    self._members.discard(me)
                hand.finish(run, decision)
                if late:
                    return
