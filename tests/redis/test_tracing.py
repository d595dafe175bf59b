"""What OpenTelemetry is told. A real SDK listens, in this process; tests of two processes are in test_export."""

import gc
import json
import subprocess
import sys
import weakref
from dataclasses import replace
from itertools import islice

import pytest
import redis
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from orderstream import (
    Consumer,
    DeadLetterQueue,
    Defer,
    Order,
    OrderStream,
    Producer,
    Reject,
    SendUnknown,
    connect,
    random_orders,
)
from orderstream.observer import NOBODY
from orderstream.tracing import creation_of

TEA = Order("4711", "tea", 2)


class Spans:
    """The spans that ended, of one provider."""

    def __init__(self, sampler):
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def all(self):
        return sorted(self._kept.get_finished_spans(), key=lambda span: span.start_time)

    def named(self, operation):
        return [span for span in self.all() if span.name.startswith(f"{operation} ")]

    def one(self, operation):
        (span,) = self.named(operation)
        return span


@pytest.fixture
def listen(monkeypatch):
    """Set up an SDK, as an application does once; returns the spans it hears of."""

    def set_up(sampler=ALWAYS_ON):
        spans = Spans(sampler)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)
        return spans

    return set_up


@pytest.fixture
def spans(listen):
    return listen()


@pytest.fixture
def measured(monkeypatch):
    """What the metrics say now: {name: [(attributes, value or count)]}."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)

    def read():
        found = {}
        data = reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        number = point.value if hasattr(point, "value") else point.count
                        found.setdefault(metric.name, []).append((dict(point.attributes), number))
        return found

    yield read
    provider.shutdown()


@pytest.fixture
def application(spans):
    """A span of the application's own."""
    return trace.get_tracer("application").start_as_current_span


def fail(order):
    raise ValueError(f"no {order.item}")


def again(stream):
    """The same stream, as a process that starts now sees it."""
    return OrderStream(stream.client, stream.settings)


def parent(span):
    return span.parent.span_id if span.parent else None


def linked(span):
    return [link.context.span_id for link in span.links]


# One order ---------------------------------------------------------------------------------------------------


def test_all_that_happens_to_an_order_is_in_the_trace_of_whoever_sent_it(stream, spans, application):
    """Sent inside an application's span, failed three times, dead-lettered, redriven, handled."""
    with application("checkout") as checkout:
        Producer(stream).send(TEA)
    Consumer(stream, fail, "ann").drain()
    queue = DeadLetterQueue(stream)
    with application("repair") as repair:
        queue.redrive(*(letter.id for letter in queue.list()))
    Consumer(stream, print, "bob").drain()

    of_order = [span for span in spans.all() if span.context.trace_id == checkout.get_span_context().trace_id]
    name = stream.settings.stream
    assert [(span.name, span.kind) for span in of_order] == [
        ("checkout", SpanKind.INTERNAL),
        (f"send {name}", SpanKind.PRODUCER),
        (f"process {name}", SpanKind.CONSUMER),
        (f"retry {name}", SpanKind.CLIENT),
        (f"process {name}", SpanKind.CONSUMER),
        (f"retry {name}", SpanKind.CLIENT),
        (f"process {name}", SpanKind.CONSUMER),
        (f"dead_letter {name}", SpanKind.CLIENT),
        (f"send {name}", SpanKind.PRODUCER),
        (f"process {name}", SpanKind.CONSUMER),
        (f"ack {name}", SpanKind.CLIENT),
    ]
    ids = [span.context.span_id for span in of_order]
    _, sent, first, _, second, _, third, _, again, last, _ = ids
    assert [parent(span) for span in of_order] == [
        None, ids[0], sent, first, sent, second, sent, third, sent, sent, last
    ]  # fmt: skip
    assert [linked(span) for span in of_order if span.kind is SpanKind.CONSUMER] == [[sent]] * 4
    assert linked(of_order[8]) == [repair.get_span_context().span_id]
    assert len({again, *ids}) == 11
    assert {span.name for span in spans.all() if span not in of_order} == {"repair"}


