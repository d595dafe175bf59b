"""
A link to Redis that loses replies: Redis runs the command, but its client gets no reply.

    link = lab.faults.LossyLink()       # a TCP proxy in front of the lab's Redis
    link.lose_reply("XADD")             # Redis runs the next XADD, and the caller gets no reply
    redis.Redis(port=link.port)         # a client that is connected to the link
"""

import random
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit
from weakref import WeakSet

import hiredis

from orderstream.lab import server

CHUNK = 65_536
PUSH = b">"  # begins a message that is no reply to a command, such as that a cached key has changed


@dataclass
class _Loss:
    """Replies to lose: those of the command *word*, *times* of them, after *skip* of them got through."""

    word: bytes
    times: int
    skip: int


class LossyLink:
    """
    A TCP proxy in front of a Redis. It loses the replies that you choose, delays them, or cuts every connection.

    A reply is lost after Redis ran the command: the client sees that its connection is closed. Replies to earlier
    commands of the same pipeline arrive. Do not use MONITOR and pub/sub here: their messages belong to no command.

    Args:
        url: The Redis behind it, ``redis://`` only; None takes the lab's.

    Attributes:
        url: Connect here instead. It holds the password if yours does.
        port: The port of it, on 127.0.0.1.
        connections: How often a client connected.
        lost: How many replies were lost.

    Raises:
        ValueError: The URL is of another kind.
        ServerError: No URL was given, and the lesson was not started.
    """

    def __init__(self, url: str | None = None) -> None:
        behind = urlsplit(url or server.current().url)
        if behind.scheme != "redis":
            raise ValueError(f"the link reaches a Redis by redis://, not by {behind.scheme}://: name such a URL")
        self._behind = (behind.hostname or "localhost", behind.port or 6379)
        self._listener = socket.create_server(("127.0.0.1", 0))
        login = "".join(behind.netloc.rpartition("@")[:2])
        self.port: int = self._listener.getsockname()[1]
        self.url = behind._replace(netloc=f"{login}127.0.0.1:{self.port}").geturl()
        self.connections = 0
        self.lost = 0
        self._lock = threading.Lock()
        self._open: WeakSet[socket.socket] = WeakSet()
        self._losses: list[_Loss] = []
        self._rate, self._chance = 0.0, random.Random()
        self._of: bytes | None = None
        self._delay = 0.0, threading.Event()  # seconds, and what ends them early
        self._accepting = threading.Thread(target=self._accept, name="lossy link", daemon=True)
        self._accepting.start()

    def __repr__(self) -> str:
        return f"LossyLink(lost={self.lost})"  # no port: a notebook prints the same each time

    def __enter__(self) -> "LossyLink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # What goes wrong ----------------------------------------------------------------------------------

    def lose_reply(self, command: str, times: int = 1, skip: int = 0) -> None:
        """
        Lose the next reply to *command*, even if Redis runs it already, as a read that blocks.

        Args:
            command: Its name, such as ``"XADD"``, or any other word of it, such as the sha of a script.
            times: How many replies to lose.
            skip: How many to let through before the first.
        """
        with self._lock:
            self._losses.append(_Loss(command.upper().encode(), times, skip))

    def lose_some(self, rate: float, seed: int = 0, of: str | None = None) -> None:
        """
        Lose each reply with probability *rate*; 0 ends it.

        Args:
            rate: 0 to 1.
            seed: With the same seed and the same replies, the same replies are lost.
            of: Only replies to commands with this word, such as a key. None: all, also those to the commands with
                which a client connects, so that it loses more than one try.
        """
        with self._lock:
            self._rate, self._chance, self._of = rate, random.Random(seed), of.upper().encode() if of else None

    def delay(self, ms: float) -> None:
        """Delay every reply by *ms* milliseconds, like a long distance. Replies that come together wait together."""
        _, ended = self._delay
        self._delay = ms / 1000, threading.Event()
        ended.set()  # replies that wait now are sent at once

    def cut(self) -> None:
        """Close every connection now, even if commands or replies are on their way."""
        with self._lock:
            for end in self._open:
                _shut(end)
        seconds, _ = self._delay
        self.delay(seconds * 1000)  # replies to clients that are gone wait no longer

    def close(self) -> None:
        """Close every connection and accept no more."""
        _shut(self._listener)
        self._listener.close()
        self._accepting.join()
        self.delay(0)
        self.cut()

    # One connection: this thread carries commands to Redis, a second one carries replies back ------------------

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                    self._open.add(client)
                threading.Thread(target=self._serve, args=(client,), name="lossy link", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, hiredis.ProtocolError), client, socket.create_connection(self._behind) as redis:
            for end in (client, redis):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(redis)
            unanswered: deque[list[bytes]] = deque()
            parts = (redis, client, unanswered)
            back = threading.Thread(target=self._carry_back, args=parts, name="lossy link", daemon=True)
            back.start()
            try:
                _carry_on(client, redis, unanswered)
            finally:
                _shut(redis)  # this ends the other thread
                back.join()

    def _carry_back(self, redis: socket.socket, client: socket.socket, unanswered: deque[list[bytes]]) -> None:
        """Pass replies on, up to the one that is lost."""
        replies, begins, lost = _Replies(), True, False
        with suppress(OSError):
            while not lost and (chunk := redis.recv(CHUNK)):
                if begins:
                    seconds, ended = self._delay
                    ended.wait(seconds)
                passed = 0
                for end, whole in replies.ends(chunk):
                    # Decide at the first byte of a reply: Redis has run the command by then.
                    if begins and chunk[passed : passed + 1] != PUSH and (lost := self._loses(unanswered.popleft())):
                        break
                    passed, begins = end, whole
                client.sendall(memoryview(chunk)[:passed])
        _shut(client)  # this ends the other thread

    def _loses(self, command: list[bytes]) -> bool:
        with self._lock:
            words = {word.upper() for word in command} if self._losses or self._of else set()
            lost = self._of in (None, *words) and self._rate > 0 and self._chance.random() < self._rate
            for loss in self._losses:
                if loss.word in words and not lost:
                    lost = not loss.skip
                    loss.times -= lost
                    loss.skip -= not lost
            self._losses = [loss for loss in self._losses if loss.times > 0]
            self.lost += lost
            return lost


