"""
The redis-py client as a stream needs it, and what its errors mean.

Three things that redis-py 8 does are wrong for streams. This file replaces them:

- It sends a command again, up to ten times, when a reply is lost. XADD is not idempotent: one call,
  several entries. Here a command is sent once, and only the caller may send it again.
- Its socket timeout of 5 s cuts a longer BLOCK. Here the timeout follows from the BLOCK.
- ``decode_responses=True`` raises on one byte that is not UTF-8, after the whole batch was delivered.
  Here replies are bytes.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

import hiredis
import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import ConnectionPool
from redis.retry import Retry

from orderstream.config import SENTINEL, Settings
from orderstream.errors import ConfigError

Words = tuple[str | bytes | int, ...]
Command = Words | bytes  # bytes: packed already

REPLY_MARGIN_S = 5.0
PIECE = 65_536  # bytes in one write; each write has the whole socket timeout, so a slow link can take a large batch

_PLACE = re.compile(r"rediss?://[^/#]*(/\d*)?|unix://([^/#]*@)?/[^#]+")  # what a URL holds in front of its options

_pack: Callable[[Words], bytes] = hiredis.pack_command  # type: ignore[assignment]  # redis-py packs more slowly

# What redis-py raises for an error reply. The last two are kinds of ConnectionError, although the connection is fine.
_REFUSED = (redis.ResponseError, redis.AuthenticationError, exceptions.BusyLoadingError)

# InvalidResponse: what came back is no reply of Redis. A proxy may say so that it has just lost the Redis behind it.
_LINK_BROKE = (redis.ConnectionError, redis.TimeoutError, exceptions.InvalidResponse)


class ReplyLost(redis.ConnectionError):
    """
    Commands were sent and some replies never came: Redis may have run them or not.

    Attributes:
        replies: What did come back before the link broke, in order.
    """

    def __init__(self, error: Exception | str, replies: Sequence[Any]) -> None:
        self.replies = list(replies)
        self._why = str(error)
        super().__init__(f"the reply was lost: {self._why}")

    def __reduce__(self) -> tuple[Any, ...]:  # else pickle makes the copy from the message alone
        return type(self), (self._why, self.replies)


def open_client(settings: Settings) -> redis.Redis:
    """
    Return a redis-py client for *settings*. It connects at its first command.

    Raises:
        ConfigError: The URL cannot be used.
    """
    try:
        place, _, options = settings.redis_url.partition("?")
        parse_qsl(options, strict_parsing=bool(options))  # refuses what is not name=value
        if SENTINEL in place:
            from orderstream.sentinel import open_primary

            client = open_primary(settings.redis_url, **client_options(settings))
        elif "#" in options or not _PLACE.fullmatch(place):
            raise ValueError("redis-py reads over what it does not understand")
        else:
            client = redis.Redis.from_url(settings.redis_url, **client_options(settings))
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but refuses an unknown option
        return client
    except (ValueError, TypeError):  # its text may hold a part of the password
        raise ConfigError(
            "the Redis URL cannot be used; look at its port and options, name a database by its number, as in "
            "redis://localhost:6379/1, and percent-encode / # ? @ in a password. With Sentinels it is "
            "redis+sentinel://HOST:26379,HOST2:26379/NAME"
        ) from None


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the options of a redis-py client, the same for one Redis and for a cluster."""
    return {
        "protocol": 2,  # the same replies from every server version
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": settings.block_ms / 1000 + REPLY_MARGIN_S,
        "socket_connect_timeout": REPLY_MARGIN_S,
    }


def check_client(client: redis.Redis | RedisCluster, settings: Settings) -> None:
    """
    Refuse a client that would decode replies, send writes twice, or cut a blocking read.

    Raises:
        ConfigError: Says which argument of the client to change.
    """
    if isinstance(client, RedisCluster):
        options = client.nodes_manager.connection_kwargs | {"retry": client.retry}
    else:
        options = client.connection_pool.connection_kwargs
    if options.get("decode_responses"):
        raise ConfigError("this client decodes replies, one bad byte spoils a whole batch; use decode_responses=False")
    retry = options.get("retry")
    retries = retry.get_retries() if retry else options.get("retry_on_timeout") or options.get("retry_on_error")
    if retries:
        raise ConfigError("this client sends writes again when a reply is lost; use retry=Retry(NoBackoff(), 0)")
    timeout_s = options.get("socket_timeout", 5.0)
    if timeout_s is not None and timeout_s * 1000 <= settings.block_ms:
        raise ConfigError(
            f"socket_timeout={timeout_s} s would cut reads that wait block_ms={settings.block_ms}; "
            f"use {settings.block_ms / 1000 + REPLY_MARGIN_S:g} s or more"
        )