def test_a_span_names_the_order_the_entry_the_consumer_and_the_attempt(stream, spans):
    id = Producer(stream).send(TEA)
    Consumer(stream, print, "ann").drain()
    s = stream.settings
    host, _, port = s.redis_url.removeprefix("redis://").partition(":")
    common = {
        "messaging.system": "redis",
        "messaging.destination.name": s.stream,
        "server.address": host,
        "server.port": int(port),
        "messaging.message.id": id,
    }
    assert spans.one("send").attributes == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.conversation_id": "4711",
    }
    of_ann = common | {
        "messaging.consumer.group.name": s.group,
        "messaging.client.id": "ann",
        "orderstream.delivery.attempt": 1,
    }
    assert spans.one("process").attributes == of_ann | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.conversation_id": "4711",
        "orderstream.outcome": "ack",
    }
    assert spans.one("ack").attributes == of_ann | {
        "messaging.operation.name": "ack",
        "messaging.operation.type": "settle",
    }


def test_what_a_handler_does_belongs_to_the_order_and_is_linked_to_who_called_the_consumer(stream, spans, application):
    def handle(order):
        with application("charge the card"):
            pass

    Producer(stream).send(TEA)
    with application("batch job") as caller:
        Consumer(stream, handle).drain()
    process = spans.one("process")
    assert parent(spans.one("charge")) == process.context.span_id
    assert linked(process) == [spans.one("send").context.span_id, caller.get_span_context().span_id]


@pytest.mark.parametrize(
    ("error", "settled", "failed_with"),
    [
        (Defer(10), "defer", None),
        (Reject("sold out"), "dead_letter", "orderstream.errors.Reject"),
        (KeyError("x"), "retry", "KeyError"),
    ],
    ids=["Defer", "Reject", "an error"],
)
def test_a_span_says_how_its_handler_run_ended(stream, spans, error, settled, failed_with):
    first = True

    def handle(order):
        nonlocal first
        if first:
            first = False
            raise error

    Producer(stream).send(TEA)
    Consumer(stream, handle).drain()
    process = spans.named("process")[0]
    assert process.attributes["orderstream.outcome"] == settled
    assert process.attributes.get("error.type") == failed_with
    assert process.status.status_code is (StatusCode.ERROR if failed_with else StatusCode.UNSET)
    assert parent(spans.one(settled)) == process.context.span_id


def test_an_order_whose_consumers_died_is_dead_lettered_in_its_senders_trace(stream, spans, client):
    id = Producer(stream).send(TEA)
    stream.create_group()
    client.xreadgroup(stream.settings.group, "dead", {stream.settings.stream: ">"})
    client.xclaim(stream.settings.stream, stream.settings.group, "dead", 0, [id], idle=60_000, retrycount=3)
    Consumer(stream, print).drain()
    assert parent(spans.one("dead_letter")) == spans.one("send").context.span_id
    assert not spans.named("process")


def test_orders_that_a_stopped_consumer_gives_back_have_a_span_in_their_traces(stream, spans):
    Producer(stream).send(TEA)
    Producer(stream).send(Order("4712", "tea", 1))
    consumer = Consumer(stream, lambda order: consumer.stop(), "ann")
    consumer._wanted = 2  # both in one batch
    consumer.run()
    first, second = spans.named("send")
    assert parent(spans.one("release")) == second.context.span_id
    assert spans.one("process").context.trace_id == first.context.trace_id


def test_a_dead_letter_without_a_context_is_redriven_in_the_callers_trace(stream, spans, application):
    stream.add([TEA.to_fields()])
    Consumer(stream, fail).drain()
    (letter,) = DeadLetterQueue(stream).list()
    with application("repair") as repair:
        assert len(DeadLetterQueue(stream).redrive(letter.id, letter.id)) == 1
    assert parent(spans.one("send")) == repair.get_span_context().span_id