def _carry_on(client: socket.socket, redis: socket.socket, unanswered: deque[list[bytes]]) -> None:
    """Pass commands on as they come. Note each command before Redis gets its last byte."""
    commands = hiredis.Reader()  # a command is an array like any other
    while chunk := client.recv(CHUNK):
        commands.feed(chunk)
        while command := commands.gets():
            unanswered.append(command)
        redis.sendall(chunk)


class _Replies:
    """
    Finds the ends of replies in bytes that arrive in chunks, RESP2 or RESP3.

    Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
    """

    def __init__(self) -> None:
        self._line = b""  # the beginning of a line whose end has not arrived
        self._bytes = 0  # so many bytes of a string are to come
        self._values = 1  # so many values are to come until the reply is complete

    def ends(self, chunk: bytes) -> Iterator[tuple[int, bool]]:
        """For each reply that has a part in *chunk*, yield where that part ends and whether the reply is complete."""
        at = 0
        while at < len(chunk):
            if self._bytes:
                step = min(self._bytes, len(chunk) - at)
                at, self._bytes = at + step, self._bytes - step
            else:
                begin, at = at, chunk.find(b"\n", at) + 1 or len(chunk)
                self._line += chunk[begin:at]
                if self._line.endswith(b"\n"):
                    self._begin_value(self._line[:1], self._line[1:-2])
                    self._line = b""
            if not self._values and not self._bytes:
                yield at, True
                self._values = 1
            elif at == len(chunk):
                yield at, False

    def _begin_value(self, kind: bytes, size: bytes) -> None:
        self._values -= 1
        if kind in b"$=!" and size != b"-1":
            self._bytes = int(size) + 2
        elif kind in b"*~>%|" and size != b"-1":
            self._values += int(size) * (2 if kind in b"%|" else 1)
            self._values += kind == b"|"  # attributes are sent in front of their reply


def _shut(end: socket.socket) -> None:
    """Shut a socket down. A thread that waits for it goes on, and the thread that serves it closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
