"""
Decide what becomes of an entry whose handler raised. (If the handler returned, the entry is acked.)

Everything about retrying is decided here, and only here. This file knows no Redis and no clock: the
same question always gets the same answer, so you can predict every outcome by reading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from zlib import crc32

import msgspec

from orderstream.errors import ConfigError, DecodeError, Defer, Reject

REASON_LENGTH = 200
_DOUBLINGS = 30  # 2^30 times any backoff is far above claim_idle_ms, which is the longest delay


class Outcome(Enum):
    """How a failed delivery ends."""

    RETRY = "retry"
    DEFER = "defer"
    DEAD_LETTER = "dead_letter"


class Decision(msgspec.Struct, frozen=True):
    """
    An outcome and what it needs.

    Attributes:
        outcome: How the delivery ends.
        delay_ms: RETRY and DEFER: milliseconds until the entry is due again.
        reason: RETRY and DEAD_LETTER: what went wrong, one line, at most 200 characters.
    """

    outcome: Outcome
    delay_ms: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """
    Retry with exponential backoff, then give up.

    Attributes:
        max_attempts: Deliveries that may reach a handler, the first one included.
        backoff_ms: Milliseconds before the first retry; each further one waits twice as long. The
            stream caps every delay at its ``claim_idle_ms``: after that an entry is due anyway.
        max_age_ms: The greatest age, in milliseconds since it was added, at which an order is deferred. Above
            it ``Defer`` is an ordinary failure: otherwise an order that nobody can handle would never end.

    Raises:
        ConfigError: A value is no whole number, or too small.
    """

    max_attempts: int = 3
    backoff_ms: int = 1_000
    max_age_ms: int = 24 * 3_600_000

    def __post_init__(self) -> None:
        for name, least in (("max_attempts", 1), ("backoff_ms", 0), ("max_age_ms", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:  # Redis refuses half milliseconds
                raise ConfigError(f"RetryPolicy: {name} must be a whole number, {least} or more, not {value!r}")

    def decide(self, error: BaseException, attempt: int, *, age_ms: float = 0, key: str = "") -> Decision:
        """
        Turn the failure of a handler run into an outcome.

        Args:
            error: What the handler raised.
            attempt: Number of this delivery, 1 for the first.
            age_ms: Milliseconds since the order was added to the stream.
            key: Such as the entry id. With different keys, orders that failed together get different delays.
        """
        match error:
            case Defer() if age_ms < self.max_age_ms:
                return Decision(Outcome.DEFER, int(error.delay_ms))
            case Reject() | DecodeError():
                return Decision(Outcome.DEAD_LETTER, reason=describe(error))
            case _ if attempt >= self.max_attempts:
                return Decision(Outcome.DEAD_LETTER, reason=describe(error))
        return Decision(Outcome.RETRY, self.delay_ms(attempt, key), describe(error))

    def exhausted(self, attempt: int) -> bool:
        """Return whether this delivery is above the limit. Then the one before was not settled: its process died."""
        return attempt > self.max_attempts

    def delay_ms(self, attempt: int, key: str) -> int:
        """Return ``backoff_ms`` x 2^(attempt - 1), or less of it, down to half: *key* and *attempt* decide how much."""
        full_ms = self.backoff_ms << min(attempt - 1, _DOUBLINGS)
        spread = crc32(f"{key} {attempt}".encode()) % 1000  # jitter that can be repeated
        return full_ms // 2 + full_ms * spread // 2000


def describe(error: BaseException) -> str:
    """Say in one line what went wrong: type and message, control characters escaped, at most 200 characters."""
    try:
        text = str(error.reason) if isinstance(error, Reject) else f"{kind(error)}: {error}"
    except BaseException:  # noqa: BLE001 - an error that cannot print itself must not stop the consumer
        text = kind(error)
    text = text[:REASON_LENGTH]
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return printable.encode("utf-8", "backslashreplace").decode()[:REASON_LENGTH]


def kind(error: BaseException) -> str:
    """Return the name of the class of *error*. It is the class's own: its metaclass may have any ``__name__``."""
    return str(type.__dict__["__name__"].__get__(type(error)))
