"""
Look at a running stream several times a second, and keep the results.

Redis says how many entries are pending and undelivered, but not how many orders were handled: XACK leaves no trace, and
``entries-read`` came with 7.0. So throughput and failures are counted from the events that the worker processes print.
That is exact, and the same on every version.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orderstream import Backlog, Settings, connect
from orderstream.lab import patience
from orderstream.lab.workers.process import Process

if TYPE_CHECKING:
    import pandas

KEPT = 4_000  # a quarter of an hour at five samples a second
WINDOW_S = 1.0  # a rate counts the events of the last second
SAME_S = 1.0  # a slider that is drawn says a value many times; so soon after each other, the last one is kept


@dataclass(frozen=True, slots=True)
class Sample:
    """
    The stream at one moment. A value is None if Redis did not answer, or does not know it.

    Attributes:
        t_s: Seconds since the sampler began.
        throughput: Orders handled per second.
        pending: Entries delivered and not yet acked.
        retries: Handler runs that failed, per second; each is retried or dead-lettered.
        length: Entries in the stream.
        lag: Entries not yet delivered; unknown before Redis 7.0.
        dead_lettered: Entries in the dead-letter stream.
        handled: Orders handled since the sampler began.
        failed: Handler runs that failed since the sampler began.
        memory: Bytes that the stream takes in Redis, its groups and pending entries included.
        held: Consumer -> pending entries it has in hand; only those that have any.
        waiting: Pending entries that nobody has in hand: they are due for their next try in a while.
        oldest_new_s: Seconds since the oldest undelivered entry was added; 0 if all are delivered.
        backlog: Entries not handled yet, also where lag is unknown: length less handled. Only right if nothing is
            removed from the stream, and all that it holds was added since the sampler began.
        undelivered: Entries that nobody was given yet. Where lag is unknown: length less pending, less what was
            handled or put aside; only right under the same condition.
        ordered: Orders that a producer sent and that Redis confirmed, per second. An order that was sent again counts
            once.
    """

    t_s: float
    throughput: float
    pending: int | None
    retries: float
    length: int | None
    lag: int | None
    dead_lettered: int | None
    handled: int
    failed: int
    memory: int | None = None
    held: dict[str, int] = field(default_factory=dict)
    waiting: int | None = None
    oldest_new_s: float | None = None
    backlog: int | None = None
    undelivered: int | None = None
    ordered: float = 0.0


@dataclass(frozen=True, slots=True)
class Note:
    """
    Something that was done to the stream. Pictures show it as a vertical line.

    Attributes:
        t_s: When, in seconds since the sampler began.
        what: What was done, or what was set to a value.
        value: The value with its unit; otherwise empty.
    """

    t_s: float
    what: str
    value: str = ""


class Sampler:
    """
    A thread that takes samples until it is stopped.

        with Sampler("orders", [c1, c2]) as sampler:
            sampler.until(lambda now: now.handled >= 60)
        sampler.frame()

    Args:
        stream: Key of the stream to look at.
        workers: Worker processes whose handler runs are counted, and producers whose orders are; ``watch`` adds one
            later.
        every_ms: Milliseconds between two samples.
        on_sample: Called with each sample after the first, in the sampler's thread. It must not print.

    Attributes:
        samples: The samples kept, oldest first.
        notes: What was done to the stream meanwhile, oldest first, see ``note``.
        error: What went wrong in the last look; None if nothing did. The sampler goes on in any case.
    """

    def __init__(
        self,
        stream: str = "orders",
        workers: Iterable[Process] = (),
        every_ms: int = 200,
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.notes: deque[Note] = deque(maxlen=KEPT)
        self.error: Exception | None = None
        self._stream = connect(Settings.from_env({**os.environ, "ORDERSTREAM_STREAM": stream}))
        self._every_s = every_ms / 1000
        self._on_sample = on_sample
        self._tallies = {event: _Tally() for event in ("handled", "failed", "sent")}
        self._workers: list[tuple[Process, int]] = []
        for worker in workers:
            self.watch(worker)
        self._began = time.monotonic()
        self._look()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Sampler of {self._stream!r}, {'stopped' if self._stopping.is_set() else 'running'}>"

    @property
    def latest(self) -> Sample:
        """The newest sample. The first is taken before the thread begins."""
        return self.samples[-1]

    def watch(self, worker: Process, start: int | None = None) -> None:
        """Count what *worker* does, too, from byte *start* of its output on. None: from now on."""
        self._workers.append((worker, len(worker.output()) if start is None else start))

    def note(self, what: str, value: str = "") -> None:
        """Note that this was done now. A new *value* of the same *what* takes the place of one noted just before."""
        now_s = time.monotonic() - self._began
        if value and self.notes and self.notes[-1].what == what and self.notes[-1].t_s > now_s - SAME_S:
            self.notes.pop()
        self.notes.append(Note(now_s, what, value))

    def until(self, condition: Callable[[Sample], bool], timeout_s: float = 20, *, then_s: float = 0) -> Sample:
        """
        Wait until *condition* holds for a sample that is newer than this call, and return that one.

        Args:
            condition: What to wait for.
            timeout_s: How long at most.
            then_s: Seconds to go on after that, so that a picture shows what came next.

        Raises:
            TimeoutError: It did not within *timeout_s* seconds, more on a busy machine. The message holds the
                newest sample.
        """
        limit_s = patience.stretched(timeout_s)
        asked = time.monotonic()  # an older sample may not show yet what the caller has just done
        while (now := self.latest).t_s <= asked - self._began or not condition(now):
            if time.monotonic() > asked + limit_s:
                raise TimeoutError(f"it did not happen within {limit_s:.3g} s; the newest sample is {now}")
            time.sleep(0.02)
        while self.latest.t_s < now.t_s + then_s and not self._stopping.is_set():
            time.sleep(0.02)
        return now

    def stop(self) -> None:
        """Take one last sample and end the thread."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        atexit.unregister(self.stop)

    def frame(self) -> pandas.DataFrame:
        """Return the samples as a table, one row each, indexed by ``t_s``. An unknown value is NaN."""
        import pandas

        columns = [column for column in Sample.__dataclass_fields__ if column != "held"]
        rows = [[getattr(sample, column) for column in columns] for sample in list(self.samples)]
        return pandas.DataFrame(rows, columns=columns, dtype="float64").set_index("t_s")

    def _run(self) -> None:
        while True:
            last = self._stopping.wait(self._every_s)
            self._look()
            if self._on_sample:
                try:
                    self._on_sample(self.latest)
                except Exception as error:  # noqa: BLE001 - a broken picture must not stop the sampler
                    self.error = error
            if last:
                self._stream.close()
                return

    def _look(self) -> None:
        t_s = time.monotonic() - self._began
        backlog = memory = None
        try:
            self._count()
            backlog = self._stream.backlog()
            memory = self._stream.client.memory_usage(self._stream.settings.stream)
            self.error = None
        except Exception as error:  # noqa: BLE001 - a thread has no caller; the next look may succeed
            self.error = error
        handled = self._tallies["handled"].total
        now = time.time()
        sample = Sample(
            t_s=t_s,
            throughput=self._tallies["handled"].rate(now),
            pending=backlog.pending if backlog else None,
            retries=self._tallies["failed"].rate(now),
            length=backlog.length if backlog else None,
            lag=backlog.lag if backlog else None,
            dead_lettered=backlog.dead_lettered if backlog else None,
            handled=handled,
            failed=self._tallies["failed"].total,
            memory=memory,
            held={consumer.name: consumer.pending for consumer in backlog.consumers if consumer.pending}
            if backlog
            else {},
            waiting=backlog.waiting if backlog else None,
            oldest_new_s=round(backlog.oldest_undelivered_s or 0.0, 1) if backlog else None,
            backlog=max(0, backlog.length - handled) if backlog else None,
            undelivered=_undelivered(backlog, handled) if backlog else None,
            ordered=self._tallies["sent"].rate(now),
        )
        self.samples.append(sample)

    def _count(self) -> None:
        for position, (worker, start) in enumerate(self._workers):
            events, end = worker.read(start)
            self._workers[position] = worker, end
            for event in events:
                if tally := self._tallies.get(event["event"]):
                    tally.add(event["t"], event.get("count", 1))


def _undelivered(now: Backlog, handled: int) -> int:
    if now.lag is not None:
        return now.lag
    return max(0, now.length - handled - now.pending - now.dead_lettered)


class _Tally:
    """Counts events, and how many of them happened in the last second."""

    def __init__(self) -> None:
        self.total = 0
        self._recent: deque[tuple[float, int]] = deque()

    def add(self, t: float, count: int) -> None:
        self.total += count
        self._recent.append((t, count))

    def rate(self, now: float) -> float:
        while self._recent and self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()
        return sum(count for _, count in self._recent) / WINDOW_S


def summary(samples: Sequence[Sample]) -> str:
    """
    Say in one sentence what happened. The sentence is the same in each run of the same experiment.

    So it has no counts and no times: they depend on the machine.
    """
    if not samples:
        return "Nothing was sampled yet."
    handled = "Orders were handled" if samples[-1].handled else "No order was handled"
    failed = "some handler runs failed" if samples[-1].failed else "no handler run failed"
    left = {0: "nothing was left pending", None: "Redis did not answer"}
    end = left.get(samples[-1].pending, "some orders were left pending")
    return f"{handled}, {failed}, and at the end {end}."
