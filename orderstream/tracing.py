"""
Tell OpenTelemetry what happens to orders, as spans and metrics.

    send orders      PRODUCER  one for each batch; its context travels in every entry of it, as ``traceparent``
    process orders   CONSUMER  one for each delivery: child of the send span, and linked to it
    ack orders       CLIENT    child of the process span; so are retry, defer, release and dead_letter
    send orders      PRODUCER  a redrive: child of the first send span, and linked to the caller's span

So everything that happens to one order is one trace. With ``trace_parent="link"`` each handler run begins a trace of
its own, and a redrive belongs to its caller's trace; both are linked to the sender's. If only traces are wanted, an
order that its sender did not sample costs nothing here.

This file is imported once there is an OpenTelemetry SDK, see ``OrderStream.observer``.
No span holds a payload or a password. An order is named by its id, a message of your own type by its key, and a failure
by its type: a span has the message of an error only with ``trace_errors="message"``.
The names are OpenTelemetry's: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakMethod

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, NoOpMeter, Observation
from opentelemetry.trace import Link, NonRecordingSpan, NoOpTracer, Span, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orderstream.config import SENTINEL, Settings
from orderstream.entries import Backlog, Entry
from orderstream.form import Form
from orderstream.harmless import Harmless
from orderstream.observer import Decide, Deliveries, Handle, Observer, Step

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
GROUP = "messaging.consumer.group.name"
CONSUMER = "messaging.client.id"
ENTRY_ID = "messaging.message.id"
ORDER_ID = "messaging.message.conversation_id"
COUNT = "messaging.batch.message_count"
ERROR = "error.type"
ATTEMPT = "orderstream.delivery.attempt"
OUTCOME = "orderstream.outcome"

LONGEST_HEADER = 512  # bytes; W3C asks to carry so much of a tracestate, and a valid traceparent is shorter
BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
FRESH_S = 1.0  # so all gauges of one collection come from one look at Redis

Fields = tuple[bytes, ...]
Attributes = dict[str, str | int]
Creations = Mapping[str, SpanContext | None]  # entry id -> the context of the span that sent it
Ask = Callable[[], Backlog | None]

_w3c = TraceContextTextMapPropagator()  # the global one may also write baggage, and dead letters would keep that
_ROOT = Context()


def telemetry(settings: Settings, form: Form[Any]) -> Telemetry | None:
    """Return the observer of this stream; None if the application wants neither spans nor metrics."""
    return _telemetry(trace.get_tracer_provider(), metrics.get_meter_provider(), settings, form)


@lru_cache(maxsize=32)
def _telemetry(tracers: Any, meters: Any, settings: Settings, form: Form[Any]) -> Telemetry | None:
    # Without an SDK the providers are those of the API, which do nothing.
    tracing = not type(tracers).__module__.startswith("opentelemetry.trace")
    metering = not type(meters).__module__.startswith("opentelemetry.metrics")
    if not (tracing or metering):
        return None
    tracer = tracers.get_tracer("orderstream") if tracing else NoOpTracer()
    return Telemetry(tracer, meters.get_meter("orderstream") if metering else None, settings, form)


class Telemetry(Harmless, Observer):
    """
    Tells OpenTelemetry about one stream.

    Args:
        tracer: Makes the spans.
        meter: Makes the metrics; None if nobody wants them.
        settings: Of the stream.
        form: Of the stream's messages.
    """

    def __init__(self, tracer: Tracer, meter: Meter | None, settings: Settings, form: Form[Any]) -> None:
        self.tracer = tracer
        self.form = form
        self._metering = meter is not None
        self._meter = meter = meter or NoOpMeter("orderstream")
        self.settings = settings
        self._base: Attributes = {SYSTEM: "redis", DESTINATION: settings.stream, **_server(settings.redis_url)}
        self.of_group: Attributes = {**self._base, GROUP: settings.group}

        def duration(name: str, about: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", about, explicit_bucket_boundaries_advisory=BUCKETS_S)

        def counter(name: str, about: str) -> metrics.Counter:
            return meter.create_counter(name, "{message}", about)

        self.operation_s = duration("messaging.client.operation.duration", "asking Redis to send or settle orders")
        self.process_s = duration("messaging.process.duration", "one handler run")
        self._sent = counter("messaging.client.sent.messages", "orders sent")
        self._consumed = counter("messaging.client.consumed.messages", "deliveries")
        self._lost = counter("orderstream.messages.lost", "deleted or trimmed away before they were handled")
        self._lease_lost = counter("orderstream.messages.lease_lost", "claimed away from a consumer that had them")
        self._settled = {
            "retry": counter("orderstream.messages.retried", "failed, and due again"),
            "dead_letter": counter("orderstream.messages.dead_lettered", "moved to the dead-letter stream"),
        }

    # Sending ----------------------------------------------------------------------------------------

    def sending(self, orders: Sequence[Any]) -> Step:
        """Make one span for all *orders*. So there is one decision whether they are sampled."""
        about: Attributes = _named(self.form.name(orders[0])) if len(orders) == 1 else {COUNT: len(orders)}
        attributes = {**self._base, OPERATION: "send", OPERATION_TYPE: "send", **about}
        span = self.tracer.start_span(
            f"send {self.settings.stream}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        sent = self._base | {OPERATION: "send"}

        def end(step: Step) -> None:
            replies: Sequence[Any] = step.result or ()
            confirmed = sum(isinstance(reply, bytes) for reply in replies) if step.problem else len(replies)
            if confirmed:
                self._sent.add(confirmed, sent)
            if confirmed < len(orders):
                self._sent.add(len(orders) - confirmed, sent | _failed(step.problem))
            if len(orders) == 1 and confirmed == 1:
                span.set_attribute(ENTRY_ID, replies[0].decode())
            self.end(span, step.problem)

        return ObservedStep(self.operation_s, sent, end, _carried(span))

    def redriving(self, fields: Callable[[], Mapping[bytes, bytes] | None]) -> Step:
        """Make one span for a dead letter that goes back into the stream. Its fields keep the context they had."""
        if (original := fields()) is None:  # it is not there (any more)
            return Step()
        creation, caller = creation_of(original.items()), trace.get_current_span().get_span_context()
        parent, linked = (creation, caller) if self.trusted(creation) else (caller, creation)
        attributes = {**self._base, OPERATION: "send", OPERATION_TYPE: "send", OUTCOME: "redrive"}
        name = f"send {self.settings.stream}"
        span = self.tracer.start_span(name, _below(parent), SpanKind.PRODUCER, attributes, _links(linked))
        sent = self._base | {OPERATION: "send"}

        def end(step: Step) -> None:
            if step.result:
                self._sent.add(1, sent)
                span.set_attribute(ENTRY_ID, step.result)
            self.end(span, step.problem)

        return ObservedStep(self.operation_s, sent, end)

    # Handling ---------------------------------------------------------------------------------------

    def delivered(self, consumer: str, entries: Sequence[Entry]) -> Deliveries:
        """Count the *entries* that *consumer* was given, and find those that need spans or times."""
        if entries and self._metering:
            self._consumed.add(len(entries), self.of_group)
        creations: dict[str, SpanContext | None] = {}
        unwanted = None  # entries sent together end with the same context, so one comparison is enough for most
        for entry in entries:
            if (last := entry.fields[-1]) == unwanted:
                continue
            creation = _creation(entry)
            if creation is None or self._wants(creation):
                creations[entry.id] = creation
            elif entry.fields[-2] == b"traceparent":
                unwanted = last
        return ObservedDeliveries(self, consumer, creations)

    def _wants(self, creation: SpanContext) -> bool:
        """Return whether to observe an order. Its sender decided whether it is sampled, if we trust senders."""
        return self._metering or creation.trace_flags.sampled or not self.trusted(creation)

    def trusted(self, creation: SpanContext | None) -> SpanContext | None:
        return creation if self.settings.trace_parent == "creation" else None

    def lost(self, count: int) -> None:
        self._lost.add(count, self.of_group)

    def lease_lost(self) -> None:
        self._lease_lost.add(1, self.of_group)

    def releasing(self, consumer: str, entries: Sequence[Entry]) -> Step:
        return self.settling("release", consumer, entries, {})

    def settling(
        self, operation: str, consumer: str, entries: Sequence[Entry], processed: Mapping[str, SpanContext]
    ) -> Step:
        """
        Make a span for each entry, so that each trace is complete.

        Args:
            operation: ``ack``, ``retry``, ``defer``, ``release`` or ``dead_letter``.
            consumer: Name of the consumer that settles them.
            entries: What is settled.
            processed: Entry id -> the context of the span of its handler run, for entries that had one.
        """
        attributes = {**self.of_group, OPERATION: operation, OPERATION_TYPE: "settle", CONSUMER: consumer}
        name, began_ns = f"{operation} {self.settings.stream}", time.time_ns()

        def end(step: Step) -> None:
            ended_ns, lease_lost = time.time_ns(), step.result is False
            if lease_lost:
                self._lease_lost.add(len(entries), self.of_group)
            elif operation in self._settled and not step.problem:
                self._settled[operation].add(len(entries), self.of_group)
            for entry in entries:
                parent = processed.get(entry.id) or self.trusted(_creation(entry))
                if not (parent and parent.trace_flags.sampled):
                    continue
                about = {**attributes, ENTRY_ID: entry.id, ATTEMPT: entry.attempt}
                span = self.tracer.start_span(name, _below(parent), SpanKind.CLIENT, about, start_time=began_ns)
                if lease_lost:
                    span.set_attribute(OUTCOME, "lease_lost")
                self.end(span, step.problem, ended_ns)

        return ObservedStep(self.operation_s, self.of_group | {OPERATION: operation}, end)

    # Watching ---------------------------------------------------------------------------------------

    def watch(self, backlog: Ask) -> None:
        """
        Show the backlog as gauges: lag, pending, oldest ages, dead letters. Each collection asks Redis once.

        Args:
            backlog: A method of a stream. The reference to it is weak, so that no gauge keeps the stream alive.
        """
        if self._metering:
            self._watched.watch(backlog)

    @cached_property
    def _watched(self) -> WatchedGroup:
        return _groups_of(self._meter).setdefault(tuple(self.of_group.items()), WatchedGroup(self.of_group))

    # What they share ----------------------------------------------------------------------------------

    def end(self, span: Span, problem: BaseException | None, ended_ns: int | None = None) -> None:
        """End *span*, even if *problem* cannot be told: its message is made by code that is not ours."""
        try:
            if problem is not None:
                span.set_attributes(_failed(problem))
                span.set_status(StatusCode.ERROR)
                if self.settings.trace_errors == "message":
                    span.set_status(StatusCode.ERROR, str(problem))
                    span.record_exception(problem)
        finally:
            span.end(ended_ns)


class ObservedStep(Harmless, Step):
    """
    A step that is told when it ends.

    Args:
        duration_s: Is told how long it took.
        attributes: For *duration_s*.
        end: Tells the rest.
        fields: See ``Step``.
    """

    def __init__(
        self, duration_s: metrics.Histogram, attributes: Attributes, end: Callable[[Step], None], fields: Fields = ()
    ) -> None:
        self.fields = fields
        self._duration_s = duration_s
        self._attributes = attributes
        self._end = end
        self._began = time.perf_counter()

    def __exit__(self, *raised: Any) -> None:
        took_s = time.perf_counter() - self._began
        if raised[1] is not None:
            self.problem = raised[1]
        try:
            self._end(self)
        finally:
            self._duration_s.record(took_s, self._attributes | _failed(self.problem))


class ObservedDeliveries(Harmless, Deliveries):
    """
    The entries that a consumer has in hand, some of which are observed.

    Args:
        telemetry: Of the stream.
        consumer: Name of the consumer.
        creations: Entry id -> the context of the span that sent it, for each entry that is observed.
    """

    def __init__(self, telemetry: Telemetry, consumer: str, creations: Creations) -> None:
        self.wanted = bool(creations)
        self._telemetry = telemetry
        self._consumer = consumer
        self._creations = creations
        self._processed: dict[str, SpanContext] = {}

    def handling(self, handle: Handle, decide: Decide) -> Handle:
        if not self.wanted:
            return handle

        def observed(entry: Entry) -> None:
            if entry.id not in self._creations:
                handle(entry)
                return
            with self.processing(entry, decide):
                handle(entry)

        return observed

    def settling(self, operation: str, entries: Sequence[Entry]) -> Step:
        of_interest = entries if self.wanted or operation != "ack" else ()
        return self._telemetry.settling(operation, self._consumer, of_interest, self._processed)

    def processing(self, entry: Entry, decide: Decide) -> Step:
        """Make one span for one handler run. It is the current span meanwhile: spans of the handler are below it."""
        if entry.id not in self._creations:
            return Step()
        telemetry, creation = self._telemetry, self._creations[entry.id]
        caller = trace.get_current_span().get_span_context()
        about = telemetry.of_group | {OPERATION: "process", OPERATION_TYPE: "process"}
        of_entry: Attributes = {CONSUMER: self._consumer, ENTRY_ID: entry.id, ATTEMPT: entry.attempt}
        with suppress(Exception):  # the handler run will raise it
            of_entry |= _named(telemetry.form.name(telemetry.form.from_fields(entry.fields)))
        span = telemetry.tracer.start_span(
            f"process {telemetry.settings.stream}",
            _below(telemetry.trusted(creation)),
            SpanKind.CONSUMER,
            about | of_entry,
            _links(creation, caller),
        )
        self._processed[entry.id] = span.get_span_context()

        def end(step: Step) -> None:
            context.detach(token)  # first, or the next handler run is below this span if anything fails here
            outcome = "ack" if step.problem is None else decide(entry, step.problem).outcome.value
            if outcome == "defer":
                step.problem = None
            span.set_attribute(OUTCOME, outcome)
            telemetry.end(span, step.problem)

        token = context.attach(trace.set_span_in_context(span))
        return ObservedStep(telemetry.process_s, about, end)


class WatchedGroup:
    """
    A group whose backlog this process shows, as long as a stream of it lives.

    Args:
        attributes: Name the group in each gauge.
    """

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._streams: dict[WeakMethod[Ask], None] = {}  # the newest last
        self._backlog: Backlog | None = None
        self._look_again = 0.0

    def watch(self, backlog: Ask) -> None:
        """From now on ask *backlog*, or if that is gone, one that was there before."""
        self._streams[WeakMethod(backlog)] = None
        for gone in [stream for stream in list(self._streams) if not stream()]:
            self._streams.pop(gone, None)

    def look(self) -> Backlog | None:
        """Return the backlog; None if no stream lives, or if Redis does not answer."""
        if time.monotonic() > self._look_again:
            living = [backlog for stream in list(self._streams) if (backlog := stream())]
            self._backlog = None
            with suppress(Exception):  # a client of yours may raise anything; an old number would be wrong
                self._backlog = living[-1]() if living else None
            self._look_again = time.monotonic() + FRESH_S
        return self._backlog


Groups = dict[tuple[tuple[str, str | int], ...], WatchedGroup]
_groups: WeakKeyDictionary[Meter, Groups] = WeakKeyDictionary()


def _groups_of(meter: Meter) -> Groups:
    """
    Return the groups that the gauges of *meter* show. The gauges are made once, with the first group: of two gauges
    with one name an SDK asks only the first.
    """
    groups = _groups.setdefault(meter, {})
    if groups:
        return groups
    for name, unit, about, read in (
        ("orderstream.lag", "{message}", "not yet delivered", lambda b: b.lag),
        ("orderstream.pending", "{message}", "delivered, not yet acked", lambda b: b.pending),
        ("orderstream.oldest_undelivered_age", "s", "of what waits for a reader", lambda b: b.oldest_undelivered_s),
        ("orderstream.oldest_pending_age", "s", "of what was delivered", lambda b: b.oldest_pending_s),
        ("orderstream.dlq.length", "{message}", "dead letters", lambda b: b.dead_lettered),
    ):

        def observed(_: CallbackOptions, read: Callable[[Backlog], float | None] = read) -> list[Observation]:
            looked = [(group.look(), group.attributes) for group in list(groups.values())]
            numbers = [(read(backlog), attributes) for backlog, attributes in looked if backlog]
            return [Observation(number, attributes) for number, attributes in numbers if number is not None]

        meter.create_observable_gauge(name, [observed], unit, about)
    return groups


# Contexts in entries ---------------------------------------------------------------------------------------


def _carried(span: Span) -> Fields:
    """Return the fields that carry the context of *span*, names and values in turn."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, _ROOT))
    return tuple(text.encode() for pair in carrier.items() for text in pair)


