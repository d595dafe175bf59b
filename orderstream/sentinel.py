"""
The primary that Redis Sentinel names: each new connection asks the Sentinels where it is, so it follows a failover.

    REDIS_URL=redis+sentinel://USER:PASSWORD@HOST:26379,HOST2:26379/NAME/0?sentinel_password=SECRET

User and password are those of the Redis servers. *NAME* is what the Sentinels call the primary; behind it may stand the
number of a database. With ``rediss+sentinel://`` the servers and the Sentinels speak TLS.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

PORT = 26379
ASK_S = 1.0  # so long a Sentinel may take to answer; then the next one is asked
_URL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://((?P<login>[^@/?#]*)@)?(?P<hosts>[^@/?#]+)/(?P<name>[^/?#]+)"
    r"(/(?P<db>\d*))?(\?(?P<options>[^#]*))?"
)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\],]+))(?::(\d{1,5}))?")


class Watched(NamedTuple):
    """
    What a URL of Sentinels says.

    Attributes:
        sentinels: Host and port of each.
        name: What they call the primary.
        asking: Options of a client of a Sentinel: its user and password.
        front, back: What stands in a URL of the primary, before and behind its host and port.
    """

    sentinels: list[tuple[str, int]]
    name: str
    asking: dict[str, str]
    front: str
    back: str

    @property
    def where(self) -> str:
        """Say where that is, without any password."""
        sentinels = ", ".join(f"{host}:{port}" for host, port in self.sentinels)
        return f"the primary {self.name!r} of the Sentinels at {sentinels}"

    def at(self, host: str, port: int) -> str:
        """Return the URL of the primary if it is there."""
        return f"{self.front}{f'[{host}]' if ':' in host else host}:{port}{self.back}"

    def options(self) -> dict[str, Any]:
        """Return the options of a client of the primary, as redis-py reads them from a URL."""
        options: dict[str, Any] = parse_url(self.at("primary", 1))
        del options["host"], options["port"]
        return options

    def ask(self) -> Sentinels:
        """Return who can be asked."""
        tls = {option: value for option, value in self.options().items() if option.startswith("ssl")}
        patience = {"socket_timeout": ASK_S, "socket_connect_timeout": ASK_S, "retry": Retry(NoBackoff(), 0)}
        secure = self.front.startswith("rediss:")
        return Sentinels(self.sentinels, sentinel_kwargs=patience | tls | self.asking | {"ssl": secure, "protocol": 2})


def read_url(url: str) -> Watched:
    """
    Read a URL of Sentinels.

    Raises:
        ValueError: It is none, or a part of it cannot be used.
    """
    found = _URL.fullmatch(url)
    hosts = [_HOST.fullmatch(host) for host in found["hosts"].split(",")] if found else []
    if not found or not all(hosts):
        raise ValueError("no URL of Sentinels")
    given = parse_qsl(found["options"] or "", strict_parsing=bool(found["options"]))
    prefix = "sentinel_"
    asking = {option.removeprefix(prefix): value for option, value in given if option.startswith(prefix)}
    rest = [(option, value) for option, value in given if not option.startswith(prefix)]
    login = f"{found['login']}@" if found["login"] else ""
    return Watched(
        [(host[1] or host[2], int(host[3] or PORT)) for host in hosts if host],
        found["name"],
        asking,
        f"{found['scheme']}://{login}",
        f"/{found['db'] or 0}" + (f"?{urlencode(rest)}" if rest else ""),
    )


def open_primary(url: str, **options: Any) -> redis.Redis:
    """
    Return a client of the primary. It asks the Sentinels at its first command, and for each new connection.

    Args:
        url: Of the Sentinels.
        options: Of the client. What the URL says comes first.

    Raises:
        ValueError: The URL cannot be used.

    Redis: SENTINEL GET-MASTER-ADDR-BY-NAME, O(1).
    """
    watched = read_url(url)
    said = watched.options()
    kind = SecureToPrimary if said.pop("connection_class", None) is SSLConnection else ToPrimary
    return redis.Redis.from_pool(
        SentinelConnectionPool(watched.name, watched.ask(), connection_class=kind, **options | said)
    )


def primary_url(url: str) -> str:
    """
    Return the URL of the server that is the primary now.

    Raises:
        ValueError, redis.RedisError: As ``open_primary`` and ``Sentinels.discover_master``.
    """
    watched = read_url(url)
    with watched.ask() as sentinels:
        return watched.at(*sentinels.discover_master(watched.name))


class Sentinels(Sentinel):
    """As redis-py has it. But it tells what passes from what a person has to correct."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """
        Return host and port of the primary.

        Raises:
            redis.AuthenticationError: A Sentinel refuses the password, and no other one names the primary.
            redis.ResponseError: All Sentinels answer, and none knows a primary of this name.
            MasterNotFoundError: No Sentinel that answers names it. It passes.
        """
        refused, answered = False, 0
        for sentinel in list(self.sentinels):
            try:
                address = sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service_name)
            except redis.AuthenticationError:
                refused = True
                continue
            except (redis.ConnectionError, redis.TimeoutError, exceptions.InvalidResponse):
                continue
            finally:
                sentinel.close()  # it is asked again after a failover only
            answered += 1
            if address:
                self.sentinels = [sentinel, *(each for each in self.sentinels if each is not sentinel)]
                host, port = address
                return host.decode(), port
        if refused:
            raise redis.AuthenticationError("a Sentinel refuses the password; name it: ?sentinel_password=SECRET")
        if answered == len(self.sentinels):
            raise redis.ResponseError(f"the Sentinels watch no primary {service_name!r}; correct the name in the URL")
        if answered:  # one that has just begun may know nothing yet
            raise MasterNotFoundError(f"no Sentinel that answers watches {service_name!r}, and others are away")
        raise MasterNotFoundError("no Sentinel answers")


class ToPrimary(SentinelManagedConnection):
    """As redis-py has it. But READONLY stays an answer: what was refused is not told as perhaps done."""

    read_response = Connection.read_response


class SecureToPrimary(SentinelManagedSSLConnection):
    """The same with TLS."""

    read_response = SSLConnection.read_response
