"""
Is this Redis fit to keep orders? Look at everything that orders depend on, and say what to do about each fault.

    for finding in examine(connect()):
        print(finding.level, finding.subject, finding.found, finding.fix)

Nothing is changed. To learn what the connected user may do, this sends each command in a form that cannot change
anything, such as an XADD with the id 0-0: Redis checks the permission first. That works on every version and needs no
permission of its own. Each refusal leaves a line in ACL LOG.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

import redis

from orderstream.config import Settings
from orderstream.connection import as_dict
from orderstream.stream import OrderStream

OLDEST = (6, 2)
DAY_S = 86_400
LAST = 2**64 - 1  # the greatest value of each half of an id
FEW = 1_000_000_000


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    ADVICE = "advice"
    LOSS = "orders could be lost"
    UNKNOWN = "could not look"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was found.

    Attributes:
        subject: What was looked at.
        level: How bad it is.
        found: What was found, one line.
        fix: What to do about it, commands in backticks; empty if there is nothing to do.
    """

    subject: str
    level: Level
    found: str
    fix: str = ""


def examine(stream: OrderStream) -> list[Finding]:
    """
    Look at the server, the stream, its groups and its dead letters, and at what the connected user may do.

    Args:
        stream: From ``connect()``. On a cluster this looks at the node that holds the stream.

    Returns:
        One finding or more for each thing looked at. It is a finding, too, if Redis refuses to show something. A stream
        that does not exist has no finding about its last id and its groups.

    Raises:
        redis.ConnectionError: Redis went away.

    Redis: HELLO, INFO, CONFIG GET, TYPE, PTTL, XLEN, XINFO STREAM; XPENDING and XRANGE COUNT 1 for each group.
    Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
    """
    client, settings = _node(stream), stream.settings
    findings: list[Finding] = []
    for subject, look, needs in _LOOKS:
        try:
            for finding in look(client, settings):
                findings.append(finding)  # noqa: PERF402 - findings before a refusal are kept
        except (redis.ResponseError, KeyError) as hidden:
            fix = f"allow {needs} to this user, or look as an administrator"
            findings.append(Finding(subject, Level.UNKNOWN, f"Redis does not show it: {hidden}", fix))
    return findings


def _node(stream: OrderStream) -> Any:
    """Return a client of the one server that holds the stream."""
    client: Any = stream.client
    if hasattr(client, "get_node_from_key"):  # a RedisCluster
        return client.get_redis_connection(client.get_node_from_key(stream.settings.stream))
    return client


# The server -------------------------------------------------------------------------------------------------


def _server(client: Any, settings: Settings) -> Iterator[Finding]:
    facts = as_dict(client.execute_command("HELLO"))  # needs no permission, unlike INFO
    yield _version(facts[b"version"].decode())
    if facts[b"role"] == b"master":
        yield Finding("replication", Level.OK, "a primary")
    else:
        fix = "connect to its primary; `INFO replication` names it"
        yield Finding("replication", Level.LOSS, "a replica: it refuses writes, or loses them at the next resync", fix)


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST:
        fix = "upgrade to the newest version, 6.2 at least"
        return Finding("version", Level.LOSS, f"Redis {version}: nobody can claim what a dead consumer left", fix)
    more = "" if numbers >= (7, 0) else "; from 7.0 on it knows the lag, and drops pending entries that were deleted"
    return Finding("version", Level.OK, f"Redis {version}{more}")


