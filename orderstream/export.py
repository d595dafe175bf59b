"""
Send the spans and metrics of a command to an OpenTelemetry collector, by OTLP.

The SDK reads the standard variables, ``OTEL_…``, by itself: endpoint, headers, sampler, resource, intervals. Here is
decided only whether there is anything to send, and that a collector which is away costs nothing but what it misses.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from orderstream.errors import ConfigError

log = logging.getLogger("orderstream")

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ASKED_BY = (
    ENDPOINT,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
)
PROTOCOLS = {"grpc": "grpc", "http/protobuf": "http"}
LAST_WORDS_S = 3.0  # the longest a command waits at its end for a collector

Factory = Callable[[], Any]


@contextmanager
def exporting(command: str, endpoint: str | None = None) -> Iterator[None]:
    """
    Set up the SDK for this block, if the environment asks for it; send what is left at the end of it.

    Args:
        command: Its name. The service is called ``orderstream-COMMAND``, unless a variable says otherwise.
        endpoint: Where the collector is; None leaves it to the variables.

    Raises:
        ConfigError: A variable is wrong, or what exports is not installed.
    """
    if endpoint:
        os.environ[ENDPOINT] = endpoint
    if not any(map(os.environ.get, ASKED_BY)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield
        return
    _check(os.environ.get(ENDPOINT, ""))
    try:
        stop = _set_up(command)
    except ImportError:
        raise ConfigError('sending traces needs more packages; type: pip install "orderstream[otel]"') from None
    try:
        yield
    finally:
        stop()


def _check(url: str) -> None:
    """Refuse what cannot be an endpoint. The message does not repeat it: it may hold a password."""
    with suppress(ValueError):  # a port that is no number, say
        parts = urlsplit(url)
        if not url or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0):
            return
    raise ConfigError("the OTLP endpoint must be a URL such as http://localhost:4317")


def _set_up(command: str) -> Callable[[], None]:
    """Set up what the variables ask for. Returns what sends the rest, and waits for no collector that is away."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return lambda: None  # opentelemetry-instrument was here before us, and sends by itself
    if os.environ.get("ORDERSTREAM_TRACE_ERRORS") == "message":  # for its spans always tell them
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument()
    if "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", f"orderstream-{command}")
    resource = Resource.create({"service.instance.id": str(uuid.uuid4())})
    spans, numbers = _exporter("TRACES", "trace", "SpanExporter"), _exporter("METRICS", "metric", "MetricExporter")
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [_Once()], False
    stops: list[Callable[[], None]] = []
    if spans:
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(spans()))
        trace.set_tracer_provider(tracers)
        stops.append(tracers.shutdown)
    if numbers:
        meters = MeterProvider([PeriodicExportingMetricReader(numbers())], resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        stops.append(meters.shutdown)

    def stop() -> None:
        threads = [threading.Thread(target=stop, name="last words", daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LAST_WORDS_S / len(threads))

    return stop


def _exporter(signal: str, module: str, name: str) -> Factory | None:
    """Return what makes the exporter that ``OTEL_…_EXPORTER`` names; None for ``none``."""
    wanted = os.environ.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    if wanted == "none":
        return None
    if wanted == "console":
        found = import_module(f"opentelemetry.sdk.{'trace' if module == 'trace' else 'metrics'}.export")
        return _named(found, f"Console{name}")
    if wanted != "otlp":
        raise ConfigError(f"OTEL_{signal}_EXPORTER must be otlp, console or none")
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next(filter(None, map(os.environ.get, variables)), "grpc")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL must be {' or '.join(PROTOCOLS)}")
    found = import_module(f"opentelemetry.exporter.otlp.proto.{PROTOCOLS[protocol]}.{module}_exporter")
    return _named(found, f"OTLP{name}")


def _named(module: Any, name: str) -> Factory:
    factory: Factory = getattr(module, name)
    return factory


class _Once(logging.Handler):
    """One line, once, instead of all that the SDK says about a collector that is away; that may name the endpoint."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._said:
            self._said = True
            log.warning("the OpenTelemetry collector does not take what it is sent; the work goes on without it")
