"""A crew of coroutines: all of them run in one event loop, ours or yours."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from queue import Empty

from orderstream.crew.hand import CANCEL_S, CrewHand, Run
from orderstream.policy import Decision

log = logging.getLogger("orderstream")


class Coroutines:
    """
    Runs ``async def`` functions, each in a task of its own.

    Args:
        handle: Runs a handler. Returns what becomes of its entry if it failed; otherwise None.
        hand: Where the entries wait.
        concurrency: The most coroutines that run.
        name: Of the consumer.

    Attributes:
        loop: Yours if you set it before ``begin()``; otherwise that makes one, which runs in a thread.
    """

    def __init__(
        self, handle: Callable[[Run], Awaitable[Decision | None]], hand: CrewHand, concurrency: int, name: str
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._handle = handle
        self._hand = hand
        self._concurrency = concurrency
        self._name = name
        self._running = 0  # only the loop's thread uses it
        self._thread: threading.Thread | None = None
        self._own: asyncio.AbstractEventLoop | None = None  # the loop, if it is not yours
        self._resting = False

    @property
    def gone(self) -> bool:
        """True if nobody is left who could bring handlers to their end: you have closed your loop."""
        return self.loop is None or self.loop.is_closed()

    def begin(self) -> None:
        """Get ready."""
        if self.loop is None:
            self.loop = self._own = asyncio.new_event_loop()
            weakref.finalize(self, self._own.close).atexit = False  # else Python warns of it
        if self._own and not self._thread:
            self._resting = False
            self._thread = threading.Thread(target=self._run_loop, name=f"handlers of {self._name}", daemon=True)
            self._thread.start()

    def rest(self) -> None:
        """Use no thread for a while. The loop stays: what handlers have opened belongs to it."""
        if self._own and self._thread:
            self._resting = True
            self._own.call_soon_threadsafe(self._own.stop)
            self._thread.join()
            self._thread = None

    def end(self) -> None:
        """Let go of what was needed."""
        if self._own:
            self.begin()
            asyncio.run_coroutine_threadsafe(self._end_all(), self._own).result()
            self.rest()
            self._own.close()
            self.loop = self._own = None

    async def _end_all(self) -> None:
        """End what handlers have left behind in the loop."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)
        await asyncio.get_running_loop().shutdown_asyncgens()

    def wake(self) -> None:
        """Let as many begin as may."""
        assert self.loop, "begin() comes first"
        self.loop.call_soon_threadsafe(self._begin_what_may)

    def _run_loop(self) -> None:
        assert self.loop
        asyncio.set_event_loop(self.loop)
        while not self._resting:  # a handler may stop the loop; so does SystemExit in a task that a handler made
            try:
                self.loop.run_forever()
            except BaseException:
                log.exception("the event loop of %s goes on after this", self._name)

    def _begin_what_may(self) -> None:
        hand, loop = self._hand, self.loop
        assert loop
        while self._running - hand.hung < self._concurrency:
            try:
                entry = hand.waiting.get_nowait()
            except Empty:
                return
            if run := hand.start(entry):
                self._running += 1
                run.task = loop.create_task(self._run(run))

    async def _run(self, run: Run) -> None:
        try:
            self._hand.finish(run, await self._handle(run))
        finally:
            self._hand.leave(run)
            self._running -= 1
            self._begin_what_may()
