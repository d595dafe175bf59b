"""
Producers and consumers as processes of their own: a thread cannot be killed with SIGKILL, a process can.

    p = processes.producer(rate_per_s=50)
    c1 = processes.consumer("c1", failure_rate=0.2)
    c1.set(work_ms=50)          # at once, while it runs
    c1.kill()                   # as a crash would
    c1.events()                 # what it did, up to its last moment
    c2 = processes.consumer("c2", die="after read")
    c2.wait()                   # for its death, with an order in hand

Each runs the package's own ``Producer`` or ``Consumer`` and writes a JSON line for everything it does. None of them
outlives the notebook, and interrupting a cell does not reach them. They run until you stop them, also if you did not
keep the object: starting another of the same name stops the one before.
"""

import argparse
import atexit
import json
import os
import random
import signal
import threading
import time
from dataclasses import fields
from itertools import islice
from typing import Any, Literal, get_args

import redis

from orderstream import Consumer, Order, OrderStream, Producer, SendUnknown, Settings, connect, random_orders
from orderstream.connection import Trouble, trouble
from orderstream.entries import Entry
from orderstream.errors import ConfigError, OrderStreamError
from orderstream.lab import faults, shop
from orderstream.lab.lifeline import Child, lifeline

READY_S = 10.0
TICK_S = 0.05
BLOCK_MS = 200  # shorter than the package's default: a worker stops faster

KNOBS = {
    "producer": {"rate_per_s": 10.0, "resend": 0.0, "dedupe": 0.0},
    "consumer": {"failure_rate": 0.0, "work_ms": 5.0},
}

Point = Literal["after read", "before effect", "after effect"]
"""Where a consumer can die: XREADGROUP gave it an order; its handler began; the effect is there, and not yet acked."""


class ProcessError(OrderStreamError):
    """A worker process did not start, or is gone. The message says why, if it told us."""


_workers: dict[tuple[str, str], "Process"] = {}


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
        name: Starting another producer of this name stops this one.
        rate_per_s: Orders per second; 0 is a pause. ``set`` changes it.
        resend: 1: an order whose reply was lost is sent again, as a client does that knows no better. ``set``
            changes it.
        dedupe: 1: Redis remembers what this producer has sent, see ``Producer``. ``set`` changes it.
        seed: The same seed makes the same orders; None makes new ones.
        trace: It tells OpenTelemetry what it does, and a ``lab.Recorder`` finds its spans.
        url: Another way to the Redis of the lesson, such as ``link.url`` of a ``faults.LossyLink``.
        settings: As in ``Settings``, such as ``stream="orders"``.

    Raises:
        ProcessError: It ended at once; the message holds its last words.
    """
    knobs = {"rate_per_s": rate_per_s, "resend": resend, "dedupe": dedupe}
    return Process("producer", name, knobs, {"seed": seed, "trace": trace or None}, settings, url)


def consumer(
    name: str,
    *,
    failure_rate: float = 0.0,
    work_ms: float = 5,
    seed: int | None = None,
    die: Point | None = None,
    poison: str | None = None,
    stock: str | None = None,
    once: bool = False,
    trace: bool = False,
    url: str | None = None,
    **settings: Any,
) -> "Process":
    """
    Start a process that handles orders.

    Args:
        name: Its name in the group. Starting another consumer of this name stops this one, so that a cell can be
            run again: two processes must never act as the same consumer.
        failure_rate: The part of the handler runs that fail, 0 to 1. ``set`` changes it.
        work_ms: Milliseconds that one handler run takes. ``set`` changes it.
        seed: Decides which runs fail; None takes the name.
        die: Where it kills itself with SIGKILL, the first time it comes there: ``"after read"``, once XREADGROUP
            gave it an order; ``"before effect"``, once the handler began; ``"after effect"``, once an order was
            handled, which its events tell, and before the XACK.
        poison: An item: its handler kills the process with SIGKILL whenever such an order comes.
        stock: A key: its handler takes the amount of the order from it. That is the effect, see ``lab.shop``.
        once: It does so once for each order, however often the order comes.
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
    options = {"seed": seed, "die": die, "poison": poison, "stock": stock, "once": once or None, "trace": trace or None}
    return Process("consumer", name, knobs, options, settings, url)


