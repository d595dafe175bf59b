"""
What tracing costs: not set up, and set up with 1 % of all batches sampled, against the same code without any telemetry.

All three run in this process, in turn, lap by lap; whatever disturbs a lap makes it slower, so the fastest of each are
compared. The exporter throws away what it is given: how fast a collector is, is not our subject. Exactly one batch of
100 is sampled, or luck would decide.
"""

from __future__ import annotations

import math
import time
from itertools import cycle, islice

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from orderstream import Consumer, Order, Producer, random_orders
from orderstream.observer import NOBODY
from orderstream.stream import OrderStream
from orderstream.tracing import Telemetry

WAYS = ("untraced", "off", "1 % sampled")
LAPS = 4 * len(WAYS)


class Untraced(OrderStream):
    observer = NOBODY


class Sampled(OrderStream):
    """As if the application had set up an SDK. To do so would set it up for the other two as well."""

    telemetry: Telemetry

    @property
    def observer(self) -> Telemetry:
        _ = super().observer  # the way there costs something, too
        return self.telemetry


class ThrownAway(SpanExporter):
    def export(self, spans) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Evenly(RandomIdGenerator):
    """A sampler looks at the lower half of a trace's id: these go through all hundredths of it in turn."""

    def __init__(self) -> None:
        self._lower = cycle(range(2**64 // 200, 2**64, 2**64 // 100))

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() >> 64 << 64 | next(self._lower)


def shares(stream: OrderStream, orders: int) -> dict[tuple[str, str], float]:
    """
    Send and handle *orders* in all three ways, again and again.

    Args:
        stream: It is emptied.
        orders: Some hundreds of batches, so that all laps have the same to do.

    Returns:
        What is left of the untraced rate, by what was done and in which way.
    """
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(0.01)), id_generator=Evenly(), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(ThrownAway()))
    sampled = Sampled(stream.client, stream.settings)
    sampled.telemetry = Telemetry(provider.get_tracer("orderstream"), None, stream.settings, stream.form)
    streams = dict(zip(WAYS, (Untraced(stream.client, stream.settings), stream, sampled), strict=True))
    wanted = list(islice(random_orders(seed=1), orders))
    sending, handling = (dict.fromkeys(WAYS, math.inf) for _ in range(2))  # seconds
    for lap in range(LAPS):
        for turn in range(len(WAYS)):
            way = WAYS[(lap + turn * (-1) ** lap) % len(WAYS)]  # each of them before and after each other
            stream.client.delete(stream.settings.stream)
            began = time.perf_counter()
            Producer(streams[way]).send_many(wanted)
            sending[way] = min(sending[way], time.perf_counter() - began)
            handling[way] = min(handling[way], _handle(streams[way], orders))
    provider.shutdown()
    took = {"`send_many`": sending, "`Consumer`": handling}
    return {(what, way): took[what]["untraced"] / took[what][way] for what in took for way in WAYS[1:]}


def _handle(stream: OrderStream, orders: int) -> float:
    """Handle all that was sent. Returns the seconds it took."""
    seen = 0

    def handle(order: Order) -> None:
        nonlocal seen
        seen += 1
        if seen == orders:
            consumer.stop()

    consumer = Consumer(stream, handle)
    stream.create_group()
    began = time.perf_counter()
    consumer.run()
    return time.perf_counter() - began
