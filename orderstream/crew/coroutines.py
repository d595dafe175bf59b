"""A crew of coroutines: all of them run in one event loop, ours or yours."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty

from orderstream.crew.hand import CANCEL_S, CrewHand, Run
from orderstream.policy import Decision

log = logging.getLogger("orderstream")

TICK_S = 0.1  # between two ticks of the clock that stands still while a coroutine blocks the loop


class Coroutines:
    """
    Runs ``async def`` functions, each in a task of its own.

    Args:
        handle: Runs a handler. Returns what becomes of its entry if it failed; otherwise None.
        failure: Says what becomes of an entry after an error.
        hand: Where the entries wait.
        concurrency: The most coroutines that run.
        name: Of the consumer.
        timeout_s: How long a handler may run.
    """

    def __init__(
        self,
        handle: Callable[[Run], Awaitable[Decision | None]],
        failure: Callable[[Run, BaseException], Decision],
        hand: CrewHand,
        concurrency: int,
        name: str,
        timeout_s: float,
    ) -> None:
        self._handle = handle
        self._failure = failure
        self._hand = hand
        self._concurrency = concurrency
        self._name = name
        self._timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own: asyncio.AbstractEventLoop | None = None  # the loop, if it is not yours
        self._thread: threading.Thread | None = None
        self._pausing = False
        self._context = Context()
        self._runs: set[Run] = set()  # only the loop's thread uses it
        self._beginning = self._ticks = False
        self._ticked_at = self._blocked_s = 0.0

    @property
    def gone(self) -> bool:
        """True if nobody is left who could bring handlers to their end: you have closed your loop."""
        return self._loop is None or self._loop.is_closed()

    @property
    def stuck(self) -> bool:
        """True if a handler has blocked the loop for longer than it may run. Nobody can end it."""
        return self._ticks and time.monotonic() - self._ticked_at > self._timeout_s + TICK_S

    def use(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run in *loop*, which is yours."""
        self.end()
        self._loop = loop

    def begin(self) -> None:
        """Get ready: without a loop of yours, one runs in a thread."""
        self._context = copy_context()
        if self._loop is None:
            self._loop = self._own = asyncio.new_event_loop()
            weakref.finalize(self, self._own.close).atexit = False  # else Python warns of it
        if self._own and not self._thread:
            self._pausing = False
            target = partial(self._run_loop, self._own)
            self._thread = threading.Thread(target=target, name=f"handlers of {self._name}", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Need no thread for a while. The loop stays: what handlers have opened belongs to it."""
        if self._own and self._thread:
            self._pausing = True
            self._own.call_soon_threadsafe(self._own.stop)
            self._thread.join(CANCEL_S)
            if self._thread.is_alive():  # a handler blocks it: it is left to itself
                self._loop = self._own = None
            self._thread = None

    def end(self) -> None:
        """Let go of what was needed."""
        if not self._own:
            return
        self.begin()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end_all(), self._own).result(2 * CANCEL_S)
        self.pause()
        if self._own:
            self._own.close()
        self._loop = self._own = None

    def clock(self) -> float:
        """Return how late it is for the handlers. Time in which one of them has blocked the loop does not count."""
        now = time.monotonic()
        return (min(now, self._ticked_at + 2 * TICK_S) if self._ticks else now) - self._blocked_s

    def holds_up(self) -> asyncio.Task[None] | None:
        """Return the task that has blocked the loop for longer than a handler may run."""
        return asyncio.current_task(self._loop) if self.stuck and self._loop else None

    def wake(self) -> None:
        """Let as many begin as may."""
        assert self._loop, "begin() comes first"
        self._loop.call_soon_threadsafe(self._begin_what_may)

    # In the loop's thread -------------------------------------------------------------------------------

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._pausing:  # a handler may stop the loop; so does SystemExit in a task that a handler made
            try:
                loop.run_forever()
            except BaseException:
                log.exception("the event loop of %s goes on after this", self._name)

    def _begin_what_may(self) -> None:
        hand, loop = self._hand, self._loop
        if loop is None:  # it was left to itself
            return
        if not self._ticks:
            self._ticks, self._ticked_at = True, time.monotonic()
            loop.call_later(TICK_S, self._tick)
        self._beginning = True  # an eager task runs now, and would come here again
        try:
            while len(self._runs) - len(hand.hung) < self._concurrency:
                try:
                    entry = hand.waiting.get_nowait()
                except Empty:
                    return
                if run := hand.start(entry):
                    self._runs.add(run)
                    # A context of its own: no order sees the variables of another.
                    run.task = loop.create_task(self._run(run), context=self._context.copy())
        finally:
            self._beginning = False

    async def _run(self, run: Run) -> None:
        try:
            self._hand.finish(run, await self._handle(run))
        finally:
            self._runs.discard(run)
            if not self._beginning:
                self._begin_what_may()

    def _tick(self) -> None:
        now, loop = time.monotonic(), self._loop
        self._blocked_s += max(0.0, now - self._ticked_at - 2 * TICK_S)
        self._ticked_at = now
        for run in [run for run in self._runs if run.task and run.task.done()]:  # cancelled before its first step
            self._runs.discard(run)
            self._hand.finish(run, self._failure(run, asyncio.CancelledError()))
            self._begin_what_may()
        self._ticks = bool(self._runs) and loop is not None
        if self._ticks and loop:
            loop.call_later(TICK_S, self._tick)

    async def _end_all(self) -> None:
        """End what handlers have left behind in the loop."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        await asyncio.get_running_loop().shutdown_asyncgens()
