"""
The metrics of traced workers: each has a reader of its own, and writes down its numbers once a second and at its end.

    ann = lab.processes.consumer("ann", trace=True)
    lab.metrics.histogram(ann, "messaging.process.duration")     # {0.01: 38, 0.025: 2}: 38 runs took 0.01 s at most
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

if TYPE_CHECKING:
    from orderstream.lab.processes import Process

EVENT = "metrics"
EVERY_MS = 1_000


def points(worker: Process, name: str) -> list[dict[str, Any]]:
    """Return the data points of metric *name* as *worker* wrote them down last; none if it has no such metric yet."""
    told = [event["data"] for event in worker.read(0)[0] if event["event"] == EVENT]
    resources = told[-1]["resource_metrics"] if told else []
    found = [metric for each in resources for scope in each["scope_metrics"] for metric in scope["metrics"]]
    return [point for metric in found if metric["name"] == name for point in metric["data"]["data_points"]]


def histogram(worker: Process, name: str) -> Counter[float]:
    """Return how often metric *name* was at most so many seconds and more than the next smaller number."""
    counts: Counter[float] = Counter()
    for point in points(worker, name):
        counts.update(dict(zip([*point["explicit_bounds"], math.inf], point["bucket_counts"], strict=True)))
    return +counts


# In the worker process -------------------------------------------------------------------------------------


def tell(say: Callable[..., None], role: str, name: str) -> None:
    """Write down the metrics of this process with *say*. The process is the resource: no metric names a consumer."""
    resource = Resource.create({SERVICE_NAME: f"orderstream {role}", SERVICE_INSTANCE_ID: name})
    reader = PeriodicExportingMetricReader(_Lines(say), export_interval_millis=EVERY_MS)
    metrics.set_meter_provider(MeterProvider([reader], resource))


class _Lines(MetricExporter):
    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__()
        self._say = say

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **more: Any) -> MetricExportResult:
        self._say(EVENT, data=json.loads(metrics_data.to_json()))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **more: Any) -> None:
        """Nothing is held back."""
