"""
Failures on demand: handlers that fail, and a link to Redis that loses replies.

    faults.flaky(0.3, seed=1)                           # a handler: three runs of ten fail, the same ones each time
    faults.slow(50, then=faults.failing("figs", ship))  # two faults one after the other, then your own function

    link = faults.LossyLink()                           # a TCP proxy in front of the lab's Redis
    link.lose_reply("XADD")                             # Redis runs the next XADD, and the caller gets no reply
    redis.Redis(port=link.port)                         # a client that is connected to the link

``processes.consumer("c1", die="after read")`` starts a worker process that kills itself at a known point.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

from orderstream import Order
from orderstream.consumer import Handler
from orderstream.lab.workers.lossy_link import LossyLink

__all__ = ["LossyLink", "Which", "die", "failing", "flaky", "nothing", "poison", "slow"]

Which = str | Callable[[Order], bool]
"""Which orders: those of this item, or those for which this function returns True."""


def nothing(order: Order) -> None:
    """Handle an order by doing nothing."""


def flaky(rate: float, seed: int, then: Handler = nothing) -> Handler:
    """
    Return a handler that fails at random. For the n-th run of an order it always decides the same.

    Args:
        rate: The part of the runs that fail, 0 to 1.
        seed: With another seed, other runs fail.
        then: Called with the order if the run does not fail.
    """
    runs: Counter[str] = Counter()

    def handler(order: Order) -> None:
        runs[order.id] += 1
        if random.Random(f"{seed} {order.id} {runs[order.id]}").random() < rate:
            raise RuntimeError(f"made to fail: flaky({rate:g}, seed={seed})")
        then(order)

    return handler


def slow(ms: float, then: Handler = nothing) -> Handler:
    """Return a handler that waits *ms* milliseconds, and then calls *then*."""

    def handler(order: Order) -> None:
        time.sleep(ms / 1000)
        then(order)

    return handler


def failing(which: Which, then: Handler = nothing) -> Handler:
    """Return a handler that always fails for *which* orders, and calls *then* for the others."""
    chosen = _chooser(which)

    def handler(order: Order) -> None:
        if chosen(order):
            raise RuntimeError("made to fail: failing")
        then(order)

    return handler


def poison(which: Which, then: Handler = nothing) -> Handler:
    """
    Return a handler that kills its process for *which* orders, and calls *then* for the others.

    Raises:
        RuntimeError: This process is a notebook's kernel.
    """
    if "ipykernel" in sys.modules:
        raise RuntimeError('it would kill this notebook; use processes.consumer("c1", poison="figs")')
    chosen = _chooser(which)

    def handler(order: Order) -> None:
        if chosen(order):
            die()
        then(order)

    return handler


def die() -> NoReturn:
    """Kill this process with SIGKILL: nothing is said, closed or cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be outlived")


def _chooser(which: Which) -> Callable[[Order], bool]:
    return which if callable(which) else lambda order: order.item == which
