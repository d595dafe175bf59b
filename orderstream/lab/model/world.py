"""
Redis, as a function: a state and the commands give the replies and the next state.

A real server answers. What it has answered once it is not asked again: it would say the same, because all that differs
between two runs is taken away. Ids follow a last id that lies in the future, so no clock chooses them. Idle times are
``due`` or not. A state is put back with RESTORE, with its groups and its pending entries.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import hiredis

from orderstream import Order, Settings, scripts
from orderstream.connection import as_dict
from orderstream.lab.model.gate import JUMP_S
from orderstream.lab.model.stage import Refusal, Words
from orderstream.lab.server.private import PrivateServer

DAY_MS = 86_400_000
KEY, GROUP, DLQ = "orders", "order_group", "orders-dlq"
FUTURE = 99_999_999_999_999
"""An id with more milliseconds than any clock: ids that Redis makes behind it count its second part up."""

CLOCKS = (b"idle", b"inactive", b"seen-time", b"active-time")
"""What is said of a consumer and only depends on the clock."""

CLAIM_IDLE_MS = 10 * DAY_MS
BACKOFF_MS = 4 * DAY_MS
"""So long that nothing becomes due by itself while the checker runs."""


_EMPTY = [("XADD", DLQ, f"{FUTURE}-0", "no", "letter"), ("XDEL", DLQ, f"{FUTURE}-0")]  # a stream with a last id


def settings(max_attempts: int, batch: int, impatient: bool) -> Settings:
    """Return the settings of every process."""
    return Settings(
        stream=KEY,
        group=GROUP,
        dlq=DLQ,
        claim_idle_ms=CLAIM_IDLE_MS,
        backoff_ms=BACKOFF_MS,
        handler_timeout_ms=CLAIM_IDLE_MS if impatient else 30 * DAY_MS,
        block_ms=1_000,
        max_attempts=max_attempts,
        batch=batch,
    )


class Pending(NamedTuple):
    """A pending entry."""

    id: bytes
    owner: bytes
    due: bool
    deliveries: int


@dataclass(frozen=True)
class State:
    """All that Redis holds of the orders, in a form that is the same whenever it means the same."""

    entries: tuple[tuple[bytes, Words], ...]
    last: bytes
    read: bytes
    pending: tuple[Pending, ...]
    consumers: tuple[bytes, ...]
    dead: tuple[tuple[bytes, Words], ...]
    memory: tuple[tuple[bytes, bytes], ...]
    refuses: bool = False  # the key of the dead letters is no stream: none can be written

    @cached_property
    def order_of(self) -> dict[bytes, str]:
        return {id: _order(fields) for id, fields in self.entries}

    @cached_property
    def undelivered(self) -> list[str]:
        return [order for id, order in self.order_of.items() if _numbers(id) > _numbers(self.read)]

    @cached_property
    def waiting(self) -> list[str]:
        """The orders of pending entries."""
        return [self.order_of.get(each.id, "?") for each in self.pending]

    @cached_property
    def letters(self) -> list[tuple[str, bytes]]:
        """Order and source id of each dead letter."""
        return [(_order(fields), fields[fields.index(b"dlq-id") + 1]) for _, fields in self.dead]

    @cached_property
    def at_rest(self) -> bool:
        return not self.pending and not self.undelivered

    @cached_property
    def owners(self) -> dict[bytes, Pending]:
        return {each.id: each for each in self.pending}

    @cached_property
    def newest(self) -> tuple[int, ...]:
        return _numbers(self.last)


def _order(fields: Words) -> str:
    try:
        return str(json.loads(fields[fields.index(b"data") + 1])["id"])
    except (ValueError, KeyError):
        return "?"


def _numbers(id: bytes) -> tuple[int, ...]:
    return tuple(map(int, id.split(b"-")))


class World:
    """
    Every state of Redis that was seen, by its number, and what leads from one to another.

    Attributes:
        states: The states, by number.
        asked: How often the server was asked.
    """

    def __init__(self, server: PrivateServer) -> None:
        place = urlsplit(server.url)
        self._socket = socket.create_connection((place.hostname, place.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.states: list[State] = []
        self.asked = 0
        self._numbers: dict[State, int] = {}
        self._dumps: list[tuple[Any, ...]] = []
        self._steps: dict[tuple[int, tuple[Words, ...]], tuple[tuple[Any, ...], int]] = {}
        self._passed: dict[int, int] = {}
        self._mended: dict[int, int] = {}
        self._out: list[Any] = []  # what restores the state that is asked next
        self._quiet: dict[tuple[Words, ...], list[Any]] = {}
        for each in vars(scripts).values():
            if isinstance(each, scripts.Script):
                self._send([("SCRIPT", "LOAD", each.source)])

    def close(self) -> None:
        self._socket.close()

    def begin(self, orders: Sequence[Order], refuses: bool = False) -> int:
        """Return the number of a state in which *orders* were sent and nobody has read them."""
        dlq = [("SET", DLQ, "no stream")] if refuses else _EMPTY
        adding = [("XADD", KEY, f"{FUTURE}-{n}", *order.to_fields()) for n, order in enumerate(orders, 1)]
        self._send(
            [
                ("FLUSHALL",),
                ("XGROUP", "CREATE", KEY, GROUP, "0", "MKSTREAM"),
                *adding,
                ("XSETID", KEY, f"{FUTURE}-{len(orders)}"),
                *dlq,
            ]
        )
        return self._look([])[1]

    def ask(self, state: int, commands: tuple[Words, ...]) -> tuple[tuple[Any, ...], int]:
        """Return the replies to *commands* in *state*, and the number of the next state."""
        step = self._steps.get((state, commands))
        if step is None:
            self._restore(state)
            step = self._steps[state, commands] = self.fresh(state, commands)
        return step

    def fresh(self, state: int, commands: tuple[Words, ...]) -> tuple[tuple[Any, ...], int]:
        """The same, from a server that is in *state* now, and is asked in any case."""
        replies, next_state = self._look(commands)
        return tuple(map(_steady, replies)), next_state

    def quiet(self, commands: tuple[Words, ...]) -> list[Any]:
        """Return the replies to commands that ask nothing about the orders."""
        if commands not in self._quiet:
            self._quiet[commands] = self._send(commands)
        return self._quiet[commands]

    def pass_time(self, state: int) -> int:
        """Return the number of the state in which all that is pending has become due."""
        if state not in self._passed:
            now = self.states[state]
            young = [each for each in now.pending if not each.due and each.id in now.order_of]
            self._restore(state)
            idle = ("IDLE", int(JUMP_S * 1000), "JUSTID")
            aged = [("XCLAIM", KEY, GROUP, each.owner, 0, each.id, *idle) for each in young]
            _, self._passed[state] = self._look(aged)
        return self._passed[state]

    def mend(self, state: int) -> int:
        """Return the number of the state in which dead letters can be written again."""
        if not self.states[state].refuses:
            return state
        if state not in self._mended:
            self._restore(state)
            _, self._mended[state] = self._look([("DEL", DLQ), *_EMPTY])
        return self._mended[state]

    # How the server is asked ----------------------------------------------------------------------------

    def _restore(self, state: int) -> None:
        stream, dlq, memory = self._dumps[state]
        keys = [(KEY, stream), (DLQ, dlq), *memory]
        self._out = [("FLUSHALL",), *(("RESTORE", key, 0, dump) for key, dump in keys if dump is not None)]

    def _look(self, commands: Sequence[Any]) -> tuple[list[Any], int]:
        """Send *commands*, in one write with what restores the state before and tells the state after."""
        before, self._out = self._out, []
        after = [
            ("TIME",),
            ("XINFO", "STREAM", KEY, "FULL", "COUNT", 0),
            ("XINFO", "STREAM", DLQ, "FULL", "COUNT", 0),
            ("KEYS", "*"),
            ("DUMP", KEY),
            ("DUMP", DLQ),
        ]
        told = self._send([*before, *commands, *after])
        self.asked += 1
        replies = told[len(before) : len(before) + len(commands)]
        (seconds, micros), stream, dlq, keys, *dumps = told[len(before) + len(commands) :]
        others = [key for key in sorted(keys) if key not in (KEY.encode(), DLQ.encode())]
        memory = self._send([word for key in others for word in (("GET", key), ("DUMP", key))]) if others else []
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        state = _state(stream, dlq, tuple(zip(others, memory[::2], strict=True)), now_ms)
        number = self._numbers.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self._dumps.append((*dumps, tuple(zip(others, memory[1::2], strict=True))))
        return replies, number

    def _send(self, commands: Sequence[Any]) -> list[Any]:
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        reader, replies = hiredis.Reader(replyError=_Refused), list[Any]()
        while len(replies) < len(commands):
            reply = reader.gets()
            if reply is False:
                reader.feed(self._socket.recv(65_536))
            else:
                replies.append(reply)
        return replies


class _Refused(Exception):
    """What hiredis makes of an error reply."""


def _steady(reply: Any) -> Any:
    """Return *reply* as a value, and without what depends on the server's clock."""
    match reply:
        case _Refused():
            return Refusal(str(reply))
        case [bytes() as id, bytes() as owner, int() as idle, int() as deliveries]:  # a row of XPENDING
            return id, owner, idle // DAY_MS * DAY_MS, deliveries
        case [bytes() as cursor, list() as lost, int() as soonest, *found]:  # of lua/claim.lua
            return cursor, tuple(lost), CLAIM_IDLE_MS * (soonest > 0), *map(_steady, found)
        case list():
            told = tuple(map(_steady, reply))
            return tuple(0 if name in CLOCKS else each for name, each in zip((None, *told), told, strict=False))
    return reply


def _state(stream: Any, dlq: Any, memory: tuple[tuple[bytes, bytes], ...], now_ms: int) -> State:
    about, refuses = as_dict(stream), isinstance(dlq, _Refused)
    [group] = [as_dict(each) for each in about[b"groups"] if as_dict(each)[b"name"] == GROUP.encode()]
    pending = [
        Pending(id, owner, now_ms - at_ms >= CLAIM_IDLE_MS, deliveries)
        for id, owner, at_ms, deliveries in group[b"pending"]
    ]
    return State(
        entries=tuple((id, tuple(fields)) for id, fields in about[b"entries"]),
        last=about[b"last-generated-id"],
        read=group[b"last-delivered-id"],
        pending=tuple(pending),
        consumers=tuple(sorted(as_dict(each)[b"name"] for each in group[b"consumers"])),
        dead=() if refuses else tuple((id, tuple(fields)) for id, fields in as_dict(dlq)[b"entries"]),
        memory=memory,
        refuses=refuses,
    )
