"""A worker writes down its metrics: a reader of its own writes the numbers once a second and at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

EVENT = "metrics"
EVERY_MS = 1_000


def tell(say: Callable[..., None], role: str, name: str) -> None:
    """Write down the metrics of this process with *say*. The resource names the process, because no metric does."""
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
        """Do nothing: ``export`` has already written everything."""
