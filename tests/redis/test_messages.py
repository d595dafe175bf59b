"""Messages of a type of your own, from one side of the stream to the other."""

import json
import uuid
from dataclasses import dataclass, replace

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orderstream import Consumer, DeadLetterQueue, Order, OrderStream, Producer, Reject, SendUnknown, connect
from orderstream.errors import ConfigError, OrderError
from orderstream.tracing import ORDER_ID
from tests.payments import KINDS, OfDataclass, OfPydantic, OfTypedDict, paid, spoilt

each_kind = pytest.mark.parametrize("kind", KINDS)
PAYMENTS = [paid(OfDataclass, id=f"p-{n}") for n in range(9)]


@pytest.fixture
def of(stream):
    """This test's stream, of messages of another type: ``of(Payment)``, ``of(Payment, key=…)``."""
    return lambda message, key=None: OrderStream(stream.client, stream.settings, message, key)


@pytest.fixture
def in_stream(client, settings):
    """The messages in the stream, as their JSON."""
    return lambda: [json.loads(fields[b"data"]) for _, fields in client.xrange(settings.stream)]


def reasons(stream):
    return [letter.reason for letter in DeadLetterQueue(stream)]


# There and back ----------------------------------------------------------------------------------------------


@each_kind
def test_what_is_sent_comes_to_the_handler(settings, kind):
    stream, handled = connect(settings, message=kind), []
    payments = [paid(kind, id=f"p-{n}", cents=n) for n in range(1, 10)]
    Producer(stream).send(payments[0])
    Producer(stream).send_many(payments[1:])
    assert Consumer(stream, handled.append).drain() == 9
    assert handled == payments
    assert {type(one) for one in handled} == {type(payments[0])}
    stream.close()


@each_kind
def test_programs_in_other_languages_share_the_stream(of, client, settings, in_stream, kind):
    handled = []
    client.xadd(settings.stream, {"origin": "till", "data": '{"cents":250,"rate":1.5,"id":"ö","shop":7}'})
    Consumer(of(kind), handled.append).drain()
    assert handled == [paid(kind, id="ö", rate=1.5)]
    Producer(of(kind)).send(handled[0])
    assert in_stream()[1] == {"id": "ö", "cents": 250, "rate": 1.5}


def test_a_type_that_cannot_be_a_message_is_refused_before_anything_is_asked_of_redis(settings):
    with pytest.raises(ConfigError, match="complex cannot be a message"):
        connect(replace(settings, redis_url="redis://127.0.0.1:1"), message=complex)


# What goes wrong ---------------------------------------------------------------------------------------------


@each_kind
def test_what_does_not_validate_is_dead_lettered_at_once_with_the_reason(of, client, settings, kind):
    stream, handled = of(kind), []
    for data in ('{"id":"bad-1","cents":"x","rate":null}', '{"id":"p-1","cents":250,"rate":null}', "junk"):
        client.xadd(settings.stream, {"data": data})
    assert Consumer(stream, handled.append).drain() == 3
    assert handled == [paid(kind)]
    first, second = DeadLetterQueue(stream).list()
    assert (first.deliveries, first.fields) == (1, {b"data": b'{"id":"bad-1","cents":"x","rate":null}'})
    assert first.reason.startswith("DecodeError: ")
    assert first.reason.endswith(" - at `$.cents`")
    assert second.fields == {b"data": b"junk"}


def test_what_failed_is_redriven_as_it_was(of):
    stream, runs = of(OfPydantic), []

    def handle(payment):
        runs.append(payment)
        if len(runs) == 1:
            raise Reject(f"no money for {payment.id}")

    Producer(stream).send(paid(OfPydantic))
    Consumer(stream, handle).drain()
    assert reasons(stream) == ["no money for p-1"]
    assert DeadLetterQueue(stream).redrive_all() == 1
    Consumer(stream, handle).drain()
    assert runs == [paid(OfPydantic)] * 2
    assert reasons(stream) == []


