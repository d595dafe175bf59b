"""
The likeness of a process: two processes with the same one go on in the same way.

It shows the functions in which each thread stands and where in them, what their variables hold, and all that can be
reached from there: consumer, hand, entries. It leaves out what never decides anything: counters that are only told,
the way to Redis, and how the process has come here. Times are told from now on, and what is long ago is long ago.

What it cannot see is a value that a thread holds in the middle of an expression. Nothing in the package asks Redis
twice in one expression.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Mapping
from contextlib import AbstractContextManager
from types import BuiltinFunctionType, BuiltinMethodType, FrameType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import msgspec

from orderstream.hand import ACK_FLUSH_S, Hand
from orderstream.lab.model.gate import Process, Thread
from orderstream.policy import RetryPolicy
from orderstream.stream import OrderStream

LONG_AGO_S = 2.0  # more than any time in the consumer that is measured backwards, but that of a handler
FLUSHED_S = 2 * ACK_FLUSH_S  # after that it does not matter when acks were flushed last
SOON_S = 2.0  # more than any wait for entries
EPOCH_S = 500_000.0  # a number above it is a time of the process' clock

NOT_OURS = ("redis", "threading", __name__.rpartition(".")[0])
OPAQUE = (OrderStream, RetryPolicy, ModuleType, FunctionType, BuiltinFunctionType, BuiltinMethodType, type)
LOCK = type(threading.Lock())
LEFT_OUT = {
    "_settled": "only told",
    "_observed": "nobody observes",
    "_beat_s": "never changes",
    "_left_by": "read as soon as it is set",
    "_read_some": "decides how long to rest between two pages, by a clock that stands still",
    "rest_ms": "follows from _next_walk",
    "block_ms": "follows from rest_ms",
}
EMPTY_HANDED = ("_batch", "_begun", "_told")
"""What a hand with no entries in it never looks at again."""

ON_THE_WAY = {
    "exchange": ("packed", "pieces", "commands", "_"),
    "OrderStream._exchange_behind": ("commands",),
    "OrderStream.read_new": ("wait", "read"),
}
"""Function -> variables that hold what it asks, which the stop shows, and how long it would wait."""

WHEN = ("_next_walk", "_next_due", "next_beat")
"""Times that are only asked whether they are over. (A pause after a lost reply is short against them.)"""


def likeness(process: Process) -> Hashable:
    """Return the likeness of *process*, which waits."""
    return _Painter(process.clock_s).threads(process)


class _Painter:
    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._seen: dict[int, int] = {}  # things that can change are numbered: the same thing is not two alike

    def threads(self, process: Process) -> Hashable:
        first, *others = process.threads
        alive = [first, *(thread for thread in others if thread.is_alive())]
        return tuple((thread.stop, self._stack(thread.frame)) for thread in alive)

    def _stack(self, frame: FrameType | None) -> Hashable:
        stack = []
        while frame:
            if not frame.f_globals.get("__name__", "").startswith(NOT_OURS):
                function = frame.f_code.co_qualname
                asked = ON_THE_WAY.get(function, ())
                names = {name: value for name, value in frame.f_locals.items() if name not in asked}
                stack.append((function, frame.f_lasti, self._names(names)))
            frame = frame.f_back
        return tuple(stack)

    def _names(self, names: Mapping[str, Any]) -> Hashable:
        return tuple((name, self._value(value, name)) for name, value in sorted(names.items()) if name not in LEFT_OUT)

    def _value(self, value: Any, name: str = "") -> Hashable:
        match value:
            case None | bool() | str() | bytes() | Thread() | LOCK():
                return self._plain(value)
            case int():
                return min(value, 1) if name == "_turns" else value  # it matters only whether there was one
            case float():
                return self._time(value, name)
            case tuple():
                return tuple(map(self._value, value))
            case MethodType() | FunctionType():
                return value.__qualname__
        if isinstance(value, OPAQUE) or type(value).__module__.startswith(NOT_OURS):
            return type(value).__name__
        number = self._seen.get(id(value))
        if number is not None:
            return "again", number
        self._seen[id(value)] = number = len(self._seen)
        return number, type(value).__name__, self._parts(value)

    def _plain(self, value: Any) -> Hashable:
        if isinstance(value, Thread):
            return value.stop
        return value.locked() if isinstance(value, LOCK) else value

    def _parts(self, value: Any) -> Hashable:
        match value:
            case dict():
                return tuple((self._value(key), self._value(each)) for key, each in value.items())
            case list():
                return tuple(map(self._value, value))
            case set() | frozenset():
                return tuple(sorted(map(repr, value)))
            case msgspec.Struct():
                return tuple(self._value(getattr(value, name)) for name in value.__struct_fields__)
            case GeneratorType():
                return value.gi_frame and (value.gi_frame.f_lasti, self._names(value.gi_frame.f_locals))
            case BaseException():
                return str(value)
            case AbstractContextManager():
                return self._value(getattr(value, "gen", None))
        if isinstance(value, Hand) and not value._entries and value._began == math.inf:
            return self._names({name: each for name, each in vars(value).items() if name not in EMPTY_HANDED})
        return self._names(vars(value)) if hasattr(value, "__dict__") else repr(type(value))

    def _time(self, value: float, name: str) -> Hashable:
        if not math.isfinite(value) or value < EPOCH_S:
            return -FLUSHED_S if name == "_flushed_at" else value  # 0.0: never
        since_s = round(value - self._now_s, 6)
        if since_s > SOON_S:
            return "later"  # when time passes, and not by waiting for entries
        if name in WHEN:
            return "over" if since_s <= 0 else "soon"  # a wait for entries ends then
        if name == "_began":
            return since_s
        return max(since_s, -FLUSHED_S if name == "_flushed_at" else -LONG_AGO_S)