def stop_all() -> None:
    """Stop every worker process of this notebook."""
    for worker in _workers.values():
        worker.let_go()  # all at once: each may have an order in hand
    for worker in _workers.values():
        worker.stop()


atexit.register(stop_all)


class Process(Child):
    """
    A worker process, seen from the notebook. Made by ``producer`` and ``consumer``.

    Attributes:
        role: ``"producer"`` or ``"consumer"``.
        name: Its name.
        knobs: What ``set`` may change, with the values of now.
        settings: The settings it was given.
        traced: Whether it tells OpenTelemetry what it does.
    """

    def __init__(
        self,
        role: str,
        name: str,
        knobs: dict[str, float],
        options: dict[str, Any],
        settings: dict[str, Any],
        url: str | None,
    ) -> None:
        self.role, self.name, self.knobs, self.settings = role, name, _checked(role, knobs), settings
        environ = _environ({"block_ms": BLOCK_MS, **settings}, url)
        if old := _workers.get((role, name)):
            old.stop()
        self._read_up_to = 0
        self.traced = bool(options.get("trace"))
        super().__init__(
            __name__,
            role,
            f"--name={name}",
            *(f"--{knob}={value}" for knob, value in self.knobs.items()),
            *(f"--{option}={value}" for option, value in options.items() if value is not None),
            environ=environ,
        )
        _workers[role, name] = self
        self._wait_until_ready()

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
            ProcessError: It does not run any more.
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

        Every event has ``t``, the time in Unix seconds, and ``event``: ``ready``; of a producer ``sent``, with
        ``count``, ``unknown``, with ``count``, and ``outage``; of a consumer ``began``, then ``handled`` or ``failed``,
        with ``id``, the order's, and ``consumer``. A kill after ``began`` hits a consumer that has an order in hand.
        With ``trace=True`` there are ``span``, for its begin and its end, and ``metrics``, see ``lab.spans`` and
        ``lab.metrics``.
        """
        events, self._read_up_to = self.read(self._read_up_to)
        return events

    def forget(self) -> None:
        """Free the disk space of what ``events`` has returned. ``read`` will not find it any more."""
        self.give_back(self._read_up_to)

    def read(self, start: int) -> tuple[list[dict[str, Any]], int]:
        """Return the events from byte *start* of its output on, and where the next ones will begin."""
        output = self.output(start)
        complete = output[: output.rfind(b"\n") + 1]  # it may be writing the next line right now
        lines = [line for line in complete.splitlines() if line.startswith(b"{")]  # the others are log messages
        return [json.loads(line) for line in lines], start + len(complete)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while b'"ready"' not in self.output():
            if not self.alive or time.monotonic() > deadline:
                self.kill()
                words = self.output().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise ProcessError(f"{self.role} {self.name} did not start: {words[-1]}")
            time.sleep(0.02)


def _checked(role: str, knobs: dict[str, float]) -> dict[str, float]:
    for knob, value in knobs.items():
        if knob not in KNOBS[role]:
            raise ValueError(f"a {role} has no knob {knob!r}; it has {', '.join(KNOBS[role])}")
        highest = 1 if knob in ("failure_rate", "resend", "dedupe") else float("inf")
        if not 0 <= value <= highest:
            raise ValueError(f"{knob} must be 0 to {highest:g}, not {value!r}")
    return knobs


def _environ(settings: dict[str, Any], url: str | None) -> dict[str, str]:
    """Return *settings* as the environment variables that lead to them, once they are known to be right."""
    known = {field.name for field in fields(Settings)} - {"redis_url"}
    if unknown := settings.keys() - known:
        raise ConfigError(f"no setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    environ = {f"ORDERSTREAM_{name.upper()}": str(value) for name, value in settings.items()}
    if url is not None:
        environ["REDIS_URL"] = url  # not on the command line: it may hold a password
    Settings.from_env({**os.environ, **environ})
    return environ


# In the worker process: `python -m orderstream.lab.processes producer|consumer --name NAME …` ------------------------


def _say(event: str, **details: Any) -> None:
    """One line, one write: it is whole even if we are killed right after it."""
    os.write(1, json.dumps({"t": time.time(), "event": event, **details}).encode() + b"\n")


def run_producer(seed: str | None, knobs: dict[str, float]) -> None:
    """Send orders at ``rate_per_s`` until the lifeline ends."""
    stream = connect()
    plain, remembered = Producer(stream), Producer(stream, dedupe=f"producer-{os.getpid()}")
    orders = random_orders(int(seed) if seed else None)
    gone = threading.Event()
    lifeline(gone.set, lambda line: knobs.update(json.loads(line)))
    _say("ready")
    due, before = 0.0, time.monotonic()
    again: list[Order] = []  # what was not confirmed, and is not given up
    while not gone.wait(TICK_S / 20 if again else TICK_S):
        now = time.monotonic()
        rate = knobs["rate_per_s"]
        due = min(due + rate * (now - before), max(1, rate))  # no flood after an outage: a second's orders at most
        before, whole = now, 0 if again else int(due)
        due -= whole
        batch = again + list(islice(orders, whole))
        rest, again = iter(batch), []
        if batch:
            try:
                _say("sent", count=len((remembered if knobs["dedupe"] else plain).send_many(rest)))
            except SendUnknown as lost:
                _say("sent", count=len(lost.sent))
                _say("unknown", count=len(lost.unknown))
                again = [*lost.unknown, *rest] if knobs["resend"] else []
            except redis.RedisError as error:
                if trouble(error) is Trouble.FATAL:
                    raise
                _say("outage")
                again = batch if knobs["resend"] else []


def run_consumer(
    name: str, seed: str | None, die: str | None, poison: str | None, stock: str | None, once: str | None,
    knobs: dict[str, float],
) -> None:  # fmt: skip
    """Handle orders until the lifeline ends, each in ``work_ms``; some fail, as ``failure_rate`` has it."""
    chance = random.Random(seed or name)

    def reach(point: Point) -> None:
        if point == die:
            faults.die()

    def handler(order: Order) -> None:
        _say("began", id=order.id, consumer=name)
        reach("before effect")
        if order.item == poison:
            faults.die()
        time.sleep(knobs["work_ms"] / 1000)
        failed = chance.random() < knobs["failure_rate"]
        if stock and not failed:
            (shop.sell_once if once else shop.sell)(stream.client, stock, order)
        _say("failed" if failed else "handled", id=order.id, consumer=name)
        if failed:
            raise RuntimeError(f"made to fail: failure_rate={knobs['failure_rate']:g}")
        reach("after effect")

    def read_new(*args: Any, **kwargs: Any) -> list[Entry]:
        entries = OrderStream.read_new(stream, *args, **kwargs)
        if entries:
            reach("after read")
        return entries

    stream = connect()
    stream.read_new = read_new  # type: ignore[method-assign]
    stream.create_group()  # if it cannot be made, say so at once
    worker = Consumer(stream, handler, name)
    lifeline(worker.stop, lambda line: knobs.update(json.loads(line)))
    _say("ready")
    worker.run()


def main() -> None:
    """Run one worker until its lifeline ends."""
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.processes", description=main.__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    for role, knobs in KNOBS.items():
        options = roles.add_parser(role)
        options.add_argument("--name", default=role)
        options.add_argument("--seed")
        options.add_argument("--trace")
        if role == "consumer":
            options.add_argument("--die")
            options.add_argument("--poison")
            options.add_argument("--stock")
            options.add_argument("--once")
        for knob, default in knobs.items():
            options.add_argument(f"--{knob}", type=float, default=default)
    given = vars(parser.parse_args())
    knobs = {knob: given[knob] for knob in KNOBS[given["role"]]}
    if given["trace"]:
        from orderstream.lab import metrics, spans

        spans.tell(_say)
        metrics.tell(_say, given["role"], given["name"])
    if given["role"] == "producer":
        run_producer(given["seed"], knobs)
    else:
        told = (given[option] for option in ("seed", "die", "poison", "stock", "once"))
        run_consumer(given["name"], *told, knobs)


if __name__ == "__main__":
    main()
