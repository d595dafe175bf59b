"""
A process writes down its spans: one line when a span begins, and another line when it ends.

So a handler run whose process was killed is known: it began and did not end. An exporter would not know of it, because
it is only given spans that have ended. A traced worker writes to its output; `lab.Recorder` reads it in the notebook.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import msgspec
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from orderstream import tracing

EVENT = "span"
HERE = "notebook"
ALIVE_EVERY_S = 0.02


class Span(msgspec.Struct, frozen=True):
    """
    All that is known of a span now.

    Attributes:
        name: Such as ``process orders``.
        kind: ``PRODUCER``, ``CONSUMER`` or ``CLIENT``.
        trace_id: The same for all that happened to one order.
        id: Its own.
        parent_id: Of the span it is a child of; None at the root of a trace.
        links: Ids of the spans it is linked to.
        began_s: When, in Unix seconds.
        ended_s: When it ended; None if it has not ended. If its process was killed, it never will.
        attributes: As OpenTelemetry has them.
        process: The worker's name, or ``notebook``.
        killed_s: When its process was last alive, if it was killed; None if it runs or ended cleanly.
    """

    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str | None
    links: tuple[str, ...]
    began_s: float
    ended_s: float | None
    attributes: dict[str, Any]
    process: str = HERE
    killed_s: float | None = None

    @property
    def operation(self) -> str:
        """``send``, ``process``, ``ack``, ``retry``, ``defer``, ``release``, ``dead_letter``; "" if it is not ours."""
        return str(self.attributes.get(tracing.OPERATION, ""))

    @property
    def entry_id(self) -> str | None:
        """None for a span of several orders that were sent together."""
        return self.attributes.get(tracing.ENTRY_ID)

    @property
    def order_id(self) -> str | None:
        """None for several orders, a redrive or a settlement, and for a handler run whose entry is no order."""
        return self.attributes.get(tracing.ORDER_ID)

    @property
    def group(self) -> str | None:
        return self.attributes.get(tracing.GROUP)

    @property
    def consumer(self) -> str | None:
        return self.attributes.get(tracing.CONSUMER)

    @property
    def attempt(self) -> int | None:
        return self.attributes.get(tracing.ATTEMPT)

    @property
    def outcome(self) -> str | None:
        """
        Of a handler run: ``ack``, ``retry``, ``defer``, ``dead_letter`` or ``interrupted``. Of a settlement: None, or
        ``lease_lost`` if it changed nothing. Of a redrive: ``redrive``.
        """
        return self.attributes.get(tracing.OUTCOME)

    @property
    def error(self) -> str | None:
        """The type of the error."""
        return self.attributes.get(tracing.ERROR)


def tell(say: Callable[..., None]) -> None:
    """
    Call *say* when a span of this process begins, and again when it ends.

    A thread also touches the output file. So the time of that file tells when the process was last alive.
    """

    def live() -> None:
        while True:
            os.utime(1)
            time.sleep(ALIVE_EVERY_S)

    listen(lambda span: say(EVENT, span=msgspec.to_builtins(span)))
    threading.Thread(target=live, name="sign of life", daemon=True).start()


class _Listener(SpanProcessor):
    """The SDK tells it of every span of this process twice: when the span begins and when it ends."""

    say: Callable[[Span], None]

    def on_start(self, span: ReadableSpan, parent_context: object = None) -> None:
        self.say(_known(span))

    def on_end(self, span: ReadableSpan) -> None:
        self.say(_known(span))


_listener = _Listener()
_providers: WeakSet[TracerProvider] = WeakSet()


def listen(say: Callable[[Span], None]) -> None:
    """From now on, call *say* for all spans of this process, in place of the function that was given before."""
    _listener.say = say
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # OpenTelemetry lets a process set it only once
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    if provider not in _providers:
        _providers.add(provider)
        provider.add_span_processor(_listener)


def _known(span: ReadableSpan) -> Span:
    own, parent = span.get_span_context(), span.parent
    assert own is not None
    assert span.start_time is not None
    return Span(
        span.name,
        span.kind.name,
        trace.format_trace_id(own.trace_id),
        trace.format_span_id(own.span_id),
        trace.format_span_id(parent.span_id) if parent else None,
        tuple(trace.format_span_id(link.context.span_id) for link in span.links),
        span.start_time / 1e9,
        span.end_time / 1e9 if span.end_time else None,
        dict(span.attributes or {}),
    )
