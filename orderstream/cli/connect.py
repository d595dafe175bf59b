"""The way to Redis: connect, say in one line why that failed, and wait while a Redis that was there is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import click
import redis

from orderstream import OrderStream, Settings, connect
from orderstream.cli.options import environ, join_embedded
from orderstream.config import SENTINEL
from orderstream.connection import Trouble, trouble
from orderstream.errors import ConfigError
from orderstream.policy import describe

DEFAULT_PORT = 6379
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # between two tries to reach a Redis that went away


def connect_or_explain() -> OrderStream:
    """
    Connect as the options and the environment say.

    Raises:
        click.ClickException: No Redis answers there, or it does not let us in. The message says what to do.
    """
    join_embedded()
    settings = Settings.from_env(environ())
    try:
        return connect(settings)
    except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
        problem = f"Redis at {_where(settings)} does not take this user and password: {error}"
    except (redis.ConnectionError, redis.TimeoutError, UnicodeError) as error:  # UnicodeError: not a valid host name
        problem = _why_no_answer(error, settings)
    raise click.ClickException(problem)


def connect_as_child(still_here: Callable[[], None]) -> OrderStream:
    """
    Connect in a supervisor's child: if Redis is away, wait for it.

    The supervisor has connected before it started the child. So a Redis that does not answer now, or not as a Redis, is
    an outage, and no mistake in an option.

    Args:
        still_here: Called before each try.
    """
    settings, pause_s = Settings.from_env(environ()), 0.0
    while True:
        still_here()
        try:
            return connect(settings)
        except redis.RedisError as error:
            pause_s = wait_out(error, pause_s)
        except ConfigError as error:
            if not isinstance(error.__cause__, redis.RedisError):
                raise
            pause_s = wait_out(error.__cause__, pause_s)
        time.sleep(pause_s)


def wait_out(error: redis.RedisError, pause_s: float) -> float:
    """
    Return how many seconds to wait before the next try to reach Redis.

    Args:
        error: What the last try raised.
        pause_s: Seconds that the caller waited before the last try. 0: it was the first try, so this function says
            on stderr what it waits for.

    Raises:
        redis.RedisError: *error* itself, if it is no outage, because then waiting does not help.
    """
    if trouble(error) is not Trouble.OUTAGE:
        raise error
    if pause_s == 0:
        click.echo(f"Waiting for Redis ({describe(error)}).", err=True)
    return min(max(FIRST_PAUSE_S, 2 * pause_s), LONGEST_PAUSE_S)


def _why_no_answer(error: Exception, settings: Settings) -> str:
    """Say what is there, if anything is, and what to do."""
    reason, where = error.__context__, _where(settings)
    if "max number of clients" in str(error):
        return f"Redis at {where} has as many clients as it takes; close some, or raise its maxclients"
    if "handshake" in str(reason):
        return f"what answers at {where} speaks no TLS, or is too busy; for one without TLS write redis:// in the URL"
    if isinstance(reason, ConnectionResetError) or "closed by server" in str(error):
        return f"what answers at {where} ends the connection; if it speaks TLS, write rediss:// in the Redis URL"
    why = getattr(reason, "strerror", None) or str(error)
    return f"no Redis answers at {where} ({why.rstrip('.')}). {_what_to_do(reason or error, settings)}"


def _what_to_do(reason: BaseException, settings: Settings) -> str:
    """Say what to do when no server is there: start one on this machine, or look what keeps us from a remote one."""
    if SENTINEL in settings.redis_url:
        return "If the primary has just died, the Sentinels name another one soon; else correct the URL"
    url = urlsplit(settings.redis_url)
    host = url.hostname or "localhost"
    if url.scheme == "unix" or _is_this_machine(host):
        port = "" if url.port in (None, DEFAULT_PORT) else f" --port {url.port}"
        compose = " or with `docker compose up -d`" if _compose_file_in_sight() else ""
        start = "" if url.scheme == "unix" else f"Start one with `orderstream server{port}`{compose}; or "
        share = "add --embedded to your commands: they start and share one"
        return f"{start or 'Start that one; or '}{share}"
    if isinstance(reason, (socket.gaierror, UnicodeError)):
        return f"The name {host} leads nowhere from here: correct it, or look at your network"
    if isinstance(reason, ConnectionRefusedError):
        return "That machine is there, but nothing takes connections at this port: correct it, or start Redis there"
    return "Nothing comes back from that machine: correct the address, or look for a firewall in between"


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _compose_file_in_sight() -> bool:
    """Tell whether Docker would start a Redis in this folder."""
    with suppress(OSError, UnicodeError):
        return "redis" in Path("docker-compose.yml").read_text()
    return False


def _where(settings: Settings) -> str:
    """Say where Redis is, without user and password."""
    if SENTINEL in settings.redis_url:
        from orderstream.sentinel import read_url

        return read_url(settings.redis_url).where
    url = urlsplit(settings.redis_url)
    return url.path if url.scheme == "unix" else f"{url.hostname or 'localhost'}:{url.port or DEFAULT_PORT}"
