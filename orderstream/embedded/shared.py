"""
One redis-server for all commands of a user, on a unix socket that nobody else can open.

The first command starts it and the others join. It ends some seconds after the last one has left, in whatever order and
way they leave. It keeps its data in its folder, so the next command finds every order that was sent. The folder is
gone when the user has logged out; without ``XDG_RUNTIME_DIR``, when the system cleans up its temporary files.
"""

import os
from pathlib import Path
from typing import NamedTuple

from orderstream.config import Settings
from orderstream.connection import open_client
from orderstream.embedded.find import ServerError, redis_server
from orderstream.embedded.folder import SOCKET, alone, meeting_place, take, url, written_by
from orderstream.embedded.lifeline import Child
from orderstream.embedded.private import answers, comes_up, command, last_words, loads

GUARD = "orderstream.embedded.shared_guard"  # not imported: to run a module, Python would load it a second time


class Shared(NamedTuple):
    """
    The shared server.

    Attributes:
        url: Where it is, such as ``unix:///run/user/1000/orderstream/redis.sock``.
        started: The program, if this process has started it; empty if it ran already.
    """

    url: str
    started: str


def join() -> Shared:
    """
    Return the shared server of this user; start it if it does not run.

    Connect within ``LINGER_S`` seconds, and stay connected as long as you need it.

    Raises:
        ServerError: It does not start. The message says why.
    """
    folder = meeting_place()
    with alone(folder), open_client(Settings(redis_url=url(folder))) as client:
        if answers(client, folder) and loads(client):
            return Shared(url(folder), "")
        executable = redis_server(written_by(folder))
        try:
            lock = take(folder, executable)
        except ServerError:
            if answers(client, folder) and loads(client):  # whoever started it was killed before it answered
                return Shared(url(folder), "")
            raise
        options = {"port": "0", "unixsocket": str(folder / SOCKET), "unixsocketperm": "700", "appendonly": "yes"}
        guard = Child(GUARD, str(folder), *command(executable, folder, options), files=[lock])
        os.close(lock)  # from now on it is the server's
        if comes_up(guard, client, folder):
            return Shared(url(folder), Path(executable).name)
    raise ServerError(f"{executable} does not start ({last_words(guard)}): set ORDERSTREAM_REDIS_SERVER to another one")
