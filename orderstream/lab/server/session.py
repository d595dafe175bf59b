"""
The server of this kernel: found or started once, and left when the kernel ends.

If you named a server, the lesson gets a logical database of its own on it. Otherwise a private server is started.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import redis

from orderstream.config import SENTINEL, Settings
from orderstream.embedded.find import ServerError, redis_server
from orderstream.lab.server.client import PRIVATE, Client, explained, open_client
from orderstream.lab.server.private import PrivateServer
from orderstream.lab.server.reserved import ReservedDatabase
from orderstream.software import Software, software_at, software_of


class Server(Protocol):
    """A Redis that the lab may use: ``PrivateServer``, or ``ReservedDatabase`` on a server of yours."""

    url: str
    client: Client

    def usable(self) -> bool:
        """Tell whether it is there, and still ours."""

    def fresh(self, *keys: str) -> None:
        """Delete *keys*. From now on, keys with these names belong to the lab."""

    def close(self) -> None:
        """Leave nothing behind."""


_current: Server | None = None
_given_url: str | None = None  # the value of REDIS_URL before we set it
_on_close: list[Callable[[], object]] = []


def current() -> Server:
    """
    Return the server of this kernel.

    Raises:
        ServerError: The lesson was not started.
    """
    if _current is None:
        raise ServerError('no server yet: run the cell with lab.start("…") first')
    return _current


def start() -> Server:
    """
    Return the server of this kernel; find or start one if there is none, or if it is gone.

    ``REDIS_URL`` then names it, for this process and for those that it starts.

    Raises:
        ServerError: There is no server, or it cannot be used.
    """
    global _current, _given_url
    if _current is not None and _current.usable():
        return _current
    close()
    server = ReservedDatabase(_given()) if is_given() else PrivateServer()
    _given_url = os.environ.get("REDIS_URL")
    os.environ["REDIS_URL"] = server.url
    _current = server
    return server


def _given() -> Settings:
    """Return the settings with the server that you named. If Sentinels name it, the lesson stays with their answer."""
    settings = Settings.from_env()
    if SENTINEL not in settings.redis_url:
        return settings
    from orderstream.sentinel import primary_url

    try:
        return replace(settings, redis_url=primary_url(settings.redis_url))
    except ValueError:  # its text may hold a part of the password
        raise ServerError(f"REDIS_URL is no URL of Sentinels: correct it, or {PRIVATE}") from None
    except redis.RedisError as error:
        raise ServerError(f"REDIS_URL leads to no primary, {error}: correct it, or {PRIVATE}") from None


def on_close(action: Callable[[], object]) -> None:
    """Call *action* each time before the server is left, while it still answers."""
    _on_close.append(action)


def close() -> None:
    """Call the actions of ``on_close``, then leave the server. A private server ends."""
    global _current
    if _current is None:
        return
    for action in _on_close:
        action()
    _current.close()
    _current = None
    os.environ.pop("REDIS_URL", None)
    if _given_url is not None:
        os.environ["REDIS_URL"] = _given_url


atexit.register(close)


def software() -> Software:
    """
    Return what the server of the lab is, or would be if a lesson were started now.

    Raises:
        ServerError: There is no server, or it does not say what it is.
    """
    if _current is not None:
        return software_of(_current.client)
    if is_given():
        with open_client(_given().redis_url) as client, explained(client):
            return software_of(client)
    executable = redis_server()
    if found := software_at(executable):
        return found
    raise ServerError(f"{executable} does not say its version: set ORDERSTREAM_REDIS_SERVER to another one")


def is_given() -> bool:
    """Tell whether you named a server in ``REDIS_URL`` or ``REDIS_ADDR``."""
    return bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_ADDR"))
