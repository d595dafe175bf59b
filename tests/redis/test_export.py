"""What the commands send to a collector: a real OTLP receiver, and several real processes for one order."""

import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import grpc
import pytest
import redis
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from orderstream import Producer, random_orders

pytestmark = pytest.mark.any_server("how spans reach a collector; test_tracing shows on each server which")

(WANTED,) = islice(random_orders(7), 1)  # what `produce --seed 7` sends first
SHOP = """
import os

def handle(order):
    if not os.path.exists("mended"):
        raise ValueError(f"no {order.item}")
"""
# Two ways out of one application: both must tell the same.
APPLICATION = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orderstream import Order, Producer, connect

provider, kept = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
with trace.get_tracer("shop").start_as_current_span("checkout"):
    Producer(connect()).send(Order("4711", "tea", 2))
provider.shutdown()
for span in kept.get_finished_spans():
    print(span.name.split()[0], f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
"""
# A handler with redis commands of its own, and an error whose message repeats what it was given.
CASHIER = """
import os, redis
till = redis.Redis.from_url(os.environ["REDIS_URL"])

def handle(order):
    till.incr(os.environ["ORDERSTREAM_STREAM"] + "-till")
    try:
        till.execute_command("NOSUCH", order.item)
    except redis.ResponseError:
        pass
    till.close()
"""
# Whoever watches redis commands in their own application. It prints each span and its parent.
INSTRUMENTED = """
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orderstream import Consumer, Order, Producer, connect

provider, kept = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
RedisInstrumentor().instrument()
stream = connect()
kept.clear()
Producer(stream).send(Order("4711", "tea", 2))
attempts = iter([ValueError, None])

def handle(order):
    stream.client.incr(stream.settings.stream + "-till")
    if error := next(attempts):
        raise error

Consumer(stream, handle).drain()
spans = {span.context.span_id: span.name.split()[0] for span in kept.get_finished_spans()}
for span in kept.get_finished_spans():
    print(span.name.split()[0], spans[span.parent.span_id] if span.parent else "")
"""
CONSUME = ("consume", "--until-idle", "0.2", "--handler", "shop:handle")


class Receiver:
    """Takes spans and metrics, as a collector does."""

    def __init__(self, *, metrics=True):
        self.requests = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        of_traces = trace_service_pb2_grpc.TraceServiceServicer()
        of_traces.Export = self._take(trace_service_pb2.ExportTraceServiceResponse)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(of_traces, self._server)
        if metrics:
            of_metrics = metrics_service_pb2_grpc.MetricsServiceServicer()
            of_metrics.Export = self._take(metrics_service_pb2.ExportMetricsServiceResponse)
            metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(of_metrics, self._server)
        self._server.start()

    def _take(self, response):
        def export(request, context):
            self.requests.append(request)
            return response()

        return export

    def close(self):
        self._server.stop(None).wait()

    def arrived(self, kind):
        """(about its process, it) for all that arrived: ``spans`` or ``metrics``."""
        of = {"spans": "resource_spans", "metrics": "resource_metrics"}[kind]
        for request in self.requests:
            for resource in getattr(request, of, ()):
                about = values(resource.resource)
                for scope in getattr(resource, f"scope_{kind}"):
                    yield from ((about, one) for one in getattr(scope, kind))

    def spans(self, operation=""):
        """Oldest first."""
        found = [span for _, span in self.arrived("spans") if span.name.startswith(operation)]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def services(self):
        return {about["service.name"] for kind in ("spans", "metrics") for about, _ in self.arrived(kind)}

    def metrics(self):
        return {(about["service.name"], metric.name) for about, metric in self.arrived("metrics")}

    def text(self):
        return "".join(map(MessageToJson, self.requests))


class HttpReceiver(Receiver):
    """The same, by HTTP."""

    def __init__(self, *, metrics=True):
        self.requests = requests = []
        kinds = {"/v1/traces": trace_service_pb2.ExportTraceServiceRequest}
        if metrics:
            kinds["/v1/metrics"] = metrics_service_pb2.ExportMetricsServiceRequest

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path in kinds:
                    requests.append(kinds[self.path].FromString(body))
                self.send_response(200 if self.path in kinds else 404)
                self.end_headers()

            def log_message(self, *about):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def values(what):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in what.attributes}


def kind(span):
    return Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def environ(environ, settings):
    """Passwords wherever one may stand, and nothing sent before the end."""
    clean = {name: value for name, value in environ.items() if not name.startswith(("OTEL_", "GRPC_"))}
    url = settings.redis_url.replace("redis://", "redis://default:hush-hush@")
    return {
        **clean,
        "REDIS_URL": url,
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hush-hush",
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
    }


@pytest.fixture
def mend(tmp_path):
    """Until it is called, the handler ``shop:handle`` fails."""
    (tmp_path / "shop.py").write_text(SHOP)
    return (tmp_path / "mended").touch


@pytest.fixture
def taken_port():
    """A port where nobody listens, and nobody will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# One order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", ["type", "message"])
def test_one_order_is_one_trace_across_all_processes(run, environ, receiver, mend, settings, errors):
    """Sent, failed three times, dead-lettered, redriven and handled, by four processes."""
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "ORDERSTREAM_TRACE_ERRORS": errors}
    said = [run("produce", "--count", 1, "--seed", 7), run(*CONSUME, "--name", "ann"), run("dlq", "redrive", "--all")]
    mend()
    said.append(run(*CONSUME, "--name", "bob"))
    assert [code for code, _, _ in said] == [0] * 4, said

    spans, failed_once = receiver.spans(), [("CONSUMER", "process"), ("CLIENT", "retry")]
    told = [(kind(span), span.name.removesuffix(f" {settings.stream}")) for span in spans]
    assert told == [
        ("PRODUCER", "send"),
        *failed_once,
        *failed_once,
        ("CONSUMER", "process"),
        ("CLIENT", "dead_letter"),
        ("PRODUCER", "send"),
        ("CONSUMER", "process"),
        ("CLIENT", "ack"),
    ]
    assert len({span.trace_id for span in spans}) == 1

    sent, redriven = receiver.spans("send")
    runs = receiver.spans("process")
    assert [span.parent_span_id for span in (sent, redriven, *runs)] == [b"", *[sent.span_id] * 5]
    assert [[link.span_id for link in span.links] for span in runs] == [[sent.span_id]] * 4
    settled = [span.parent_span_id for span in spans if kind(span) == "CLIENT"]
    assert settled == [run.span_id for run in runs]

    about = [values(run) for run in runs]
    assert [(a["messaging.client.id"], a["orderstream.delivery.attempt"], a["orderstream.outcome"]) for a in about] == [
        ("ann", 1, "retry"), ("ann", 2, "retry"), ("ann", 3, "dead_letter"), ("bob", 1, "ack")
    ]  # fmt: skip
    assert {a["messaging.message.conversation_id"] for a in about} == {WANTED.id}
    assert [a.get("error.type") for a in about] == ["ValueError"] * 3 + [None]
    assert [run.status.code for run in runs] == [Status.STATUS_CODE_ERROR] * 3 + [Status.STATUS_CODE_UNSET]

    consume, redrive = "orderstream-consume", "orderstream-redrive"
    assert receiver.services() == {"orderstream-produce", consume, redrive}
    assert {
        ("orderstream-produce", "messaging.client.sent.messages"),
        (consume, "messaging.client.consumed.messages"),
        (consume, "messaging.process.duration"),
        (consume, "messaging.client.operation.duration"),
        (consume, "orderstream.messages.retried"),
        (consume, "orderstream.messages.dead_lettered"),
        (consume, "orderstream.pending"),
        (consume, "orderstream.dlq.length"),
        (redrive, "messaging.client.sent.messages"),
    } <= receiver.metrics()

    assert "hush-hush" not in receiver.text() + repr(said)
    assert '"item"' not in receiver.text().replace("\\", "")
    assert (f"no {WANTED.item}" in receiver.text()) is (errors == "message")
    assert (WANTED.item in receiver.text()) is (errors == "message")