def _persistence(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("persistence")
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failed:
        fix = "make room on its disk, see its log; it may refuse writes until it can save again"
        yield Finding("persistence", Level.LOSS, f"the last write to disk failed ({failed[0]})", fix)
    append = "`CONFIG SET appendonly yes`, and the same in redis.conf"
    sync = "`CONFIG SET appendfsync {}`, and the same in redis.conf"
    if not info["aof_enabled"]:
        if _configured(client, "save") == "":
            found = "neither AOF nor snapshots: a restart loses every order"
        else:
            found = "no AOF: a restart loses all orders since the last snapshot, minutes or more"
        yield Finding("persistence", Level.LOSS, found, append)
        return
    match _configured(client, "appendfsync"):
        case "always":
            yield Finding("persistence", Level.OK, "AOF, on disk before the producer is answered")
        case "everysec":
            found = "AOF, every second: a power failure loses about a second of orders"
            yield Finding("persistence", Level.ADVICE, found, f"if that is too much: {sync.format('always')}; slower")
        case "no":
            found = "AOF, when the system likes: a power failure loses about half a minute of orders"
            yield Finding("persistence", Level.LOSS, found, sync.format("everysec"))
        case _:
            found = "AOF; how often it is written to disk, Redis refuses to show"
            yield Finding("persistence", Level.UNKNOWN, found, "allow +config|get, or ask the administrator")


def _configured(client: Any, name: str) -> str | None:
    """Return a setting of the server; None if Redis does not show it: managed servers often refuse CONFIG."""
    try:
        value: str | None = client.config_get(name).get(name)
    except redis.ResponseError:
        return None
    return value


def _eviction(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("memory")
    policy, limit = info["maxmemory_policy"], info["maxmemory"]
    room = f"maxmemory {limit:,} bytes" if limit else "no maxmemory"
    if not policy.startswith("allkeys"):
        yield Finding("eviction", Level.OK, f"{policy}, {room}")
        return
    fix = "`CONFIG SET maxmemory-policy noeviction`, and the same in redis.conf; a full Redis then refuses orders"
    if limit:
        yield Finding("eviction", Level.LOSS, f"{policy}, {room}: Redis may throw the whole stream away", fix)
    else:
        yield Finding("eviction", Level.ADVICE, f"{policy}: harmless only as long as there is {room}", fix)


# The stream -------------------------------------------------------------------------------------------------


def _keys(client: Any, settings: Settings) -> Iterator[Finding]:
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
            found = f"{key} does not exist yet" if kind == "none" else f"{key}, {client.xlen(key):,} entries"
            yield Finding(subject, Level.OK, found)


def _last_id(client: Any, settings: Settings) -> Iterator[Finding]:
    info = _of_stream(client.xinfo_stream, settings.stream)
    if not info:
        return
    last = info["last-generated-id"].decode()
    key, ahead_s = settings.stream, -_age_s(last)
    fix = f"find who adds ids of its own; when all is handled, begin a new stream: `RENAME {key} {key}-old`"
    ms, seq = map(int, last.split("-"))
    if ms == LAST and LAST - seq < FEW:
        found = f"{last}: {LAST - seq:,} more entries fit behind it, then Redis refuses every order"
        yield Finding("last id", Level.LOSS, found, fix)
    elif ahead_s > DAY_S:
        found = f"{last} is {_days(ahead_s)} ahead of the clock: no age of an entry can be trusted"
        yield Finding("last id", Level.ADVICE, found, fix)
    else:
        yield Finding("last id", Level.OK, last)


def _groups(client: Any, settings: Settings) -> Iterator[Finding]:
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
        yield from findings or [Finding("groups", Level.OK, f"{name} keeps up")]


def _oldest_pending(client: Any, key: str, group: dict[str, Any]) -> str:
    return (client.xpending(key, group["name"])["min"] or b"").decode()


def _first_unread(client: Any, key: str, group: dict[str, Any]) -> str:
    read = group["last-delivered-id"].decode()
    if read == f"{LAST}-{LAST}":  # XRANGE refuses to look behind it
        return ""
    entries = client.xrange(key, f"({read}", "+", count=1)
    return entries[0][0].decode() if entries else ""


def _dead_letters(client: Any, settings: Settings) -> Iterator[Finding]:
    count = _of_stream(client.xlen, settings.dlq)
    if count:
        fix = "look at them, mend the cause, then redrive or purge them: `orderstream dlq list`"
        yield Finding("dead letters", Level.ADVICE, f"{count:,} in {settings.dlq}", fix)
    else:
        yield Finding("dead letters", Level.OK, "none")


def _of_stream(ask: Callable[[str], Any], key: str) -> Any:
    """Ask about *key*; None if it does not exist, or is no stream: ``_keys`` reports that."""
    try:
        return ask(key)
    except redis.ResponseError as error:
        if "no such key" in str(error) or "WRONGTYPE" in str(error):
            return None
        raise


def _age_s(id: str) -> float:
    """Seconds since the entry was added, by this machine's clock; below 0 if that is in the future."""
    return time.time() - int(id.split("-")[0]) / 1000


def _days(span_s: float) -> str:
    return f"{span_s / DAY_S:,.0f} day{'s' * (span_s >= 1.5 * DAY_S)}"


# What the user may do ---------------------------------------------------------------------------------------


_BACKLOG = [
    "XLEN {stream}",
    "XLEN {dlq}",
    "XINFO GROUPS {stream}",
    "XINFO CONSUMERS {stream} {nobody}",
    "XPENDING {stream} {nobody}",
    "XRANGE {stream} + -",
]
_ROLES = {
    "producer": ["XADD {stream} 0-0 name value"],
    "consumer": [
        "XGROUP CREATE {stream} {nobody} no-id",
        "XREADGROUP GROUP {nobody} doctor STREAMS {stream} >",
        "XACK {stream} {nobody} 0-0",
        "XPENDING {stream} {nobody}",
        "XCLAIM {stream} {nobody} doctor 0 0-0",
        "XRANGE {stream} + -",
        "XADD {dlq} 0-0 name value",
        "XINFO CONSUMERS {stream} {nobody}",
        "XGROUP DELCONSUMER {stream} {nobody} doctor",
        "EVALSHA {unknown} 2 {stream} {dlq}",
        "SCRIPT LOAD ?",
    ],
    "redrive": [
        "XRANGE {dlq} + -",
        "XADD {stream} 0-0 name value",
        "XDEL {dlq} 0-0",
        "EVALSHA {unknown} 2 {dlq} {stream}",
        "SCRIPT LOAD ?",
        *_BACKLOG,
    ],
    "janitor": [
        "XINFO GROUPS {stream}",
        "XPENDING {stream} {nobody}",
        "XRANGE {stream} + -",
        "XTRIM {stream} MAXLEN no",
        "XLEN {stream}",
        "EVALSHA {unknown} 1 {stream}",
        "SCRIPT LOAD ?",
    ],
    "monitor": _BACKLOG,
}
"""The commands of each role in docs/operate.md, in a form that changes nothing: no such group or script exists."""


def _permissions(client: Any, settings: Settings) -> Iterator[Finding]:
    user = client.connection_pool.connection_kwargs.get("username") or "default"
    names = {"stream": settings.stream, "dlq": settings.dlq, "nobody": uuid4().hex, "unknown": "0" * 40}
    allowed = []
    for role, commands in _ROLES.items():
        probes = [[word.format(**names) for word in command.split()] for command in commands]
        lacking = list(dict.fromkeys(rule for probe in probes for rule in _lacking(client, settings, probe)))
        if lacking:
            fix = f"if it should be one, as an administrator: `ACL SETUSER {user} {' '.join(lacking)}`"
            yield Finding("permissions", Level.ADVICE, f"{user} is not allowed all that a {role} does", fix)
        else:
            allowed.append(role)
    if allowed:
        yield Finding("permissions", Level.OK, f"{user} is allowed all that these do: {', '.join(allowed)}")


def _lacking(client: Any, settings: Settings, probe: list[str]) -> list[str]:
    """Return the ACL rules that the user lacks for *probe*: the command; or the keys, if the command is allowed."""
    try:
        client.execute_command(*probe)
    except redis.exceptions.NoPermissionError as error:
        if "permissions to run" in str(error):
            return [_rule(probe)]
        return [f"~{key}" for key in (settings.stream, settings.dlq) if key in probe]
    except redis.ResponseError:
        pass  # as intended: the user is allowed to, and the command could not succeed
    return []


def _rule(command: list[str]) -> str:
    words = command[:2] if command[0] in ("XGROUP", "XINFO", "SCRIPT") else command[:1]
    return "+" + "|".join(words).lower()


_LOOKS: tuple[tuple[str, Callable[[Any, Settings], Iterator[Finding]], str], ...] = (
    ("version", _server, "HELLO"),
    ("persistence", _persistence, "+info +config|get"),
    ("eviction", _eviction, "+info"),
    ("stream", _keys, "+type +pttl +xlen"),
    ("last id", _last_id, "+xinfo|stream"),
    ("groups", _groups, "+xinfo|groups +xpending +xrange +xlen"),
    ("dead letters", _dead_letters, "+xlen"),
    ("permissions", _permissions, "the commands of a role"),
)