# Batches and sampling ------------------------------------------------------------------------------------------


def test_a_batch_is_sent_in_one_span_that_each_of_its_handler_runs_links_to(stream, spans):
    Producer(stream).send_many(islice(random_orders(1), 20))
    Consumer(stream, lambda order: None).drain()
    sent = spans.one("send")
    assert sent.attributes["messaging.batch.message_count"] == 20
    runs = spans.named("process")
    assert [linked(run) for run in runs] == [[sent.context.span_id]] * 20
    assert [parent(ack) for ack in spans.named("ack")] == [run.context.span_id for run in runs]


def test_whoever_sends_decides_whether_an_order_is_sampled(stream, listen, client):
    listen(ParentBased(ALWAYS_OFF))
    Producer(stream).send(TEA)
    ((_, fields),) = client.xrange(stream.settings.stream)
    assert creation_of(fields.items()).trace_flags.sampled is False
    heard = listen(ALWAYS_ON)
    Consumer(again(stream), print).drain()
    assert not heard.all()


def test_senders_that_are_not_trusted_are_only_linked(settings, stream, listen):
    spans = listen()
    Producer(stream).send(TEA)
    sent = spans.one("send")
    linking = connect(replace(settings, trace_parent="link"))
    Consumer(linking, fail).drain()
    runs = spans.named("process")
    assert [(parent(run), linked(run)) for run in runs] == [(None, [sent.context.span_id])] * 3
    assert len({run.context.trace_id for run in [sent, *runs]}) == 4
    assert parent(spans.one("dead_letter")) == runs[-1].context.span_id
    linking.close()


def test_a_sender_that_is_not_trusted_cannot_switch_sampling_on(settings, stream, listen):
    listen(ALWAYS_ON)
    Producer(stream).send(TEA)
    heard = listen(ParentBased(ALWAYS_OFF))
    linking = connect(replace(settings, trace_parent="link"))
    Consumer(linking, fail).drain()
    DeadLetterQueue(linking).redrive_all()
    assert not heard.all()
    linking.close()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"ff-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-" + b"1" * 32 + b"-" + b"1" * 16,
        b"\xff\xfe\x00",
        b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01" + b"-x" * 100_000,
        "００-1-1-01".encode(),
    ],
    ids=["empty", "zeros", "version ff", "no flags", "no text", "endless", "other digits"],
)
def test_a_context_that_is_no_good_begins_a_new_trace(stream, spans, header):
    stream.add([(*TEA.to_fields(), b"traceparent", header, b"tracestate", b"a=1," * 100_000)])
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == [TEA]
    run = spans.one("process")
    assert (parent(run), linked(run)) == (None, [])


def test_a_context_is_found_wherever_it_stands_among_the_fields(stream, spans):
    contexts = [b"00-%032x-%016x-01" % (n, n) for n in (1, 2, 3)]
    data = TEA.to_fields()
    stream.add(
        [
            (b"traceparent", contexts[0], *data),
            (*data, b"region", b"eu", b"traceparent", contexts[1], b"tracestate", b"vendor=1"),
            (*data, b"traceparent", contexts[2]),
        ]
    )
    Consumer(stream, lambda order: None).drain()
    assert [run.context.trace_id for run in spans.named("process")] == [1, 2, 3]


def test_an_order_is_not_taken_for_the_one_before_it_that_was_not_sampled(stream, spans):
    """Both end with the same field of another program's."""
    for n, sampled in (1, b"00"), (2, b"01"):
        stream.add([(*TEA.to_fields(), b"traceparent", b"00-%032x-%016x-%b" % (n, n, sampled), b"region", b"eu")])
    Consumer(stream, lambda order: None).drain()
    assert [run.context.trace_id for run in spans.named("process")] == [2]


