"""
The events in the life of each order, as marks in lanes.

There is a lane for each consumer, one for the stream, where an order waits for its first reader, one for pending orders
that nobody works on, and one for the dead letters. The marks are made from spans only, so ``charts.swim_lanes`` shows
exactly what the telemetry says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orderstream.lab.workers.tell import Span

STREAM, PENDING, DEAD = "stream", "pending", "dead letters"
Kind = Literal["sent", "new", "claimed", "acked", "failed", "deferred", "released", "killed", "dead", "redriven"]

ENDS: dict[str | None, Kind] = {"retry": "failed", "dead_letter": "failed", "defer": "deferred"}
"""Outcome of a handler run -> the mark at its end. ``ack`` is missing: the span of the XACK makes that mark."""
SETTLED: dict[str, Kind] = {"ack": "acked", "release": "released"}
ORDERS, CONSUMERS = 6, 6  # the most that a reader can follow


@dataclass(frozen=True)
class Mark:
    """
    One event in the life of an order.

    Attributes:
        t_s: Seconds since the first mark.
        lane: A consumer's name, ``STREAM`` or ``DEAD``. ``PENDING`` has no marks: orders only wait there.
        order: Its id.
        kind: What happened. ``new`` and ``claimed`` are deliveries; a handler run begins with one. ``failed`` and
            ``deferred`` end the run, ``killed`` ends the process.
        delivery: Number of the delivery, for ``new`` and ``claimed``.
        begun: Whether a handler run began with it, for ``new`` and ``claimed``. An order that was given to a consumer
            and waits for its turn is in nobody's hand.
        until_s: When that handler run ended, as ``t_s``; None: at the next mark. Acks are sent together, so an order
            may wait for its ``acked`` when its handler is done.
    """

    t_s: float
    lane: str
    order: str
    kind: Kind
    delivery: int | None = None
    begun: bool = True
    until_s: float | None = None


def marks(spans: Iterable[Span]) -> list[Mark]:
    """
    Turn spans into marks, oldest first.

    An order is known by its id, even if it had several entries. If a consumer settled an entry that another consumer
    had claimed by then, nothing changed, so there is no mark.
    """
    spans = sorted(spans, key=lambda span: span.began_s)
    orders = orders_of(spans)
    settled = {(s.entry_id, s.consumer, s.attempt) for s in spans if s.operation in {*SETTLED, *ENDS} and s.ended_s}
    ran = {(s.group, s.entry_id, s.attempt) for s in spans if s.operation == "process"}
    found: list[Mark] = []

    def mark(
        t_s: float, lane: str | None, span: Span, kind: Kind, delivery: int | None = None, begun: bool = True
    ) -> None:
        first_s = spans[0].began_s
        until_s = span.ended_s - first_s if span.operation == "process" and span.ended_s else None
        found.extend(
            Mark(t_s - first_s, lane or "", order, kind, delivery, begun, until_s) for order in orders[span.id]
        )

    seen: set[tuple[str | None, str | None]] = set()
    for span in spans:
        match span.operation:
            case "send" if span.outcome == "redrive" and span.entry_id:
                mark(span.began_s, DEAD, span, "redriven")
            case "send" if span.ended_s and not span.error:
                mark(span.began_s, STREAM, span, "sent")
            case "process":
                first = (span.group, span.entry_id) not in seen
                seen.add((span.group, span.entry_id))
                mark(span.began_s, span.consumer, span, "new" if first else "claimed", span.attempt)
                if span.ended_s and span.outcome in ENDS:
                    mark(span.ended_s, span.consumer, span, ENDS[span.outcome])
                elif span.killed_s and (span.entry_id, span.consumer, span.attempt) not in settled:
                    # A file's time says when the process died. It may be a little too early.
                    mark(max(span.killed_s, span.began_s), span.consumer, span, "killed")
            case "dead_letter" if span.ended_s and not span.outcome and not span.error:
                if (span.group, span.entry_id, span.attempt) not in ran:  # dead-lettered without a handler run
                    mark(span.began_s, span.consumer, span, "claimed", span.attempt, begun=False)
                mark(span.ended_s, DEAD, span, "dead")
            case "ack" | "release" as operation if span.ended_s and not span.outcome and not span.error:
                mark(span.ended_s, span.consumer, span, SETTLED[operation])
    return sorted(found, key=lambda mark: mark.t_s)


def orders_of(spans: Sequence[Span]) -> dict[str, list[str]]:
    """
    Return the order ids of each span, by the span's id.

    The span of a settlement has an entry id and no order id. Then the order id comes from another span of the same
    entry, or otherwise of the same trace. A span of several orders that were sent together has the order ids of its
    children.
    """
    by_entry = {span.entry_id: span.order_id for span in spans if span.entry_id and span.order_id}
    traces: dict[str, set[str]] = {}
    for span in spans:
        if span.order_id:
            traces.setdefault(span.trace_id, set()).add(span.order_id)
    orders: dict[str, list[str]] = {}
    for span in spans:
        [*of_trace] = traces.get(span.trace_id, ())
        by_trace = of_trace[0] if len(of_trace) == 1 else None
        order = span.order_id or by_entry.get(span.entry_id or "") or by_trace or span.entry_id
        orders[span.id] = [order] if order else []
    for span in spans:
        if span.operation == "process" and orders[span.id]:
            for sender in dict.fromkeys((span.parent_id, *span.links)):
                if sender in orders and orders[span.id][0] not in orders[sender]:
                    orders[sender].append(orders[span.id][0])
    return orders


def eventful(all_marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks of the orders with the most marks: at most ``ORDERS`` of them, on at most ``CONSUMERS``."""
    counts = Counter(mark.order for mark in all_marks)
    kept: list[str] = []
    consumers: set[str] = set()
    for order, _ in counts.most_common():
        theirs = {mark.lane for mark in all_marks if mark.order == order} - {STREAM, DEAD}
        if len(kept) < ORDERS and len(consumers | theirs) <= CONSUMERS:
            kept.append(order)
            consumers |= theirs
    return [mark for mark in all_marks if mark.order in kept]