def test_an_order_belongs_to_the_trace_of_the_application_that_sent_it(run, environ, receiver, mend):
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    application = {**environ, "OTEL_SERVICE_NAME": "shop"}
    out = subprocess.check_output([sys.executable, "-c", APPLICATION], env=application, text=True)
    (_, of_send, send), (name, trace_id, checkout) = (line.split() for line in out.splitlines())
    assert (name, of_send) == ("checkout", trace_id)
    for command in (CONSUME, ("dlq", "redrive", "--all"), CONSUME):
        code, _, err = run(*command)
        assert code == 0, err
        mend()
    assert Counter(span.name.split()[0] for span in receiver.spans()) == {
        "checkout": 1, "send": 2, "process": 4, "retry": 2, "dead_letter": 1, "ack": 1
    }  # fmt: skip
    assert {span.trace_id.hex() for span in receiver.spans()} == {trace_id}
    assert receiver.spans("send")[0].parent_span_id.hex() == checkout
    assert {run.parent_span_id.hex() for run in receiver.spans("process")} == {send}
    assert receiver.services() == {"shop", "orderstream-consume", "orderstream-redrive"}


# Where to ------------------------------------------------------------------------------------------------------


BOTH_PROTOCOLS = pytest.mark.parametrize(("protocol", "kind"), [("grpc", Receiver), ("http/protobuf", HttpReceiver)])


