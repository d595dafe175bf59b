"""
What is measured of handlers that wait. ``plan`` lists all steps in their order, as in ``benchmarks/measures.py``.

Neighbours are compared: in each round, all contenders take one step after the other before the next step begins.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measures import Bench, Numbers, Step, rotated
from benchmarks.peers.waiting import CONTENDERS
from benchmarks.process import Failed, Process
from benchmarks.waiting import report
from benchmarks.waiting.notes import VARIABLE, Note, Notes
from benchmarks.waiting.serving import Serving

END_WAIT_S = 0.1  # how long handlers wait where processes are ended: long enough that all are in the midst of it
WAVES = 15  # of orders in flight, that are sent there; processes are ended in the midst of the fifth
TRICKLE = 20  # new orders a second afterwards: some contenders look after old ones only beside new ones
MORE_S = 2.0  # wait so long after the last one came: it may come once more
LEAST_WAVES = 30  # of orders in flight: where a measurement begins and ends, a part of a wave is not counted
START_S = 0.4  # for each process that has to start, so many seconds of orders more
POLL_S = 0.01


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int = 3
    waits_s: tuple[float, ...] = (0.01, 0.1)
    at_once: tuple[int, ...] = (1, 10, 100, 500)
    run_s: float = 1.5  # one measurement of the rate
    latency_s: float = 3.0
    ends: int = 3  # how often processes are ended, in each of two ways
    ends_at_once: int = 100
    given_up_s: float = 30.0  # after the end of a process, what has not come by then is lost or stuck
    limit_s: int = 90  # for one process


QUICK = Size(rounds=1, waits_s=(0.01,), at_once=(10, 100), run_s=0.5, latency_s=1.0, ends=1, given_up_s=20.0)


class WaitingBench(Bench):
    """
    Measures on one private Redis, whose database is emptied again and again.

    Args:
        url: Of the database.
        size: How much.
        peers: Who takes part; None: everybody.
    """

    known = CONTENDERS
    size: Size

    def plan(self) -> list[Step]:
        """Return all steps in their order."""
        size, steps = self.size, []
        for turn in range(size.rounds):
            kinds: list[tuple[str, Callable[[str], Numbers]]] = [
                (f"{wait_s * 1000:.0f} ms, {at_once} in flight", lambda who, a=at_once, w=wait_s: self.rate(who, a, w))
                for wait_s in size.waits_s
                for at_once in size.at_once
            ]
            kinds.append(("latency", self.latency))
            if turn < size.ends:
                phase = (turn + 0.5) / size.ends
                kinds.append((report.AFTER_STOP, lambda who, phase=phase: self.clean_stop(who, phase)))
                kinds.append((report.AFTER_KILL, lambda who, phase=phase: self.kill(who, phase)))
            for nth, (doing, run) in enumerate(kinds):
                order = rotated(self.peers, turn + nth)
                steps += [Step(doing, who, lambda run=run, who=who: run(who)) for who in order]
        return steps

    # What is measured --------------------------------------------------------------------------------------

    def rate(self, who: str, at_once: int, wait_s: float) -> Numbers:
        """Let it handle what waits already, for some time or until nothing waits."""
        able, processes = shape(who, at_once)
        run_s = max(self.size.run_s, LEAST_WAVES * wait_s)
        count = int(min(able / wait_s, CONTENDERS[who].most) * (run_s + START_S * processes))
        with self.serving(who, able, wait_s, count) as (consumer, notes):
            consumer.go()
            self.wait_until(lambda: notes.processes() == processes, consumer, notes)
            before, used_s, began = notes.count(), consumer.cpu_s(), time.monotonic()
            while notes.count() < count and time.monotonic() < began + run_s:
                consumer.fail_if_ended()
                time.sleep(POLL_S)
            handled, used_s, memory_mb = notes.count() - before, consumer.cpu_s() - used_s, consumer.memory_mb()
            rate = notes.rate()
        numbers = {report.rate_at(wait_s, at_once): rate}
        if (wait_s, at_once) == report.AT and handled:
            numbers |= {report.CPU: used_s * 1e6 / handled, report.MEMORY: memory_mb}
        return numbers

    def latency(self, who: str) -> Numbers:
        """At half of the rate that it has reached: how long from before an order is sent until its handler begins?"""
        wait_s, at_once = report.AT
        reached = self.results.median(report.rate_at(wait_s, at_once), who)
        if reached is None:
            raise Failed("its rate is not known")
        able, processes = shape(who, at_once)
        rate = reached / 2
        count = max(100, int(rate * self.size.latency_s))
        with (
            self.serving(who, able, wait_s) as (consumer, notes),
            self.process(who, "pace", n=count, rate=rate) as producer,
        ):
            producer.ready()
            consumer.go()
            producer.go()
            self.wait_for(notes, 1, consumer)  # the first order is through, both are warm
            producer.result()
            time.sleep(START_S * (processes - 1))  # the others are not ready yet
            producer.go()
            producer.result()
            self.wait_for(notes, count + 1, consumer)
            _, *taken = sorted(notes.read())
        waited_ms = sorted((note.began_ns - note.order) / 1e6 for note in taken)
        load = (count - 1) / ((taken[-1].order - taken[0].order) / 1e9)
        return {report.LOAD: load, report.P50: waited_ms[count // 2], report.P99: waited_ms[count * 99 // 100]}

    def clean_stop(self, who: str, phase: float) -> Numbers:
        """Ask it to stop while it is busy. Another one goes on."""

        def end(consumer: Serving) -> Numbers:
            limit_s = self.size.given_up_s
            took_s = consumer.stop(CONTENDERS[who].stop, limit_s)
            return {report.STOP_S: limit_s if took_s is None else took_s}

        return self.end_and_go_on(who, end, report.AFTER_STOP, phase)

    def kill(self, who: str, phase: float) -> Numbers:
        """Kill all its processes while it is busy. Another one goes on."""

        def end(consumer: Serving) -> Numbers:
            consumer.kill()
            return {}

        return self.end_and_go_on(who, end, report.AFTER_KILL, phase)

    def end_and_go_on(self, who: str, end: Callable[[Serving], Numbers], after: str, phase: float) -> Numbers:
        """
        Let one consumer end and another one go on.

        Args:
            who: Whose consumers.
            end: Ends the first one.
            after: What that is called.
            phase: Where many handlers have begun together: which part of their time is over.
        """
        able, _ = shape(who, self.size.ends_at_once)
        count = WAVES * able
        with self.serving(who, able, END_WAIT_S, count) as (consumer, notes):
            consumer.go()
            self.wait_for(notes, 4 * able + able // 2, consumer)
            time.sleep(phase * END_WAIT_S)
            numbers = end(consumer)
            with (
                self.server(who, able, END_WAIT_S, notes.folder) as successor,
                self.process(who, "pace", n=int(TRICKLE * self.size.limit_s), rate=TRICKLE) as producer,
            ):
                for process in (successor, producer):
                    process.ready()
                    process.go()
                producer.go()
                began, missing_since = time.monotonic(), time.monotonic()
                while time.monotonic() < min(began + self.size.given_up_s, missing_since + MORE_S):
                    time.sleep(10 * POLL_S)
                    handled = times_handled(notes.read(), count)
                    if len(handled) < count:
                        missing_since = time.monotonic()
        if len(handled) == count:
            numbers[report.WHOLE_S[after]] = missing_since - began
        lost, twice = count - len(handled), sum(times > 1 for times in handled.values())
        return numbers | {report.LOST[after]: lost, report.TWICE[after]: twice}

    # What they share ---------------------------------------------------------------------------------------

    @contextmanager
    def serving(self, who: str, at_once: int, wait_s: float, count: int = 0) -> Iterator[tuple[Serving, Notes]]:
        """Send *count* orders, and yield a process that is ready to handle them, with its notes."""
        self.client.flushdb()
        if count:
            with self.process(who, "produce", n=count) as producer:
                producer.ready()
                producer.go()
                producer.result()
        with tempfile.TemporaryDirectory() as folder, self.server(who, at_once, wait_s, Path(folder)) as consumer:
            consumer.ready()
            self.results.versions[who] = consumer.version
            yield consumer, Notes(Path(folder))

    def server(self, who: str, at_once: int, wait_s: float, folder: Path) -> Serving:
        given = _variable(url=self.url, at_once=at_once, wait_s=wait_s, folder=str(folder))
        return Serving(f"waiting.{who}", "serve", url=self.url, limit_s=self.size.limit_s, environ=given)

    def process(self, who: str, action: str, **options: Any) -> Process:
        given = _variable(url=self.url, at_once=1, wait_s=0, folder="")
        options |= {"url": self.url, "limit_s": self.size.limit_s}
        return Process(f"waiting.{who}", action, environ=given, **options)

    def wait_for(self, notes: Notes, count: int, consumer: Serving) -> None:
        self.wait_until(lambda: notes.count() >= count, consumer, notes)

    def wait_until(self, done: Callable[[], bool], consumer: Serving, notes: Notes) -> None:
        deadline = time.monotonic() + self.size.limit_s / 2
        while not done():
            consumer.fail_if_ended()
            if time.monotonic() > deadline:
                raise Failed(f"only {notes.count():,} orders within {self.size.limit_s / 2:.0f} s")
            time.sleep(POLL_S)


def shape(who: str, at_once: int) -> tuple[int, int]:
    """Return how many orders it keeps in flight if asked for *at_once*, and in how many processes."""
    able = min(at_once, CONTENDERS[who].at_once)
    return able, able if CONTENDERS[who].many_processes else 1


def times_handled(notes: list[Note], count: int) -> Counter[int]:
    """Return how often each of the first *count* orders was handled. Those of the trickle have larger numbers."""
    return Counter(note.order for note in notes if note.order < count)


def _variable(**given: Any) -> dict[str, str]:
    return {VARIABLE: json.dumps(given)}
