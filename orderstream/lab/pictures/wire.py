"""
Show what a client really sends and receives: each command as you type it in redis-cli, and below it the reply.

    with lab.wire(r):
        r.xadd("orders", {"item": "tea"}, id="1-0")
        r.xread({"orders": "0"})

prints

    > XADD orders 1-0 item tea
      '1-0'
    > XREAD STREAMS orders 0
      [['orders', [['1-0', ['item', 'tea']]]]]

It reads what goes through the socket. So it shows options that redis-py adds, commands that redis-py sends again, and
replies as they come, before redis-py converts them. Passwords are not shown.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pprint import pformat
from types import TracebackType
from typing import Any

import hiredis
import redis
from redis.connection import AbstractConnection

__all__ = ["Wire", "wire"]

LONG = 44  # characters of a word, or of a value
WORDS = 16  # of a command
MANY = 4  # elements of a reply, or commands of a pipeline
SHOWN = 12  # round trips
SECRET = {"AUTH", "HELLO", "ACL", "CONFIG", "MIGRATE"}
"""Commands whose arguments may hold a password."""


def wire(client: redis.Redis, shown: int = SHOWN) -> Wire:
    """
    Print what *client* sends and receives inside of a ``with`` block, and count it.

    The text is the same in every run: long words are cut, and the idle time of a pending entry is shown as ``<ms>``. A
    pipeline must be made inside of the block.

    Args:
        client: A redis-py client. If another thread uses it meanwhile, its commands are shown, too.
        shown: How many round trips are printed.
    """
    return Wire(client, shown)


class Wire:
    """
    Listens on the connections of one client.

    Attributes:
        commands: The names of the commands that were sent, in order; ``MULTI`` and ``EXEC`` are among them.
        round_trips: How often one command or several together were sent and answered.
    """

    def __init__(self, client: redis.Redis, shown: int) -> None:
        self.commands: list[str] = []
        self.round_trips = 0
        self._client, self._shown = client, shown

    def __enter__(self) -> Wire:
        # It cannot listen on connections that are open already, so the client gets new ones inside of the block.
        pool = self._pool = self._client.connection_pool
        tapped = type("Tapped", (_Tap, pool.connection_class), {"wire": self})
        self._client.connection_pool = redis.ConnectionPool(connection_class=tapped, **pool.connection_kwargs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.connection_pool.disconnect()
        self._client.connection_pool = self._pool
        if self.round_trips > self._shown > 0:
            print(f"… {self.round_trips - self._shown} more round trips")

    def told(self, sent: Sequence[Sequence[bytes]], replies: Sequence[Any]) -> None:
        """Note one round trip. Called by a connection."""
        self.round_trips += 1
        self.commands += [words[0].decode(errors="replace").upper() for words in sent]
        if self.round_trips <= self._shown:
            print(_round_trip(sent, replies))


class _Tap(AbstractConnection):
    """The part of a connection that reports to a wire. It is mixed into a connection class of any kind."""

    wire: Wire

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._greeting = False
        self._sent: list[list[bytes]] = []
        self._replies: list[Any] = []

    def on_connect_check_health(self, check_health: bool = True) -> None:
        self._greeting = True  # the cell did not ask for these commands: HELLO, AUTH or SELECT
        try:
            super().on_connect_check_health(check_health)
        finally:
            self._greeting = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        super().send_packed_command(command, check_health)  # before, it may connect or check its connection
        self._sent, self._replies = _commands(command), []

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            reply = super().read_response(*args, **options)
        except Exception as error:
            self._told(error)
            raise
        self._told(reply)
        return reply

    def _told(self, reply: Any) -> None:
        self._replies.append(reply)
        lost = isinstance(reply, Exception) and not isinstance(reply, redis.ResponseError)
        if not self._greeting and (lost or len(self._replies) == len(self._sent)):
            self.wire.told(self._sent, self._replies)


def _commands(packed: Any) -> list[list[bytes]]:
    """Return the commands in bytes that were packed for Redis."""
    reader, commands = hiredis.Reader(), []
    for part in [packed] if isinstance(packed, (str, bytes)) else packed:
        reader.feed(part.encode() if isinstance(part, str) else bytes(part))
        while (words := reader.gets()) is not False:
            commands.append(words)
    return commands


class _Bare(str):
    """Text that is printed in a reply without quotes."""

    __repr__ = str.__str__


def _round_trip(sent: Sequence[Sequence[bytes]], replies: Sequence[Any]) -> str:
    if len(sent) == 1:
        return _exchange(sent[0], replies[0])
    missing = [_Bare("(no reply)")] * (len(sent) - len(replies))
    exchanges = list(map(_exchange, sent, [*replies, *missing]))
    if len(exchanges) > MANY + 1:  # the last one is EXEC, with the replies
        exchanges = [*exchanges[:MANY], f"… {len(sent) - MANY - 1} more", exchanges[-1]]
    body = "\n".join(exchanges)
    return f"{len(sent)} commands in one round trip:\n{textwrap.indent(body, '    ')}"


def _exchange(words: Sequence[bytes], reply: Any) -> str:
    secret = words[0].decode(errors="replace").upper() in SECRET
    more = f" … {len(words) - WORDS} more" if len(words) > WORDS else ""
    asked = f"{_typed(words[0])} …" if secret else " ".join(map(_typed, words[:WORDS])) + more
    told = _Bare("…") if secret else _cut(reply)
    return f"> {asked}\n{textwrap.indent(pformat(told, width=100), '  ')}"


def _typed(word: bytes) -> str:
    """Return a word as one types it in redis-cli."""
    text = word.decode(errors="backslashreplace")
    if re.fullmatch(r"[^\s'\"\\]+", text):
        return _cut_text(text)
    if text.isprintable() and not re.search(r"['\\]", text):
        return f"'{_cut_text(text)}'"
    escaped = word.replace(b"\\", rb"\\").replace(b'"', rb"\"").replace(b"\n", rb"\n")
    return f'"{_cut_text(escaped.decode(errors="backslashreplace"))}"'


def _cut(reply: Any) -> Any:
    """Return *reply* without milliseconds, and with only as much in it as one can see at a glance."""
    match reply:
        case redis.ResponseError():
            return _Bare(f"(error) {_cut_text(str(reply), 2 * LONG)}")
        case Exception():  # the connection broke, or redis-py cannot read the text
            return _Bare(f"(no reply: {type(reply).__name__})")
        case bytes():
            return _cut_text(reply.decode(errors="backslashreplace"))
        case str():
            return _cut_text(reply) if type(reply) is str else reply
        case dict():  # RESP3
            return {_cut(name): _cut(value) for name, value in reply.items()}
        case [str() | bytes() as name, other, int(), int() as deliveries]:  # of a pending entry
            return [_cut(name), _cut(other), _Bare("<ms>"), deliveries]
        case list():
            more = [_Bare(f"… {len(reply) - MANY} more")] if len(reply) > MANY else []
            return [*map(_cut, reply[:MANY]), *more]
    return reply


def _cut_text(text: str, length: int = LONG) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
