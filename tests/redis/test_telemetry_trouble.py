"""Telemetry that fails decides nothing: a real SDK, some part of which raises whenever it is asked."""

import asyncio
import logging
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import redis
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from orderstream import Consumer, DeadLetterQueue, Order, Producer, connect
from orderstream.observer import BROKEN, NOBODY

GOOD, BAD = Order("4711", "tea", 2), Order("4712", "figs", 1)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("a-secret-item")


ERRORS = [Unprintable(), GeneratorExit(), asyncio.CancelledError(), redis.ConnectionError("a-secret-item")]


def raising(base, *methods):
    """Return a subclass of *base* whose *methods* raise the error that it was made with."""

    def begin(self, error):
        base.__init__(self)
        self.error = error

    def fail(self, *args, **kwargs):
        raise self.error

    return type(f"Failing{base.__name__}", (base,), {"__init__": begin} | dict.fromkeys(methods, fail))


class RefusingSampler(raising(Sampler, "should_sample")):
    def get_description(self):
        return "refuses"


def with_processor(processor):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


def metered(**options):
    return MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False, **options)


def meter_whose(method):
    """Return how to make a provider of meters whose *method* raises."""

    def make(error):
        def fail(*args, **kwargs):
            raise error

        provider = metered()
        setattr(provider.get_meter("orderstream"), method, fail)  # a provider keeps its meters
        return provider

    return make


class ExemplarFilter(raising(object, "should_sample")):
    """Is asked at each measurement."""


PARTS = {
    "a processor at the start": lambda error: with_processor(raising(SpanProcessor, "on_start")(error)),
    "a processor at the end": lambda error: with_processor(raising(SpanProcessor, "on_end")(error)),
    "an exporter": lambda error: with_processor(SimpleSpanProcessor(raising(SpanExporter, "export")(error))),
    "a sampler": lambda error: TracerProvider(RefusingSampler(error), shutdown_on_exit=False),
    "an id generator": lambda error: TracerProvider(
        id_generator=raising(RandomIdGenerator, "generate_span_id")(error), shutdown_on_exit=False
    ),
    "a provider of tracers": lambda error: raising(TracerProvider, "get_tracer")(error),
    "a measurement": lambda error: metered(exemplar_filter=ExemplarFilter(error)),
    "a counter": meter_whose("create_counter"),
    "a histogram": meter_whose("create_histogram"),
    "a gauge": meter_whose("create_observable_gauge"),
    "a provider of meters": lambda error: raising(MeterProvider, "get_meter")(error),
}
CASES = [(part, error) for part in PARTS for error in (KeyError("a-secret-item"), SystemExit(3))]
CASES += [("a processor at the end", error) for error in ERRORS]


@pytest.fixture
def listen(monkeypatch):
    """Set up a provider, as an application does once."""

    def set_up(provider):
        if isinstance(provider, MeterProvider):
            monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)
        else:
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    return set_up


@pytest.fixture
def told(caplog, monkeypatch):
    """What the log says about telemetry; nothing has been said so far."""
    monkeypatch.setattr("orderstream.harmless._logged", set())
    return lambda: [text for text in caplog.messages if text.startswith("telemetry failed")]


def work(stream):
    """Send three orders, one of which always fails; redrive it; then stop with an order in hand. Returns the runs."""
    runs = Counter()

    def handle(order):
        runs[order.id] += 1
        if order == BAD:
            raise ValueError("no figs")

    Producer(stream).send(GOOD)
    Producer(stream).send_many([BAD, Order("4713", "rice", 1)])
    Consumer(stream, handle, "ann").drain()
    queue = DeadLetterQueue(stream)
    assert [letter.reason for letter in queue] == ["ValueError: no figs"]
    assert len(queue.redrive(*(letter.id for letter in queue))) == 1
    Consumer(stream, handle, "bob").drain()

    Producer(stream, dedupe="till-1").send_many([Order("4714", "tea", 1), Order("4715", "tea", 1)])
    stopping = Consumer(stream, lambda order: (handle(order), stopping.stop()), "eve")
    stopping._wanted = 2  # both in one batch
    stopping.run()
    Consumer(stream, handle, "dan").drain()
    assert stream.backlog().done
    assert [letter.reason for letter in queue] == ["ValueError: no figs"]
    return dict(runs)


# Failing hooks -----------------------------------------------------------------------------------------------


@pytest.mark.row(88)
@pytest.mark.parametrize(
    ("part", "error"), CASES, ids=lambda case: case if isinstance(case, str) else type(case).__name__
)
def test_every_order_is_sent_handled_and_settled_whatever_telemetry_raises(stream, listen, told, part, error):
    listen(PARTS[part](error))
    assert work(stream) == {"4711": 1, "4712": 6, "4713": 1, "4714": 1, "4715": 1}
    assert len(set(told())) == len(told())
    assert "secret" not in "".join(told())
    if not (part == "an exporter" and isinstance(error, Exception)):  # these the SDK itself catches
        assert any(f": {type(error).__name__} in " in line for line in told())


