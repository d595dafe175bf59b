"""``python -m benchmarks.waiting [--quick] [--peers NAME,NAME]``: measure, write the section."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from benchmarks.__main__ import FOLDER, run, where_and_when
from benchmarks.page import WAITING, write_waiting
from benchmarks.peers.waiting import CONTENDERS, DEAD_AFTER_S
from benchmarks.waiting import report
from benchmarks.waiting.measures import QUICK, TRICKLE, Size, WaitingBench
from benchmarks.waiting.picture import draw
from orderstream.software import Software

METHOD = """\
Medians of {rounds} interleaved rounds; each step is asked of all, in another order each time, before the next step
begins. Each contender is one process with the given number of orders in flight, set up as its documentation says for
handlers that wait; processes that its own command adds are counted. Orders wait already; the clock runs from when all
are at work. Starting and connecting are left out. A handler decodes the order, sleeps, and notes what it did in memory
that outlives its process. "x bare" is the ratio to the bare asyncio loop of this run: quote the ratios, the rest is
this machine.

CPU and memory: of all processes of the contender, without Redis; CPU in user and system mode, and 1 µs per order is
1 ms per 1,000 orders. p50 and p99: from before an order is sent until its handler begins, while orders come one by one
at half of the contender's own rate ("at").

The end: {ends} times each, and the worst time is shown. All processes are ended in the midst of their work, by the
signal that the documentation names, or by `kill -9`. Then another one starts, beside {trickle} new orders a second.
Whoever can be told after how long a silent process counts as dead was told {dead:.0f} s. An order that nobody has
handled {given_up:.0f} s later is lost or stuck, and who needs as long to stop did not stop. Twice: a handler came to
its end twice. An order whose handler was killed in its midst is handled again by everybody who does not lose it; that
is not counted.
[peers/waiting/](peers/waiting) has the settings of each. `make bench WAITING=1` measures it again."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, a few minutes")
    parser.add_argument("--peers", default=",".join(CONTENDERS), help="only these, separated by commas")
    parser.add_argument("--at-once", help="only so many orders in flight, separated by commas")
    given = parser.parse_args()
    peers = tuple(given.peers.split(","))
    if unknown := set(peers) - set(CONTENDERS):
        parser.error(f"no contender is called {', '.join(sorted(unknown))}; there are {', '.join(CONTENDERS)}")
    size, name = (QUICK, "results-quick") if given.quick else (Size(), "results")
    if given.at_once:
        size = replace(size, at_once=tuple(map(int, given.at_once.split(","))))
    return run(lambda url: WaitingBench(url, size, peers), write, name, picture_of(name))


def picture_of(name: str) -> str:
    return f"{name.replace('results', 'waiting')}.png"


def write(bench: WaitingBench, software: Software, name: str, took_s: float) -> str:
    """Write picture and section. Returns the section."""
    results, size = bench.results, bench.size
    draw(results).savefig(FOLDER / picture_of(name), metadata={"Software": None})
    failed = report.failed(results)
    parts = [
        WAITING.strip(),
        where_and_when(software, took_s),
        f"![{report.sentence(results)}]({picture_of(name)})",
        *(report.rates(results, wait_s, size.at_once) for wait_s in size.waits_s),
        "### What it takes",
        report.prices(results),
        "### When a process ends",
        report.ends(results),
        *(["### What failed", failed] if failed else []),
        "### How the waiting was measured",
        METHOD.format(
            rounds=size.rounds, ends=size.ends, trickle=TRICKLE, dead=DEAD_AFTER_S, given_up=size.given_up_s
        ),
    ]
    section = "\n\n".join(parts)
    write_waiting(FOLDER / f"{name}.md", section)
    return section


if __name__ == "__main__":
    sys.exit(main())