# What is never told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace_errors", ["type", "message"])
def test_no_span_and_no_metric_holds_a_payload_a_password_or_unasked_a_message(
    settings, stream, client, spans, measured, trace_errors
):
    url = settings.redis_url.replace("redis://", "redis://default:hush-hush@")
    secretive = connect(replace(settings, redis_url=url, trace_errors=trace_errors))
    Producer(secretive).send(Order("4711", "a-secret-item", 2))
    Consumer(secretive, fail).drain()
    told = json.dumps([json.loads(span.to_json()) for span in spans.all()]) + repr(measured())
    assert "hush-hush" not in told
    assert '"item"' not in told
    assert ("no a-secret-item" in told) is (trace_errors == "message")
    secretive.close()


def test_baggage_does_not_travel(stream, spans, client):
    token = context.attach(baggage.set_baggage("customer", "ann"))
    Producer(stream).send(TEA)
    context.detach(token)
    ((_, fields),) = client.xrange(stream.settings.stream)
    assert set(fields) == {b"data", b"traceparent"}
    assert creation_of(fields.items()).span_id == spans.one("send").context.span_id


# Without an SDK ----------------------------------------------------------------------------------------------

UNTRACED = """
import sys
sys.modules[sys.argv[1]] = None       # not installed, for all who ask
from orderstream import Consumer, Order, Producer, connect
stream = connect()
Producer(stream).send(Order("4711", "tea", 2))
Consumer(stream, print).drain()
assert "orderstream.tracing" not in sys.modules
"""


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk"])
def test_without_an_sdk_nothing_of_opentelemetry_is_needed(settings, missing):
    environ = {"REDIS_URL": settings.redis_url, "ORDERSTREAM_STREAM": settings.stream}
    done = subprocess.run([sys.executable, "-c", UNTRACED, missing], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_told_or_written_until_an_application_sets_up_its_sdk(stream, client):
    Producer(stream).send(TEA)
    assert stream.observer is NOBODY
    ((_, fields),) = client.xrange(stream.settings.stream)
    assert set(fields) == {b"data"}


def test_a_consumer_that_is_there_already_finds_an_sdk_that_is_set_up_later(stream, listen, eventually):
    consumer, producer = Consumer(stream, print), Producer(stream)
    producer.send(TEA)
    consumer.drain()
    spans = listen()
    eventually(lambda: stream.observer is not NOBODY)
    producer.send(TEA)
    consumer.drain()
    assert len(spans.named("process")) == 1


# Trouble -----------------------------------------------------------------------------------------------------


def test_a_lost_reply_is_told_by_its_type(linked_stream, link, spans, measured):
    link.lose_reply("XADD")
    with pytest.raises(SendUnknown):
        Producer(linked_stream).send(TEA)
    assert spans.one("send").attributes["error.type"] == "orderstream.connection.ReplyLost"
    ((about, count),) = measured()["messaging.client.sent.messages"]
    assert (about["error.type"], count) == ("orderstream.connection.ReplyLost", 1)


def test_an_order_that_was_claimed_away_is_told_as_a_lost_lease(stream, spans, measured, client):
    def overtaken(order):
        client.xclaim(stream.settings.stream, stream.settings.group, "bob", 0, [id])
        raise ValueError

    id = Producer(stream).send(TEA)
    Consumer(stream, overtaken, "ann").step()
    assert spans.one("retry").attributes["orderstream.outcome"] == "lease_lost"
    ((_, count),) = measured()["orderstream.messages.lease_lost"]
    assert count == 1
    assert "orderstream.messages.retried" not in measured()


def test_a_redrive_that_redis_refuses_is_told_with_its_error_and_how_long_it_took(stream, spans, measured):
    """The stream is no stream; the dead letter stays."""
    stream.add([[b"no", b"order"]])
    Consumer(stream, print).drain()
    stream.client.rename(stream.settings.stream, f"{stream.settings.stream}-old")
    stream.client.set(stream.settings.stream, "not a stream")
    (letter,) = DeadLetterQueue(stream).list()
    with pytest.raises(redis.ResponseError):
        DeadLetterQueue(stream).redrive(letter.id)
    assert spans.one("send").attributes["error.type"] == "redis.exceptions.ResponseError"
    operations = [about for about, _ in measured()["messaging.client.operation.duration"]]
    assert [about["error.type"] for about in operations if about["messaging.operation.name"] == "send"] == [
        "redis.exceptions.ResponseError"
    ]


# Metrics -----------------------------------------------------------------------------------------------------


def test_metrics_count_what_happened_and_show_the_backlog(stream, measured, client):
    Producer(stream).send_many([TEA, Order("4712", "figs", 1)])
    lost = Producer(stream).send(Order("4713", "rice", 1))
    stream.create_group()
    stream.read_new("dead", 10, None)
    client.xdel(stream.settings.stream, lost)

    def handle(order):
        if order.item == "figs":
            raise ValueError

    Consumer(stream, handle).drain()
    found = measured()
    counts = {name: sum(number for _, number in points) for name, points in found.items()}
    expected = {
        "messaging.client.sent.messages": 3,
        "orderstream.messages.retried": 1,
        "orderstream.messages.dead_lettered": 1,
        "orderstream.messages.lost": 1,
        "orderstream.pending": 0,
        "orderstream.dlq.length": 1,
    }
    assert {name: counts[name] for name in expected} == expected
    assert counts["messaging.process.duration"] == counts["messaging.client.consumed.messages"] == 3
    told = {name for points in found.values() for attributes, _ in points for name in attributes}
    assert not told & {"messaging.client.id", "messaging.message.id", "messaging.message.conversation_id"}


def test_gauges_show_lag_and_ages_while_orders_wait(patient, measured):
    Consumer(patient, fail).drain()
    Producer(patient).send_many([TEA, Order("4712", "tea", 1)])
    patient.read_new("ann", 1, None)
    lag = [] if patient.backlog().lag is None else [1]  # Redis 6.2 does not know it
    found = measured()
    assert [number for _, number in found.get("orderstream.lag", [])] == lag
    assert [number for _, number in found["orderstream.pending"]] == [1]
    assert {"orderstream.oldest_undelivered_age", "orderstream.oldest_pending_age"} <= set(found)


@pytest.mark.row(89)
def test_the_gauges_of_a_stream_stay_when_a_second_one_of_its_group_ends(stream, settings, measured, monkeypatch):
    monkeypatch.setattr("orderstream.tracing.FRESH_S", 0)

    def a_task(settings):
        short = connect(settings)
        Consumer(short, print).drain()
        short.close()

    consumer = Consumer(stream, print)
    consumer.drain()
    assert [number for _, number in measured()["orderstream.pending"]] == [0]
    a_task(settings)
    a_task(replace(settings, max_attempts=7))
    gc.collect()
    stream.add([TEA.to_fields()])
    stream.read_new("ann", 1, None)
    assert [number for _, number in measured()["orderstream.pending"]] == [1]


def test_each_group_of_a_process_has_its_gauges(stream, settings, measured):
    other = connect(replace(settings, group="accounting"))
    for one in stream, other:
        Consumer(one, print).drain()
    stream.add([TEA.to_fields()])
    other.read_new("ann", 1, None)
    pending = {about["messaging.consumer.group.name"]: number for about, number in measured()["orderstream.pending"]}
    assert pending == {settings.group: 0, "accounting": 1}
    other.close()


def test_a_consumer_that_was_there_before_its_sdk_has_gauges(stream, request, eventually):
    consumer = Consumer(stream, print)
    consumer.drain()
    measured = request.getfixturevalue("measured")
    eventually(lambda: stream.observer is not NOBODY)
    consumer.step()
    assert "orderstream.pending" in measured()


def test_a_gauge_keeps_no_stream_alive(settings, measured):
    stream = connect(replace(settings, stream=f"{settings.stream}-short", dlq=f"{settings.stream}-dlq"))
    Consumer(stream, print).drain()
    stream.close()
    weakly = weakref.ref(stream)
    del stream
    gc.collect()
    assert weakly() is None
    assert "orderstream.pending" not in measured()
