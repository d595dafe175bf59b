"""Lesson 08: carry the context in an entry, and find an order by its spans."""

from typing import Any

from msgspec.structs import replace

from orderstream import tracing
from orderstream.lab.tutor.check import exercise
from orderstream.lab.workers.tell import Span

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
TRACEPARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


@exercise(
    "08.1",
    "Which one thing must a reader in another process know to go on with this trace?",
    "TraceContextTextMapPropagator().inject(carrier) writes the current context into a dict, and no baggage.",
    "carrier = dict(fields); TraceContextTextMapPropagator().inject(carrier); return carrier",
)
def carry(answer):
    from opentelemetry import baggage, context, trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

    fields = {"data": '{"id": "o-1", "item": "tea", "amount": 1}', "shop": "north"}

    def carried_by(sampled: int, **more: str) -> Any:
        about = SpanContext(TRACE, SPAN, False, TraceFlags(sampled), TraceState([("vendor", "7")]))
        current = trace.set_span_in_context(NonRecordingSpan(about))
        token = context.attach(baggage.set_baggage("customer", "emil@example.com", current))
        given = fields | more
        try:
            got = answer(given)
        finally:
            context.detach(token)
        changed = "what you are given stays as it was, return a new dict: the caller's has changed"
        assert given == fields | more, changed
        return got

    got = carried_by(sampled=1)
    assert isinstance(got, dict), f"return the fields of the entry, a dict, not {got!r}"
    for name, value in fields.items():
        assert got.get(name) == value, f"the order travels as it was: {name} is {got.get(name)!r}"
    assert "baggage" not in got, f"the entry is kept for days, and baggage may be private: it holds {got['baggage']!r}"
    carried = got.get("traceparent")
    assert carried, f"the next process goes on with this trace: no traceparent among {', '.join(got)}"
    assert carried == TRACEPARENT, f"the reader is a child of the current span: {TRACEPARENT}, you carry {carried}"
    assert got.get("tracestate") == "vendor=7", "W3C Trace Context is two fields: tracestate, vendor=7, is left behind"
    assert set(got) <= {*fields, "traceparent", "tracestate"}, f"the context and nothing else: {', '.join(got)}"
    flags = carried_by(sampled=0).get("traceparent", "nothing")
    assert flags.endswith("-00"), f"nobody records this trace, so its flags are 00, and you carry {flags}"
    older = f"00-{1:032x}-{1:016x}-01"
    carried = carried_by(sampled=1, traceparent=older).get("traceparent")
    forwarded = f"these fields came out of another stream, with the context of then: you carry {carried}"
    assert carried == TRACEPARENT, f"the reader is a child of the current span, {TRACEPARENT}: {forwarded}"

    empty = answer(dict(fields))
    assert isinstance(empty, dict), f"return the fields of the entry, a dict, also without a span, not {empty!r}"
    assert "traceparent" not in empty, f"without a span there is no context: you carry {empty['traceparent']}"
    assert empty == fields, f"without a span the order travels as it was: {fields}, you return {empty}"


OTHERS = ("o-1", "o-47110", *(f"o-{n}" for n in range(2, 9)))
"""Orders that were handled. One of them has an id that begins like o-4711's."""

Step = tuple[str, str, int, str]
"""A span of these stories: operation, consumer, attempt, outcome."""

SENT, REDRIVEN = ("send", "", 0, ""), ("send", "", 0, "redrive")
BEGUN, KILLED = ("process", "ann", 1, "has not ended"), ("process", "ann", 1, "never ended")
FAILED = [("process", "ann", 1, "retry"), ("retry", "ann", 1, "")]
LATE = ("ack", "ann", 1, "lease_lost")
CLAIMED = ("process", "bob", 2, "has not ended")
DEFERRED, RELEASED = ("process", "ann", 1, "defer"), ("release", "ann", 1, "")
HANDLED = [("process", "bob", 2, "ack"), ("ack", "bob", 2, "")]
DEAD = [("process", "bob", 3, "dead_letter"), ("dead_letter", "bob", 3, "")]

STORIES = {
    "sent, and nobody has read it": ([SENT], "stream"),
    "ann has it in hand": ([SENT, BEGUN], "ann"),
    "ann failed": ([SENT, *FAILED], "pending"),
    "ann was killed with it in hand": ([SENT, KILLED], "pending"),
    "ann put it off": ([SENT, DEFERRED], "pending"),
    "ann gave it back before she began": ([SENT, RELEASED], "pending"),
    "ann was killed with it in hand, and bob claimed it": ([SENT, KILLED, CLAIMED], "bob"),
    "bob failed at the third attempt": ([SENT, KILLED, *DEAD], "dead letters"),
    "it was a dead letter, and was redriven": ([SENT, KILLED, *DEAD, REDRIVEN], "stream"),
    "bob claimed it from ann, and her late ack did nothing": ([SENT, BEGUN, CLAIMED, LATE], "bob"),
    "ann failed, and bob handled it": ([SENT, *FAILED, *HANDLED], "done"),
}


def told(order: str, story: list[Step]) -> list[Span]:
    """Return the spans of a story, as a recorder knows them."""
    found, entry = [], f"{order} once"
    for second, (operation, consumer, attempt, outcome) in enumerate(story):
        entry = f"{order} again" if outcome == "redrive" else entry
        about: dict[str, Any] = {tracing.OPERATION: operation, tracing.ENTRY_ID: entry}
        if operation == "process" or (operation == "send" and outcome != "redrive"):  # others tell the entry only
            about[tracing.ORDER_ID] = order
        about |= {tracing.CONSUMER: consumer, tracing.ATTEMPT: attempt} if consumer else {}
        ended = not outcome.endswith("ended")
        about |= {tracing.OUTCOME: outcome} if outcome and ended else {}
        span = Span(f"{operation} orders", "CLIENT", order, f"{order} {second}", None, (), second, None, about)
        killed_s = second + 0.5 if outcome == "never ended" else None
        found.append(replace(span, ended_s=second + 0.5 if ended else None, killed_s=killed_s))
    return found


@exercise(
    "08.2",
    "Of all that happened to this order, what tells where it is now?",
    "lab.lanes.marks(spans) makes marks, oldest first; each has .order, .lane and .kind. Look at the order's last one.",
    'last = [m for m in lab.lanes.marks(spans) if m.order == order_id][-1]; "new" and "claimed" are in last.lane, …',
)
def where_is(answer):
    for name, (story, right) in STORIES.items():
        others = [span for order in OTHERS for span in told(order, [SENT, *FAILED, *HANDLED, *HANDLED])]
        spans = sorted(told("o-4711", story) + others, key=lambda span: span.began_s)
        got = answer(spans, "o-4711")
        trace = "".join(f"\n  {_line(*step)}" for step in story)
        assert got == right, f"{name}: o-4711 is {_place(right)}, you say {got!r}{trace}"
        got = answer(spans, "o-1")
        assert got == "done", f"each order is in a place of its own: o-1 was acked, it is 'done', you say {got!r}"


def _place(right: str) -> str:
    if right in ("stream", "pending", "dead letters", "done"):
        return repr(right)
    return f"in the hands of {right!r}"


def _line(operation: str, consumer: str, attempt: int, outcome: str) -> str:
    by = f"by {consumer}, attempt {attempt}" if consumer else ""
    return f"{operation:11} {', '.join(filter(None, [by, outcome]))}".rstrip()
