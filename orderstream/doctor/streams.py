"""The two streams: their keys, the last id, the groups, and what waits for somebody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from orderstream.config import Settings
from orderstream.doctor.finding import Finding, Level
from orderstream.entries import UNOWNED

DAY_S = 86_400
LAST = 2**64 - 1  # the greatest value of each half of an id
FEW = 1_000_000_000
PAGE, PAGES = 1_000, 100  # so many of the pending entries that nobody touches are looked at


@dataclass(frozen=True, slots=True)
class Stuck:
    """
    What a consumer has pending although nobody works on it, and nobody claims it.

    Attributes:
        consumer: Its name.
        count: How many entries.
        oldest: The id of the oldest.
    """

    consumer: str
    count: int
    oldest: str


def stuck(client: Any, settings: Settings) -> list[Stuck]:
    """
    Name the consumers of our group that hold entries which nobody has touched for longer than a handler may run.

    Redis does not know when a handler began: each heartbeat sets the idle clock of its entry back. But a handler that
    runs longer than ``handler_timeout_ms`` has no heartbeat any more, and a consumer with time for it claims what has
    been idle for ``claim_idle_ms``. So an entry that was idle for ``handler_timeout_ms`` hangs, or its consumer is
    dead, and no other consumer runs or all of them hang. A handler that hangs is named at the latest two
    ``handler_timeout_ms`` after it began. An order that waited long in the stream is not named.

    Args:
        client: A redis-py client.
        settings: Which stream and group, and how long a handler may run.

    Returns:
        One value for each consumer. Only the oldest 100,000 entries are counted. Entries that nobody owns are overdue,
        and not stuck, while a consumer of the group is at work: it comes to them.

    Redis: XPENDING … IDLE, O(number of pending entries); XINFO CONSUMERS, O(number of consumers).
    Source: https://redis.io/docs/latest/commands/xpending/
    """
    s = settings
    ids: dict[bytes, list[bytes]] = {}
    try:
        for row in _untouched(client, settings):
            ids.setdefault(row["consumer"], []).append(row["message_id"])
    except redis.ResponseError as error:
        if "NOGROUP" in str(error):
            return []
        raise
    if UNOWNED.encode() in ids:
        consumers = client.xinfo_consumers(s.stream, s.group)
        if any(row["idle"] < s.handler_timeout_ms for row in consumers if row["name"] != UNOWNED.encode()):
            del ids[UNOWNED.encode()]
    return [Stuck(name.decode(errors="replace"), len(held), held[0].decode()) for name, held in ids.items()]


def _untouched(client: Any, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the pending entries that nobody has touched for longer than a handler may run, oldest first."""
    s, start = settings, "-"
    for _ in range(PAGES):
        page = client.xpending_range(s.stream, s.group, start, "+", PAGE, idle=s.handler_timeout_ms)
        yield from page
        if len(page) < PAGE:
            return
        start = f"({page[-1]['message_id'].decode()}"


def keys(client: Any, settings: Settings) -> Iterator[Finding]:
    for subject, key, variable in (
        ("stream", settings.stream, "ORDERSTREAM_STREAM"),
        ("dead-letter stream", settings.dlq, "ORDERSTREAM_DLQ"),
    ):
        kind, expires_ms = client.type(key).decode(), client.pttl(key)
        if kind not in ("stream", "none"):
            fix = f"choose another key with {variable}, or move this one away: `RENAME {key} {key}-old`"
            yield Finding(subject, Level.LOSS, f"{key} is no stream, it is a {kind}", fix)
        elif expires_ms >= 0:
            found = f"{key} expires in {expires_ms / 1000:,.0f} s, and takes its orders with it"
            yield Finding(subject, Level.LOSS, found, f"`PERSIST {key}`")
        else:
            found = f"{key} does not exist yet" if kind == "none" else f"{key}, {_entries(client.xlen(key))}"
            yield Finding(subject, Level.OK, found)


