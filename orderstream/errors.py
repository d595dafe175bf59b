"""
What can go wrong, sorted by who has to act.

    OrderStreamError
    ├── ConfigError (ValueError)   you: settings contradict each other, or do not fit the server or client
    ├── OrderError (ValueError)    producer: an order that may not exist, such as amount = 0
    ├── HandlerTimeout             a handler ran for longer than handler_timeout_ms
    ├── NotRedriven                some dead letters cannot be put back, the others were
    ├── SendUnknown                sending ended halfway: which orders are in the stream, may be in it, are not in it
    ├── DecodeError (ValueError)   data: an entry that is not an order; dead-lettered, never retried
    ├── Reject                     raised by a handler on purpose: never again
    └── Defer                      raised by a handler on purpose: not now

Errors of Redis pass through as redis-py raises them. ``connection.trouble`` says which of them pass by themselves: the
consumer's loop, a producer with ``dedupe`` and the commands wait for the end of those.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from traceback import walk_tb
from typing import Any


class OrderStreamError(Exception):
    """The root: catch it to catch everything orderstream raises itself."""


class ConfigError(OrderStreamError, ValueError):
    """Settings that cannot work. The message says which, why, and what would."""


class OrderError(OrderStreamError, ValueError):
    """An order that may not exist. The message names the field."""


class SendUnknown(OrderStreamError):
    """
    Sending ended halfway. Nothing after the orders told of here was taken from your iterable.

    Send the ``refused`` ones again when what stopped them is over, and the ``unknown`` ones if your handlers are
    idempotent. ``__cause__`` is what stopped it. If that is an error of your iterable, the orders that it gave before
    were sent, and it may have nothing more to give.

    Attributes:
        sent: Entry ids of the orders that are certainly in the stream, in order.
        unknown: The orders that may be in the stream, because their replies were lost, in order.
        refused: The orders that are certainly not in the stream, in order: Redis refused them or was not reached, or
            they are orders that may not exist.
        reason: What stopped it, in one line: for ``refused`` orders, why.
    """

    def __init__(
        self,
        sent: Sequence[str],
        unknown: Sequence[Any],
        refused: Sequence[Any] = (),
        reason: str = "",
        name: Callable[[Any], str | None] = lambda order: getattr(order, "id", None),
    ) -> None:
        self.sent = list(sent)
        self.unknown = list(unknown)
        self.refused = list(refused)
        self.reason = reason
        told = "1 order is in the stream" if len(self.sent) == 1 else f"{len(self.sent)} orders are in the stream"
        if self.unknown:
            told += f", {len(self.unknown)} may be (first: {name(self.unknown[0])!r}; their replies were lost)"
        if self.refused:
            are = "is" if len(self.refused) == 1 else "are"
            told += f", {len(self.refused)} {are} not (first: {name(self.refused[0])!r})"
        super().__init__(f"{told}: {reason}" if reason else told)

    def __reduce__(self) -> tuple[Any, ...]:  # else pickle makes the copy from the message alone
        return Exception.__new__, (type(self), *self.args), vars(self)


class NotRedriven(OrderStreamError):
    """
    Some dead letters cannot be put back. They stay in the dead-letter stream; all the others were put back.

    Attributes:
        redriven: The new entry ids of the others, in order.
        refused: The ids that stay, each with the reason.
    """

    def __init__(self, redriven: Sequence[str], refused: Mapping[str, str]) -> None:
        self.redriven = list(redriven)
        self.refused = dict(refused)
        super().__init__(self.redriven, self.refused)  # what pickle calls this with

    def __str__(self) -> str:
        id, reason = next(iter(self.refused.items()))
        return f"redriven: {len(self.redriven)}, cannot be: {len(self.refused)} (first: {id}, {reason})"


class HandlerTimeout(OrderStreamError):
    """A handler ran for longer than ``handler_timeout_ms``. This is its failure: the order is tried again."""


class DecodeError(OrderStreamError, ValueError):
    """An entry whose fields are not an order."""


class Reject(OrderStreamError):
    """
    Raise it in a handler: this order can never succeed, move it to the dead-letter queue now.

    Attributes:
        reason: Kept with the dead letter, for the person who looks at it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = str(reason)  # people write ``raise Reject(error)``
        super().__init__(self.reason)


class Defer(OrderStreamError):
    """
    Raise it in a handler: not now, try again later. It costs no attempt.

    Attributes:
        delay_ms: Milliseconds to wait, at most the stream's ``claim_idle_ms``.
    """

    def __init__(self, delay_ms: float) -> None:
        if delay_ms < 0:
            raise ValueError(f"delay_ms must be 0 or more, not {delay_ms}")
        self.delay_ms = int(delay_ms)  # Redis refuses half ones
        super().__init__(self.delay_ms)  # from this pickle makes the copy

    def __str__(self) -> str:
        return f"in {self.delay_ms} ms"


def from_a_signal(error: BaseException) -> bool:
    """
    Return whether a signal raised *error* in code that is not ours, and not that code itself.

    Python's own handler of Ctrl-C leaves no trace: so each KeyboardInterrupt is taken for one as long as it is
    installed. A function that the application installed for a signal is in the traceback of what it raised.
    """
    if issubclass(type(error), Exception) or threading.current_thread() is not threading.main_thread():
        return False
    actions = [signal.getsignal(number) for number in signal.valid_signals()]
    if isinstance(error, KeyboardInterrupt) and signal.default_int_handler in actions:
        return True
    functions = {getattr(action, "__code__", None) for action in actions}
    return any(frame.f_code in functions for frame, _ in walk_tb(error.__traceback__))
