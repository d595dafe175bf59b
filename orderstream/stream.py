"""
The stream: one method for each thing asked of Redis. The only module that changes a stream.

Everything follows one rule: an entry is claimable once it has been idle for ``claim_idle_ms``. Heartbeat, retry, defer
and release only move its idle clock, its delivery count or its owner, and only its holder may do so: the consumer that
has it, at the attempt that consumer was given. Retry, defer and release hand it over to nobody. So the pending entries
of a consumer are those that it has in hand. If one is left behind in its name, it died or could not reach Redis.

    an entry is    operation     by         and is then    attempt    idle_ms                     with
    undelivered    read_new      anybody    pending        1          0                           XREADGROUP
    suspect        claim         anybody    pending        + 1        0                           lua/claim.lua
    pending        heartbeat     holder     pending        same       0                           lua/lease.lua
    pending        retry         holder     waiting        same       claim_idle_ms - delay_ms    lua/lease.lua
    pending        defer         holder     waiting        - 1        claim_idle_ms - delay_ms    lua/lease.lua
    pending        release       holder     suspect        - 1        claim_idle_ms               lua/lease.lua
    pending        dead_letter   holder     dead letter    -          -                           lua/dead.lua
    pending        ack           anybody    acked          -          -                           XACK
    waiting        ack           anybody    acked          -          -                           XACK
    acked          trim          anybody    gone           -          -                           lua/trim.lua
    dead letter    redrive       anybody    undelivered    -          -                           lua/redrive.lua
    dead letter    purge         anybody    gone           -          -                           XDEL
    deleted        claim         anybody    gone           -          -                           lua/claim.lua
    deleted        dead_letter   holder     dead letter    -          -                           lua/dead.lua
    deleted        ack           anybody    gone           -          -                           XACK

Nothing else changes an entry. One that waits becomes a suspect when it is due. A suspect may still have a holder, and
that one may be alive: it can do all that the holder of a pending entry can. A deleted entry was removed from the stream
by somebody while it was pending. When its holder moves its idle clock, Redis 7.0 and newer take it off the pending
entries; Redis 6.2 moves the clock. An ack that comes when the entry is a dead letter is noted there, with lua/late.lua.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, Generic

import redis
from redis.cluster import RedisCluster

from orderstream.config import Settings
from orderstream.connection import (
    Command,
    Words,
    as_dict,
    check_client,
    exchange,
    link_problem,
    mode_of,
    open_client,
    packer,
)
from orderstream.entries import METADATA, UNOWNED, Backlog, Claimed, ConsumerState, Entry, Holder, Trimmed, age_s
from orderstream.errors import ConfigError
from orderstream.form import ORDER, ORDERS, Form, KeyOf, T
from orderstream.observer import BROKEN, NOBODY, Observer
from orderstream.scripts import CLAIM, DEAD, GROUP, LATE, LEASE, ONCE, REAP, REDRIVE, TRIM, Script

REMEMBERED_MS = 100_000
"""How long Redis remembers an order of a sender, whatever the number of its orders."""

LOOK_EVERY_S = 0.05  # to look for an SDK at every order would cost too much
LOOK_AFTER_FAILURE_S = 5.0  # an import that fails is tried from its beginning each time

LATE_LETTERS = 200  # among so many of the newest dead letters look for one whose order was acked too late
TRIM_STEP = 10_000  # entries; Redis serves nobody else while it removes them
LAST_ID = b"18446744073709551615-18446744073709551615"


class OrderStream(Generic[T]):
    """
    A stream, its group and its dead-letter stream on one Redis, or in one slot of a Redis Cluster.

    Args:
        client: A redis-py client of your own, ``Redis`` or ``RedisCluster``; ``connect()`` makes a fitting one.
        settings: How the stream is named and read.
        message: See ``connect()``.
        key: See ``connect()``.

    Raises:
        ConfigError: The client decodes replies, sends writes again by itself, or would cut a blocking read; or
            it is a ``RedisCluster``, and the keys are in two slots; or the type cannot be a message.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster,
        settings: Settings,
        message: type[T] = ORDER,  # type: ignore[assignment]  # to mypy a default must fit every T
        key: KeyOf[T] = None,
    ) -> None:
        check_client(client, settings)
        self.client = client
        self.settings = settings
        self.form: Form[Any] = ORDERS
        if message is not ORDER or key is not None:
            from orderstream.message_types import form_of  # not needed for orders

            self.form = form_of(message, key)
        self._exchange: Callable[[Sequence[Command]], list[Any]]
        if isinstance(client, RedisCluster):
            from orderstream.cluster import check_slots, exchange_in_cluster  # not needed without a cluster

            check_slots(settings)
            self._exchange = partial(exchange_in_cluster, client, settings.stream)
        else:
            self._exchange = partial(exchange, client.connection_pool)
        self._observer = NOBODY
        self._look_again = 0.0

    def __repr__(self) -> str:
        return f"OrderStream({self.settings.stream!r}, group={self.settings.group!r})"

    @cached_property
    def mode(self) -> str:
        """
        The server's mode: ``standalone``, or ``cluster`` for a node of a cluster. Redis is asked once.

        Raises:
            ConfigError: The server is a node of a cluster, and the client knows no other node.

        Redis: HELLO, O(1).
        Source: https://redis.io/docs/latest/commands/hello/
        """
        (reply,) = self._exchange([("HELLO",)])
        mode = mode_of(reply)
        if mode == "cluster" and not isinstance(self.client, RedisCluster):
            raise ConfigError(
                "this client knows one node of a cluster, and the stream may be on another; "
                "use orderstream.connect() or a redis.cluster.RedisCluster"
            )
        return mode

    @property
    def observer(self) -> Observer:
        """
        Is told what happens to the orders. It does nothing until the application has set up an OpenTelemetry SDK,
        which is found within ``LOOK_EVERY_S``, or ``LOOK_AFTER_FAILURE_S`` if it did not work before.
        """
        if (now := time.monotonic()) > self._look_again:
            self._observer = _find_observer(self.settings, self.form)
            self._look_again = now + (LOOK_AFTER_FAILURE_S if self._observer is BROKEN else LOOK_EVERY_S)
        return self._observer

    # Adding -----------------------------------------------------------------------------------------

    def add(self, batch: Iterable[Sequence[bytes]], carried: Sequence[bytes] = ()) -> list[Any]:
        """
        Append one entry for each item of *batch*, in one round trip.

        Args:
            batch: For each entry its fields, names and values in turn.
            carried: More fields, the same for each of them.

        Returns:
            For each entry its id as bytes, or the ``redis.ResponseError`` with which Redis refused it.

        Raises:
            ReplyLost: Some entries may be in the stream, see its ``replies``.

        Redis: XADD, O(1) each.
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        return self._exchange(list(map(packer("XADD", self.settings.stream, "*", tail=carried), batch)))

    def add_once(
        self, sender: str, batch: Iterable[tuple[str, Sequence[bytes]]], carried: Sequence[bytes] = ()
    ) -> list[Any]:
        """
        Like ``add``, but if *sender* has sent an entry with the same key in the last 100 s, nothing is added and the
        reply is the id of that entry. So it is harmless to send again.

        Args:
            sender: Name of the sender. Each sender has its own keys.
            batch: For each entry its key, such as the order id, and its fields.
            carried: More fields, the same for each of them.

        Redis: lua/once.lua = GET, XADD, SET … PX; O(1) each. Each entry takes about 200 bytes more for 100 s.
        Source: https://redis.io/docs/latest/commands/set/
        """
        s = self.settings
        has_tag = re.match(r"[^{]*{[^}]+}", s.stream)
        beside = s.stream if has_tag else f"{{{s.stream}}}"  # on a cluster both keys are in one slot
        memory = f"{beside}:sent:{len(s.stream)}:{len(sender)}:{sender}"  # the lengths: no two names make the same key
        calls = [
            _evalsha(ONCE, [s.stream, f"{memory}:{key}"], REMEMBERED_MS, *fields, *carried) for key, fields in batch
        ]
        replies = self._exchange(calls)
        if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
            self._call("SCRIPT", "LOAD", ONCE.source)
            return self._exchange(calls)
        return replies

    # Reading ----------------------------------------------------------------------------------------

    def create_group(self) -> None:
        """
        Create the group, and the stream if there is none. The group begins at the first entry, not at ``$``:
        entries that were added before the first consumer came are work, too. A full Redis does not refuse it.

        Raises:
            ConfigError: See ``server``.

        Redis: lua/group.lua = XACK, XGROUP CREATE … 0 MKSTREAM; O(1).
        Source: https://redis.io/docs/latest/commands/xgroup-create/
        """
        _ = self.mode  # a client that cannot follow the stream is refused before it has taken an order
        self._run(GROUP, [self.settings.stream], self.settings.group)

    def read_new(
        self, consumer: str, count: int, block_ms: int | None, *, ack: Iterable[str] = ()
    ) -> list[Entry]:
        """
        Take up to *count* entries that no consumer of the group has been given yet.

        Args:
            consumer: Name of the reader. The entries become pending in this name.
            count: The most entries to take.
            block_ms: Milliseconds to wait for the first entry; None does not wait.
            ack: Ids to ack on the way, in front of the read: it saves a round trip for each batch.

        Returns:
            The entries, oldest first, each at attempt 1.

        Redis: XACK; XREADGROUP … >, O(n) for n entries.
        Source: https://redis.io/docs/latest/commands/xreadgroup/
        """
        s = self.settings
        wait: Words = () if block_ms is None else ("BLOCK", block_ms)
        read = ("XREADGROUP", "GROUP", s.group, consumer, "COUNT", count, *wait, "STREAMS", s.stream, ">")
        reply = _last(self._exchange_behind(ack, [read]))
        if not reply:
            return []
        entries = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]  # RESP3, RESP2
        return [Entry(id.decode(), fields, 1) for id, fields in entries]

    def claim(
        self, consumer: str, cursor: str, page: int, *, ack: Iterable[str] = (), alone: int = 0
    ) -> Claimed:
        """
        Take over the next entry that nobody has worked on for ``claim_idle_ms``.

        Looks at one page of the pending entries. One entry only, because an entry that kills its
        process must not take others with it.

        Args:
            consumer: Name of the consumer that claims.
            cursor: ``-`` to begin at the oldest pending entry, then the cursor that the last call returned.
            page: How many pending entries to look at.
            ack: Ids to ack on the way, in front of the claim: it saves a round trip for each suspect.
            alone: An entry whose consumer died is not taken if this would be its delivery of that number. It may be
                what ended that consumer. The look ends at it. Below 0: it goes on behind it. 0 takes all.

        Raises:
            redis.ResponseError: NOGROUP if the stream or the group was deleted.

        Redis: XACK; lua/claim.lua = XPENDING, XCLAIM, and XACK for entries that were trimmed away. O(page).
        Source: https://redis.io/docs/latest/commands/xclaim/
        """
        s = self.settings
        args = (s.group, consumer, s.claim_idle_ms, cursor, page, alone, UNOWNED)
        next_cursor, lost, soonest_ms, *found = self._run(CLAIM, [s.stream], *args, ack=ack)
        ids = tuple(id.decode() for id in lost)
        if len(found) < 4:
            return Claimed(None, next_cursor.decode(), ids, soonest_ms, alone=bool(found))
        id, fields, attempt, owner = found
        left_by = None if owner in (b"", UNOWNED.encode()) else owner.decode(errors="replace")
        return Claimed(Entry(id.decode(), fields, attempt), next_cursor.decode(), ids, soonest_ms, left_by)

    # Settling ---------------------------------------------------------------------------------------

    def ack(self, ids: Iterable[str]) -> int:
        """
        Take entries off the pending list. They stay in the stream.

        Returns:
            How many were pending. It may be fewer than *ids*: the others were acked before, or dead-lettered because
            their handlers ran too long. If one is among the newest dead letters, its reason says now that its order
            was handled after all.

        Redis: XACK, O(1) for each id; lua/late.lua = XREVRANGE, XADD, XDEL, only if fewer were pending.
        Source: https://redis.io/docs/latest/commands/xack/
        """
        return int(_last(self._exchange_behind(ids, [])))

    def heartbeat(self, consumer: str, entries: Sequence[Entry]) -> set[str]:
        """
        Set the idle clock of *entries* back to 0, because *consumer* is working on them.

        Returns:
            The ids that *consumer* still holds. The others were claimed by another consumer, or settled.

        Redis: lua/lease.lua = XPENDING, XCLAIM … IDLE 0 JUSTID; O(log n) for each of them.
        Source: https://redis.io/docs/latest/commands/xclaim/
        """
        return self._lease(consumer, [(entry, 0) for entry in entries], undo=0, owner=consumer)

    def retry(self, consumer: str, entry: Entry, delay_ms: int) -> bool:
        """
        Hand *entry* over to nobody. It is due in *delay_ms* milliseconds, at most ``claim_idle_ms``. This attempt
        counts.

        Returns:
            False if *consumer* held the entry no longer; then nothing changed.

        Redis: lua/lease.lua, O(log n).
        """
        return bool(self.hand_over(consumer, [(entry, delay_ms)]))

    def defer(self, consumer: str, entry: Entry, delay_ms: int) -> bool:
        """Like ``retry``, but this attempt does not count. Redis: lua/lease.lua, O(log n)."""
        return bool(self.hand_over(consumer, [(entry, delay_ms)], counted=False))

    def hand_over(self, consumer: str, delays: Sequence[tuple[Entry, int]], *, counted: bool = True) -> set[str]:
        """
        Hand several entries over to nobody, in one round trip. Each is due after its own delay in milliseconds.

        Args:
            consumer: Name of the consumer that holds them.
            delays: Pairs of an entry and its delay, at most ``claim_idle_ms``.
            counted: Whether this attempt counts.

        Returns:
            The ids that *consumer* still held, and handed over.

        Redis: lua/lease.lua, O(log n) for each of them.
        """
        idle_ms = self.settings.claim_idle_ms
        undo = 0 if counted else 1
        return self._lease(consumer, [(entry, max(0, idle_ms - delay_ms)) for entry, delay_ms in delays], undo=undo)

    def release(self, consumer: str, entries: Sequence[Entry]) -> int:
        """
        Hand *entries* over to nobody, because their handlers never began. They are due now, and this delivery is not
        counted.

        Returns:
            How many *consumer* still held, and gave back.

        Redis: lua/lease.lua, O(log n) for each of them.
        """
        return len(self.hand_over(consumer, [(entry, 0) for entry in entries], counted=False))

    def dead_letter(self, consumer: str, entry: Entry, reason: str) -> str | None:
        """
        Move *entry* to the dead-letter stream, atomically, with its original bytes. A full Redis does not refuse it: an
        order that stayed pending would keep ``trim`` from freeing what comes after it.

        Returns:
            Its id in the dead-letter stream; None if *consumer* held it no longer, or if it was moved before.

        Redis: lua/dead.lua = XPENDING, XRANGE, XADD, and only then XACK; O(size of the entry).
        Source: https://redis.io/docs/latest/commands/xadd/
        """
        s = self.settings
        about: Words = (s.stream, s.group, entry.id, entry.attempt, reason, int(time.time() * 1000))
        metadata = [value for pair in zip(METADATA, about, strict=True) for value in pair]
        id = self._run(DEAD, [s.stream, s.dlq], s.group, consumer, entry.id, entry.attempt, *metadata)
        return id.decode() if id else None

    def leave(self, consumer: str) -> bool:
        """
        Remove *consumer* from the group if it holds nothing. If it holds entries, deleting it would lose them.

        Redis: lua/reap.lua = XINFO CONSUMERS, XGROUP DELCONSUMER; O(number of consumers).
        Source: https://redis.io/docs/latest/commands/xgroup-delconsumer/
        """
        return bool(self.reap(0, consumer))

    def reap(self, idle_ms: int, name: str | None = None) -> list[str]:
        """
        Remove the consumers that hold nothing and were idle for *idle_ms*: processes that died leave their names
        behind. Before Redis 7.2 a living consumer that waits at an empty stream looks idle, too. It is removed, and its
        next read registers it again.

        Args:
            idle_ms: Milliseconds without a command.
            name: Look at this consumer only; None looks at all consumers.

        Returns:
            The names removed.

        Redis: lua/reap.lua, O(number of consumers).
        """
        only = () if name is None else (name,)
        gone = self._run(REAP, [self.settings.stream], self.settings.group, idle_ms, *only)
        return [name.decode(errors="replace") for name in gone]

    # Trimming -----------------------------------------------------------------------------------------

    def trim(self) -> Trimmed:
        """
        Remove the entries that every group was given and has acked, up to the oldest entry that some group still needs.
        A group needs an entry that it has not read yet, or that is pending in it, even if it was given back with XNACK.
        A stream without groups is left alone.

        Redis serves nobody else while it removes entries. So one call of the script removes only about 10,000.

        Raises:
            redis.ResponseError: WRONGTYPE if the key is no stream.

        Redis: lua/trim.lua = XINFO GROUPS, XPENDING and XRANGE COUNT 1 for each group, then XTRIM MINID;
        O(number of groups + entries removed).
        Source: https://redis.io/docs/latest/commands/xtrim/
        """
        removed, now_removed = 0, TRIM_STEP
        while now_removed >= TRIM_STEP // 2:  # else it was the last step
            try:
                now_removed, left, *needed = self._run(TRIM, [self.settings.stream], TRIM_STEP)
            except redis.ResponseError as error:
                if _is_missing(error):
                    return Trimmed(removed, 0, None)
                raise
            removed += now_removed
        if not needed:
            return Trimmed(removed, left, None)
        group, id, pending = needed[0].decode(errors="replace"), needed[1].decode(), bool(needed[2])
        return Trimmed(removed, left, Holder(group, id, pending, age_s(id)))

    # Looking after what failed ------------------------------------------------------------------------

    def dead_letters(self, start: str, count: int) -> list[tuple[str, list[bytes]]]:
        """
        Return up to *count* dead letters from id *start* on, oldest first: pairs of an id and its fields, names and
        values in turn.

        Redis: XRANGE, O(count).
        Source: https://redis.io/docs/latest/commands/xrange/
        """
        page = self._call("XRANGE", self.settings.dlq, start, "+", "COUNT", count)
        return [(id.decode(), fields) for id, fields in page or ()]  # COUNT 0 replies nil

    def redrive(self, id: str, fields: Sequence[bytes]) -> str | None:
        """
        Replace the dead letter *id* by a new entry of the stream: its attempts start anew.

        Args:
            id: Its id in the dead-letter stream.
            fields: Its original fields, names and values in turn; at most 3,990 of them, a script cannot add more.

        Returns:
            The new entry id; None if there is no such dead letter (any more).

        Redis: lua/redrive.lua = XRANGE, XADD, XDEL; O(size of the entry).
        """
        s = self.settings
        new = self._run(REDRIVE, [s.dlq, s.stream], id, *fields)
        return new.decode() if new else None

    def purge(self, ids: Sequence[str]) -> int:
        """
        Delete dead letters for good. Returns how many there were.

        Redis: XDEL, O(1) for each id.
        Source: https://redis.io/docs/latest/commands/xdel/
        """
        return int(self._call("XDEL", self.settings.dlq, *ids))

    # Watching -----------------------------------------------------------------------------------------

    def backlog(self) -> Backlog:
        """
        Say how much is still to do. A stream that does not exist yet has nothing to do; a group that does not exist
        yet has every entry to do.

        Redis: XLEN, XINFO GROUPS, XINFO CONSUMERS, XPENDING, then XRANGE COUNT 1: two round trips,
        O(number of groups and consumers).
        Source: https://redis.io/docs/latest/commands/xinfo-groups/
        """
        s = self.settings
        replies = self._exchange(
            [
                ("XLEN", s.stream),
                ("XINFO", "GROUPS", s.stream),
                ("XINFO", "CONSUMERS", s.stream, s.group),
                ("XPENDING", s.stream, s.group),
                ("XLEN", s.dlq),
            ]
        )
        for reply in replies:
            if isinstance(reply, Exception) and not _is_missing(reply):
                raise reply
        length, groups, consumers, pending, dead_lettered = replies
        group = {} if isinstance(groups, Exception) else _group_named(s.group, groups)
        after = group.get(b"last-delivered-id", b"0-0")
        # Redis refuses to look behind the highest possible id.
        ahead = [] if after == LAST_ID else self._call("XRANGE", s.stream, b"(" + after, "+", "COUNT", 1)
        count, oldest = (0, None) if isinstance(pending, Exception) else pending[:2]
        states = [
            ConsumerState(c[b"name"].decode(errors="replace"), c[b"pending"], c[b"idle"])
            for c in map(as_dict, [] if isinstance(consumers, Exception) else consumers)
            if c[b"name"] != UNOWNED.encode()
        ]
        return Backlog(
            length=length,
            lag=group.get(b"lag") if group else length,
            pending=count,
            oldest_undelivered_s=age_s(ahead[0][0].decode()) if ahead else None,
            oldest_pending_s=age_s(oldest.decode()) if oldest else None,
            dead_lettered=dead_lettered,
            consumers=tuple(states),
            waiting=max(0, count - sum(state.pending for state in states)),  # below 0: one was settled in between
        )

    def close(self) -> None:
        """Close the client's connections."""
        if isinstance(self.client, RedisCluster):  # its close() does not close connections that it made from a URL
            self.client.disconnect_connection_pools()
        self.client.close()

    # How the methods above reach Redis ------------------------------------------------------------------

    def _call(self, *command: str | bytes | int) -> Any:
        return _last(self._exchange([command]))

    def _run(self, script: Script, keys: Sequence[str], *args: str | bytes | int, ack: Iterable[str] = ()) -> Any:
        """Run *script*. Load it first if Redis does not have it (yet, or any more)."""
        call = _evalsha(script, keys, *args)
        replies = self._exchange_behind(ack, [call])
        if isinstance(replies[-1], redis.exceptions.NoScriptError):  # it did not run, so this is not a second run
            replies[-1:] = self._exchange([("SCRIPT", "LOAD", script.source), call])
        return _last(replies)

    def _exchange_behind(self, ack: Iterable[str], commands: list[Command]) -> list[Any]:
        """Exchange *commands*, and in front of them, in the same write, ack the ids; nothing if there are none."""
        s, ids = self.settings, list(ack)
        if not ids:
            return self._exchange(commands)
        replies = self._exchange([("XACK", s.stream, s.group, *ids), *commands])
        if isinstance(replies[0], int) and replies[0] < len(ids):
            with suppress(redis.RedisError):  # the ack is done; the note is for the person who looks at the letter
                self._run(LATE, [s.dlq, s.stream], s.group, LATE_LETTERS, *ids)
        return replies

    def _lease(
        self, consumer: str, idle_ms: Sequence[tuple[Entry, int]], *, undo: int, owner: str = UNOWNED
    ) -> set[str]:
        s = self.settings
        fences = [value for entry, ms in idle_ms for value in (entry.id, entry.attempt, ms)]
        held = self._run(LEASE, [s.stream], s.group, consumer, owner, undo, *fences)
        return {id.decode() for id in held}