@BOTH_PROTOCOLS
def test_the_option_names_the_collector_and_a_variable_the_protocol(run, environ, mend, stream, protocol, kind):
    mend()
    receiver = kind()
    environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    code, _, err = run("produce", "--count", 3, "--otlp", receiver.url)
    assert (code, err.count("\n")) == (0, 1), err
    assert run(*CONSUME, "--otlp", receiver.url)[0] == 0
    receiver.close()
    assert Counter(span.name.split()[0] for span in receiver.spans()) == {"send": 1, "process": 3, "ack": 3}
    assert receiver.services() == {"orderstream-produce", "orderstream-consume"}
    assert {"messaging.process.duration", "orderstream.pending"} <= {name for _, name in receiver.metrics()}


@BOTH_PROTOCOLS
def test_a_viewer_that_takes_traces_only_is_told_of(run, environ, protocol, kind):
    """As Jaeger does."""
    receiver = kind(metrics=False)
    environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    code, _, err = run("produce", "--count", 1, "--otlp", receiver.url)
    receiver.close()
    assert (code, err.count("\n"), "OTEL_METRICS_EXPORTER=none" in err) == (0, 2, True), err
    assert len(receiver.spans()) == 1


@pytest.mark.parametrize(
    "variables", [{"OTEL_SERVICE_NAME": "till"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=till,host.name=cellar"}]
)
def test_a_service_may_have_a_name_of_its_own(run, environ, receiver, variables):
    environ |= variables
    assert run("produce", "--count", 1, "--otlp", receiver.url)[0] == 0
    assert receiver.services() == {"till"}


def test_an_endpoint_of_one_signal_asks_for_that_signal_only(run, environ, receiver):
    environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = receiver.url
    code, _, err = run("produce", "--count", 1)
    assert (code, err.count("\n")) == (0, 1), err
    assert (len(receiver.spans()), receiver.metrics()) == (1, set())


def test_the_sampler_is_the_one_that_the_variable_names(run, environ, receiver):
    environ["OTEL_TRACES_SAMPLER"] = "always_off"
    assert run("produce", "--count", 1, "--otlp", receiver.url)[0] == 0
    assert receiver.spans() == []
    assert receiver.metrics()


def test_each_of_several_processes_sends_what_it_did(run, receiver, mend, send):
    mend()
    send(*islice(random_orders(), 40))
    code, _, err = run(*CONSUME, "--processes", 2, "--name", "till", "--otlp", receiver.url)
    assert code == 0, err
    assert len({about["service.instance.id"] for about, _ in receiver.arrived("metrics")}) == 2
    assert {values(span)["messaging.client.id"] for span in receiver.spans("process")} <= {"till-1", "till-2"}
    assert len(receiver.spans("process")) == 40


def test_whoever_set_up_an_sdk_before_keeps_it(run, environ, receiver, tmp_path, send):
    """The module of a handler, say."""
    send(WANTED)
    code = APPLICATION.partition("with trace")[0].replace("from orderstream", "# ")
    (tmp_path / "shop.py").write_text(f"{code}\nhandle = print")
    environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": "shop"}
    code, _, err = run(*CONSUME)
    assert (code, err.count("\n")) == (0, 2), err
    assert len(receiver.spans("process")) == 1


# The end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_what_is_left_is_sent_when_a_command_is_told_to_end(start, receiver, mend, stream, send, eventually, ending):
    mend()
    process = start("consume", "--handler", "shop:handle", "--otlp", receiver.url)
    send(WANTED)
    eventually(lambda: stream.backlog().done, timeout_s=10)
    process.send_signal(ending)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, len(receiver.spans("process"))) == (0, 1), err
    assert receiver.metrics()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_that_is_away_costs_one_line(run, environ, mend, stream, send, taken_port, silent, protocol):
    """Nobody listens there; or somebody does, and never answers. The SDK alone would try for 30 seconds."""
    mend()
    send(*islice(random_orders(), 50))
    environ |= {"OTEL_EXPORTER_OTLP_TIMEOUT": "60", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1] if silent else taken_port
        code, _, err = run(*CONSUME, "--name", "ann", "--otlp", f"http://ann:hush-hush@127.0.0.1:{port}")
    assert (code, err.count("\n"), err.count("the collector does not take")) == (0, 3, 1), err
    assert "hush-hush" not in err
    assert stream.backlog().done


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_proxy_that_swallows_what_is_for_the_collector_is_named(run, environ, receiver, protocol, taken_port):
    """By its variable, since its URL may hold a password; and what is said leads past it."""
    environ |= {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "http_proxy": f"http://ann:hush-hush@127.0.0.1:{taken_port}"}
    code, _, err = run("produce", "--count", 1, "--otlp", receiver.url)
    assert (code, err.count("\n"), receiver.requests) == (0, 2, []), err
    assert "http_proxy is set, so a proxy is asked first: no_proxy=127.0.0.1 leads past it" in err
    assert "hush-hush" not in err

    if protocol == "grpc":  # which is what the receiver speaks
        environ["no_proxy"] = "127.0.0.1"
        code, _, err = run("produce", "--count", 1, "--otlp", receiver.url)
        assert (code, "proxy" in err, bool(receiver.requests)) == (0, False, True), err


def test_a_collector_that_speaks_no_tls_costs_one_line(run, receiver):
    """The C code of gRPC would write its own about each handshake."""
    code, _, err = run("produce", "--count", 1, "--otlp", receiver.url.replace("http:", "https:"))
    assert (code, err.count("\n"), err.count("the collector does not take")) == (0, 2, 1), err


@pytest.mark.parametrize("command", ["produce", "consume"])
def test_waiting_for_a_collector_is_no_part_of_the_grace_time(start, environ, stream, eventually, taken_port, command):
    environ |= {"ORDERSTREAM_GRACE_S": "0.5", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    process = start(command, "--otlp", f"http://127.0.0.1:{taken_port}")
    Producer(stream).send(WANTED)
    eventually(lambda: stream.backlog().length > 1 if command == "produce" else stream.backlog().done, timeout_s=10)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "Left at once" in err) == (0, False), err


# Nothing to send, or no way to ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_unasked_nothing_is_set_up_or_imported(environ, client, settings, variables):
    """But for the metrics of the SDK: where they are installed, redis-py imports them."""
    tell = "import atexit, sys\natexit.register(lambda: print(*sys.modules))"
    code = f"{tell}\nfrom orderstream.cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "produce", "--count", "1"]
    loaded = subprocess.check_output(command, env=environ | variables, text=True).split()
    assert "orderstream.cli.export" in loaded
    ours = ("grpc", "opentelemetry.exporter", "opentelemetry.sdk.trace.export", "opentelemetry.sdk._configuration")
    assert [name for name in loaded if name.startswith(ours)] == []
    assert [set(fields) for _, fields in client.xrange(settings.stream)] == [{b"data"}]


@pytest.mark.parametrize(("exporter", "printed"), [("console", True), ("none", False)])
def test_the_variables_choose_the_exporter(run, environ, exporter, printed):
    environ["OTEL_TRACES_EXPORTER"] = exporter
    code, out, err = run("produce", "--count", 1)
    assert (code, err.count("\n")) == (0, 1), err
    assert ('"messaging.operation.name": "send"' in out) is printed


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "hush-hush:4317"}, "must be a URL such as http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:hush-hush"}, "must be a URL such as http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[hush-hush"}, "OTEL_… is wrong (ValueError)"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin' not found"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "'http/json'"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_… is wrong (ValueError)"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_one_line(run, environ, variables, reason):
    environ |= variables
    code, out, err = run("produce", "--count", 1)
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert reason in err
    assert "hush-hush" not in err


