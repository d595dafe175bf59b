"""
The guard of the shared server. It outlives the command that started it, and ends the server when nobody is connected.
If something kills the server, the guard starts it again: all orders are in its log, and its users wait for it.

Whoever uses the server is connected to it as long as his process lives. So the server itself knows its users: commands,
their child processes, a program of yours. A new one may come at the very moment when the server ends; both take
the same lock, so that one of them waits for the other.

    python -m orderstream.embedded.shared_guard FOLDER EXECUTABLE [OPTION]...
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import redis

from orderstream.config import Settings
from orderstream.connection import open_client
from orderstream.embedded.folder import alone, url
from orderstream.embedded.guard import end, start, was_killed

LINGER_S = 5.0
"""How long the server waits for the next user after the last one has left."""
LOOK_S = 0.5


class Users:
    """Who is connected to the server, as far as its guard wants to know."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connections = 0
        self._seen = time.monotonic()

    def gone_for_s(self) -> float:
        """Return for how many seconds nobody has been connected; 0 if somebody has come since the last look."""
        with suppress(redis.RedisError):  # a server that is too busy to answer has users
            about = self._client.info("clients") | self._client.info("stats")
            ours_only = about["connected_clients"] == 1
            if ours_only and about["total_connections_received"] == self._connections:
                return time.monotonic() - self._seen
            self._connections = about["total_connections_received"]
        self._seen = time.monotonic()
        return 0


def guard(folder: Path, *command: str) -> None:
    """Run a redis-server until nobody has been connected for ``LINGER_S`` seconds, or SIGTERM comes, or it ends."""
    os.chdir(folder)  # the folder of the command that started us may want to be removed
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    server, began = start(command), time.monotonic()
    try:
        with open_client(Settings(redis_url=url(folder))) as client:
            users = Users(client)
            while True:
                time.sleep(LOOK_S)
                if server.poll() is not None:
                    if not was_killed(server) or time.monotonic() - began < LINGER_S:  # so soon: it cannot run here
                        return
                    server, began = start(command), time.monotonic()
                if users.gone_for_s() < LINGER_S:
                    continue
                with alone(folder):
                    if users.gone_for_s() >= LINGER_S:
                        end(server)
                        return
    finally:
        end(server)


if __name__ == "__main__":
    guard(Path(sys.argv[1]), *sys.argv[2:])
