"""
Send the spans and metrics of a command to an OpenTelemetry collector, by OTLP.

The SDK of OpenTelemetry reads the standard variables, ``OTEL_…``, by itself: endpoints, headers, protocol, sampler,
resource, intervals. This file adds three things:

- It decides whether anything is sent. If not, it imports nothing of OpenTelemetry.
- It names the service after the command, unless a variable names it.
- It keeps a collector that is away from disturbing the command: that costs one line, and a few seconds at the end.

If an SDK was set up before, by ``opentelemetry-instrument`` or by the module of a handler, that one stays.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import environ
from urllib.parse import urlsplit

from orderstream.errors import ConfigError

log = logging.getLogger("orderstream")

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SIGNALS = ("TRACES", "METRICS")
AWAY = (
    "the collector does not take what it is sent, and the work goes on without it. Is it there? Port 4317 is for grpc, "
    "4318 for OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
)
NO_METRICS = "the collector takes traces only; OTEL_METRICS_EXPORTER=none sends it no metrics"
LAST_WORDS_S = 3.0  # the longest a command waits for the collector at its end; the SDK's own limit is 30 s


@contextmanager
def exporting(service: str, endpoint: str | None = None, *, commands: bool = False) -> Iterator[None]:
    """
    Send the spans and metrics of this block to a collector, if the endpoint or a variable asks for that.

    The SDK sends them from time to time. At the end of the block this sends what is left.

    Args:
        service: The name of the service, unless a variable names it.
        endpoint: The collector's URL, such as ``http://localhost:4317``. It replaces the variable ``ENDPOINT``.
        commands: Also make a span of each Redis command that a handler sends through redis-py. The library that does
            so records the message of every error, and a message may hold what nobody should read: so this is off
            unless asked for. That library does not see the commands of the consumer's own loop.

    Raises:
        ConfigError: The endpoint or a variable is wrong, or a package is missing.
    """
    if endpoint:
        _check(endpoint)
        environ[ENDPOINT] = endpoint
    if not _asked_for():
        yield
        return
    try:
        ours = _set_up(service, commands)
    except (ImportError, RuntimeError) as error:  # RuntimeError: no installed exporter has the name in a variable
        needs = 'All that is needed comes with: pip install "orderstream[otel]"'
        raise ConfigError(f"OpenTelemetry cannot be set up: {error}. {needs}") from None
    except Exception as error:  # noqa: BLE001 - a wrong variable may raise anything; its text may hold a password
        raise ConfigError(f"one of the variables OTEL_… is wrong ({type(error).__name__})") from None
    try:
        yield
    finally:
        if ours:
            _send_the_rest()


def _check(endpoint: str) -> None:
    """Refuse what cannot be an endpoint. The error does not repeat it, because it may hold a password."""
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    raise ConfigError("the endpoint of the collector must be a URL such as http://localhost:4317")


def _asked_for() -> bool:
    """
    Return whether a variable asks for traces or metrics.

    A variable such as OTEL_TRACES_EXPORTER names what takes a signal. Where it is not set but an endpoint is, this
    sets it to "otlp", since the SDK alone would send nothing.
    """
    for signal in SIGNALS:
        if environ.get(ENDPOINT) or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"):
            environ[f"OTEL_{signal}_EXPORTER"] = environ.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(environ.get(f"OTEL_{signal}_EXPORTER") not in (None, "", "none") for signal in SIGNALS)


def _set_up(service: str, commands: bool) -> bool:
    """Set up the SDK as the variables say, and return True. Return False if one was set up before."""
    environ.setdefault("GRPC_VERBOSITY", "NONE")  # the C code of gRPC writes to stderr past Python's logging
    from opentelemetry import trace
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator
    from opentelemetry.sdk.resources import Resource

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return False
    said = _OneLine()
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [said], False
    known = Resource.create().attributes
    about = {"service.instance.id": known.get("service.instance.id", str(uuid.uuid4()))}
    if str(known["service.name"]).startswith("unknown_service"):
        about["service.name"] = service

    # This class is private, and there is no other that reads all the variables. Each distribution of OpenTelemetry
    # builds on it.
    _OTelSDKConfigurator().configure(resource_attributes=about)  # type: ignore[no-untyped-call]
    if commands:
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument()
    said.configured = True
    return True


def _through() -> str:
    """Return what to add if a proxy takes what is for the collector. It names no proxy: a URL may hold a password."""
    from urllib.request import proxy_bypass  # it loads a good deal

    asked = [ENDPOINT, *(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" for signal in SIGNALS)]
    endpoint = next((urlsplit(environ[name]) for name in asked if environ.get(name)), None)
    if endpoint is None or proxy_bypass(endpoint.hostname or ""):
        return ""
    scheme = endpoint.scheme
    if environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc") == "grpc":
        names = ["grpc_proxy", "https_proxy", "http_proxy"]
    else:
        names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    if taken := next((name for name in names if environ.get(name)), None):
        return f". {taken} is set, so a proxy is asked first: no_proxy={endpoint.hostname} leads past it"
    return ""


def _send_the_rest() -> None:
    from opentelemetry import metrics, trace

    until = time.monotonic() + LAST_WORDS_S
    # The API has no shutdown(), only the SDK has. Traces and metrics may go to two collectors: each gets a thread, so
    # that one which is away does not keep the other from its share of the time.
    ends = [getattr(one, "shutdown", None) for one in (trace.get_tracer_provider(), metrics.get_meter_provider())]
    threads = [threading.Thread(target=end, name="last words", daemon=True) for end in ends if end]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        logging.getLogger("opentelemetry").warning("shutdown")


class _OneLine(logging.Handler):
    """
    Says in one line what the SDK says in many.

    The SDK's lines may hold an endpoint or a header, and so a password. While the SDK is set up, they are about a
    variable: this handler logs such a line without the values in it. Later they mean that the collector does not take
    what it is sent: this handler logs a line of its own. It logs the same line only once.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.configured = False
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        about = [getattr(one, "name", one) for one in record.args or ()]
        if not self.configured:
            what = str(record.msg).replace("%s", "…")
        elif "metrics" in about and ("UNIMPLEMENTED" in about or 404 in about):  # by gRPC, by HTTP
            what = NO_METRICS
        else:
            what = AWAY + _through()
        if what not in self._said:
            self._said.add(what)
            log.warning("OpenTelemetry: %s", what)