def test_what_telemetry_raised_is_logged_once_with_its_type_and_where_it_was_raised(stream, listen, told):
    class Scrub(SpanProcessor):
        def on_end(self, span):
            span.attributes["customer"]

    listen(with_processor(Scrub()))
    Producer(stream).send(GOOD)
    Producer(stream).send(BAD)
    (line,) = told()
    assert line.startswith("telemetry failed, the orders go on without it: KeyError in opentelemetry.sdk.trace:")
    assert f" > {__name__}:{Scrub.on_end.__code__.co_firstlineno + 1} > " in line
    assert "customer" not in line


def test_spans_that_fail_leave_the_counts_right(stream, listen):
    reader = InMemoryMetricReader()
    listen(provider := MeterProvider([reader], shutdown_on_exit=False))
    listen(with_processor(raising(SpanProcessor, "on_end")(KeyError())))
    Producer(stream).send_many([GOOD, BAD])
    Consumer(stream, lambda order: 1 / (order == GOOD)).drain()
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    points = {metric.name: metric.data.data_points for metric in scope.metrics}
    assert sum(point.value for point in points["messaging.client.sent.messages"]) == 2
    assert sum(point.count for point in points["messaging.process.duration"]) == 4
    assert [point.value for point in points["orderstream.messages.retried"]] == [2]
    assert [point.value for point in points["orderstream.messages.dead_lettered"]] == [1]
    provider.shutdown()


def test_a_handler_run_whose_span_cannot_end_is_not_above_the_next_one(stream, listen):
    listen(with_processor(raising(SpanProcessor, "on_end")(KeyError())))
    current = []
    Producer(stream).send_many([GOOD, Order("4713", "rice", 1)])
    Consumer(stream, lambda order: current.append(trace.get_current_span())).drain()
    assert len(set(current)) == 2
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_an_error_that_cannot_print_itself_ends_its_span_all_the_same(settings, listen, told):
    kept = InMemorySpanExporter()
    listen(with_processor(SimpleSpanProcessor(kept)))
    stream = connect(replace(settings, trace_errors="message", max_attempts=1))

    def fail(order):
        raise Unprintable

    Producer(stream).send(GOOD)
    Consumer(stream, fail).drain()
    (run,) = [span for span in kept.get_finished_spans() if span.name.startswith("process")]
    assert run.attributes["error.type"].endswith("Unprintable")
    assert [letter.reason for letter in DeadLetterQueue(stream)] == ["Unprintable"]
    assert len(told()) == 1
    stream.close()


def test_a_log_handler_that_raises_costs_its_lines_and_no_order(stream, told):
    class Export(logging.Handler):
        def emit(self, record):
            raise ConnectionError("no collector")

    export = Export()
    logging.getLogger("orderstream").addHandler(export)
    try:
        assert work(stream)["4712"] == 6
    finally:
        logging.getLogger("orderstream").removeHandler(export)


def test_ctrl_c_in_a_hook_is_the_users(stream, listen):
    listen(with_processor(raising(SpanProcessor, "on_end")(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        Producer(stream).send(GOOD)


def test_a_stop_by_a_signal_during_a_hook_is_no_failure_of_the_hook(stream, listen, told):
    class Slow(SpanProcessor):
        def on_end(self, span):
            signal.raise_signal(signal.SIGTERM)  # as if it came just now

    listen(with_processor(Slow()))
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
    try:
        with pytest.raises(SystemExit):
            Producer(stream).send(GOOD)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told() == []


# Telemetry that is not there -----------------------------------------------------------------------------------

HALF_INSTALLED = """
import logging, sys, time
import opentelemetry.sdk
sys.modules[sys.argv[1]] = None       # its import fails
from orderstream import Consumer, Order, Producer, connect
stream = connect()
runs = []
for id in "4711", "4712":
    Producer(stream).send(Order(id, "tea", 2))
    Consumer(stream, lambda order: runs.append(order.id)).drain()
    time.sleep(0.1)                   # longer than until the next look for an SDK
assert runs == ["4711", "4712"], runs
"""


@pytest.mark.row(88)
@pytest.mark.parametrize("missing", ["orderstream.tracing", "opentelemetry.metrics", "opentelemetry.trace"])
def test_half_an_installation_is_told_once_and_the_orders_go_on(settings, missing):
    environ = {"REDIS_URL": settings.redis_url, "ORDERSTREAM_STREAM": settings.stream}
    done = subprocess.run([sys.executable, "-c", HALF_INSTALLED, missing], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("telemetry failed") == done.stderr.count("ModuleNotFoundError") == 1, done.stderr


def test_telemetry_that_could_not_be_set_up_is_looked_for_again(stream, listen, monkeypatch, eventually):
    monkeypatch.setattr("orderstream.stream.LOOK_AFTER_FAILURE_S", 0.1)
    listen("no provider")
    assert stream.observer is BROKEN
    listen(TracerProvider(shutdown_on_exit=False))
    eventually(lambda: stream.observer not in (BROKEN, NOBODY))
