"""
The seam for telemetry: who is told what happens to orders.

Without an OpenTelemetry SDK nobody is told, and the classes here do nothing. Once the application has set up an SDK,
the subclasses in ``tracing`` take their place and tell OpenTelemetry. If a method there raises, the one here answers,
see ``harmless``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from orderstream.entries import Backlog, Entry
from orderstream.policy import Decision

Handle = Callable[[Entry], None]
Decide = Callable[[Entry, BaseException], Decision]


class Step:
    """
    One thing that is being done with orders.

    Attributes:
        fields: More fields for each entry that is added in this step: names and values in turn.
        result: What came of it. The code inside the ``with`` block sets it.
        problem: What went wrong. The code inside the ``with`` block sets it, if it raises nothing.
    """

    fields: Sequence[bytes] = ()
    result: Any = None
    problem: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        """Observe that the step ends. What the block *raised* goes on to whoever waits for it."""


class Deliveries:
    """
    What a consumer has in hand.

    Attributes:
        wanted: True if some of it is observed. Then the consumer acks a batch at its end, not with the next read,
            so that the spans of these acks are not late.
    """

    wanted = False

    def handling(self, handle: Handle, decide: Decide) -> Handle:
        """Return *handle*, observed. If it raises, *decide* says what becomes of the entry."""
        return handle

    def processing(self, entry: Entry, decide: Decide) -> Step:
        """Observe one handler run of *entry*. If it raises, *decide* says what becomes of the entry."""
        return Step()

    def settling(self, operation: str, entries: Sequence[Entry]) -> Step:
        """Observe an ``ack``, ``retry``, ``defer`` or ``dead_letter``. The result is False if nothing was changed."""
        return Step()


class Observer:
    """Is told what happens to the orders of one stream. This class does nothing with it, its subclass does."""

    def sending(self, orders: Sequence[Any]) -> Step:
        """Observe that *orders* are added. The result is the replies of Redis."""
        return Step()

    def redriving(self, fields: Callable[[], Mapping[bytes, bytes] | None]) -> Step:
        """Observe that a dead letter is redriven. *fields* reads its original fields. The result is the new id."""
        return Step()

    def delivered(self, consumer: str, entries: Sequence[Entry]) -> Deliveries:
        """Observe that *consumer* was given *entries*, and has no others in hand."""
        return UNOBSERVED_DELIVERIES

    def releasing(self, consumer: str, entries: Sequence[Entry]) -> Step:
        """Observe that *consumer* gives *entries* back, because their handlers never began."""
        return Step()

    def lost(self, count: int) -> None:
        """Observe that *count* entries were deleted from the stream before they were handled."""

    def lease_lost(self) -> None:
        """Observe that another consumer claimed an entry before its handler began."""

    def watch(self, backlog: Callable[[], Backlog | None]) -> None:
        """Observe that a consumer runs. From now on, *backlog* may be asked how much is still to do."""


UNOBSERVED_DELIVERIES = Deliveries()
NOBODY = Observer()
BROKEN = Observer()  # takes the place of telemetry that cannot even be set up
