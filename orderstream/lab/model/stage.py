"""
What stands in for the world while processes are let go one step at a time: the link to Redis, the clock, chance.

    with staged(answer):
        process = Process("a", program)      # redis-py in it asks at the gate
        process.go(Input(0, replies))

Outside of a process nothing is changed: threads that are none of ours find the real things.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import hiredis
import redis
from redis._parsers.base import BaseParser

from orderstream import consumer, hand, scripts
from orderstream.lab.model.gate import Thread, here, wait

NOW_S = 1_900_000_000.0  # the time of day never matters; what is written into a dead letter must be the same each time
LOST = "lost"
"""Instead of replies: the link breaks."""

QUIET = {b"HELLO", b"AUTH", b"SELECT", b"CLIENT", b"PING", b"SCRIPT"}
"""Commands whose replies depend on nothing: they are no step. redis-py sends most of them by itself."""

CREATES = (b"EVALSHA", scripts.GROUP.sha.encode())
"""The group is there from the beginning, so its creation is no step either."""

NEVER = 10**9
Words = tuple[bytes, ...]
Answer = Callable[[tuple[Words, ...]], Sequence[Any]]


class Refusal(NamedTuple):
    """An error reply. It is a value, so that it can be compared and kept."""

    text: str



def _no_answer(asked: tuple[Words, ...]) -> Sequence[Any]:
    raise RuntimeError("nobody has staged the world")


_answer: Answer = _no_answer


class _Plug:
    """What is in the place of a socket."""

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Link:
    """What replaces the methods of ``redis.Connection``: nothing is connected, and whoever reads waits at the gate."""

    def connect(self: Any) -> None:
        if not self._sock:
            self.staged, self._sock = True, _Plug()
            self.asked = list[Words]()
            self.told = list[Any]()

    def disconnect(self: Any, *_: Any, **__: Any) -> None:
        self._sock = None

    def can_read(self: Any, timeout: float = 0) -> bool:
        return False

    def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        self.connect()
        self.asked += commands_in([command] if isinstance(command, (bytes, str)) else command)

    def read_response(self: Any, disable_decoding: bool = False, **options: Any) -> Any:
        if self.asked:
            asked, self.asked = tuple(self.asked), []
            self.told = list(_replies(asked))
        if not self.told:
            self._sock = None
            raise redis.ConnectionError("Connection closed by server.")
        reply = self.told.pop(0)
        if isinstance(reply, Refusal):
            raise _error(reply.text)
        return _as_redis_py_does(reply, None if disable_decoding else self.encoder)


def _replies(asked: tuple[Words, ...]) -> Sequence[Any]:
    if all(words[0].upper() in QUIET or words[:2] == CREATES for words in asked):
        return _answer(asked)
    commands, waits_ms = zip(*map(_without_block, asked), strict=True)
    told: Any = wait("asks", commands)
    if told == LOST:
        return ()
    if told[-1] is None:
        thread = here()
        assert thread
        thread.process.clock_s += max(waits_ms) / 1000
    return told  # type: ignore[no-any-return]


def _without_block(words: Words) -> tuple[Words, int]:
    """A read that waits is one that does not, at the moment when its wait ends."""
    if words[0].upper() in (b"XREADGROUP", b"XREAD"):
        upper = [word.upper() for word in words]
        if b"BLOCK" in upper[: upper.index(b"STREAMS")]:
            at = upper.index(b"BLOCK")
            return words[:at] + words[at + 2 :], int(words[at + 1])
    return words, 0


def commands_in(packed: Sequence[Any]) -> list[Words]:
    """Return the commands that were packed for Redis."""
    reader, commands = hiredis.Reader(), []
    for part in packed:
        reader.feed(part.encode() if isinstance(part, str) else bytes(part))
    while (words := reader.gets()) is not False:
        commands.append(tuple(words))
    return commands


def _error(text: str) -> Exception:
    error: Exception = BaseParser.parse_error(text)
    return error


def _as_redis_py_does(reply: Any, encoder: Any) -> Any:
    """Return *reply* in lists that may be changed, and as text if the client wants text."""
    if isinstance(reply, Refusal):
        return _error(reply.text)
    if isinstance(reply, tuple):
        return [_as_redis_py_does(each, encoder) for each in reply]
    return encoder.decode(reply) if encoder and isinstance(reply, bytes) else reply


# Clock, threads and chance ----------------------------------------------------------------------------


def _monotonic() -> float:
    thread = here()
    return thread.process.clock_s if thread else time.monotonic()


def _time() -> float:
    return NOW_S if here() else time.time()


def _sleep(seconds: float) -> None:
    thread = here()
    if not thread:
        time.sleep(seconds)
    elif thread is thread.process.threads[0]:
        thread.process.clock_s += seconds
    else:
        wait("sleeps")


def _thread(target: Callable[[], object], **options: Any) -> Thread | threading.Thread:
    thread = here()
    return Thread(thread.process, target) if thread else threading.Thread(target=target, **options)


def _host() -> str:
    thread = here()
    return thread.process.name if thread else "host"


_CLOCK = SimpleNamespace(monotonic=_monotonic, time=_time, sleep=_sleep, time_ns=lambda: int(_time() * 1e9))
_CHANCE = SimpleNamespace(getrandbits=lambda bits: 0, random=lambda: 0.5, uniform=lambda low, high: high)
_REPLACED: list[tuple[Any, str, Any]] = [
    (hand, "threading", SimpleNamespace(Lock=threading.Lock, Thread=_thread)),
    (consumer, "_random", _CHANCE),
    (consumer, "socket", SimpleNamespace(gethostname=_host)),
    (consumer, "os", SimpleNamespace(getpid=lambda: 1)),
    (consumer, "REAP_EVERY_S", math.inf),  # who reaps is a process of its own
    (consumer, "READ_EVERY", NEVER),  # suspects go first as long as there are any
    (sys.modules["redis.retry"], "sleep", _sleep),
]


def _replaced(page: int) -> Iterator[tuple[Any, str, Any]]:
    yield from _REPLACED
    yield consumer, "SMALL_PAGE", page
    yield consumer, "LARGE_PAGE", page
    for name, module in list(sys.modules.items()):
        if name.startswith("orderstream.") and not name.startswith("orderstream.lab."):
            for attribute, value in vars(module).items():
                if isinstance(value, ModuleType) and value is time:
                    yield module, attribute, _CLOCK
    for name, method in vars(_Link).items():
        if not name.startswith("__"):
            yield redis.Connection, name, _only_in_a_process(method, getattr(redis.Connection, name))


def _only_in_a_process(method: Any, original: Any) -> Any:
    def either(self: Any, *args: Any, **options: Any) -> Any:
        return (method if here() or vars(self).get("staged") else original)(self, *args, **options)

    return either


@contextmanager
def staged(answer: Answer, page: int = 16) -> Iterator[None]:
    """Let the world be staged. *answer* replies to commands that are no step; a consumer looks at pages of *page*."""
    missing = object()
    global _answer
    if _answer is not _no_answer:
        raise RuntimeError("there is one stage, and another play is on")
    _answer = answer
    before = []
    log = logging.getLogger("orderstream")  # what goes wrong here goes wrong on purpose
    disabled, log.disabled = log.disabled, True
    try:
        for owner, name, value in list(_replaced(page)):
            before.append((owner, name, vars(owner).get(name, missing)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            with suppress(AttributeError):
                delattr(owner, name) if value is missing else setattr(owner, name, value)
        log.disabled = disabled
        _answer = _no_answer