def exchange(pool: ConnectionPool, commands: Sequence[Command]) -> list[Any]:
    """
    Send *commands* together and read every reply: one round trip, whatever their number.

    If the link breaks, or if the server says that it may have lost its place, all idle connections of *pool* are closed
    too. New ones ask for the address again, and so follow a primary that moved.

    Args:
        pool: The ``connection_pool`` of a client.
        commands: Each is its words, or the bytes that ``packer`` made of them.

    Returns:
        One raw reply for each command, in order. If Redis refused a command, its reply is the
        ``redis.RedisError``; the others ran all the same.

    Raises:
        ReplyLost: The commands went out, and the link broke before the last reply.
        redis.ConnectionError, redis.TimeoutError: No connection; nothing was sent.
    """
    packed = memoryview(b"".join([command if isinstance(command, bytes) else _pack(command) for command in commands]))
    pieces = [packed[start : start + PIECE] for start in range(0, len(packed), PIECE)]
    try:
        connection: Any = pool.get_connection()
    except (exceptions.InvalidResponse, OSError) as error:  # such as no file left: redis-py reads one each time
        raise redis.ConnectionError(str(error)) from error
    replies: list[Any] = []
    refusals: list[Exception] = []
    try:
        try:
            connection.send_packed_command(pieces)
            for _ in commands:
                try:
                    replies.append(connection.read_response(disconnect_on_error=False))
                except _REFUSED as refused:
                    replies.append(refused)
                    refusals.append(refused)
        except (*_LINK_BROKE, OSError) as error:
            raise ReplyLost(error, replies) from error
        finally:
            if len(replies) < len(commands) or any(_code(refused) in _LOST_ITS_PLACE for refused in refusals):
                pool.disconnect(inuse_connections=False)
                connection.disconnect()  # also because a late reply must not be taken for the next command's
    finally:
        pool.release(connection)
    return replies


def packer(*head: str | bytes, tail: Sequence[bytes] = ()) -> Callable[[Sequence[bytes]], bytes]:
    """
    Return a function that packs commands which all begin with *head* and end with *tail*; it takes the words between.

    Packing is most of the work of a producer. So *head* and *tail* are packed here, once. If there are two words
    between, a field's name and its value, one ``%`` operation does the rest.
    """
    form = b"*%d\r\n%b$%%d\r\n%%b\r\n$%%d\r\n%%b\r\n%b" % (len(head) + 2 + len(tail), _words(head), _words(tail))

    def pack(words: Sequence[bytes]) -> bytes:
        if len(words) != 2:
            return _pack((*head, *words, *tail))
        name, value = words
        return form % (len(name), name, len(value), value)

    return pack


def _words(words: Sequence[str | bytes]) -> bytes:
    """Return *words* packed, without the number of words in front, as a part of a form for the operator ``%``."""
    return _pack(tuple(words)).partition(b"\r\n")[2].replace(b"%", b"%%")


def as_dict(reply: Any) -> dict[bytes, Any]:
    """Return names and values as a dict. In RESP2 they come in turn in a list, in RESP3 in a map."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def mode_of(reply: Any) -> str:
    """
    Read the reply to HELLO: ``standalone``, ``cluster`` for a node of a cluster, or ``sentinel``.

    This command needs no permission, and changes nothing when it names no protocol.
    """
    if isinstance(reply, Exception):
        return "standalone"
    mode: bytes = as_dict(reply).get(b"mode", b"standalone")
    return mode.decode()


def link_problem(error: redis.RedisError, url: str) -> str | None:
    """Say in a line what is wrong with the scheme or the TLS options of *url*. None: *error* has another cause."""
    reason = error.__context__
    if exceptions.InvalidResponse in (type(error), type(reason)):
        return "what answers there is no Redis, or it speaks TLS: then write rediss:// in the Redis URL"
    if getattr(reason, "reason", None) == "WRONG_VERSION_NUMBER":
        return "what answers there speaks no TLS: write redis:// in the Redis URL"
    if not url.startswith("rediss:") or not isinstance(reason, (ssl.SSLError, FileNotFoundError)):
        return None
    said = getattr(reason, "verify_message", None) or reason.strerror or reason
    return (
        f"no TLS with Redis: {str(said).rstrip('.')}. Name the host as its certificate does and, if the CA is your "
        "own, the CA's file: rediss://HOST:PORT?ssl_ca_certs=/path/ca.pem"
    )


class Trouble(Enum):
    """What an error of Redis asks for."""

    FATAL = "a person has to repair something"
    OUTAGE = "it passes: wait and go on"
    NO_GROUP = "the stream or its group is gone: create it again"


# Inside a script, 6.2 reports every error as a plain ResponseError that holds the code somewhere.
_CODE = re.compile(
    r"(?:^|[\s-])(NOPERM|NOAUTH|WRONGPASS|WRONGTYPE|NOGROUP|LOADING|READONLY|MASTERDOWN|MISCONF|OOM|UNBLOCKED|BUSY"
    r"|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|NOSCRIPT)\b"
)
_MEANING = {"NOGROUP": Trouble.NO_GROUP} | dict.fromkeys(("NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"), Trouble.FATAL)

# So answers a primary that was demoted, was cut off from its replicas, or comes back. Another one may have its place.
_LOST_ITS_PLACE = ("READONLY", "UNBLOCKED", "NOREPLICAS", "MASTERDOWN", "LOADING")

# To redis-py a wrong password is a kind of ConnectionError. So look for these first, or it would be retried for ever.
_FATAL = (redis.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
_OUTAGE = (*_LINK_BROKE, exceptions.OutOfMemoryError, redis.ReadOnlyError, OSError)


def trouble(error: Exception) -> Trouble:
    """Sort an error of redis-py. Only this function knows which errors pass by themselves."""
    if isinstance(error, _FATAL) or isinstance(error.__context__, ssl.SSLCertVerificationError):
        return Trouble.FATAL
    if isinstance(error, _OUTAGE):
        return Trouble.OUTAGE
    code = _code(error)
    return _MEANING.get(code, Trouble.OUTAGE) if code else Trouble.FATAL


def _code(error: Exception) -> str | None:
    # If an error code has a class of its own, redis-py cuts the code off the message.
    found = _CODE.search(f"{getattr(error, 'status_code', None) or ''} {error}")
    return found[1] if found else None
