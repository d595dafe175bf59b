"""
What happens to an order, told to OpenTelemetry as spans and metrics.

    send orders      PRODUCER  one for each batch; its context travels in every entry of it, as ``traceparent``
    process orders   CONSUMER  one for each delivery: child of the send span, and linked to it
    ack orders       CLIENT    child of the process span; so are retry, defer, release and dead_letter
    send orders      PRODUCER  a redrive: child of the first send span, linked to whoever asked for it

All that happens to one order is one trace. An order whose sender was not sampled costs nothing here.

Nobody imports this file unless there is an OpenTelemetry SDK, and nothing happens until the application has set it up:
see ``OrderStream.telemetry``.
No span holds a payload, a password or an error message; an order is named by its id, a failure by its type.
The names are OpenTelemetry's: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import ref

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, NoOpMeter, Observation
from opentelemetry.trace import Link, NonRecordingSpan, NoOpTracer, Span, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from orderstream.config import Settings
    from orderstream.order import Order
    from orderstream.policy import Decision
    from orderstream.stream import Backlog, Entry, OrderStream

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

LONGEST_HEADER = 512  # what W3C promises to carry of a tracestate; no honest traceparent is half as long
BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
FRESH_S = 1.0  # all gauges of one collection show the same look at Redis

Fields = tuple[bytes, ...]
Attributes = dict[str, str | int]
Creations = Mapping[str, SpanContext | None]  # entry id -> the context of the span that sent it

_w3c = TraceContextTextMapPropagator()  # not the global one: it may write baggage too, and so into the dead letters
_ROOT = Context()


def telemetry(settings: Settings) -> Telemetry | None:
    """Return what tells OpenTelemetry about this stream; None if spans and metrics have nowhere to go."""
    return _telemetry(trace.get_tracer_provider(), metrics.get_meter_provider(), settings)


@lru_cache(maxsize=32)
def _telemetry(tracers: Any, meters: Any, settings: Settings) -> Telemetry | None:
    # The API brings providers of its own, which do nothing.
    tracing = not type(tracers).__module__.startswith("opentelemetry.trace")
    metering = not type(meters).__module__.startswith("opentelemetry.metrics")
    if not (tracing or metering):
        return None
    tracer = tracers.get_tracer("orderstream") if tracing else NoOpTracer()
    return Telemetry(tracer, meters.get_meter("orderstream") if metering else None, settings)


class Telemetry:
    """
    Tells OpenTelemetry about one stream.

    Args:
        tracer: Makes the spans.
        meter: Makes the metrics; None if nobody wants them.
        settings: Of the stream.
    """

    def __init__(self, tracer: Tracer, meter: Meter | None, settings: Settings) -> None:
        self.tracer = tracer
        self._metering = meter is not None
        self._meter = meter = meter or NoOpMeter("orderstream")
        self.settings = settings
        self._base: Attributes = {SYSTEM: "redis", DESTINATION: settings.stream, **_server(settings.redis_url)}
        self.of_group: Attributes = {**self._base, GROUP: settings.group}
        self._watched: ref[OrderStream] | None = None
        self._backlog: Backlog | None = None
        self._look_again = 0.0

        def duration(name: str, about: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", about, explicit_bucket_boundaries_advisory=BUCKETS_S)

        def counter(name: str, about: str) -> metrics.Counter:
            return meter.create_counter(name, "{message}", about)

        self._operation_s = duration("messaging.client.operation.duration", "asking Redis to send or settle orders")
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

    @contextmanager
    def sending(self, orders: Sequence[Order]) -> Iterator[Sending]:
        """One span for all of *orders*, and so one decision whether they are sampled."""
        about: Attributes = {ORDER_ID: orders[0].id} if len(orders) == 1 else {COUNT: len(orders)}
        attributes = {**self._base, OPERATION: "send", OPERATION_TYPE: "send", **about}
        name = f"send {self.settings.stream}"
        span = self.tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes)
        sending, began = Sending(span), time.perf_counter()
        try:
            yield sending
        except BaseException as error:
            sending.problem = error
            raise
        finally:
            self.fail(span, sending.problem)
            span.end()
            failed = _failed(sending.problem)
            self._took("send", began, self._base | failed)
            if sending.confirmed:
                self._sent.add(sending.confirmed, self._base | {OPERATION: "send"})
            if unconfirmed := len(orders) - sending.confirmed:
                self._sent.add(unconfirmed, self._base | {OPERATION: "send"} | failed)

    @contextmanager
    def redriving(self, fields: Mapping[bytes, bytes]) -> Iterator[Callable[[str | None], None]]:
        """
        One span for a dead letter that goes back into the stream. Its fields keep the context they came with.

        Yields:
            A function to call with the new entry id.
        """
        creation, caller = creation_of(fields.items()), trace.get_current_span().get_span_context()
        parent, linked = (creation, caller) if self.trusted(creation) else (caller, creation)
        attributes = {**self._base, OPERATION: "send", OPERATION_TYPE: "send", OUTCOME: "redrive"}
        name, began = f"send {self.settings.stream}", time.perf_counter()
        span = self.tracer.start_span(name, _below(parent), SpanKind.PRODUCER, attributes, _links(linked))

        def done(id: str | None) -> None:
            if id:
                span.set_attribute(ENTRY_ID, id)
                self._sent.add(1, self._base | {OPERATION: "send"})

        problem: BaseException | None = None
        try:
            yield done
        except BaseException as error:
            problem = error
            raise
        finally:
            self.fail(span, problem)
            span.end()
            self._took("send", began, self._base | _failed(problem))

    # Handling ---------------------------------------------------------------------------------------

    def deliveries(self, consumer: str, entries: Sequence[Entry]) -> Deliveries | None:
        """
        Take note of what *consumer* was given.

        Returns:
            What tells of those that are to be told of; None if there are none.
        """
        if entries and self._metering:
            self._consumed.add(len(entries), self.of_group)
        creations: dict[str, SpanContext | None] = {}
        unwanted = None  # the entries of a batch end with the same context: nearly all are done with in 0.1 µs
        for entry in entries:
            if (last := entry.fields[-1]) == unwanted:
                continue
            creation = _creation(entry)
            if creation is None or self._wants(creation):
                creations[entry.id] = creation
            elif entry.fields[-2] == b"traceparent":
                unwanted = last
        return Deliveries(self, consumer, creations) if creations else None

    def _wants(self, creation: SpanContext) -> bool:
        """Whoever sent the order has decided whether it is sampled, unless its senders are not trusted."""
        return self._metering or creation.trace_flags.sampled or not self.trusted(creation)

    def trusted(self, creation: SpanContext | None) -> SpanContext | None:
        return creation if self.settings.trace_parent == "creation" else None

    def lost(self, count: int) -> None:
        """*count* entries were deleted from the stream before they were handled."""
        self._lost.add(count, self.of_group)

    def lease_lost(self) -> None:
        """An entry was claimed away before its handler began."""
        self._lease_lost.add(1, self.of_group)

    @contextmanager
    def settling(
        self, operation: str, consumer: str, entries: Sequence[Entry], processed: Mapping[str, SpanContext]
    ) -> Iterator[Callable[[bool], None]]:
        """
        Tell of an ack, retry, defer, release or dead_letter: a span for each entry, so that each trace is whole.

        Args:
            operation: Which of them.
            consumer: Who settles.
            entries: What is settled.
            processed: Entry id -> the context of the span of its handler run, as far as there were any.

        Yields:
            A function to call with False if somebody else has the entries by now.
        """
        attributes = {**self.of_group, OPERATION: operation, OPERATION_TYPE: "settle", CONSUMER: consumer}
        name, began, began_ns, held = f"{operation} {self.settings.stream}", time.perf_counter(), time.time_ns(), True

        def told(still_held: bool) -> None:
            nonlocal held
            held = still_held

        problem: BaseException | None = None
        try:
            yield told
        except BaseException as error:
            problem = error
            raise
        finally:
            ended_ns = time.time_ns()
            for entry in entries:
                parent = processed.get(entry.id) or self.trusted(_creation(entry))
                if not (parent and parent.trace_flags.sampled):
                    continue
                about = {**attributes, ENTRY_ID: entry.id, ATTEMPT: entry.attempt}
                span = self.tracer.start_span(name, _below(parent), SpanKind.CLIENT, about, start_time=began_ns)
                if not held:
                    span.set_attribute(OUTCOME, "lease_lost")
                self.fail(span, problem)
                span.end(ended_ns)
            self._took(operation, began, self.of_group | _failed(problem))
            if not held:
                self._lease_lost.add(len(entries), self.of_group)
            elif operation in self._settled and not problem:
                self._settled[operation].add(len(entries), self.of_group)

    # Watching ---------------------------------------------------------------------------------------

    def observe(self, stream: OrderStream) -> None:
        """
        Show the backlog of *stream* as gauges: lag, pending, oldest ages, dead letters. Each collection looks once.

        Redis: see ``OrderStream.backlog``.
        """
        first, self._watched = self._watched is None, ref(stream)  # weakly: no gauge keeps a stream alive
        if not first:
            return
        for name, unit, about, read in (
            ("orderstream.lag", "{message}", "not yet delivered", lambda b: b.lag),
            ("orderstream.pending", "{message}", "delivered, not yet acked", lambda b: b.pending),
            ("orderstream.oldest_undelivered_age", "s", "of what waits for a reader", lambda b: b.oldest_undelivered_s),
            ("orderstream.oldest_pending_age", "s", "of what was delivered", lambda b: b.oldest_pending_s),
            ("orderstream.dlq.length", "{message}", "dead letters", lambda b: b.dead_lettered),
        ):

            def observed(_: CallbackOptions, read: Callable[[Backlog], float | None] = read) -> list[Observation]:
                backlog = self._look()
                number = None if backlog is None else read(backlog)
                return [] if number is None else [Observation(number, self.of_group)]

            self._meter.create_observable_gauge(name, [observed], unit, about)

    def _look(self) -> Backlog | None:
        if time.monotonic() > self._look_again:
            stream = self._watched() if self._watched else None
            self._backlog = None
            with suppress(Exception):  # whatever a client of yours raises: no number is better than an old one
                self._backlog = stream.backlog() if stream else None
            self._look_again = time.monotonic() + FRESH_S
        return self._backlog

    # What they share ----------------------------------------------------------------------------------

    def fail(self, span: Span, problem: BaseException | None) -> None:
        if problem is not None:
            span.set_attributes(_failed(problem))
            if self.settings.trace_errors == "message":
                span.set_status(StatusCode.ERROR, str(problem))
                span.record_exception(problem)
            else:
                span.set_status(StatusCode.ERROR)

    def _took(self, operation: str, began: float, attributes: Attributes) -> None:
        self._operation_s.record(time.perf_counter() - began, attributes | {OPERATION: operation})


class Sending:
    """
    A batch on its way.

    Attributes:
        fields: What each of its entries carries, names and values in turn.
        confirmed: How many of the orders Redis has confirmed.
        problem: What went wrong.
    """

    def __init__(self, span: Span) -> None:
        carrier: dict[str, str] = {}
        _w3c.inject(carrier, trace.set_span_in_context(span, _ROOT))
        self.fields: Fields = tuple(text.encode() for pair in carrier.items() for text in pair)
        self.confirmed = 0
        self.problem: BaseException | None = None
        self._span = span

    def sent(self, replies: Sequence[Any], problem: Exception | None) -> None:
        """Take note of what Redis replied: entry ids as bytes, as far as it confirmed the orders."""
        self.problem = problem
        self.confirmed = sum(isinstance(reply, bytes) for reply in replies) if problem else len(replies)
        if len(replies) == 1 == self.confirmed:
            self._span.set_attribute(ENTRY_ID, replies[0].decode())


class Deliveries:
    """
    What is told of the entries in a consumer's hand.

    Attributes:
        processed: Entry id -> the context of the span of its handler run.
    """

    def __init__(self, telemetry: Telemetry, consumer: str, creations: Creations) -> None:
        self.processed: dict[str, SpanContext] = {}
        self._telemetry = telemetry
        self._consumer = consumer
        self._creations = creations

    def __contains__(self, id: str) -> bool:
        return id in self._creations

    @contextmanager
    def processing(
        self, entry: Entry, decide: Callable[[Entry, Exception], Decision]
    ) -> Iterator[Callable[[str], None]]:
        """
        One span for one handler run. It is current meanwhile: what the handler does belongs to the same trace.

        Args:
            entry: What is handled.
            decide: Says what becomes of it if the handler raises.

        Yields:
            A function to call with the order's id, once it is known.
        """
        told = self._telemetry
        creation, caller = self._creations[entry.id], trace.get_current_span().get_span_context()
        about = {OPERATION: "process", OPERATION_TYPE: "process"}
        span = told.tracer.start_span(
            f"process {told.settings.stream}",
            _below(told.trusted(creation)),
            SpanKind.CONSUMER,
            told.of_group | about | {CONSUMER: self._consumer, ENTRY_ID: entry.id, ATTEMPT: entry.attempt},
            _links(creation, caller),
        )
        self.processed[entry.id] = span.get_span_context()
        token, began = context.attach(trace.set_span_in_context(span)), time.perf_counter()
        failed: Attributes = {}
        try:
            yield lambda order_id: span.set_attribute(ORDER_ID, order_id)
            span.set_attribute(OUTCOME, "ack")
        except BaseException as error:
            outcome = decide(entry, error).outcome.value if isinstance(error, Exception) else "interrupted"
            span.set_attribute(OUTCOME, outcome)
            if outcome != "defer":
                failed = _failed(error)
                told.fail(span, error)
            raise
        finally:
            context.detach(token)
            span.end()
            told.process_s.record(time.perf_counter() - began, told.of_group | about | failed)


# Contexts in entries ---------------------------------------------------------------------------------------


def creation_of(fields: Iterable[tuple[bytes, bytes]]) -> SpanContext | None:
    """Return the context that *fields*, pairs of name and value, carry; None if there is none or it is no good."""
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
    """Where a child of *parent* begins; without one, at the root of a new trace."""
    return trace.set_span_in_context(NonRecordingSpan(parent), _ROOT) if parent else _ROOT


def _links(*contexts: SpanContext | None) -> list[Link]:
    return [Link(one) for one in contexts if one and one.is_valid]


def _server(url: str) -> Attributes:
    """Where Redis is: nothing else of *url*, it may hold a password."""
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
