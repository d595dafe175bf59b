"""
Which software a server is: what it is called, its version, and which Redis' commands it has.

    software_of(client)     of a server that answers
    software_at(path)       of an executable, before anything is started

Print what it is called, and ask what it can do. A Valkey has a name and a version of its own, and the commands of the
Redis that it began as. What Valkey adds to them is in no version of Redis: ask ``COMMAND INFO`` whether it is there.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from orderstream.connection import as_dict

Version = tuple[int, int]

OLDEST: Version = (6, 2)
"""The oldest Redis that we run on."""

AS_REDIS: Version = (7, 2)
"""Whose commands a Valkey has, whatever its own version. Its INFO says this as ``redis_version``."""

SAYS_IT_S = 10.0  # how long an executable may take to say its version


@dataclass(frozen=True, slots=True)
class Software:
    """
    What a server is. As text: ``Redis 8.10.2``, ``Valkey 9.1.2``.

    Attributes:
        name: ``Redis``, ``Valkey``, or what another server calls itself.
        version: Its own, such as ``(9, 1, 2)``.
    """

    name: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"

    @property
    def level(self) -> Version:
        """The Redis whose commands it has, such as ``(8, 10)``; ``OLDEST`` if nobody knows."""
        match self.name:
            case "Redis":
                return self.version[0], self.version[1]
            case "Valkey":
                return AS_REDIS
            case _:
                return OLDEST

    def reads(self, other: Software) -> bool:
        """Return whether it can read the data that *other* has written."""
        if self.name == other.name:
            return self.version[:2] >= other.version[:2]
        return self.name == "Valkey" and other.name == "Redis" and other.level <= AS_REDIS


def greeting(client: redis.Redis) -> dict[str, str]:
    """
    Return what a server says of itself, as text: its ``server``, ``version``, ``mode`` and ``role``.

    Redis: HELLO, O(1). It needs no permission, unlike INFO, and changes nothing when it names no protocol.
    Source: https://redis.io/docs/latest/commands/hello/
    """
    reply = as_dict(client.execute_command("HELLO"))
    return {_text(name): _text(said) for name, said in reply.items() if isinstance(said, str | bytes)}


def software_of(client: redis.Redis) -> Software:
    """
    Return what the server behind *client* is.

    Redis: INFO, O(1); without the permission for it HELLO, O(1), to which a Valkey may answer that it is a Redis.
    """
    with suppress(redis.ResponseError, KeyError):
        about = client.info("server")
        name = about.get("server_name", "redis")
        return Software(name.capitalize(), _numbers(about[f"{name}_version"]))
    hello = greeting(client)
    return Software(hello["server"].capitalize(), _numbers(hello["version"]))


def software_at(path: str) -> Software | None:
    """Return what the executable at *path* is; None if it is no server, or does not run here."""
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SAYS_IT_S).stdout
        if found := re.search(r"(\w+) server v=(\d+\.[\d.]+)", said):  # "Redis server v=8.10.2 sha=…"
            return Software(found[1], _numbers(found[2]))
    return None


def named(text: str) -> Software | None:
    """Return the software of which *text* is the name and version, as ``str()`` gives them; None if it is none."""
    found = re.fullmatch(r"(\w+) (\d+\.[\d.]+)", text)
    return Software(found[1], _numbers(found[2])) if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _text(said: Any) -> str:
    return said.decode() if isinstance(said, bytes) else str(said)
