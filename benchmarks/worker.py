"""
One process of one peer: ``python -m benchmarks.worker PEER ACTION OPTIONS``, started by ``process.py``.

It imports and connects, prints a line, waits for a line, and then the clock starts. Results are lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

clock = time.perf_counter
MARK = 100  # the warm-up curve has a point for each 100 orders

Options = dict[str, Any]


def produce(peer: Any, options: Options) -> None:
    orders = [peer.make(id=f"o-{n:08}", item="tea", amount=1 + n % 99) for n in range(options["n"])]
    begin()
    began = clock()
    (peer.send if options.get("single") else peer.produce)(orders)
    tell(seconds=clock() - began)


def pace(peer: Any, options: Options) -> None:
    """Send one order; once it has arrived, *n* more, *rate* a second. An order's id is the time it was sent."""

    def orders() -> Iterator[Any]:
        yield peer.make(id=str(time.monotonic_ns()), item="tea", amount=1)
        begin()
        began = clock()
        for n in range(options["n"]):
            time.sleep(max(0.0, began + n / options["rate"] - clock()))
            yield peer.make(id=str(time.monotonic_ns()), item="tea", amount=1)

    begin()
    peer.send(orders())
    tell()


def consume(peer: Any, options: Options) -> None:
    """Handle *n* orders."""
    n, seen, first = options["n"], 0, 0.0

    def handle(order: Any) -> None:
        nonlocal seen, first
        seen += 1
        if seen == 1:
            first = clock()
        if seen == n:
            end(first_s=first - began, rate=(n - 1) / (clock() - first), peak_mb=peak_mb())

    begin()
    began = clock()
    peer.consume(handle)


def share(peer: Any, options: Options) -> None:
    """Handle what comes until SIGTERM, beside others; each order takes *work_s* seconds."""
    work_s, seen, first, last = options["work_s"], 0, 0.0, 0.0

    def handle(order: Any) -> None:
        nonlocal seen, first, last
        if not seen:
            first = clock()
        seen += 1
        if work_s:
            time.sleep(work_s)
        last = clock()

    signal.signal(signal.SIGTERM, lambda *_: end(seen=seen, first=first, last=last))
    begin()
    peer.consume(handle)


def warm_up(peer: Any, options: Options) -> None:
    """Handle *n* orders, and say how fast each 100 of them were."""
    n, times = options["n"], []  # when we began, then when each order came

    def handle(order: Any) -> None:
        times.append(clock())
        if len(times) > n:
            end(rates=[MARK / (times[start + MARK] - times[start]) for start in range(0, n, MARK)])

    begin()
    times.append(clock())
    peer.consume(handle)


def latency(peer: Any, options: Options) -> None:
    """Say how long orders took from before they were sent to the handler. The first one only opens the way."""
    n, id_of, took_ms = options["n"], peer.id_of, []

    def handle(order: Any) -> None:
        took_ms.append((time.monotonic_ns() - int(id_of(order))) / 1e6)
        if len(took_ms) == 1:
            tell()
        elif len(took_ms) > n:
            ordered = sorted(took_ms[1:])
            end(p50=ordered[n // 2], p99=ordered[n * 99 // 100])

    begin()
    peer.consume(handle)


def serve(peer: Any, options: Options) -> None:
    """Handle what comes until it is told to stop. What was handled stands in notes, see ``waiting/notes.py``."""
    begin()
    peer.serve()


ACTIONS: dict[str, Callable[[Any, Options], None]] = {
    action.__name__: action for action in (produce, pace, consume, share, warm_up, latency, serve)
}

# Talking with process.py -------------------------------------------------------------------------------------


def begin() -> None:
    """Say that we are ready, and wait until we are told to begin."""
    tell(ready=True)
    os.read(0, 1)


def tell(**result: Any) -> None:
    os.write(RESULTS, json.dumps(result).encode() + b"\n")


def end(**result: Any) -> None:
    """Leave from inside a handler: frameworks have no common way to stop. Their last acks are not our subject."""
    tell(**result)
    os._exit(0)


def peak_mb() -> float:
    """
    The most memory this process ever had, in MB.

    Not ``ru_maxrss`` on Linux: there a new process begins with that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    RESULTS = os.dup(1)
    os.dup2(2, 1)  # what a framework prints is no result
    name, action, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    signal.alarm(options["limit_s"])  # nobody outlives its measurement, whatever becomes of who started it
    module = import_module(f"benchmarks.peers.{name}")
    tell(version=metadata.version(module.Peer.distribution))
    ACTIONS[action](module.Peer(options["url"]), options)
