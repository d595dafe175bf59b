"""A Redis that may be killed at any moment: it writes every change to disk before it answers."""

import socket
import subprocess
import sys
import time

import redis

from orderstream.lab.lifeline import Child, lifeline
from orderstream.lab.server.client import open_client
from orderstream.lab.server.guard import die_with_parent
from orderstream.lab.server.private import START_S, redis_server


class Server:
    """
    A redis-server in *folder*, on a port that stays the same.

    It runs under a guard, a process of its own that ends it when ours is gone.
    """

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}"
        self._command = [redis_server(), "--port", str(port), "--dir", str(folder), "--bind", "127.0.0.1"]
        self._command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.start()

    def start(self):
        self._guard = Child(__name__, *self._command)
        deadline = time.monotonic() + START_S
        with open_client(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:  # also while it reads its data
                    assert self._guard.alive, self._guard.output().decode()
                    assert time.monotonic() < deadline, self._guard.output().decode()
                    time.sleep(0.02)

    def kill(self):
        """End it as ``kill -9`` does, and wait until it is gone."""
        self._guard.stop()


def guard(*command):
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent())
    lifeline(server.kill)
    server.wait()


if __name__ == "__main__":
    guard(*sys.argv[1:])
