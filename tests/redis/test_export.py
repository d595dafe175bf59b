"""What comes out of the commands: a real collector's receiver, several real processes."""

import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from orderstream import Order, Producer

TEA = Order("4711", "a-secret-item", 2)
SHOP = """
import os

def handle(order):
    if not os.path.exists("mended"):
        raise ValueError(f"no {order.item}")
"""
# An application with spans of its own. It knows nothing of orderstream.export.
APPLICATION = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from orderstream import Order, Producer, connect

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
with trace.get_tracer("shop").start_as_current_span("checkout"):
    Producer(connect()).send(Order("4711", "a-secret-item", 2))
provider.shutdown()
"""


class Receiver:
    """Takes spans and metrics, as a collector does."""

    def __init__(self):
        self.requests = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self.port}"
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self._traces(), self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self._metrics(), self._server)
        self._server.start()

    def _traces(self):
        def export(request, context):
            self.requests.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

        servicer = trace_service_pb2_grpc.TraceServiceServicer()
        servicer.Export = export
        return servicer

    def _metrics(self):
        def export(request, context):
            self.requests.append(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

        servicer = metrics_service_pb2_grpc.MetricsServiceServicer()
        servicer.Export = export
        return servicer

    def close(self):
        self._server.stop(None).wait()

    def spans(self):
        """All spans, oldest first, each with its service's name."""
        found = []
        for request in self.requests:
            for resource in getattr(request, "resource_spans", ()):
                service = values(resource.resource.attributes)["service.name"]
                found += [(span, service) for scope in resource.scope_spans for span in scope.spans]
        return sorted(found, key=lambda pair: pair[0].start_time_unix_nano)

    def metrics(self):
        """(service, name) of all that was measured."""
        return {
            (values(resource.resource.attributes)["service.name"], metric.name)
            for request in self.requests
            for resource in getattr(request, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def values(attributes):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def environ(environ, receiver, settings):
    clean = {name: value for name, value in environ.items() if not name.startswith("OTEL_")}
    url = settings.redis_url.replace("redis://", "redis://default:hush-hush@")
    return {**clean, "REDIS_URL": url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hush-hush"}


@pytest.fixture
def shop(tmp_path):
    """A handler that fails; ``shop()`` mends it."""
    (tmp_path / "shop.py").write_text(SHOP)
    return (tmp_path / "mended").touch


CONSUME = ("consume", "--until-idle", "0.2", "--handler", "shop:handle")


@pytest.mark.parametrize("errors", ["type", "message"])
def test_one_order_is_one_trace_across_all_processes(run, environ, receiver, shop, settings, errors):
    """Sent inside an application's span, failed three times, dead-lettered, redriven and handled."""
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "ORDERSTREAM_TRACE_ERRORS": errors}
    of_shop = {**environ, "OTEL_SERVICE_NAME": "shop"}
    done = subprocess.run([sys.executable, "-c", APPLICATION], env=of_shop, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [run(*CONSUME, "--name", "ann")]
    said.append(run("dlq", "redrive", "--all"))
    shop()
    said.append(run(*CONSUME, "--name", "bob"))
    assert [code for code, _, _ in said] == [0, 0, 0], said

    spans = receiver.spans()
    name = settings.stream
    assert [(service, span.name, Span.SpanKind.Name(span.kind)) for span, service in spans] == [
        ("shop", "checkout", "SPAN_KIND_INTERNAL"),
        ("shop", f"send {name}", "SPAN_KIND_PRODUCER"),
        *[
            ("orderstream-consume", f"process {name}", "SPAN_KIND_CONSUMER"),
            ("orderstream-consume", f"retry {name}", "SPAN_KIND_CLIENT"),
        ]
        * 2,
        ("orderstream-consume", f"process {name}", "SPAN_KIND_CONSUMER"),
        ("orderstream-consume", f"dead_letter {name}", "SPAN_KIND_CLIENT"),
        ("orderstream-redrive", f"send {name}", "SPAN_KIND_PRODUCER"),
        ("orderstream-consume", f"process {name}", "SPAN_KIND_CONSUMER"),
        ("orderstream-consume", f"ack {name}", "SPAN_KIND_CLIENT"),
    ]
    assert len({span.trace_id for span, _ in spans}) == 1
    checkout, sent = spans[0][0], spans[1][0]
    assert sent.parent_span_id == checkout.span_id
    runs = [span for span, _ in spans if span.name.startswith("process")]
    assert {run.parent_span_id for run in runs} == {sent.span_id}
    assert [[link.span_id for link in run.links] for run in runs] == [[sent.span_id]] * 4
    about = [values(run.attributes) for run in runs]
    assert [(a["messaging.client.id"], a["orderstream.delivery.attempt"]) for a in about] == [
        ("ann", 1), ("ann", 2), ("ann", 3), ("bob", 1)
    ]  # fmt: skip
    assert {a["messaging.message.conversation_id"] for a in about} == {"4711"}
    assert [run.status.code for run in runs] == [Status.STATUS_CODE_ERROR] * 3 + [Status.STATUS_CODE_UNSET]
    assert {
        ("orderstream-consume", "messaging.process.duration"),
        ("orderstream-consume", "orderstream.messages.dead_lettered"),
        ("orderstream-consume", "orderstream.dlq.length"),
        ("orderstream-redrive", "messaging.client.sent.messages"),
    } <= receiver.metrics()

    arrived = "".join(map(MessageToJson, receiver.requests)) + repr(said)
    assert "hush-hush" not in arrived
    assert '"item"' not in arrived
    told = "".join(map(MessageToJson, receiver.requests))
    assert ("no a-secret-item" in told) is (errors == "message")


def test_the_option_names_the_collector(run, receiver, shop, stream):
    shop()
    assert run("produce", "--count", "3", "--otlp", receiver.url)[0] == 0
    assert run(*CONSUME, "--otlp", receiver.url)[0] == 0
    names = Counter(span.name.partition(" ")[0] for span, _ in receiver.spans())
    assert names == {"send": 1, "process": 3, "ack": 3}
    (service,) = {service for span, service in receiver.spans() if span.kind == Span.SPAN_KIND_PRODUCER}
    assert service == "orderstream-produce"


def test_a_service_may_have_a_name_of_its_own(run, environ, receiver):
    environ["OTEL_SERVICE_NAME"] = "till"
    assert run("produce", "--count", "1", "--otlp", receiver.url)[0] == 0
    assert {service for _, service in receiver.spans()} == {"till"}


def test_each_of_several_processes_sends_what_it_did(run, receiver, shop, stream):
    shop()
    Producer(stream).send_many(Order(f"o-{n}", "tea", 1) for n in range(20))
    assert run(*CONSUME, "--processes", "2", "--name", "till", "--otlp", receiver.url)[0] == 0
    instances = {
        values(resource.resource.attributes)["service.instance.id"]
        for request in receiver.requests
        for resource in getattr(request, "resource_metrics", ())
    }
    assert len(instances) == 2


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_memory_is_sent_at_the_end(start, receiver, shop, stream, eventually, ending):
    shop()
    process = start("consume", "--handler", "shop:handle", "--otlp", receiver.url)
    Producer(stream).send(TEA)
    eventually(lambda: stream.backlog().length and stream.backlog().done)
    process.send_signal(ending)
    assert process.wait(timeout=20) == 0
    assert receiver.metrics()


def test_a_collector_that_is_away_costs_one_line(run, shop, stream):
    shop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    Producer(stream).send_many([TEA] * 50)
    code, _, err = run(*CONSUME, "--name", "ann", "--otlp", f"http://ann:hush-hush@127.0.0.1:{port}")
    assert code == 0
    assert err.count("OpenTelemetry") == 1
    assert "hush-hush" not in err
    assert "Traceback" not in err
    assert stream.backlog().done


def test_without_a_collector_no_sdk_is_set_up(run, environ, stream, client):
    assert run("produce", "--count", "1")[0] == 0
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
    assert run("produce", "--count", "1")[0] == 0
    assert [set(fields) for _, fields in client.xrange(stream.settings.stream)] == [{b"data"}] * 2


@pytest.mark.parametrize("kind", ["console", "none"])
def test_the_kind_of_exporter_can_be_chosen(run, environ, kind):
    environ |= {"OTEL_TRACES_EXPORTER": kind, "OTEL_METRICS_EXPORTER": "none"}
    code, out, _ = run("produce", "--count", "1")
    assert code == 0
    assert ('"messaging.operation.name": "send"' in out) is (kind == "console")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "hush-hush:4317"}, "must be a URL such as http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:hush-hush"}, "must be a URL such as http://localhost:4317"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER must be otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf",
        ),
    ],
)
def test_a_wrong_variable_is_one_line(run, environ, variables, reason):
    environ |= variables
    code, _, err = run("produce", "--count", "1")
    assert (code, err.count("\n")) == (1, 1)
    assert reason in err
    assert "hush-hush" not in err


def test_a_missing_package_is_one_line(run, tmp_path):
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").touch()
    code, _, err = run("produce", "--count", "1", "--otlp", "http://localhost:4317")
    assert (code, err.count("\n")) == (1, 1)
    assert 'pip install "orderstream[otel]"' in err


INSTRUMENTED = """
import os, sys
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orderstream import Consumer, Order, Producer, connect

kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
RedisInstrumentor().instrument()
stream = connect()
stock = connect().client
kept.clear()
Producer(stream).send(Order("4711", "tea", 2))
consumer = Consumer(stream, lambda order: stock.decr("stock-of-" + stream.settings.stream))
for _ in range(3):
    consumer.step()
spans = {span.context.span_id: span for span in kept.get_finished_spans()}
for span in spans.values():
    print(span.name.split()[0], spans[span.parent.span_id].name.split()[0] if span.parent else "-")
"""


def test_with_redis_commands_traced_too_only_the_handlers_own_are_seen(environ):
    """Polls, claims and heartbeats would be most of all spans."""
    done = subprocess.run([sys.executable, "-c", INSTRUMENTED], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["send -", "DECRBY process", "process send", "ack process"]
