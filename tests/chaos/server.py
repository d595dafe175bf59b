"""Servers that may be killed at any moment: they write every change to disk before they answer."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import redis

from orderstream.embedded.find import redis_server
from orderstream.embedded.guard import die_with_parent
from orderstream.embedded.lifeline import Child, lifeline
from orderstream.embedded.private import START_S
from orderstream.lab.server.client import open_client
from orderstream.lab.workers.lossy_link import LossyLink

PAUSE_MS = 10_000  # the longest that a failover keeps writers waiting


class Server:
    """
    A redis-server in *folder*, on a port that stays the same.

    It runs under a guard, a process of its own that ends it when ours is gone.
    """

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._command = [redis_server(), "--port", str(self.port), "--dir", str(folder), "--bind", "127.0.0.1"]
        self._command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay"]
        self._command += ["0"]
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

    def ask(self, *words):
        with open_client(self.url) as client:
            return client.execute_command(*words)

    def replication(self):
        with open_client(self.url) as client:
            return client.info("replication")

    def follow(self, primary):
        self.ask("REPLICAOF", "127.0.0.1", primary.port)


class Address(LossyLink):
    """An address that stays the same, as that of a managed Redis, and loses replies."""

    def lead_to(self, server):
        """Lead new connections to *server*. Those that are open stay where they are."""
        self._behind = ("127.0.0.1", server.port)


class Pair:
    """
    A primary and its replica behind one address.

    Args:
        folder: Where their data is.

    Attributes:
        primary: The server that takes writes; after a failover the other one.
        address: Connect here.
    """

    def __init__(self, folder):
        with ExitStack() as stack:
            self.primary = Server(folder / "redis-a")
            stack.callback(self.primary.kill)
            self.replica = Server(folder / "redis-b")
            stack.callback(self.replica.kill)
            self.replica.follow(self.primary)
            self.address = stack.enter_context(Address(self.primary.url))
            self.close = stack.pop_all().close

    def crash(self):
        self.primary.kill()
        self.primary.start()

    def fail_over(self):
        """Promote the replica when it has every write. Whoever is connected stays with the demoted server."""
        self._await(lambda: self.replica.replication()["master_link_status"] == "up")
        self.primary.ask("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        written = self.primary.replication()["master_repl_offset"]
        self._await(lambda: self.replica.replication()["slave_repl_offset"] >= written)
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.address.lead_to(self.replica)
        self.primary.follow(self.replica)
        self.primary.ask("CLIENT", "UNPAUSE")
        self.primary, self.replica = self.replica, self.primary

    def fill(self):
        """Let the primary's memory be full, until ``relieve()``."""
        self.primary.ask("CONFIG", "SET", "maxmemory", 1)

    def relieve(self):
        self.primary.ask("CONFIG", "SET", "maxmemory", 0)

    @staticmethod
    def _await(condition):
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.01)


def guard(*command):
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent())
    lifeline(server.kill)
    server.wait()


if __name__ == "__main__":
    guard(*sys.argv[1:])
