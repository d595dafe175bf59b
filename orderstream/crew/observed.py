"""What telemetry knows of the entries that a crew has in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from orderstream.entries import Entry
from orderstream.observer import UNOBSERVED_DELIVERIES, Decide, Deliveries, Step


class CrewDeliveries(Deliveries):
    """
    See ``Deliveries``. Each entry came together with some, and is settled together with others.

    So this notes for each entry that is observed with which delivery it came.
    """

    def __init__(self) -> None:
        self._newest: Deliveries = UNOBSERVED_DELIVERIES
        self._of: dict[str, Deliveries] = {}

    def add(self, deliveries: Deliveries, entries: Sequence[Entry]) -> None:
        """Note that *entries* came with *deliveries*."""
        self._newest = deliveries
        if deliveries.wanted:
            self._of.update((entry.id, deliveries) for entry in entries)

    def forget(self, entries: Iterable[Entry]) -> None:
        """Note that *entries* are not in hand any more."""
        if self._of:
            for entry in entries:
                self._of.pop(entry.id, None)

    def processing(self, entry: Entry, decide: Decide) -> Step:
        return self._of.get(entry.id, self._newest).processing(entry, decide)

    def settling(self, operation: str, entries: Sequence[Entry]) -> Step:
        if not self._of:
            return self._newest.settling(operation, entries)
        parts: dict[Deliveries, list[Entry]] = {}
        for entry in entries:
            parts.setdefault(self._of.get(entry.id, self._newest), []).append(entry)
        steps = [deliveries.settling(operation, part) for deliveries, part in parts.items()]
        return _Together(steps, lambda: self._settled(parts))

    def _settled(self, parts: Mapping[Deliveries, Sequence[Entry]]) -> None:
        for deliveries, part in parts.items():
            for entry in part:
                if self._of.get(entry.id) is deliveries:  # else it was delivered again meanwhile
                    self._of.pop(entry.id, None)


class _Together(Step):
    """Several steps as one. *done* is called if none of them failed; else they are tried again."""

    def __init__(self, steps: Sequence[Step], done: Callable[[], None]) -> None:
        self._steps = steps
        self._done = done

    def __exit__(self, *raised: Any) -> None:
        for step in self._steps:
            step.result, step.problem = self.result, self.problem
            step.__exit__(*raised)
        if not any(raised):
            self._done()
