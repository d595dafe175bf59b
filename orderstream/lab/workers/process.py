"""
Producers and consumers as processes of their own. A process can be killed with SIGKILL, a thread cannot.

    p = processes.producer(rate_per_s=50)
    c1 = processes.consumer("c1", failure_rate=0.2)
    c1.set(work_ms=50)          # change it while it runs
    c1.kill()                   # end it as a crash does
    c1.events()                 # what it did, up to its last moment
    c2 = processes.consumer("c2", die="after read")
    c2.wait()                   # wait until it has died with an order in hand

`worker` is what they run. None of them outlives the notebook, and interrupting a cell does not reach them. They run
until you stop them, even if you did not keep the object. If you start another one of the same role and name, the first
one is stopped.
"""

import atexit
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_args

import psutil

from orderstream import Settings
from orderstream.errors import ConfigError, OrderStreamError
from orderstream.lab import patience, server
from orderstream.lab.lifeline import Child
from orderstream.lab.workers import worker
from orderstream.lab.workers.worker import KNOBS, Point

READY_S = 10.0
BLOCK_MS = 200  # shorter than the package's default, so that a worker stops faster

AnyProcess = TypeVar("AnyProcess", bound="Process")


class ProcessError(OrderStreamError):
    """A worker process did not start, or is gone. The message says why, if the process said it."""


def producer(
    name: str = "producer",
    *,
    rate_per_s: float = 10,
    resend: float = 0,
    dedupe: float = 0,
    seed: int | None = None,
    trace: bool = False,
    url: str | None = None,
    **settings: Any,
) -> "Process":
    """
    Start a process that sends random orders.

    Args:
        name: If another producer of this name runs, it is stopped first.
        rate_per_s: Orders per second; 0 is a pause. ``set`` changes it.
        resend: 1: an order whose reply was lost is sent again, as a careless client does it. 0: it is not. ``set``
            changes it.
        dedupe: 1: Redis remembers which orders this producer has sent, see ``Producer``. ``set`` changes it.
        seed: The same seed makes the same orders; None makes new ones.
        trace: It tells OpenTelemetry what it does, and a ``lab.Recorder`` finds its spans.
        url: Another way to the Redis of the lesson, such as ``link.url`` of a ``faults.LossyLink``.
        settings: As in ``Settings``, such as ``stream="orders"``.

    Raises:
        ProcessError: It ended at once; the message holds its last words.
    """
    knobs = {"rate_per_s": rate_per_s, "resend": resend, "dedupe": dedupe}
    return _start("producer", name, knobs, {"seed": seed, "trace": trace or None}, settings, url)


def consumer(
    name: str,
    *,
    failure_rate: float = 0.0,
    work_ms: float = 5,
    seed: int | None = None,
    die: Point | None = None,
    poison: str | None = None,
    slow: str | None = None,
    stock: str | None = None,
    once: bool = False,
    concurrency: int = 1,
    coroutines: bool = False,
    trace: bool = False,
    url: str | None = None,
    **settings: Any,
) -> "Process":
    """
    Start a process that handles orders.

    Args:
        name: Its name in the group. If another consumer of this name runs, it is stopped first, because two processes
            must never act as the same consumer. So a cell can be run again.
        failure_rate: The part of the handler runs that fail, 0 to 1. ``set`` changes it.
        work_ms: Milliseconds that one handler run takes. ``set`` changes it.
        seed: Decides which runs fail; None means that the name decides.
        die: The point at which it kills itself with SIGKILL, the first time it comes there: ``"after read"``, when
            XREADGROUP gave it an order; ``"before effect"``, when the handler began; ``"after effect"``, when an order
            was handled and its event was printed, before the XACK.
        poison: An item. In the midst of an order of this item, the handler kills the process with SIGKILL.
        slow: An item. An order of this item takes ten times as long.
        stock: A key. The handler takes the amount of the order from this number. That is the effect, see ``shop``.
        once: The handler does so once for each order, however often the order comes.
        concurrency: How many orders it handles at once.
        coroutines: The handler is an ``async def``. Otherwise it is a plain function, and many at once run in threads.
        trace: It tells OpenTelemetry what it does, and a ``lab.Recorder`` finds its spans.
        url: Another way to the Redis of the lesson, such as ``link.url`` of a ``faults.LossyLink``.
        settings: As in ``Settings``, such as ``stream="orders"`` or ``claim_idle_ms=1_500``.

    Raises:
        ValueError: There is no such point to die at.
        ProcessError: It ended at once; the message holds its last words.
    """
    if die not in (None, *get_args(Point)):
        raise ValueError(f"die must be one of {', '.join(map(repr, get_args(Point)))}, not {die!r}")
    knobs = {"failure_rate": failure_rate, "work_ms": work_ms}
    options = {
        "seed": seed,
        "die": die,
        "poison": poison,
        "slow": slow,
        "stock": stock,
        "once": once or None,
        "concurrency": concurrency,
        "coroutines": coroutines or None,
        "trace": trace or None,
    }
    return _start("consumer", name, knobs, options, settings, url)


