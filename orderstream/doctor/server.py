"""The server: what it is, how it keeps what it was given, and how much more it can take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import redis

from orderstream.config import Settings
from orderstream.doctor.finding import Finding, Level
from orderstream.software import OLDEST, Software, greeting, software_of

NEARLY_FULL = 0.9  # of maxmemory
BEHIND_BYTES = 1_000_000  # a few thousand orders
SILENT_S = 10  # the default of min-replicas-max-lag


def is_sentinel(client: Any) -> bool:
    """Return whether the server only knows where the orders are. It refuses every command about a stream."""
    try:
        return greeting(client).get("mode") == "sentinel"
    except redis.ResponseError:
        return False


def version_and_role(client: Any, settings: Settings) -> Iterator[Finding]:
    yield version(software_of(client))
    if greeting(client)["role"] == "master":
        yield Finding("replication", Level.OK, "a primary")
    else:
        fix = "connect to its primary; `INFO replication` names it"
        yield Finding("replication", Level.LOSS, "a replica: it refuses writes, or loses them at the next resync", fix)


def version(software: Software) -> Finding:
    if software.level < OLDEST:
        fix = "upgrade to the newest version, 6.2 at least"
        return Finding("version", Level.LOSS, f"{software}: nobody can claim what a dead consumer left", fix)
    more = "; from 7.0 on it knows the lag, and drops pending entries that were deleted"
    return Finding("version", Level.OK, f"{software}{'' if software.level >= (7, 0) else more}")


def replicas(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("replication")
    if info["role"] != "master":
        return
    count = f"{info['connected_slaves']} connected"
    those = [about for name, about in info.items() if re.fullmatch(r"slave\d+", name)]
    late = [found for replica in those if (found := _late(replica, info["master_repl_offset"]))]
    for found in late:
        fix = "look at its network, its load and its log"
        yield Finding("replicas", Level.LOSS, f"{found}: a failover to it loses the orders that it lacks", fix)
    good, needed = info.get("min_slaves_good_slaves"), _configured(client, "min-replicas-to-write")
    if good is None and info["connected_slaves"]:
        found = f"{count}, min-replicas-to-write is not set: cut off from them, it takes orders that a failover loses"
        set_it = "`CONFIG SET min-replicas-to-write 1`, and the same in its config file"
        fix = f"{set_it}; it refuses orders while none keeps up"
        yield Finding("replicas", Level.ADVICE, found, fix)
    elif good is not None and good < int(needed or 1):
        found = f"min-replicas-to-write is {needed or 'set'}, and {good} keep up: the server refuses every order"
        fix = f"bring the others back; or live with fewer copies: `CONFIG SET min-replicas-to-write {good}`"
        yield Finding("replicas", Level.BLOCKED, found, fix)
    elif not info["connected_slaves"]:
        yield Finding("replicas", Level.OK, "none: only this server has the orders")
    elif not late:
        yield Finding("replicas", Level.OK, f"{count}, and they keep up")


def _late(replica: dict[str, Any], offset: int) -> str:
    """Say how a replica is behind its primary; nothing if it keeps up."""
    name, missing = f"{replica['ip']}:{replica['port']}", offset - replica["offset"]
    if replica["state"] != "online":
        return f"{name} is still copying everything"
    if missing > BEHIND_BYTES:
        return f"{name} is {missing:,} bytes behind"
    if replica["lag"] > SILENT_S:
        return f"{name} was last heard of {replica['lag']} s ago"
    return ""


def persistence(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("persistence")
    if info["aof_enabled"] and info.get("aof_last_write_status", "ok") != "ok":
        yield _failed("aof_last_write_status", refuses=True)
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        stops, saves = _configured(client, "stop-writes-on-bgsave-error"), _configured(client, "save")
        yield _failed("rdb_last_bgsave_status", refuses=bool(stops == "yes" and saves))
    append = "`CONFIG SET appendonly yes`, and the same in its config file"
    sync = "`CONFIG SET appendfsync {}`, and the same in its config file"
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
            found = "AOF; how often it is written to disk, the server refuses to show"
            yield Finding("persistence", Level.UNKNOWN, found, "allow +config|get, or ask the administrator")


def _failed(status: str, *, refuses: bool) -> Finding:
    level = Level.BLOCKED if refuses else Level.LOSS
    cost = "the server refuses every order until it can write again" if refuses else "a restart loses what it holds"
    fix = "make room on its disk, see its log"
    return Finding("persistence", level, f"the last write to disk failed ({status}): {cost}", fix)


def _configured(client: Any, name: str) -> str | None:
    """Return a setting of the server; None if it does not show it: managed servers often refuse CONFIG."""
    try:
        value: str | None = client.config_get(name).get(name)
    except redis.ResponseError:
        return None
    return value


def memory(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("memory")
    limit, used = info["maxmemory"], info["used_memory"] - info.get("mem_not_counted_for_evict", 0)
    fix = "remove what was handled with `orderstream trim`, or raise maxmemory"
    if not limit:
        yield Finding("memory", Level.OK, "no maxmemory: the server refuses nothing before the machine is full")
    elif info["maxmemory_policy"].startswith("allkeys") or used < NEARLY_FULL * limit:
        yield Finding("memory", Level.OK, f"{used / limit:.0%} of maxmemory")
    elif used <= limit:
        found = f"{used / limit:.0%} of maxmemory: once it is full, the server refuses every order"
        yield Finding("memory", Level.ADVICE, found, fix)
    else:
        found = f"full, {used:,} of {limit:,} bytes: the server refuses every order; acks go on"
        yield Finding("memory", Level.BLOCKED, found, fix)


def eviction(client: Any, settings: Settings) -> Iterator[Finding]:
    info = client.info("memory")
    policy, limit = info["maxmemory_policy"], info["maxmemory"]
    room = f"maxmemory {limit:,} bytes" if limit else "no maxmemory"
    fix = "`CONFIG SET maxmemory-policy noeviction`, and the same in its config file; full, it then refuses orders"
    all_keys = policy.startswith("allkeys")
    expiring = [key for key in (settings.stream, settings.dlq) if client.pttl(key) >= 0]
    if policy == "noeviction":
        yield Finding("eviction", Level.OK, f"{policy}, {room}")
    elif not limit:
        yield Finding("eviction", Level.ADVICE, f"{policy}: harmless only as long as there is {room}", fix)
    elif all_keys or expiring:
        lost = "the whole stream" if all_keys else " and ".join(expiring)
        yield Finding("eviction", Level.LOSS, f"{policy}, {room}: the server may throw {lost} away", fix)
    else:
        found = f"{policy}, {room}: full, it forgets what Producer(dedupe=…) has sent, and an order may be in twice"
        yield Finding("eviction", Level.ADVICE, found, fix)
