"""
What can go wrong, sorted by who has to act.

    OrderStreamError
    ├── ConfigError (ValueError)   you: settings contradict each other, or do not fit the server or client
    ├── OrderError (ValueError)    producer: an order that may not exist, such as amount = 0
    ├── SendUnknown (producer.py)  sending ended halfway: which orders are in the stream, may be in it, are not in it
    ├── DecodeError (ValueError)   data: an entry that is not an order; dead-lettered, never retried
    ├── Reject                     raised by a handler on purpose: never again
    └── Defer                      raised by a handler on purpose: not now

Errors of Redis pass through as redis-py raises them. ``connection.trouble`` says which of them pass by themselves: the
consumer's loop, a producer with ``dedupe`` and the commands wait for the end of those.
"""

class OrderStreamError(Exception):
    """The root: catch it to catch everything orderstream raises itself."""


class ConfigError(OrderStreamError, ValueError):
    """Settings that cannot work. The message says which, why, and what would."""


class OrderError(OrderStreamError, ValueError):
    """An order that may not exist. The message names the field."""


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