def test_a_dead_letter_that_did_not_validate_is_handled_once_the_type_takes_it(of, client, settings):
    client.xadd(settings.stream, {"data": '{"id":"p-1","cents":0}'})
    Consumer(of(OfDataclass), print).drain()
    handled = []
    DeadLetterQueue(of(OfDataclass)).redrive_all()
    Consumer(of(dict, key=lambda payment: payment["id"]), handled.append).drain()
    assert handled == [{"id": "p-1", "cents": 0}]


@dataclass
class LookedUp:
    """Its maker asks a database, which is away the first time."""

    id: str
    asked = 0

    def __post_init__(self):
        LookedUp.asked += 1
        if LookedUp.asked == 2:  # the first time it was made, the second time it was read by the sender
            return
        if LookedUp.asked == 3:
            raise ConnectionError("the database is away")


def test_trouble_while_a_message_is_read_is_tried_again_like_that_of_a_handler(of, monkeypatch):
    monkeypatch.setattr(LookedUp, "asked", 0)
    stream, handled = of(LookedUp), []
    Producer(stream).send(LookedUp("p-1"))
    Consumer(stream, handled.append).drain()
    assert [one.id for one in handled] == ["p-1"]
    assert (LookedUp.asked, reasons(stream)) == (4, [])


@each_kind
def test_what_could_not_be_read_is_refused_and_nothing_is_sent(of, stream, kind):
    with pytest.raises(OrderError, match="cannot be sent: Out of range float values"):
        Producer(of(kind)).send(paid(kind, rate=float("nan")))
    with pytest.raises(OrderError, match="1,000,000 is the most"):
        Producer(of(kind)).send(paid(kind, id="x" * 1_000_000))
    with pytest.raises(OrderError, match="cannot be sent"):
        Producer(of(kind)).send(Order("o-1", "tea", 2))
    assert stream.backlog().length == 0


def test_a_message_that_cannot_be_sent_hides_none_that_came_before(of, stream):
    bad = spoilt(OfDataclass, id="bad", cents=-1)
    with pytest.raises(SendUnknown, match=r"are in the stream, 1 is not \(first: 'bad'\): OrderError: ") as caught:
        Producer(of(OfDataclass)).send_many([*PAYMENTS[:2], bad, *PAYMENTS[2:]])
    assert len(caught.value.sent) == 2
    assert (caught.value.unknown, caught.value.refused) == ([], [bad])
    assert stream.backlog().length == 2


def test_a_stream_of_orders_takes_no_other_message(stream):
    with pytest.raises(AttributeError):
        Producer(stream).send(PAYMENTS[0])
    assert stream.backlog().length == 0


# The key -----------------------------------------------------------------------------------------------------


@dataclass
class Transfer:
    number: int
    cents: int


def by_number(transfer):
    return transfer.number


@each_kind
def test_a_producer_with_a_name_sends_each_message_once(linked_stream, link, in_stream, kind):
    stream = OrderStream(linked_stream.client, linked_stream.settings, kind)
    producer = Producer(stream, dedupe="till-1")
    link.lose_reply("EVALSHA")
    first = producer.send(paid(kind))
    assert link.lost == 1
    assert producer.send(paid(kind)) == first
    assert in_stream() == [{"id": "p-1", "cents": 250, "rate": None}]


def test_a_key_of_yours_says_which_messages_are_the_same(of, in_stream):
    producer = Producer(of(Transfer, by_number), dedupe="till-1")
    first, again, other = producer.send_many([Transfer(7, 1), Transfer(7, 2), Transfer(8, 1)])
    assert first == again != other
    assert in_stream() == [{"number": 7, "cents": 1}, {"number": 8, "cents": 1}]


def test_a_key_of_yours_may_name_orders_too(of, in_stream):
    producer = Producer(of(Order, key=lambda order: order.item), dedupe="till-1")
    producer.send_many([Order("o-1", "tea", 1), Order("o-2", "tea", 2)])
    assert [order["id"] for order in in_stream()] == ["o-1"]


def test_a_message_is_asked_for_its_key_once(linked_stream, link, in_stream):
    """A key that is another each time would make two messages of one."""
    stream = OrderStream(linked_stream.client, linked_stream.settings, Transfer, lambda transfer: uuid.uuid4())
    link.lose_reply("EVALSHA", times=3)
    Producer(stream, dedupe="till-1").send(Transfer(7, 1))
    assert link.lost == 3
    assert len(in_stream()) == 1


