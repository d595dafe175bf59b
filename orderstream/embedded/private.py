"""
A redis-server that ends with this process. It listens on 127.0.0.1 only.

A `guard` starts and ends it. If another Redis answers on its port, that one is not taken for ours.
"""

import os
import re
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from orderstream.config import Settings
from orderstream.connection import open_client
from orderstream.embedded.find import ServerError, redis_server
from orderstream.embedded.folder import take, written_by
from orderstream.embedded.lifeline import GRACE_S, Child

FOLDER = "orderstream-redis-"
START_S = 60.0
"""The longest wait for a server. It takes a tenth of a second; one that cannot start ends, and then the wait ends."""
GUARD = "orderstream.embedded.guard"  # not imported: to run a module, Python would load it a second time


class PrivateServer:
    """
    A redis-server that ends with this process.

    Args:
        port: Where it listens. 0: on a port that is free.
        data: The folder where it keeps its data, which is made if it is missing. None: it keeps nothing.

    Raises:
        ServerError: No redis-server was found, or it does not start, or the port or the folder is in use.

    Attributes:
        executable: The program that runs.
        url: Where it is, such as ``redis://127.0.0.1:6379/0``.
    """

    def __init__(self, port: int = 0, data: Path | None = None) -> None:
        self.executable = redis_server(written_by(data) if data else "")
        remove_old_folders()
        for _ in range(3):  # another program may take the free port before the server does
            number = _free_port(port)
            lock = [take(data, self.executable)] if data else []
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")).resolve()
            self._dir = data.resolve() if data else self._folder
            self.url = f"redis://127.0.0.1:{number}/0"
            self._client = open_client(Settings(redis_url=self.url))
            options = {"port": str(number), "bind": "127.0.0.1", "appendonly": "yes" if data else "no"}
            words = command(self.executable, self._dir, options)
            self._guard = Child(GUARD, str(self._folder), *words, files=lock)
            for file in lock:
                os.close(file)  # from now on it is the server's
            if comes_up(self._guard, self._client, self._dir):
                return
            reason = last_words(self._guard)
            self.close()
        raise ServerError(f"{self.executable} does not start ({reason}): set ORDERSTREAM_REDIS_SERVER to another one")

    def usable(self) -> bool:
        """Tell whether it is there."""
        return answers(self._client, self._dir)

    def keep_log(self, kept: bool) -> None:
        """Keep a log of all writes from now on, the AOF, or none. Returns when all that is there now is in the log."""
        self._client.config_set("appendonly", "yes" if kept else "no")
        while kept:
            about = self._client.info("persistence")
            if not about["aof_rewrite_in_progress"] and not about["aof_rewrite_scheduled"]:
                return
            time.sleep(0.02)

    def restart(self) -> None:
        """
        Kill the server with SIGKILL, and start it again at the same address: with its data, if it keeps a log.

        Raises:
            ServerError: It does not come up again.
        """
        kept, before = self._client.config_get("appendonly")["appendonly"], self._run_id()
        self._guard.tell(f"--appendonly {kept}".encode())
        deadline = time.monotonic() + START_S
        while self._run_id() in ("", before):
            if not self._guard.alive or time.monotonic() > deadline:
                raise ServerError(f"{self.executable} does not start again ({last_words(self._guard)})")
            time.sleep(0.02)

    def _run_id(self) -> str:
        """Return what tells two runs of the server apart; empty if it does not answer."""
        with suppress(redis.RedisError):
            return str(self._client.info("server")["run_id"]) if self.usable() else ""
        return ""

    def wait(self) -> str:
        """Wait until it ends by itself. Returns the last line that it has printed."""
        while self._guard.alive:
            time.sleep(0.1)
        return last_words(self._guard)

    def close(self) -> None:
        """End it, and leave nothing behind but its data."""
        self._client.close()
        self._guard.stop(2 * GRACE_S)  # the guard itself has to wait for the server
        shutil.rmtree(self._folder, ignore_errors=True)  # the guard did this, unless it was killed


def command(executable: str, folder: Path, options: dict[str, str]) -> list[str]:
    """Return the command of a server in *folder*. Its data, if it keeps any, is a log of commands, and no snapshot."""
    pairs = {"dir": str(folder), "save": ""} | options
    return [executable, *(word for name, value in pairs.items() for word in (f"--{name}", value))]


def comes_up(guard: Child, client: redis.Redis, folder: Path) -> bool:
    """Wait until the server in *folder* answers and has loaded its data. Returns False if it ends."""
    deadline = time.monotonic() + START_S
    while guard.alive and time.monotonic() < deadline:
        if answers(client, folder) and loads(client):
            return True
        time.sleep(0.02)
    return False


def loads(client: redis.Redis) -> bool:
    """Wait until a server that answers has loaded its data, however long that takes. Returns False if it ends."""
    while True:
        try:
            return bool(client.ping())
        except redis.exceptions.BusyLoadingError:
            time.sleep(0.05)
        except redis.RedisError:
            return False


def answers(client: redis.Redis, folder: Path) -> bool:
    """Tell whether the server in *folder* answers, if only that it loads its data. Another one may have its port."""
    with suppress(redis.RedisError):
        return bool(client.config_get("dir").get("dir") == str(folder))
    return False


def last_words(guard: Child) -> str:
    """Return the last line that a server, or its guard, has printed: why it does not run."""
    output = guard.output().decode(errors="replace").strip()
    return output.splitlines()[-1] if output else f"it does not answer within {START_S:g} s"


def _free_port(wanted: int = 0) -> int:
    """Return *wanted*, or any port if it is 0, if nobody has it."""
    try:
        with socket.create_server(("127.0.0.1", wanted)) as listener:
            port: int = listener.getsockname()[1]
    except OSError as error:
        why = os.strerror(error.errno or 0)  # error.strerror says more than one line needs
        raise ServerError(f"port {wanted} cannot be used here ({why}): choose another one") from None
    return port


def remove_old_folders() -> None:
    """Remove folders that were left when a process and its guard were killed together. The names hold its pid."""
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