def last_id(client: Any, settings: Settings) -> Iterator[Finding]:
    for key, refused in ((settings.stream, "every order"), (settings.dlq, "every dead letter")):
        info = _of_stream(client.xinfo_stream, key)
        if not info:
            continue
        last = info["last-generated-id"].decode()
        ahead_s = -_age_s(last)
        fix = f"find who adds ids of its own; when all is handled, begin a new stream: `RENAME {key} {key}-old`"
        ms, seq = map(int, last.split("-"))
        if ms == LAST and LAST - seq < FEW:
            found = f"{last}: {_entries(LAST - seq)} fit behind it, then the server refuses {refused}"
            yield Finding("last id", Level.LOSS if seq < LAST else Level.BLOCKED, found, fix)
        elif ahead_s > DAY_S:
            found = f"{last} is {_days(ahead_s)} ahead of the clock: no age of an entry can be trusted"
            yield Finding("last id", Level.ADVICE, found, fix)
        elif key == settings.stream:
            yield Finding("last id", Level.OK, last)


def groups(client: Any, settings: Settings) -> Iterator[Finding]:
    key = settings.stream
    groups = _of_stream(client.xinfo_groups, key)
    if groups == [] and client.xlen(key):
        found = f"{key} has none: nobody reads it, and it is never trimmed"
        yield Finding("groups", Level.ADVICE, found, "start a consumer")
    for info in groups or ():
        name, findings = info["name"].decode(errors="replace"), []
        pending, unread = _oldest_pending(client, key, info), _first_unread(client, key, info)
        if pending and not client.xrange(key, pending, pending) and pending == _oldest_pending(client, key, info):
            found = f"{pending} was deleted while {name} had it pending: nobody can handle it any more"
            fix = "never use MAXLEN or XDEL, only `orderstream trim`; a running consumer takes it off the pending list"
            findings.append(Finding("groups", Level.LOSS, found, fix))
        for id, what in ((pending, "pending"), (unread, "unread")):
            if id and _age_s(id) > DAY_S:
                found = f"{name} has had entries {what} for {_days(_age_s(id))}; nothing behind them can be trimmed"
                fix = f"start its consumers; or, if nobody needs it any more: `XGROUP DESTROY {key} {name}`"
                findings.append(Finding("groups", Level.ADVICE, found, fix))
        if name == settings.group:
            findings += [_about(held) for held in stuck(client, settings)]
        yield from findings or [Finding("groups", Level.OK, f"{name} keeps up")]


def _about(held: Stuck) -> Finding:
    who = "nobody owns" if held.consumer == UNOWNED else f"{held.consumer} holds"
    found = (
        f"{who} {_entries(held.count)} that nobody has touched for longer than a handler may run, "
        f"the oldest {held.oldest}: nobody works on that, and nobody claims it"
    )
    fix = "if their handler hangs, end its process; and see that a consumer runs, for it claims them"
    return Finding("groups", Level.ADVICE, found, fix)


def _oldest_pending(client: Any, key: str, group: dict[str, Any]) -> str:
    return (client.xpending(key, group["name"])["min"] or b"").decode()


def _first_unread(client: Any, key: str, group: dict[str, Any]) -> str:
    read = group["last-delivered-id"].decode()
    if read == f"{LAST}-{LAST}":  # XRANGE refuses to look behind it
        return ""
    entries = client.xrange(key, f"({read}", "+", count=1)
    return entries[0][0].decode() if entries else ""


def dead_letters(client: Any, settings: Settings) -> Iterator[Finding]:
    count = _of_stream(client.xlen, settings.dlq)
    if count:
        fix = "look at them, mend the cause, then redrive or purge them: `orderstream dlq list`"
        yield Finding("dead letters", Level.ADVICE, f"{count:,} in {settings.dlq}", fix)
    else:
        yield Finding("dead letters", Level.OK, "none")


def _of_stream(ask: Callable[[str], Any], key: str) -> Any:
    """Ask about *key*; None if it does not exist, or is no stream: ``keys`` reports that."""
    try:
        return ask(key)
    except redis.ResponseError as error:
        if "no such key" in str(error) or "WRONGTYPE" in str(error):
            return None
        raise


def _age_s(id: str) -> float:
    """Seconds since the entry was added, by this machine's clock; below 0 if that is in the future."""
    return time.time() - int(id.split("-")[0]) / 1000


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _days(span_s: float) -> str:
    return f"{span_s / DAY_S:,.0f} day{'s' * (span_s >= 1.5 * DAY_S)}"
