"""
Every setting with its meaning, unit, default and trade-off, and the relations between them.

Nothing is read at import: ``Settings.from_env()`` takes the environment when you ask for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from orderstream.errors import ConfigError

DEFAULT_ADDR = "localhost:6379"
SENTINEL = "+sentinel://"  # in a URL of Sentinels, behind redis or rediss
DAY_S = 86_400
MOST_ORDERS = 100_000  # in one round trip: what is on its way must fit into memory, here and in Redis


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    How an order stream is reached and how its consumers behave.

    Raises:
        ConfigError: A value is out of range, or two values contradict each other.
    """

    redis_url: str = field(default=f"redis://{DEFAULT_ADDR}", repr=False)
    """``redis://``, ``rediss://`` (TLS), ``unix://`` or ``redis+sentinel://`` (see `orderstream.sentinel`). Not in
    the repr: it may hold a password."""

    stream: str = "orders"
    """Key of the stream."""

    group: str = "order_group"
    """Name of the consumer group. Consumers of one group share the work; each group sees every order."""

    dlq: str = ""
    """Key of the dead-letter stream. Empty means: the stream's name with ``-dlq`` behind it. On Redis Cluster both keys
    must share a slot, such as ``orders`` and ``{orders}-dlq``."""

    max_attempts: int = 3
    """Deliveries that may reach a handler, the first one included, before an order is dead-lettered.
    Lower: a short outage of a dependency fills the dead-letter queue. Higher: a bad order disturbs longer."""

    claim_idle_ms: int = 30_000
    """Milliseconds without a heartbeat after which any consumer may claim an entry; also the longest backoff.
    Lower: a paused process is overtaken while it still works. Higher: a dead one's orders wait longer."""

    backoff_ms: int = 1_000
    """Milliseconds before the first retry; each further one waits twice as long.
    Lower: a failing dependency is hammered. Higher: a short hiccup costs more time."""

    defer_max_age_ms: int = 24 * 3_600_000
    """The greatest age in milliseconds, since it was added, at which an order is deferred. After that ``Defer`` spends
    attempts like any other failure. The age follows from the entry id: ids of your own that are no times count as old.
    Lower: a long outage of a dependency fills the dead-letter queue. Higher: an order that nobody can handle stays."""

    batch: int = 500
    """The most entries that one read takes, and the most orders that a producer sends in one round trip.
    A consumer asks for about 50 ms of work, never for more than this.
    Lower: more round trips. Higher: nothing gained, and a crash costs more orders one attempt."""

    block_ms: int = 1_000
    """Milliseconds that a read waits for new entries at most.
    Lower: an idle consumer asks more often. Higher: ``stop()`` and claiming take longer."""

    handler_timeout_ms: int = 300_000
    """Milliseconds one handler run may take. After that it has failed: the order is tried again, elsewhere.
    Lower: a slow order is run twice. Higher: a hung handler keeps its order longer."""

    on_timeout: str = "log"
    """What a consumer does besides when ``handler_timeout_ms`` is over. ``log``: a line, and it waits for the handler.
    ``exit``: it ends the process and prints where each thread was, even if the handler holds the interpreter; something
    must start the process again. ``orderstream consume`` always ends and replaces a process that hangs."""

    grace_s: float = 10.0
    """Seconds that a stopping ``orderstream`` command gives the order in hand. Then it leaves; others claim the order.
    Lower: more orders are handled twice at a deployment. Higher: the deployment waits."""

    trace_parent: str = "creation"
    """Which trace the span of a handler run belongs to. ``creation``: the trace of the sender. ``link``: a trace of its
    own, linked to the sender's. Choose ``link`` if you do not trust your senders: with ``creation`` they decide what
    is sampled."""

    trace_errors: str = "type"
    """How much a span tells of a failure: its ``type``, or also its ``message`` and stack trace. A message may hold
    what an order holds. With ``message``, ``orderstream consume`` also makes a span of each Redis command of a handler.
    It does so with ``message`` only, because the library that makes these spans always records error messages."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dlq", self.dlq or f"{self.stream}-dlq")
        for holds, otherwise in (
            (self.stream and self.group, "stream and group need a name"),
            (is_text(self.stream + self.group + self.dlq + self.redis_url), "all names and the URL must be UTF-8 text"),
            (
                self.redis_url.startswith(("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")),
                "the Redis URL must begin with redis://, rediss://, unix:// or redis+sentinel://",
            ),
            (self.dlq != self.stream, f"dlq is the stream itself ({self.dlq!r}): dead letters would be consumed"),
            (self.max_attempts >= 1, f"max_attempts={self.max_attempts} would never run a handler; use 1 or more"),
            (1 <= self.batch <= MOST_ORDERS, f"batch={self.batch} must be 1 to {MOST_ORDERS}"),
            (
                0 < self.block_ms <= 2_000,
                f"block_ms={self.block_ms} must be 1 to 2000: 0 waits for ever, and a long wait delays stop()",
            ),
            (self.claim_idle_ms >= 1, f"claim_idle_ms={self.claim_idle_ms} lets consumers steal; use 1 or more"),
            (
                0 <= self.backoff_ms <= self.claim_idle_ms,
                f"backoff_ms={self.backoff_ms} must be 0 to claim_idle_ms={self.claim_idle_ms}: "
                "after that an entry is due anyway",
            ),
            (self.defer_max_age_ms >= 0, f"defer_max_age_ms={self.defer_max_age_ms} must be 0 or more"),
            (
                self.claim_idle_ms <= self.handler_timeout_ms <= 30 * DAY_S * 1000,
                f"handler_timeout_ms={self.handler_timeout_ms} must be at least claim_idle_ms={self.claim_idle_ms}: "
                "the heartbeat would end before it was needed; and at most 30 days",
            ),
            (0 <= self.grace_s <= DAY_S, f"grace_s={self.grace_s} must be 0 to {DAY_S}, which is a day"),
            (self.on_timeout in ("log", "exit"), f"on_timeout={self.on_timeout!r} must be 'log' or 'exit'"),
            (
                self.trace_parent in ("creation", "link"),
                f"trace_parent={self.trace_parent!r} must be 'creation' or 'link'",
            ),
            (
                self.trace_errors in ("type", "message"),
                f"trace_errors={self.trace_errors!r} must be 'type' or 'message'",
            ),
        ):
            if not holds:
                raise ConfigError(otherwise)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """
        Read the settings from environment variables.

        ``REDIS_URL`` wins over ``REDIS_ADDR`` (``host:port``). All others are named ``ORDERSTREAM_``
        and the setting in capitals: ``ORDERSTREAM_MAX_ATTEMPTS``. An empty variable counts as not set.

        Raises:
            ConfigError: A variable is not a number where one is needed, or the settings contradict each other.
        """
        given: dict[str, object] = {}
        for setting in fields(cls):
            variable = f"ORDERSTREAM_{setting.name.upper()}"
            if setting.name != "redis_url" and (text := environ.get(variable)):
                kind: type[str | int | float] = type(getattr(cls, setting.name))
                try:
                    given[setting.name] = kind(text)
                except ValueError:
                    number = "a whole number" if kind is int else "a number"
                    raise ConfigError(f"{variable} must be {number}, not {text!r}") from None
        given["redis_url"] = environ.get("REDIS_URL") or _url(environ.get("REDIS_ADDR") or DEFAULT_ADDR)
        return cls(**given)  # type: ignore[arg-type]


def is_text(name: str) -> bool:
    """Return whether *name* is UTF-8. Python keeps bytes of a command line that are not UTF-8 as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _url(addr: str) -> str:
    """Turn ``host:port`` into a URL. IPv6 hosts stand in brackets."""
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@]+)(:\d{1,5})?", addr):
        raise ConfigError("REDIS_ADDR must be host:port, such as localhost:6379; for anything else set REDIS_URL")
    return f"redis://{addr}"