@pytest.mark.parametrize(
    ("message", "key", "raised"),
    [
        (OfDataclass, lambda payment: {}[payment.id], KeyError),
        (OfDataclass, lambda payment: None, OrderError),
        (OfTypedDict, lambda payment: payment["number"], KeyError),
    ],
)
def test_a_message_without_a_key_is_not_sent_where_a_key_is_needed(of, stream, message, key, raised):
    producer = Producer(of(message, key), dedupe="till-1")
    with pytest.raises(raised):
        producer.send(paid(message))
    assert stream.backlog().length == 0
    Producer(of(message, key)).send(paid(message))
    assert stream.backlog().length == 1


def test_a_key_that_fails_on_the_way_hides_no_message_that_came_before(of, stream):
    keys = iter(["1", "2"])
    producer = Producer(of(OfDataclass, lambda payment: next(keys)), dedupe="till-1")
    with pytest.raises(SendUnknown) as caught:
        producer.send_many(PAYMENTS)
    assert (len(caught.value.sent), caught.value.unknown, caught.value.refused) == (2, [], PAYMENTS[2:3])
    assert str(caught.value).startswith("2 orders are in the stream, 1 is not (first: None): StopIteration")
    assert stream.backlog().length == 2


def test_an_error_names_a_message_by_its_key(linked_stream, link):
    stream = OrderStream(linked_stream.client, linked_stream.settings, Transfer, by_number)
    link.lose_reply("XADD", skip=1)
    with pytest.raises(SendUnknown, match=r"1 may be \(first: '8'; their replies were lost\)") as caught:
        Producer(stream).send_many([Transfer(7, 1), Transfer(8, 1)])
    assert caught.value.unknown == [Transfer(8, 1)]


# Traces ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch):
    """Set up an SDK; returns a function: the spans that ended, each as its operation and the key that it names."""
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    def ended():
        found = sorted(kept.get_finished_spans(), key=lambda span: span.start_time)
        return [(span.name.partition(" ")[0], span.attributes.get(ORDER_ID)) for span in found]

    return ended


@each_kind
def test_a_trace_names_a_message_by_its_id(of, spans, kind):
    stream = of(kind)
    Producer(stream).send(paid(kind))
    Consumer(stream, lambda payment: None).drain()
    assert spans() == [("send", "p-1"), ("process", "p-1"), ("ack", None)]


def test_a_trace_names_a_message_by_a_key_of_yours(of, spans):
    stream = of(Transfer, by_number)
    Producer(stream).send(Transfer(7, 1))
    Consumer(stream, lambda transfer: None).drain()
    assert spans() == [("send", "7"), ("process", "7"), ("ack", None)]


def test_a_key_that_fails_takes_its_name_from_a_span_and_nothing_else(of, spans, caplog):
    stream, handled = of(Transfer, lambda transfer: {}[transfer.number]), []
    Producer(stream).send(Transfer(7, 1))
    Consumer(stream, handled.append).drain()
    assert handled == [Transfer(7, 1)]
    assert spans() == [("send", None), ("process", None), ("ack", None)]
    assert "telemetry failed" not in caplog.text


def test_what_does_not_validate_has_spans_without_a_name(of, spans, client, settings):
    client.xadd(settings.stream, {"data": "junk"})
    Consumer(of(OfDataclass), print).drain()
    assert spans() == [("process", None), ("dead_letter", None)]


def test_two_types_on_one_stream_have_one_set_of_metrics(of, monkeypatch, caplog):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)
    for stream, one in ((of(Transfer, by_number), Transfer(7, 1)), (of(OfDataclass), PAYMENTS[0])):
        Producer(stream).send(one)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    sent = [metric for metric in scope.metrics if metric.name == "messaging.client.sent.messages"]
    assert [[point.value for point in metric.data.data_points] for metric in sent] == [[2]]
    assert caplog.text == ""
    provider.shutdown()
