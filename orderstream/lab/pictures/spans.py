"""
The OpenTelemetry spans of a lesson: those of the notebook's process and of the traced workers.

    recorder = lab.Recorder()                                    # keeps the spans from now on
    ann = lab.processes.consumer("ann", trace=True)
    recorder.watch(ann)
    recorder.spans()                                             # those of all processes, oldest first

`orderstream.lab.workers.tell` says how a process writes down its spans. If it was killed in a handler run, it wrote
down the begin of that span and not its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from orderstream.lab import patience
from orderstream.lab.pictures.lanes import orders_of
from orderstream.lab.pictures.state import State, Table
from orderstream.lab.workers.process import Process
from orderstream.lab.workers.tell import EVENT, Span, listen

COLUMNS = ("trace", "order", "span", "kind", "who", "attempt", "outcome", "child of", "linked to")
POLL_S = 0.02


class Recorder:
    """
    Keeps the spans of the notebook's process from now on, and finds those of traced workers.

    There is one at a time: a new one takes the place of the old one.

    Args:
        workers: Worker processes that were started with ``trace=True``; ``watch`` adds one later.
    """

    def __init__(self, *workers: Process) -> None:
        self._workers = list(workers)
        self._spans = spans = dict[str, Span]()
        listen(lambda span: spans.__setitem__(span.id, span))  # not self: it would keep the workers

    def watch(self, *workers: Process) -> None:
        """From now on, return the spans of these workers, too."""
        self._workers += workers

    def spans(self) -> list[Span]:
        """Return all spans known now, oldest first."""
        found = list(self._spans.values())
        for worker in self._workers:
            found += spans_of(worker)
        return sorted(found, key=lambda span: span.began_s)

    def until(self, condition: Callable[[list[Span]], bool], timeout_s: float = 20) -> None:
        """
        Wait until *condition* holds for the spans that are known.

        Raises:
            TimeoutError: It did not within *timeout_s* seconds, more on a busy machine. The message holds the
                spans' names.
        """
        limit_s = patience.stretched(timeout_s)
        deadline = time.monotonic() + limit_s
        while not condition(found := self.spans()):
            if time.monotonic() > deadline:
                names = ", ".join(span.name for span in found) or "none"
                raise TimeoutError(f"it did not happen within {limit_s:.3g} s; the spans are {names}")
            time.sleep(POLL_S)

    def table(self) -> State:
        """Return a table of all spans known now, oldest first. Instead of random ids it shows names and letters."""
        return table(self.spans())


def spans_of(worker: Process) -> list[Span]:
    """Return the spans of a worker that was started with ``trace=True``, in the order in which they began."""
    killed_s = None if worker.alive or worker.exit_code == 0 else worker.last_alive_s  # before its spans are read
    spans: dict[str, Span] = {}
    for event in worker.read(0)[0]:
        if event["event"] == EVENT:
            span = msgspec.convert(event["span"], Span)
            spans[span.id] = msgspec.structs.replace(span, process=worker.name, killed_s=killed_s)
    return list(spans.values())


def table(spans: Sequence[Span]) -> State:
    """Return a table of *spans*, see ``Recorder.table``."""
    names = {span.id: span.name for span in spans}
    orders = orders_of(spans)
    traces = list(dict.fromkeys(span.trace_id for span in spans))
    rows = [
        (
            chr(ord("A") + traces.index(span.trace_id) % 26),
            ", ".join(orders[span.id]) or "–",
            span.name,
            span.kind,
            span.consumer or span.process,
            str(span.attempt or ""),
            "never ended" if span.ended_s is None else span.outcome or "",
            names.get(span.parent_id or "", "–" if span.parent_id is None else "a span of others"),
            ", ".join(names.get(link, "a span of others") for link in span.links) or "–",
        )
        for span in spans
    ]
    return State([Table("spans", COLUMNS, rows, "no spans")])