def test_what_the_sdk_says_of_a_variable_is_told_without_its_value(run, environ, receiver):
    environ["OTEL_EXPORTER_OTLP_HEADERS"] = "hush-hush"
    code, _, err = run("produce", "--count", 1, "--otlp", receiver.url)
    assert (code, err.count("Header format invalid")) == (0, 1), err
    assert "hush-hush" not in err


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"])
def test_a_missing_package_is_one_line_that_says_what_to_install(start, missing):
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom orderstream.cli.main import main\nmain()"
    process = start("produce", "--count", 1, "--otlp", "http://localhost:4317", through=("-c", code))
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert err.endswith('pip install "orderstream[otel]"\n')


def test_a_supervisor_says_it_once_for_all_its_processes(run):
    code, _, err = run("consume", "--processes", 3, "--otlp", "localhost:4317")
    assert (code, err.count("\n")) == (1, 1), err


# Redis commands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", ["type", "message"])
def test_the_redis_commands_of_a_handler_are_seen_only_where_messages_may_be(
    run, environ, receiver, tmp_path, send, client, settings, errors
):
    """The library that makes their spans records every message. Polls, claims and heartbeats have none either way."""
    (tmp_path / "shop.py").write_text(CASHIER)
    environ["ORDERSTREAM_TRACE_ERRORS"] = errors
    client.script_flush()  # the first use of a script fails with NOSCRIPT: no span may say so
    send(WANTED)
    environ["ORDERSTREAM_CLAIM_IDLE_MS"] = "50"
    assert run(*CONSUME, "--work-ms", 100, "--otlp", receiver.url)[0] == 0
    ours = {f"process {settings.stream}", f"ack {settings.stream}"}
    commands = [span for span in receiver.spans() if span.name not in ours]
    (handled,) = receiver.spans("process")
    assert [span.name for span in commands] == ([] if errors == "type" else ["INCRBY", "NOSUCH"])
    assert {span.parent_span_id for span in commands} <= {handled.span_id}
    assert (WANTED.item in receiver.text()) is (errors == "message")
    assert "hush-hush" not in receiver.text()
    client.delete(f"{settings.stream}-till")


@pytest.mark.parametrize("cluster", [False, True])
def test_whoever_watches_redis_commands_sees_none_of_our_own(environ, own_server, eventually, cluster):
    if cluster:
        own_server.kill()
        own_server.start("--cluster-enabled", "yes")
        with redis.Redis(port=own_server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            eventually(lambda: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"))
    name = "{" + environ["ORDERSTREAM_STREAM"] + "}"
    environ |= {"REDIS_URL": own_server.url, "ORDERSTREAM_STREAM": name, "ORDERSTREAM_DLQ": f"{name}-dlq"}
    told = subprocess.check_output([sys.executable, "-c", INSTRUMENTED], env=environ, text=True).splitlines()
    again = ["INCRBY process", "process send"]
    assert told == ["send ", *again, "retry process", *again, "ack process"]
