"""
The seam for telemetry: who is told what happens to orders.

Nobody is told, and nothing is paid, until the application has set up an OpenTelemetry SDK. Then ``tracing`` is told: it
has subclasses of ``Deliveries`` and ``Observer``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from orderstream.entries import Backlog, Entry
from orderstream.order import Order
from orderstream.policy import Decision

Handle = Callable[[Entry], None]
Decide = Callable[[Entry, Exception], Decision]


class Step:
    """
    Something that is being done with orders.

    Attributes:
        fields: More fields for each entry that is added in this step: names and values in turn.
        result: What came of it. Whoever does the step sets it.
        problem: What went wrong. Whoever does the step sets it, if nothing is raised.
    """

    fields: Sequence[bytes] = ()
    result: Any = None
    problem: BaseException | None = None


UNOBSERVED: AbstractContextManager[Step] = nullcontext(Step())


class Deliveries:
    """
    What a consumer has in hand.

    Attributes:
        wanted: Some of it is observed. Then acks do not wait for the next read, so that their spans do not either.
    """

    wanted = False

    def handling(self, handle: Handle, decide: Decide) -> Handle:
        """Return what handles an entry: *handle*, observed. *decide* says what becomes of the entry if it raises."""
        return handle

    def settling(self, operation: str, entries: Sequence[Entry]) -> AbstractContextManager[Step]:
        """Observe an ``ack``, ``retry``, ``defer`` or ``dead_letter``. Its result is False if nothing was changed."""
        return UNOBSERVED


class Observer:
    """Who is told what happens to the orders of one stream. This one does nothing with it."""

    def sending(self, orders: Sequence[Order]) -> AbstractContextManager[Step]:
        """Observe that *orders* are added. Its result is the replies of Redis."""
        return UNOBSERVED

    def redriving(self, fields: Callable[[], Mapping[bytes, bytes] | None]) -> AbstractContextManager[Step]:
        """Observe that a dead letter is redriven; *fields* reads its original ones. Its result is the new entry id."""
        return UNOBSERVED

    def delivered(self, consumer: str, entries: Sequence[Entry]) -> Deliveries:
        """*consumer* was given *entries*, and has no others in hand."""
        return UNOBSERVED_DELIVERIES

    def releasing(self, consumer: str, entries: Sequence[Entry]) -> AbstractContextManager[Step]:
        """Observe that *consumer* gives *entries* back whose handlers never began."""
        return UNOBSERVED

    def lost(self, count: int) -> None:
        """*count* entries were deleted from the stream before they were handled."""

    def lease_lost(self) -> None:
        """An entry was claimed away before its handler began."""

    def watch(self, backlog: Callable[[], Backlog | None]) -> None:
        """Consumers run now: ask *backlog* from time to time how much is still to do."""


UNOBSERVED_DELIVERIES = Deliveries()
NOBODY = Observer()
