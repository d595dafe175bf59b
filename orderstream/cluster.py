"""
The same exchange with a Redis Cluster: find the node that owns the stream's slot, and follow the slot when it moves.

All our keys are in one slot, so one node has them all, and a plain pipeline to it is enough. That node may change while
we work: the slot is moved to another one, or its master dies and a replica takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions
from redis.cluster import REDIS_ALLOWED_KEYS, RedisCluster
from redis.connection import parse_url
from redis.crc import key_slot

from orderstream.config import Settings
from orderstream.connection import Command, ReplyLost, client_options, exchange
from orderstream.errors import ConfigError

REDIRECTS = 2  # if a command is redirected once more, the cluster is still moving slots: an outage, which passes


def open_cluster(settings: Settings) -> RedisCluster:
    """
    Return a client of the whole cluster that the node at the URL belongs to.

    Raises:
        ConfigError: The URL cannot be used on a cluster, or the keys are in two slots.
        redis.RedisError: The cluster is down, or does not let us in.

    Redis: CLUSTER SLOTS, COMMAND; O(number of nodes and commands).
    """
    check_slots(settings)
    ignored = parse_url(settings.redis_url).keys() - REDIS_ALLOWED_KEYS
    if ignored:
        raise ConfigError(
            "on a cluster the Redis URL must begin with redis:// or rediss://, and redis-py takes no "
            f"{', '.join(sorted(ignored))} in it"
        )
    try:
        return RedisCluster.from_url(
            settings.redis_url,
            require_full_coverage=False,  # else a cluster is refused if any slot has no owner; we need one slot only
            dynamic_startup_nodes=False,  # else the URL is forgotten, and nodes that all got new addresses never found
            **client_options(settings),
        )
    except IndexError:
        raise _down("no node has a slot yet") from None
    except exceptions.RedisClusterException as error:
        reason = error.__cause__ or error
        if isinstance(reason.__context__, redis.ResponseError):  # there is a cluster, and it refused CLUSTER SLOTS
            raise reason.__context__ from None
        raise _down(str(reason)) from None


def check_slots(settings: Settings) -> None:
    """
    Refuse keys that are in two slots: no script could move an order from one to the other. Refuse a stream beside which
    no key can be: its name holds a ``}`` that ends no ``{tag}``.

    Raises:
        ConfigError: Says which name would do.
    """
    stream, dlq = settings.stream, settings.dlq
    slot = key_slot(stream.encode())
    fitting = [name for name in (f"{stream}-dlq", f"{{{stream}}}-dlq") if key_slot(name.encode()) == slot]
    if not fitting:
        raise ConfigError(
            f"on a cluster no other key can be named into the slot of {stream!r}; give both names the same {{tag}}"
        )
    if key_slot(dlq.encode()) != slot:
        raise ConfigError(
            f"on a cluster {stream!r} and {dlq!r} are in different slots, and no script can move an order between "
            f"them; set ORDERSTREAM_DLQ={fitting[0]}"
        )


def exchange_in_cluster(client: RedisCluster, key: str, commands: Sequence[Command]) -> list[Any]:
    """
    Like ``exchange()``, with the node that owns the slot of *key*.

    A command that was answered with MOVED did not run. It is sent to the new owner, and no other command is sent again.

    Args:
        client: Knows the nodes and their slots.
        key: One of the keys of *commands*. All of them are in one slot.
        commands: See ``exchange()``.

    Raises:
        redis.exceptions.ClusterDownError: No node has the slot; nothing was sent.
    """
    replies = _exchange_with_owner(client, key, commands)
    for _ in range(REDIRECTS):
        moved = [n for n, reply in enumerate(replies) if isinstance(reply, exceptions.MovedError)]
        if not moved:
            break
        with suppress(KeyError):  # redis-py had no owner for this slot
            client.nodes_manager.move_slot(replies[moved[-1]])
        try:
            again = _exchange_with_owner(client, key, [commands[n] for n in moved])
        except ReplyLost as lost:
            for n, reply in zip(moved, lost.replies, strict=False):
                replies[n] = reply
            lost.replies = replies[: moved[len(lost.replies)]]
            raise
        except (redis.ConnectionError, redis.TimeoutError, exceptions.ClusterDownError):
            break  # nothing was sent; these commands keep their reply MOVED
        for n, reply in zip(moved, again, strict=True):
            replies[n] = reply
    # ASK: the slot is moving to another node, and our keys may be on either. MOVED, which redis-py makes a kind of ASK:
    # the slot moved again. Both pass, so each such reply becomes an error that callers wait out.
    return [_moving(key) if isinstance(reply, exceptions.AskError) else reply for reply in replies]


def _exchange_with_owner(client: RedisCluster, key: str, commands: Sequence[Command]) -> list[Any]:
    """Exchange with the known owner of the slot of *key*. If it seems to own it no more, ask who owns which slot."""
    try:
        node = client.nodes_manager.get_node_from_slot(key_slot(key.encode()))
        pool = client.get_redis_connection(node).connection_pool
    except exceptions.RedisClusterException:  # most often: no node has the slot
        _find_owners(client)
        raise _down(f"no node has the slot of {key!r}") from None
    try:
        replies = exchange(pool, commands)
    except (redis.ConnectionError, redis.TimeoutError):
        pool.disconnect(inuse_connections=False)  # redis-py forgets a dead node, but keeps its connections open
        _find_owners(client, node.name, last=node.name)
        raise
    # A master that cannot reach the others answers CLUSTERDOWN. A master that restarts answers LOADING. In both cases
    # another node may own the slot by now.
    if any(isinstance(reply, (exceptions.ClusterDownError, exceptions.BusyLoadingError)) for reply in replies):
        at_url = client.nodes_manager.startup_nodes  # the URL may lead to this very node, under another name
        _find_owners(client, node.name, last=node.name if node.name in at_url else next(iter(at_url)))
    return replies


def _find_owners(client: RedisCluster, avoid: str | None = None, *, last: str | None = None) -> None:
    """
    Ask which node owns which slot: first at the URL, as all nodes may have new addresses, then the nodes we know.
    If none answers, the next exchange asks again.

    Args:
        client: Learns the answer.
        avoid: Name of a known node that is not asked.
        last: Name of the node, at the URL or known, that is asked only if no other answers.
    """
    known = [(node.host, node.port) for node in client.get_nodes() if node.name != avoid]
    with suppress(redis.RedisError, exceptions.RedisClusterException, IndexError):
        client.nodes_manager.initialize(known, last_failed_node_name=last)


def _moving(key: str) -> exceptions.TryAgainError:
    return exceptions.TryAgainError(f"the slot of {key!r} is moving to another node", status_code="TRYAGAIN")


def _down(why: str) -> exceptions.ClusterDownError:
    """Return an error that ``trouble`` knows. For a cluster that is down, redis-py raises one that is no RedisError."""
    return exceptions.ClusterDownError(f"the cluster is down: {why}", status_code="CLUSTERDOWN")
