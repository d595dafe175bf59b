"""All processes of one contender while it serves: what they use, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from benchmarks.process import Failed, Process

POLL_S = 0.005


class Serving(Process):
    """A process that serves, with whatever processes it has started itself. Afterwards none of them is left."""

    _seen: frozenset[psutil.Process] = frozenset()  # also those that have lost who started them

    def __exit__(self, *problem: object) -> None:
        self.kill()
        super().__exit__(*problem)

    def processes(self) -> list[psutil.Process]:
        """Return those that live, the one that we have started first."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            living = [first, *first.children(recursive=True)]
            self._seen |= set(living)
            return living
        return []

    def fail_if_ended(self) -> None:
        """
        Raises:
            Failed: It has ended. The message says why.
        """
        if self._process.poll() is not None:
            raise Failed(self._reason())

    def cpu_s(self) -> float:
        """Return the CPU time of all of them so far, in user and system mode."""
        return sum(_of(process, lambda one: sum(one.cpu_times()[:2])) for process in self.processes())

    def memory_mb(self) -> float:
        """Return the memory of all of them; what they share counts once. (Where the system cannot tell: more often.)"""
        return sum(_of(process, _memory) for process in self.processes()) / 2**20

    def stop(self, signal: int, limit_s: float) -> float | None:
        """Ask the first one to stop. Return the seconds until all have ended; None if they need more than *limit_s*."""
        processes, began = self.processes(), time.monotonic()
        self._process.send_signal(signal)
        while time.monotonic() < began + limit_s:
            if self._process.poll() is not None and not any(map(_lives, processes)):
                return time.monotonic() - began
            time.sleep(POLL_S)
        return None

    def kill(self) -> None:
        """Kill all of them with ``kill -9``, the first one first: it must not replace the others."""
        first = self.processes()[:1]
        for process in [*first, *self._seen.difference(first)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(self._seen, timeout=10)


def _memory(process: psutil.Process) -> float:
    memory = process.memory_full_info()
    return getattr(memory, "pss", memory.rss)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _of(process: psutil.Process, ask: Callable[[psutil.Process], float]) -> float:
    """Ask a process. One that has just ended uses nothing."""
    with suppress(psutil.NoSuchProcess):
        return ask(process)
    return 0.0
