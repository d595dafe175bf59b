"""A redis-py client for a lesson, and one line that says what is wrong with a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream.embedded.find import ServerError

Client = Any
"""
``redis.Redis`` with replies as text, which mypy cannot know: redis-py declares that a reply may be bytes, or have the
shape of another protocol. So mypy would refuse every line that takes a reply apart.
"""

PRIVATE = "unset REDIS_URL and REDIS_ADDR to get a private Redis"
REPLY_S = 10.0


def open_client(url: str) -> Client:
    """Return a redis-py client with readable replies that sends each command once."""
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,  # the same replies from every server version
            retry=Retry(NoBackoff(), 0),
            socket_timeout=REPLY_S,
            socket_connect_timeout=5,
        )
    except ValueError:  # the error's text may hold a part of the password
        raise ServerError(f"REDIS_URL is not a URL of a Redis, such as redis://localhost:6379; or {PRIVATE}") from None


@contextmanager
def explained(client: redis.Redis) -> Iterator[None]:
    """Turn an error of Redis, or no answer from it, into one line that says what to do."""
    where = address(client)
    try:
        yield
    except redis.AuthenticationError:
        way = "set REDIS_URL=redis://:PASSWORD@HOST:PORT"
        raise ServerError(f"{where} refuses the password, or wants one: {way}, or {PRIVATE}") from None
    except redis.ResponseError as error:
        raise ServerError(f"{where} refuses what the lab needs ({error}): name another server, or {PRIVATE}") from None
    except redis.RedisError:
        raise ServerError(f"{where} does not answer: start it, correct REDIS_URL or REDIS_ADDR, or {PRIVATE}") from None


def address(client: redis.Redis) -> str:
    """Say where the server is, without any password."""
    options = client.connection_pool.connection_kwargs
    return options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
