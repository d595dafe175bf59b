"""
What can go wrong, sorted by who has to act.

    OrderStreamError
    ├── ConfigError (ValueError)   you: settings contradict each other, or do not fit the server or client
    ├── OrderError (ValueError)    producer: an order that may not exist, such as amount = 0
    ├── SendUnknown (producer.py)  a reply was lost, some orders may or may not be in the stream
    ├── HandlerTimeout             a handler ran for longer than handler_timeout_ms
    ├── NotRedriven (deadletter.py)  some dead letters cannot be put back, the others were
    ├── DecodeError (ValueError)   data: an entry that is not an order; dead-lettered, never retried
    ├── Reject                     raised by a handler on purpose: never again
    └── Defer                      raised by a handler on purpose: not now

Errors of Redis pass through as redis-py raises them. ``connection.trouble`` says which of them pass by themselves: the
consumer's loop, a producer with ``dedupe`` and the commands wait for the end of those.
"""

import signal
import threading
from traceback import walk_tb


class OrderStreamError(Exception):
    """The root: catch it to catch everything orderstream raises itself."""


class ConfigError(OrderStreamError, ValueError):
    """Settings that cannot work. The message says which, why, and what would."""


class OrderError(OrderStreamError, ValueError):
    """An order that may not exist. The message names the field."""


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
        super().__init__(f"in {self.delay_ms} ms")


def from_a_signal(error: BaseException) -> bool:
    """
    Return whether a signal raised *error* in code that is not ours, and not that code itself.

    Python's own handler of Ctrl-C leaves no trace: so each KeyboardInterrupt is taken for one as long as it is
    installed. A function that the application installed for a signal is in the traceback of what it raised.
    """
    if isinstance(error, Exception) or threading.current_thread() is not threading.main_thread():
        return False
    actions = [signal.getsignal(number) for number in signal.valid_signals()]
    if isinstance(error, KeyboardInterrupt) and signal.default_int_handler in actions:
        return True
    functions = {getattr(action, "__code__", None) for action in actions}
    return any(frame.f_code in functions for frame, _ in walk_tb(error.__traceback__))
