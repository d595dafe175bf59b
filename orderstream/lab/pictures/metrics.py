"""
The OpenTelemetry metrics of traced workers, as each wrote them down last.

    ann = lab.processes.consumer("ann", trace=True)
    lab.metrics.histogram(ann, "messaging.process.duration")     # {0.01: 38, 0.025: 2}: 38 runs took 0.01 s at most
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from orderstream.lab.workers.process import Process
from orderstream.lab.workers.tell_metrics import EVENT


def points(worker: Process, name: str) -> list[dict[str, Any]]:
    """Return the data points of metric *name*, as *worker* wrote them down last; none if it has no such metric yet."""
    told = [event["data"] for event in worker.read(0)[0] if event["event"] == EVENT]
    resources = told[-1]["resource_metrics"] if told else []
    found = [metric for each in resources for scope in each["scope_metrics"] for metric in scope["metrics"]]
    return [point for metric in found if metric["name"] == name for point in metric["data"]["data_points"]]


def histogram(worker: Process, name: str) -> Counter[float]:
    """Return, for each upper bound, how often metric *name* was at most this bound and above the bound before it."""
    counts: Counter[float] = Counter()
    for point in points(worker, name):
        counts.update(dict(zip([*point["explicit_bounds"], math.inf], point["bucket_counts"], strict=True)))
    return +counts
