"""
Send the spans and metrics of a command to an OpenTelemetry collector, by OTLP.

The SDK reads the standard variables, ``OTEL_…``, by itself: endpoints, headers, protocol, sampler, resource, intervals.
Here is decided whether there is anything to send, and what the service is called; and that a collector which is away
costs the command one line and a few seconds at its end.

Whoever has set up an SDK before, ``opentelemetry-instrument`` or the module of a handler, keeps theirs. Nothing of
OpenTelemetry is imported unless it is asked for.
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
LAST_WORDS_S = 3.0  # the longest a command waits at its end; at a collector that is away the SDK would for 30


@contextmanager
def exporting(service: str, endpoint: str | None = None, *, commands: bool = False) -> Iterator[None]:
    """
    Send what happens in this block, if somebody asks for it. What is left is sent at the end of the block.

    Args:
        service: What the service is called unless a variable says otherwise.
        endpoint: Of the collector, such as ``http://localhost:4317``; it stands in for the variable ``ENDPOINT``.
        commands: Make spans of the redis commands of a handler, too. The library that does it records the messages of
            all errors, so nobody should get them unasked. Our own loop goes around what it watches.

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
    except (ImportError, RuntimeError) as error:  # RuntimeError: it is not installed, or has another name
        needs = 'All that is needed comes with: pip install "orderstream[otel]"'
        raise ConfigError(f"OpenTelemetry cannot be set up: {error}. {needs}") from None
    except Exception as error:  # noqa: BLE001 - whatever a wrong variable makes them raise; it may quote a password
        raise ConfigError(f"one of the variables OTEL_… is wrong ({type(error).__name__})") from None
    try:
        yield
    finally:
        if ours:
            _send_the_rest()


def _check(endpoint: str) -> None:
    """Refuse what cannot be an endpoint. The message does not repeat it: it may hold a password."""
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    raise ConfigError("the endpoint of the collector must be a URL such as http://localhost:4317")


def _asked_for() -> bool:
    """An endpoint asks for the signals it is for; a variable such as OTEL_TRACES_EXPORTER for what it names."""
    for signal in SIGNALS:
        if environ.get(ENDPOINT) or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"):
            environ[f"OTEL_{signal}_EXPORTER"] = environ.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(environ.get(f"OTEL_{signal}_EXPORTER") not in (None, "", "none") for signal in SIGNALS)


def _set_up(service: str, commands: bool) -> bool:
    """Set up the SDK as the variables say. False if somebody has done it before."""
    environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C code writes to stderr itself
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

    # All distributions of OpenTelemetry are made of this class: nothing else reads all the variables.
    _OTelSDKConfigurator().configure(resource_attributes=about)  # type: ignore[no-untyped-call]
    if commands:
        from opentelemetry.instrumentation.redis import RedisInstrumentor

        RedisInstrumentor().instrument()
    said.configured = True
    return True


def _send_the_rest() -> None:
    from opentelemetry import metrics, trace

    until = time.monotonic() + LAST_WORDS_S
    # The API knows no shutdown. In threads: while one of them waits for its collector, the other may reach its own.
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

    Theirs may hold an endpoint or a header, and so a password. Of what is wrong with a variable only the form of the
    message is told; and whatever comes later means that spans are not taken as fast as they come.
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
            what = AWAY
        if what not in self._said:
            self._said.add(what)
            log.warning("OpenTelemetry: %s", what)