def creation_of(fields: Iterable[tuple[bytes, bytes]]) -> SpanContext | None:
    """Return the context that *fields*, pairs of name and value, carry; None if there is none or it is not valid."""
    headers = dict(fields)
    return _context_of(headers.get(b"traceparent", b""), headers.get(b"tracestate", b""))


@lru_cache(maxsize=64)  # the entries of a batch share their context
def _context_of(traceparent: bytes, tracestate: bytes) -> SpanContext | None:
    headers = (("traceparent", traceparent), ("tracestate", tracestate))
    carrier = {name: value.decode("ascii", "replace") for name, value in headers if len(value) <= LONGEST_HEADER}
    found = trace.get_current_span(_w3c.extract(carrier, _ROOT)).get_span_context()
    return found if found.is_valid else None


def _creation(entry: Entry) -> SpanContext | None:
    return creation_of(zip(entry.fields[::2], entry.fields[1::2], strict=True)) if len(entry.fields) > 2 else None


def _below(parent: SpanContext | None) -> Context:
    """Return the context for a child of *parent*; without a parent, that for the root of a new trace."""
    return trace.set_span_in_context(NonRecordingSpan(parent), _ROOT) if parent else _ROOT


def _named(name: str | None) -> Attributes:
    return {} if name is None else {ORDER_ID: name}


def _links(*contexts: SpanContext | None) -> list[Link]:
    return [Link(one) for one in contexts if one and one.is_valid]


def _server(url: str) -> Attributes:
    """Return the address of Redis, and nothing else of *url*: it may hold a password. Of Sentinels, the first one's."""
    if SENTINEL in url:
        from orderstream.sentinel import read_url

        (host, port), *_ = read_url(url).sentinels
        return {"server.address": host, "server.port": port}
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return {"server.address": parts.path}
    return {"server.address": parts.hostname or "localhost", "server.port": parts.port or 6379}


def _failed(problem: BaseException | None) -> Attributes:
    """Name the type of what went wrong."""
    if problem is None:
        return {}
    kind = type(problem)
    return {ERROR: kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"}
