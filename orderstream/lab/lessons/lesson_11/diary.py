"""
Who handled what, and when, where many orders are handled at once.

An order takes the first free place. So the places in use at a moment are the orders in hand, and it makes no difference
whether a thread works in a place or a coroutine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from orderstream import Order
from orderstream.lab.workers.process import Process

End = Literal["handled", "failed", "killed"]
KEPT = 2_000  # runs
GONE = {"event": "gone"}


@dataclass
class Run:
    """
    One run of a handler.

    Attributes:
        order: The id of the order.
        place: Where it runs, from 0 on.
        began_s: In Unix seconds.
        ended_s: None while it goes on.
        end: None while it goes on. ``killed``: its process was.
    """

    order: str
    place: int
    began_s: float
    ended_s: float | None = None
    end: End | None = None


class Diary:
    """
    The runs of some handlers.

        diary = lab.crews.Diary()
        with diary.run(order):          # in the handler
            ...

        diary = lab.crews.Diary(c1)     # of a worker process
        diary.watch(c2)                 # and of another one

    Args:
        processes: Consumers that were started with ``lab.processes.consumer``.
    """

    def __init__(self, *processes: Process) -> None:
        self._runs: list[Run] = []
        self._most = 0
        self._lock = threading.Lock()
        self._running: dict[tuple[Process | None, str], Run] = {}
        self._read_up_to = dict.fromkeys(processes, 0)

    def __repr__(self) -> str:
        return f"Diary({len(self.runs)} runs, {self.most_at_once} at once)"

    @property
    def runs(self) -> list[Run]:
        """The newest 2,000 runs, in the order in which they began."""
        with self._lock:
            self._read()
            del self._runs[:-KEPT]
            return list(self._runs)

    @property
    def most_at_once(self) -> int:
        """The most handlers that ran at the same time."""
        with self._lock:
            self._read()
            return self._most

    @property
    def took_s(self) -> float:
        """Seconds from the begin of the first run to the last end."""
        runs = self.runs
        return max(run.ended_s or time.time() for run in runs) - runs[0].began_s if runs else 0.0

    def watch(self, process: Process) -> None:
        """Follow one more worker process, from its start on."""
        with self._lock:
            self._read_up_to[process] = 0

    @contextmanager
    def run(self, order: Order) -> Iterator[None]:
        """Note a run of a handler in this notebook, from the begin of the block to its end."""
        with self._lock:
            self._begin(None, order.id, time.time())
        end: End = "failed"
        try:
            yield
            end = "handled"
        finally:
            with self._lock:
                self._end(None, order.id, time.time(), end)

    def _begin(self, process: Process | None, order: str, now: float) -> None:
        taken = {run.place for run in self._running.values()}
        place = next(place for place in range(len(taken) + 1) if place not in taken)
        self._running[process, order] = run = Run(order, place, now)
        self._runs.append(run)
        self._most = max(self._most, len(self._running))

    def _end(self, process: Process | None, order: str, now: float, end: End) -> None:
        run = self._running.pop((process, order))
        run.ended_s, run.end = max(now, run.began_s), end

    def _read(self) -> None:
        """Read on what the processes have written. What happened earlier comes first."""
        found: list[tuple[float, Process, dict[str, str]]] = []
        for process, start in self._read_up_to.items():
            alive = process.alive  # before it is read: later it may write no more
            events, self._read_up_to[process] = process.read(start)
            found += [(event["t"], process, event) for event in events]
            if not alive:  # a file's time says when it died. It may be a little too early
                found.append((max([process.last_alive_s, *(event["t"] for event in events)]), process, GONE))
        for now, process, event in sorted(found, key=lambda each: each[0]):
            match event["event"]:
                case "began":
                    self._begin(process, event["id"], now)
                case "handled" | "failed" as end:
                    self._end(process, event["id"], now, end)
                case "gone":
                    for its, order in list(self._running):
                        if its is process:
                            self._end(its, order, now, "killed")
