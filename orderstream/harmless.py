"""
Telemetry decides nothing: whatever it raises is logged, and the orders go on as if nobody observed them.

OpenTelemetry calls code that is neither its own nor ours: span processors, samplers, id generators, exporters, the text
of a handler's error. Some of it fails, and half an SDK can fail to be imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from traceback import walk_tb
from typing import ParamSpec, TypeVar

from orderstream.errors import from_a_signal

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("orderstream")
_logged: set[str] = set()


def unharmed(hook: Callable[P, R], otherwise: Callable[P, R]) -> Callable[P, R]:
    """
    Return *hook* as a function that raises nothing, except what a signal raises in it, such as Ctrl-C. If *hook*
    raises, *otherwise* answers.

    Each failure is logged once: its type and where it happened. Its message may hold a payload.
    """

    @wraps(hook)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return hook(*args, **kwargs)
        except BaseException as error:  # whatever telemetry raises: no order waits for it
            if from_a_signal(error):
                raise
            _log_once(error)
            return otherwise(*args, **kwargs)

    return call


class Harmless:
    """
    Stands in front of a class of ``observer``: each method of it that a subclass replaces becomes ``unharmed``, and the
    replaced one answers if the new one raises.
    """

    def __init_subclass__(cls) -> None:
        for name, hook in list(vars(cls).items()):
            replaced = getattr(super(cls, cls), name, None)
            if callable(replaced) and not hasattr(object, name):  # __init__ is nobody's hook
                setattr(cls, name, unharmed(hook, replaced))


def _log_once(error: BaseException) -> None:
    frames = list(walk_tb(error.__traceback__))[-3:]  # a hook often fails in a library that it calls
    where = " > ".join(f"{frame.f_globals.get('__name__')}:{line}" for frame, line in frames)
    failure = f"{type(error).__name__} in {where}"
    if failure not in _logged:
        _logged.add(failure)
        log.warning("telemetry failed, the orders go on without it: %s", failure)


# A log handler may be telemetry, too, and send each line to a collector.
log.handle = unharmed(log.handle, lambda record: None)  # type: ignore[method-assign]
