"""``python -m benchmarks [--quick] [--peers NAME,NAME]``: measure, and write the page and the picture."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.measures import QUICK, Bench, Size, memory_with, rate_with
from benchmarks.page import write_main
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from orderstream.cli.terminal import span
from orderstream.embedded.find import ServerError
from orderstream.lab.server.private import PrivateServer
from orderstream.software import Software, software_at, software_of

FOLDER = Path(__file__).parent
ASKED = "ORDERSTREAM_REDIS_SERVER"
METHOD = """\
Medians of {rounds} interleaved rounds; each round asks everybody, in another order. Each peer is set up for many short
tasks and runs in processes of its own, one that sends and one that handles, on loopback with a private Redis that keeps
nothing on disk. Each order is decoded and counted. The clock runs from the first order handled to the last; starting
and connecting are left out. Slower peers get fewer orders. "x ideal" is the ratio to the ideal redis-py loop of this
run: quote the ratios, the rest is this machine. [peers/](peers) has the settings of each, with links to their
documentation. `make bench` measures it again."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under three minutes")
    parser.add_argument("--peers", default=",".join(PEERS), help="only these, separated by commas")
    given = parser.parse_args()
    peers = tuple(given.peers.split(","))
    if unknown := set(peers) - set(PEERS):
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    size = QUICK if given.quick else Size()
    name = "results-quick" if given.quick else "results"
    return run(lambda url: Bench(url, size, peers), write, name, f"{name}.png")


def run(make: Callable[[str], Bench], write: Callable[[Bench, Software, str, float], str], name: str, more: str) -> int:
    """Measure on a private Redis of the newest kind, and write what was found. Returns the exit code."""
    began = time.monotonic()
    try:
        if not os.environ.get(ASKED) and (newest := newest_server()):
            os.environ[ASKED] = newest
        with closing(PrivateServer()) as server, closing(make(server.url)) as bench:
            measure(bench)
            software = software_of(bench.client)
    except ServerError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return 130
    page = write(bench, software, name, time.monotonic() - began)
    print(f"{page}\nWritten to benchmarks/{name}.md and benchmarks/{more}")
    return 0


def measure(bench: Bench) -> None:
    """Take all steps. The terminal says which."""
    steps = bench.plan()
    done, doing = TextColumn("{task.completed} of {task.total}"), TextColumn("{task.description}")
    with Progress(BarColumn(), done, TimeElapsedColumn(), doing, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(steps))
        for step in steps:
            bar.update(task, description=f"{bench.known[step.peer].title.replace('*', '')}: {step.doing}")
            known = len(bench.results.failures)
            bench.take(step)
            if len(bench.results.failures) > known:
                bar.console.print(f"{step.peer}, {step.doing}: failed, see the table", markup=False)
            bar.advance(task)


def write(bench: Bench, software: Software, name: str, took_s: float) -> str:
    """Write picture and page. Returns the page."""
    results, size = bench.results, bench.size
    sentence = report.sentence(results).replace("*", "")
    draw(results).savefig(FOLDER / f"{name}.png", metadata={"Software": None})
    small, large = size.backlogs[0], size.backlogs[1]
    page = "\n\n".join(
        [
            "# How fast is it?" if name == "results" else "# How fast is it? A quick run",
            where_and_when(software, took_s),
            f"![{sentence}]({name}.png)",
            report.main_table(results),
            "produce: many at once. send: one by one, each confirmed. p50 and p99: from before an order is sent until "
            "its handler begins, at 500 orders a second. peak: the most memory of the process that handles.",
            "## Against the ideal loop only",
            report.scale_table(results),
            "Rates: more is better. ms and MB: less is. The ideal loop has nothing that recovers abandoned orders; in "
            "that line a bare loop of the script calls that we use stands for it. Eight processes need eight cores to "
            "count eight times as fast; handlers that wait do not.",
            "## Goals",
            report.goals(results, rate_with(small), rate_with(large), memory_with(max(size.backlogs))),
            "## How it was measured",
            METHOD.format(rounds=size.rounds),
        ]
    )
    write_main(FOLDER / f"{name}.md", page)
    return page


def where_and_when(software: Software, took_s: float) -> str:
    run = f"{machine()}, {software}, Python {platform.python_version()}. It took {span(1000 * took_s)}."
    return f"{date.today():%d %B %Y}. {run}"


def machine() -> str:
    """Say what it is: cores and memory, and nothing that tells one machine from its like."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}"


def newest_server() -> str | None:
    """Return the newest redis-server on PATH or built by .ci/redis-servers; None leaves the choice to the lab."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "orderstream")
    found = {shutil.which("redis-server"), *map(str, cache.glob("redis-*/redis-server"))} - {None}
    known = {path: software for path in found if (software := software_at(path))}
    return max(known, key=lambda path: known[path].level, default=None)


if __name__ == "__main__":
    sys.exit(main())
