"""
A process that is let go one step at a time.

What runs in it is real code, in a thread. The thread stops at a gate wherever something outside decides how it goes on:
it has asked Redis and waits for the replies; its handler runs; it sleeps. Whoever holds the process says how it goes on
with `Process.go`. So what a process does is a function of the inputs that it was given, and of nothing else: the same
inputs bring it to the same place.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any, ClassVar, NamedTuple

JUMP_S = 11 * 86_400.0
"""When time passes, so much passes: more than ``claim_idle_ms``."""

_here = threading.local()
_alive: set[Process] = set()


class Died(BaseException):
    """The process is gone. ``except Exception`` does not catch it, as it does not catch SIGKILL."""


class Stop(NamedTuple):
    """
    Where a thread waits.

    Attributes:
        kind: ``asks`` (Redis), ``handles`` (an order), ``sleeps``; or ``ended``, which is where nothing waits.
        what: The commands that it asks, the id of the order, or the error that ended it.
    """

    kind: str
    what: Hashable = None


class Input(NamedTuple):
    """
    How a process goes on.

    Attributes:
        thread: Which of its threads: 0 is the first, 1 the one that it has started. Below 0: the process as a whole.
        what: What the thread finds at the gate: the replies, how its handler ends. Or ``time`` or ``stop``.
    """

    thread: int
    what: Hashable = None


TIME = Input(-1, "time")
STOP = Input(-1, "stop")


class Process:
    """
    A process at its first stop.

    Args:
        name: What it is called.
        program: What runs in it. It may set ``on_stop``, which is called for ``STOP``, and ``known_as``, the name of
            its consumer in Redis.
    """

    def __init__(self, name: str, program: Callable[[Process], object]) -> None:
        self.name = name
        self.clock_s = 1_000_000.0  # its own monotonic clock: only what it waits for lets it go on
        self.on_stop: Callable[[], object] = lambda: None
        self.known_as = name
        self.dead = False
        self.threads: list[Thread] = []
        self._control = threading.Lock()
        self._control.acquire()
        _alive.add(self)
        Thread(self, lambda: program(self)).start()
        self.go(Input(0))

    @property
    def stops(self) -> tuple[Stop, Stop | None]:
        """Where its first thread waits, and the other one if it runs."""
        second = self._second()
        return self.threads[0].stop, second.stop if second else None

    def go(self, input: Input) -> None:
        """Go on to the next stop."""
        match input:
            case Input(-1, "time"):
                self.clock_s += JUMP_S
            case Input(-1, "stop"):
                self.on_stop()
            case Input(0, what):
                self._resume(self.threads[0], what)
            case Input(_, what):
                second = self._second()
                assert second, f"{self.name} has no second thread"
                self._resume(second, what)

    def die(self) -> None:
        """End every thread where it stands."""
        self.dead = True
        _alive.discard(self)
        for thread in self.threads:
            if thread.is_alive():
                self._resume(thread, None)

    def _second(self) -> Thread | None:
        return next((thread for thread in self.threads[1:] if thread.is_alive()), None)

    def _resume(self, thread: Thread, what: Hashable) -> None:
        thread.resume(what)
        self._control.acquire()

    def paused(self) -> None:
        """Called by a thread that has come to its next stop: who holds the process may go on."""
        self._control.release()


class Thread:
    """A thread of a process. It has what the package needs of a ``threading.Thread``."""

    def __init__(self, process: Process, target: Callable[[], object]) -> None:
        self.process = process
        self.stop = Stop("sleeps", "not begun")
        self.frame: FrameType | None = None  # where it waits
        self._target = target
        self._begun = False
        self._go = threading.Lock()
        self._go.acquire()
        self._input: Hashable = None

    def start(self) -> None:
        """It begins when it is let go for the first time."""
        self.process.threads.append(self)

    def is_alive(self) -> bool:
        return self.stop.kind != "ended"

    def resume(self, what: Hashable) -> None:
        self._input = what
        if self._begun:
            self._go.release()
        elif self.process.dead:
            self._end("")
        else:
            self._begun = True
            _Worker.run(self._run)

    def wait(self, stop: Stop) -> Any:
        """Wait at *stop* to be let go. Returns the input."""
        if self.process.dead:
            raise Died
        self.stop, self.frame = stop, sys._getframe()
        self.process.paused()
        self._go.acquire()
        self.frame = None
        if self.process.dead:
            raise Died
        return self._input

    def _run(self) -> None:
        _here.thread, error = self, ""
        try:
            self._target()
        except Died:
            pass
        except BaseException as raised:  # noqa: BLE001 - whatever ends a program is what the judge has to know
            error = f"{type(raised).__name__}: {raised}"
        _here.thread = None
        self._end(error)

    def _end(self, error: str) -> None:
        self.stop = Stop("ended", error)
        self.process.paused()


class _Worker:
    """A thread of this program's own. It runs one target after the other: to start a thread takes long."""

    every: ClassVar[list[_Worker]] = []
    idle: ClassVar[list[_Worker]] = []

    def __init__(self) -> None:
        self._target: Callable[[], object] | None = None
        self._go = threading.Lock()
        self._go.acquire()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()
        self.every.append(self)

    @classmethod
    def run(cls, target: Callable[[], object]) -> None:
        worker = cls.idle.pop() if cls.idle else cls()
        worker._target = target
        worker._go.release()

    def end(self) -> None:
        self._target = None
        self._go.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._go.acquire()
            if not self._target:
                return
            self._target()
            self.idle.append(self)


def end_all() -> None:
    """End all processes, and the threads in which they ran."""
    while _alive:
        _alive.pop().die()
    while _Worker.every:
        _Worker.every.pop().end()
    _Worker.idle.clear()


def here() -> Thread | None:
    """Return the thread of a process in which this is called; None: it is called by somebody else."""
    return getattr(_here, "thread", None)


def wait(kind: str, what: Hashable = None) -> Any:
    """Wait at the gate, in a thread of a process."""
    thread = here()
    assert thread
    return thread.wait(Stop(kind, what))