class Process(Child):
    """
    A worker process, seen from the notebook. Made by ``producer`` and ``consumer``; lesson 12 has a kind of its own.

    Args:
        module: The module that it runs, as in ``python -m module``.
        role: ``"producer"`` or ``"consumer"``.
        name: Its name.
        knobs: The values that ``set`` may change, as they are at first.
        settings: The settings it was given.
        arguments: Its command line.
        environ: Variables to set on top of our own.
        traced: Whether it tells OpenTelemetry what it does.

    Attributes:
        role, name, settings, traced: As above.
        knobs: The values as they are now.
    """

    def __init__(
        self,
        module: str,
        role: str,
        name: str,
        knobs: dict[str, float],
        settings: dict[str, Any],
        arguments: Sequence[str],
        environ: Mapping[str, str],
        traced: bool = False,
    ) -> None:
        self.role, self.name, self.knobs, self.settings, self.traced = role, name, knobs, settings, traced
        self._read_up_to = 0
        super().__init__(module, *arguments, environ=environ)

    def __repr__(self) -> str:
        state = {None: "running", 0: "stopped", -signal.SIGKILL: "killed"}.get(self.exit_code, "failed")
        return f"<{self.role} {self.name}, {state}>"

    def set(self, **knobs: float) -> None:
        """
        Change how it works, from its next order on.

        Args:
            knobs: ``rate_per_s``, ``resend`` and ``dedupe`` of a producer; ``failure_rate`` and ``work_ms`` of a
                consumer.

        Raises:
            ValueError: No such knob, or a value out of range.
            ProcessError: The process does not run any more.
        """
        knobs = _checked(self.role, knobs)
        try:
            self.tell(json.dumps(knobs).encode())
        except BrokenPipeError:
            raise ProcessError(f"{self!r}: start it again to set it") from None
        self.knobs |= knobs

    def events(self) -> list[dict[str, Any]]:
        """
        Return what it did since the last call, oldest first.

        Every event has ``t``, the time in Unix seconds, and ``event``, its kind. Both roles print ``ready``. A producer
        prints ``sent`` and ``unknown``, each with ``count``, and ``outage``. A consumer prints ``began``, then
        ``handled`` or ``failed``, each with the order's ``id`` and ``consumer``. If it is killed after ``began``, it
        has an order in hand. With ``trace=True`` both also print ``span``, at the begin and at the end of each span,
        and ``metrics``, see ``lab.spans`` and ``lab.metrics``.
        """
        events, self._read_up_to = self.read(self._read_up_to)
        return events

    def memory_mb(self) -> float:
        """Return how much memory would be free if it ended, in MB. What it shares with others is not counted."""
        return float(psutil.Process(self.pid).memory_full_info().uss) / 1e6

    def processor_s(self) -> float:
        """Return for how many seconds a processor has worked for it so far, from its start on."""
        user_s, system_s, *_ = psutil.Process(self.pid).cpu_times()
        return float(user_s + system_s)

    def kill(self) -> int:
        """End it as a crash does, with SIGKILL. Returns its exit code."""
        if self.alive:
            os.utime(self._output.fileno())  # so that it is known until when it lived
        return super().kill()

    def forget(self) -> None:
        """Free the disk space of the events that ``events`` has returned. ``read`` does not find them any more."""
        self.give_back(self._read_up_to)

    def read(self, start: int) -> tuple[list[dict[str, Any]], int]:
        """Return the events from byte *start* of its output on, and where the next ones will begin."""
        output = self.output(start)
        complete = output[: output.rfind(b"\n") + 1]  # it may be writing the next line now
        lines = [line for line in complete.splitlines() if line.startswith(b"{")]  # the others are log messages
        return [json.loads(line) for line in lines], start + len(complete)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + patience.stretched(READY_S)
        while b'"ready"' not in self.output():
            if not self.alive or time.monotonic() > deadline:
                self.kill()
                words = self.output().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise ProcessError(f"{self.role} {self.name} did not start: {words[-1]}")
            time.sleep(0.02)


