"""
The seam for telemetry: who is told what happens to orders.

Without an OpenTelemetry SDK nobody is told, and the classes here do nothing. Once the application has set up an SDK,
the subclasses in ``tracing`` take their place and tell OpenTelemetry.

What OpenTelemetry calls is not ours: span processors, samplers, views, exporters. None of it decides what becomes of an
order. So whatever a method of a subclass raises is logged, and the method here answers instead, which does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from traceback import walk_tb
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from orderstream.entries import Backlog, Entry
from orderstream.order import Order
from orderstream.policy import Decision

Handle = Callable[[Entry], None]
Decide = Callable[[Entry, Exception], Decision]
P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("orderstream")
_logged: set[str] = set()


def unharmed(hook: Callable[P, R], otherwise: Callable[P, R]) -> Callable[P, R]:
    """
    Return *hook* as a function that raises nothing but Ctrl-C. If *hook* raises, *otherwise* answers.

    Each failure is logged once: its type and where it happened. Its message may hold a payload.
    """

    @wraps(hook)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return hook(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever telemetry raises: no order waits for it
            _log_once(error)
            return otherwise(*args, **kwargs)

    return call


class _Hooks:
    """The base of all classes here: a method with which a subclass replaces one of theirs becomes ``unharmed``."""

    def __init_subclass__(cls) -> None:
        for name, hook in list(vars(cls).items()):
            if callable(hook) and hasattr(cls.__base__, name) and not hasattr(object, name):  # not __init__
                setattr(cls, name, unharmed(hook, getattr(cls.__base__, name)))


class Step(_Hooks):
    """
    One thing that is being done with orders: what is inside the ``with`` block.

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Observe that the step ends. An *error* goes on to whoever waits for it."""


class Deliveries(_Hooks):
    """
    What a consumer has in hand.

    Attributes:
        wanted: True if some of it is observed. Then the consumer acks a batch at its end, not with the next read,
            so that the spans of these acks are not late.
    """

    wanted = False

    def handling(self, handle: Handle, decide: Decide) -> Handle:
        """Return *handle*, observed."""
        if not self.wanted:
            return handle

        def observed(entry: Entry) -> None:
            with self.processing(entry, decide):
                handle(entry)

        return observed

    def processing(self, entry: Entry, decide: Decide) -> Step:
        """Observe one handler run. If it raises, *decide* says what becomes of *entry*."""
        return Step()

    def settling(self, operation: str, entries: Sequence[Entry]) -> Step:
        """Observe an ``ack``, ``retry``, ``defer`` or ``dead_letter``. The result is False if nothing was changed."""
        return Step()


class Observer(_Hooks):
    """Is told what happens to the orders of one stream. This class does nothing with it, its subclass does."""

    def sending(self, orders: Sequence[Order]) -> Step:
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


def _log_once(error: BaseException) -> None:
    frames = list(walk_tb(error.__traceback__))[-3:]  # a hook often fails in a library that it calls
    where = " > ".join(f"{frame.f_globals.get('__name__')}:{line}" for frame, line in frames)
    failure = f"{type(error).__name__} in {where}"
    if failure not in _logged:
        _logged.add(failure)
        log.warning("telemetry failed, the orders go on without it: %s", failure)


# A log handler may be telemetry, too, and send each line to a collector.
log.handle = unharmed(log.handle, lambda record: None)  # type: ignore[method-assign]

UNOBSERVED_DELIVERIES = Deliveries()
NOBODY = Observer()
BROKEN = Observer()  # takes the place of telemetry that cannot even be set up
