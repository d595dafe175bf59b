"""
The worker process itself. It runs the package's ``Producer`` or ``Consumer`` and prints a JSON line for each event.

    python -m orderstream.lab.workers.worker producer|consumer --name NAME …

`process` is the notebook's side of it.
"""

import argparse
import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import redis

from orderstream import Consumer, Order, OrderStream, Producer, SendUnknown, connect, random_orders
from orderstream.connection import Trouble, trouble
from orderstream.embedded.lifeline import lifeline
from orderstream.entries import Entry
from orderstream.lab.workers import faults, shop
from orderstream.producer import FIRST_PAUSE_S, LONGEST_PAUSE_S

TICK_S = 0.05
TIMES_SLOWER = 10  # an order of the item ``slow``

KNOBS = {
    "producer": {"rate_per_s": 10.0, "resend": 0.0, "dedupe": 0.0},
    "consumer": {"failure_rate": 0.0, "work_ms": 5.0},
}
"""The values that can be changed while a worker runs, and what they are at first."""

Point = Literal["after read", "before effect", "after effect"]
"""Where a consumer can die: XREADGROUP gave it an order; its handler began; its handler is done, no XACK was sent."""


def say(event: str, **details: Any) -> None:
    """Print an event as one line, in one write: the line is complete even if this process is killed right after it."""
    os.write(1, json.dumps({"t": time.time(), "event": event, **details}).encode() + b"\n")


def run_producer(seed: str | None, knobs: dict[str, float]) -> None:
    """
    Send orders at ``rate_per_s`` until the lifeline ends.

    With ``resend`` it pauses before it sends an order again for as long as a producer with ``dedupe`` does. So who
    compares the two sees what it costs to be remembered, and not what it costs to wait.
    """
    stream = connect()
    plain, remembered = Producer(stream), Producer(stream, dedupe=f"producer-{os.getpid()}")
    orders = random_orders(int(seed) if seed else None)
    gone = threading.Event()
    lifeline(gone.set, lambda line: knobs.update(json.loads(line)))
    say("ready")
    due, before = 0.0, time.monotonic()
    again: list[Order] = []  # orders that were not confirmed, and are sent again
    pause_s = FIRST_PAUSE_S
    while not gone.wait(pause_s if again else TICK_S if due < 1 else 0):
        now = time.monotonic()
        rate = knobs["rate_per_s"]
        due = min(due + rate * (now - before), max(1, rate))  # after an outage, at most the orders of one second
        before, whole = now, 0 if again else min(int(due), stream.settings.batch)
        due -= whole
        batch = again or list(islice(orders, whole))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S) if again else FIRST_PAUSE_S
        rest, again = iter(batch), []
        if batch:
            try:
                say("sent", count=len((remembered if knobs["dedupe"] else plain).send_many(rest)))
            except SendUnknown as lost:
                say("sent", count=len(lost.sent))
                say("unknown", count=len(lost.unknown))
                again = [*lost.refused, *lost.unknown, *rest] if knobs["resend"] else []
            except redis.RedisError as error:
                if trouble(error) is Trouble.FATAL:
                    raise
                say("outage")
                again = batch if knobs["resend"] else []


def run_consumer(
    name: str, seed: str | None, die: str | None, poison: str | None, slow: str | None, stock: str | None,
    once: str | None, concurrency: int, coroutines: str | None, knobs: dict[str, float],
) -> None:  # fmt: skip
    """Handle orders until the lifeline ends. Each takes ``work_ms``, and the part ``failure_rate`` of the runs fail."""
    chance = random.Random(seed or name)

    def reach(point: Point) -> None:
        if point == die:
            faults.die()

    def steps(order: Order) -> Iterator[float]:
        """Handle an order. Yields the seconds to wait: how, is not the same in a thread and in a coroutine."""
        say("began", id=order.id, consumer=name)
        reach("before effect")
        work_s = knobs["work_ms"] / 1000 * (TIMES_SLOWER if order.item == slow else 1)
        yield work_s / 2
        if order.item == poison:
            say("poison", id=order.id)  # so that the notebook knows when
            faults.die()
        yield work_s / 2
        failed = chance.random() < knobs["failure_rate"]
        if stock and not failed:
            (shop.sell_once if once else shop.sell)(stream.client, stock, order)  # type: ignore[arg-type]  # it is no cluster
        say("failed" if failed else "handled", id=order.id, consumer=name)
        if failed:
            raise RuntimeError(f"made to fail: failure_rate={knobs['failure_rate']:g}")
        reach("after effect")

    def handler(order: Order) -> None:
        for wait_s in steps(order):
            time.sleep(wait_s)

    async def coroutine(order: Order) -> None:
        for wait_s in steps(order):
            await asyncio.sleep(wait_s)

    def read_new(*args: Any, **kwargs: Any) -> list[Entry]:
        entries = OrderStream.read_new(stream, *args, **kwargs)
        if entries:
            reach("after read")
        return entries

    stream = connect()
    stream.read_new = read_new  # type: ignore[method-assign]
    stream.create_group()  # so that a worker which cannot have a group fails at its start
    worker = Consumer(stream, coroutine if coroutines else handler, name, concurrency=concurrency)
    lifeline(worker.stop, lambda line: knobs.update(json.loads(line)))
    say("ready")
    worker.run()


def main() -> None:
    """Run one worker until its lifeline ends."""
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.workers.worker", description=main.__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    for role, knobs in KNOBS.items():
        options = roles.add_parser(role)
        options.add_argument("--name", default=role)
        options.add_argument("--seed")
        options.add_argument("--trace")
        if role == "consumer":
            options.add_argument("--die")
            options.add_argument("--poison")
            options.add_argument("--slow")
            options.add_argument("--stock")
            options.add_argument("--once")
            options.add_argument("--concurrency", type=int, default=1)
            options.add_argument("--coroutines")
        for knob, default in knobs.items():
            options.add_argument(f"--{knob}", type=float, default=default)
    given = vars(parser.parse_args())
    knobs = {knob: given[knob] for knob in KNOBS[given["role"]]}
    if given["trace"]:
        from orderstream.lab.workers import tell, tell_metrics  # slow to load, and most workers are not traced

        tell.tell(say)
        tell_metrics.tell(say, given["role"], given["name"])
    if given["role"] == "producer":
        run_producer(given["seed"], knobs)
    else:
        told = {option: given[option] for option in given.keys() - knobs.keys() - {"role", "trace"}}
        run_consumer(**told, knobs=knobs)


if __name__ == "__main__":
    main()
