"""
How a process tells its spans: a line when one begins and another when it ends.

So a handler run whose process was killed is known: it began, and never ended. An exporter would not know of it, it is
given only what has ended. A traced worker tells them on its output; `lab.Recorder` listens in the notebook.
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
    A span as it is known now.

    Attributes:
        name: Such as ``process orders``.
        kind: ``PRODUCER``, ``CONSUMER`` or ``CLIENT``.
        trace_id: The same for all that happened to one order.
        id: Its own.
        parent_id: Of the span it is a child of; None at the root of a trace.
        links: Ids of the spans it is linked to.
        began_s: When, in Unix seconds.
        ended_s: None if it has not ended, and never will if its process was killed.
        attributes: As OpenTelemetry has them.
        process: The worker's name, or ``notebook``.
        killed_s: When its process was last alive; None if it lives, or came to a clean end.
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
        """``send``, ``process``, ``ack``, ``retry``, ``defer``, ``release`` or ``dead_letter``; "" of others' spans."""
        return str(self.attributes.get(tracing.OPERATION, ""))

    @property
    def entry_id(self) -> str | None:
        """None of a batch that was sent."""
        return self.attributes.get(tracing.ENTRY_ID)

    @property
    def order_id(self) -> str | None:
        """None where it is not known: of a batch, of a settlement, and of a handler run before its data was read."""
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
        """Of a handler run ``ack``, ``retry``, ``defer`` or ``dead_letter``; ``lease_lost``; ``redrive``."""
        return self.attributes.get(tracing.OUTCOME)

    @property
    def error(self) -> str | None:
        """The type of what was raised."""
        return self.attributes.get(tracing.ERROR)


def tell(say: Callable[..., None]) -> None:
    """
    Write down the spans of this process: with *say*, a line when one begins and a line when it ends.

    The time of the file it writes to tells when it was last alive.
    """

    def live() -> None:
        while True:
            os.utime(1)
            time.sleep(ALIVE_EVERY_S)

    listen(lambda span: say(EVENT, span=msgspec.to_builtins(span)))
    threading.Thread(target=live, name="sign of life", daemon=True).start()


class _Listener(SpanProcessor):
    """Hears of every span of this process twice: when it begins and when it ends."""

    say: Callable[[Span], None]

    def on_start(self, span: ReadableSpan, parent_context: object = None) -> None:
        self.say(_known(span))

    def on_end(self, span: ReadableSpan) -> None:
        self.say(_known(span))


_listener = _Listener()
_providers: WeakSet[TracerProvider] = WeakSet()


def listen(say: Callable[[Span], None]) -> None:
    """Call *say* for all spans of this process from now on, and nobody else any more."""
    _listener.say = say
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # a process gets one, and keeps it
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
