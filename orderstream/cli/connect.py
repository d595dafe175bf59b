"""The way to Redis: connect, say in one line why that failed, and wait while a Redis that was there is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import click
import redis

from orderstream import OrderStream, Settings, connect
from orderstream.cli.options import environ
from orderstream.connection import Trouble, trouble
from orderstream.errors import ConfigError
from orderstream.policy import describe

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # between two tries to reach a Redis that went away


def connect_or_explain() -> OrderStream:
    """
    Connect as the options and the environment say.

    Raises:
        click.ClickException: No Redis answers there, or it does not let us in. The message says what to do.
    """
    settings = Settings.from_env(environ())
    try:
        return connect(settings)
    except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
        problem = f"Redis at {_where(settings)} does not take this user and password: {error}"
    except (redis.ConnectionError, redis.TimeoutError, UnicodeError) as error:  # UnicodeError: not a valid host name
        problem = _why_no_answer(error, _where(settings))
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


def _why_no_answer(error: Exception, where: str) -> str:
    """Say what is at *where*, if anything is."""
    reason = error.__context__
    if "max number of clients" in str(error):
        return f"Redis at {where} has as many clients as it takes; close some, or raise its maxclients"
    if "handshake" in str(reason):
        return f"what answers at {where} speaks no TLS, or is too busy; for one without TLS write redis:// in the URL"
    if isinstance(reason, ConnectionResetError) or "closed by server" in str(error):
        return f"what answers at {where} ends the connection; if it speaks TLS, write rediss:// in the Redis URL"
    return (
        f"no Redis answers at {where} ({getattr(reason, 'strerror', None) or error}). "
        "Start one with `docker compose up -d` or `redis-server`; or type `make lab`, the lab brings its own"
    )


def _where(settings: Settings) -> str:
    """Say where Redis is, without user and password."""
    url = urlsplit(settings.redis_url)
    return url.path if url.scheme == "unix" else f"{url.hostname or 'localhost'}:{url.port or 6379}"
