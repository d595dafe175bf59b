"""
The spans of a lesson: what the notebook's process and the traced workers told OpenTelemetry.

    recorder = lab.Recorder()                                    # from now on
    ann = lab.processes.consumer("ann", trace=True)
    recorder.watch(ann)
    recorder.spans()                                             # oldest first, of all processes together

How a process tells its spans stands in `orderstream.lab.workers.tell`: one that was killed in a handler run told of
its begin, and never of its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from orderstream.lab.pictures.state import State, Table
from orderstream.lab.workers.process import Process
from orderstream.lab.workers.tell import EVENT, Span, listen

COLUMNS = ("trace", "span", "kind", "who", "attempt", "outcome", "child of", "linked to")
POLL_S = 0.02


class Recorder:
    """
    Keeps the spans of the notebook's process from now on, and finds those of traced workers.

    There is one at a time: another one takes over.

    Args:
        workers: Worker processes that were started with ``trace=True``; ``watch`` adds one later.
    """

    def __init__(self, *workers: Process) -> None:
        self._workers = list(workers)
        self._spans = spans = dict[str, Span]()
        listen(lambda span: spans.__setitem__(span.id, span))  # not self: it would keep the workers for ever

    def watch(self, *workers: Process) -> None:
        """Look for the spans of these, too."""
        self._workers += workers

    def spans(self) -> list[Span]:
        """Return all spans known now, oldest first."""
        found = list(self._spans.values())
        for worker in self._workers:
            found += spans_of(worker)
        return sorted(found, key=lambda span: span.began_s)

    def until(self, condition: Callable[[list[Span]], bool], timeout_s: float = 20) -> None:
        """
        Wait until *condition* holds for the spans known then.

        Raises:
            TimeoutError: It did not within *timeout_s* seconds; the message holds the spans' names.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(found := self.spans()):
            if time.monotonic() > deadline:
                names = ", ".join(span.name for span in found) or "none"
                raise TimeoutError(f"it did not happen within {timeout_s:g} s; the spans are {names}")
            time.sleep(POLL_S)

    def table(self) -> State:
        """Show all spans known now, oldest first. Ids are random, so others are named, and traces have letters."""
        return table(self.spans())


def spans_of(worker: Process) -> list[Span]:
    """Return the spans of a worker that was started with ``trace=True``, in the order in which they began."""
    killed_s = None if worker.alive or worker.exit_code == 0 else worker.last_alive_s  # asked before its spans
    spans: dict[str, Span] = {}
    for event in worker.read(0)[0]:
        if event["event"] == EVENT:
            span = msgspec.convert(event["span"], Span)
            spans[span.id] = msgspec.structs.replace(span, process=worker.name, killed_s=killed_s)
    return list(spans.values())


def table(spans: Sequence[Span]) -> State:
    """Show *spans*, see ``Recorder.table``."""
    names = {span.id: span.name for span in spans}
    traces = list(dict.fromkeys(span.trace_id for span in spans))
    rows = [
        (
            chr(ord("A") + traces.index(span.trace_id) % 26),
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
