"""
Is this Redis fit to keep orders? Look at everything that orders depend on, and say what to do about each fault.

    for finding in examine(connect()):
        print(finding.level, finding.subject, finding.found, finding.fix)

Nothing is changed.

    finding   one thing that was found, and how bad it is
    server    what it is, how it keeps what it was given, and how much more it can take
    streams   the two streams: their keys, the last id, the groups, and what waits for somebody
    user      what the connected user may do, and whether Redis would do it now
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import NoPermissionError

from orderstream.config import Settings
from orderstream.doctor import server, streams, user
from orderstream.doctor.finding import ANSWERS, Finding, Level
from orderstream.stream import OrderStream

__all__ = ["Finding", "Level", "examine"]

_LOOKS: tuple[tuple[str, Callable[[Any, Settings], Iterator[Finding]], str], ...] = (
    ("version", server.version_and_role, "HELLO"),
    ("replicas", server.replicas, "+info"),
    ("persistence", server.persistence, "+info +config|get"),
    ("memory", server.memory, "+info"),
    ("eviction", server.eviction, "+info +pttl"),
    ("stream", streams.keys, "+type +pttl +xlen"),
    ("last id", streams.last_id, "+xinfo|stream"),
    ("groups", streams.groups, "+xinfo|groups +xinfo|consumers +xpending +xrange +xlen"),
    ("dead letters", streams.dead_letters, "+xlen"),
    ("writes", user.writes, "+xadd"),
    ("permissions", user.permissions, "the commands of a role"),
)


def examine(stream: OrderStream[Any]) -> list[Finding]:
    """
    Look at the server, the stream, its groups and its dead letters, and at what the connected user may do.

    Args:
        stream: From ``connect()``. On a cluster this looks at the node that holds the stream.

    Returns:
        One finding or more for each thing looked at. It is a finding, too, if the server refuses to show something. A
        stream that does not exist has no finding about its last id and its groups; who may not add has none about
        writes; a replica has none about its own replicas.

    Raises:
        redis.ConnectionError: Redis went away.

    Redis: HELLO, INFO, CONFIG GET, TYPE, PTTL, XLEN, XINFO STREAM and CONSUMERS; XPENDING and XRANGE COUNT 1 for each
    group; XPENDING … IDLE, O(number of pending entries).
    Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
    """
    client, settings = _node(stream), stream.settings
    if server.is_sentinel(client):
        fix = "write redis+sentinel://HOST:26379/NAME to get to the primary; `SENTINEL MASTERS` tells its name"
        return [Finding("server", Level.BLOCKED, "a Sentinel: it knows where the primary is, and takes no orders", fix)]
    findings: list[Finding] = []
    for subject, look, needs in _LOOKS:
        try:
            for finding in look(client, settings):
                findings.append(finding)  # noqa: PERF402 - findings before a refusal are kept
        except (*ANSWERS, KeyError) as hidden:
            allow = f"allow {needs} to this user, or " if isinstance(hidden, NoPermissionError) else ""
            fix = f"{allow}look as an administrator"
            findings.append(Finding(subject, Level.UNKNOWN, f"the server does not show it: {hidden}", fix))
    return findings


def _node(stream: OrderStream[Any]) -> Any:
    """Return a client of the one server that holds the stream."""
    client: Any = stream.client
    if hasattr(client, "get_node_from_key"):  # a RedisCluster
        return client.get_redis_connection(client.get_node_from_key(stream.settings.stream))
    return client