_workers: dict[tuple[str, str], Process] = {}


def begin(role: str, name: str, start: Callable[[], AnyProcess]) -> AnyProcess:
    """
    Stop the worker of the same role and name, if there is one, then start a worker by *start*.

    Two workers must never act as the same one. ``stop_all`` will stop the new worker, too.

    Returns:
        The worker, once it is ready.

    Raises:
        ProcessError: It ended at once; the message holds its last words.
    """
    if before := _workers.get((role, name)):
        before.stop()
    _workers[role, name] = begun = start()
    begun._wait_until_ready()
    return begun


def stop_all() -> None:
    """Stop every worker process of this notebook."""
    for each in _workers.values():
        each.let_go()  # all at once: each may have an order in hand
    for each in _workers.values():
        each.stop()


server.on_close(stop_all)  # otherwise a producer would make the keys anew that the server has just removed
atexit.register(stop_all)


def _start(
    role: str,
    name: str,
    knobs: dict[str, float],
    options: dict[str, Any],
    settings: dict[str, Any],
    url: str | None,
) -> Process:
    knobs, environ = _checked(role, knobs), _environ({"block_ms": BLOCK_MS, **settings}, url)
    arguments = [
        role,
        f"--name={name}",
        *(f"--{knob}={value}" for knob, value in knobs.items()),
        *(f"--{option}={value}" for option, value in options.items() if value is not None),
    ]
    traced = bool(options.get("trace"))
    return begin(role, name, lambda: Process(worker.__name__, role, name, knobs, settings, arguments, environ, traced))


def _checked(role: str, knobs: dict[str, float]) -> dict[str, float]:
    for knob, value in knobs.items():
        if knob not in KNOBS[role]:
            raise ValueError(f"a {role} has no knob {knob!r}; it has {', '.join(KNOBS[role])}")
        highest = 1 if knob in ("failure_rate", "resend", "dedupe") else float("inf")
        if not 0 <= value <= highest:
            raise ValueError(f"{knob} must be 0 to {highest:g}, not {value!r}")
    return knobs


def _environ(settings: dict[str, Any], url: str | None) -> dict[str, str]:
    """Check *settings* and return them as environment variables, as ``Settings.from_env`` reads them."""
    known = {field.name for field in fields(Settings)} - {"redis_url"}
    if unknown := settings.keys() - known:
        raise ConfigError(f"no setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    environ = {f"ORDERSTREAM_{name.upper()}": str(value) for name, value in settings.items()}
    if url is not None:
        environ["REDIS_URL"] = url  # not on the command line: it may hold a password
    Settings.from_env({**os.environ, **environ})
    return environ