def connect(
    settings: Settings | None = None,
    *,
    message: type[T] = ORDER,  # type: ignore[assignment]  # as above
    key: KeyOf[T] = None,
) -> OrderStream[T]:
    """
    Connect to Redis and return the order stream there. If a node of a Redis Cluster answers, connect to the cluster.

    Args:
        settings: None reads them from the environment.
        message: The type of what is sent and handled: a dataclass, a msgspec ``Struct``, a ``TypedDict``, an attrs
            class or a pydantic 2 model. An entry that is none goes to the dead letters at once.
        key: Returns what names a message for ``dedupe`` and in traces: text, a whole number or a UUID, of which the
            text counts. None: its ``id`` does.

    Raises:
        ConfigError: The settings contradict each other, do not fit the cluster or the server's certificate, or lead to
            a Sentinel; or the type cannot be a message, or has no ``id`` and no *key* was given.
        redis.ConnectionError: No Redis answers there.
        redis.AuthenticationError: Redis answers, and the password is wrong or missing.
    """
    settings = settings or Settings.from_env()
    client = open_client(settings)
    stream = OrderStream(client, settings, message, key)
    try:
        replies = exchange(client.connection_pool, [("PING",), ("HELLO",)])
    except redis.ConnectionError as error:
        if problem := link_problem(error, settings.redis_url):
            raise ConfigError(problem) from error
        raise
    for reply in replies:  # any other refusal is an answer, too: a Redis in trouble may be looked at, and waited for
        if isinstance(reply, redis.AuthenticationError):
            raise reply
    mode = mode_of(replies[-1])
    if mode == "sentinel":
        raise ConfigError("the Redis URL leads to a Sentinel, which keeps no orders; write redis+sentinel://HOST:26379/NAME")
    if mode == "cluster":
        from orderstream.cluster import open_cluster

        client.close()
        return OrderStream(open_cluster(settings), settings, message, key)
    return stream


def _find_observer(settings: Settings, form: Form[Any]) -> Observer:
    if not sys.modules.get("opentelemetry.sdk"):  # so none is set up, and tracing need not be imported
        return NOBODY
    from orderstream.harmless import unharmed

    return unharmed(_set_up, lambda settings, form: BROKEN)(settings, form)


def _set_up(settings: Settings, form: Form[Any]) -> Observer:
    from orderstream.tracing import telemetry

    return telemetry(settings, form) or NOBODY


def _evalsha(script: Script, keys: Sequence[str], *args: str | bytes | int) -> Words:
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


def _last(replies: Sequence[Any]) -> Any:
    """Return the last reply. If any reply is an error, raise the first: all replies have been read by now."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies[-1]


def _is_missing(error: Exception) -> bool:
    return "no such key" in str(error) or "NOGROUP" in str(error)


def _group_named(name: str, groups: Any) -> dict[bytes, Any]:
    return next((g for g in map(as_dict, groups) if g[b"name"] == name.encode()), {})