def latest(all_marks: Sequence[Mark], orders: int = ORDERS) -> list[Mark]:
    """Return the marks of so many orders: the newest that are under way, then those done last. Times begin at 0 s."""
    last = {mark.order: math.inf if mark.kind not in ("acked", "dead") else mark.t_s for mark in all_marks}
    kept = sorted(last, key=last.__getitem__)[-orders:]
    theirs = [mark for mark in all_marks if mark.order in kept]
    return from_zero(theirs)


def from_zero(marks: Sequence[Mark]) -> list[Mark]:
    """Return the same marks with times that begin at 0 s."""
    first_s = marks[0].t_s if marks else 0.0
    return [
        replace(mark, t_s=mark.t_s - first_s, until_s=None if mark.until_s is None else mark.until_s - first_s)
        for mark in marks
    ]


def sentence(all_marks: Sequence[Mark]) -> str:
    """Return a sentence that says what the marks show, order by order."""
    paths = []
    for order in dict.fromkeys(mark.order for mark in all_marks):
        steps = [(step, len(list(same))) for step, same in groupby(_steps(all_marks, order))]
        paths.append(f"{order}: {', '.join(step + (f' ×{times}' if times > 1 else '') for step, times in steps)}")
    return "; ".join(paths) + "."


def _steps(all_marks: Sequence[Mark], order: str) -> list[str]:
    """Return the marks of *order* in words. Those of one handler run are one step: ``new on ann and failed``."""
    steps: list[str] = []
    for mark in all_marks:
        if mark.order != order:
            continue
        if mark.kind in ("new", "claimed"):
            steps.append(f"{'new on' if mark.kind == 'new' else 'claimed by'} {mark.lane}")
        elif steps and mark.kind not in ("sent", "redriven", "dead"):
            steps[-1] += f" and {mark.kind}"
        else:
            steps.append("dead-lettered" if mark.kind == "dead" else mark.kind)
    return steps
