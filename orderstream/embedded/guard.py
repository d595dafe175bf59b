"""
The guard of a private redis-server. This process ends the server and removes its folder as soon as the process that
started it is gone, for whatever reason it ended. A line through its lifeline makes it kill the server and start it
again; the line holds further options.

    python -m orderstream.embedded.guard FOLDER EXECUTABLE [OPTION]...
"""

import ctypes
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from orderstream.embedded.lifeline import GRACE_S, lifeline

Server = subprocess.Popen[bytes]


def guard(folder: str, *command: str) -> None:
    """Run a redis-server until our lifeline ends, then end it and remove its folder."""
    gone, restarts = threading.Event(), SimpleQueue[bytes]()
    server = start(command)
    lifeline(gone.set, restarts.put)
    try:
        while server.poll() is None and not gone.wait(0.2):
            with suppress(Empty):
                options = restarts.get_nowait().decode().split()
                server.kill()
                server.wait()
                server = start((*command, *options))  # here: a child is told of the death of the thread that made it
        if was_killed(server):
            print(f"signal {-server.returncode} has ended it", flush=True)
    finally:
        end(server)
        shutil.rmtree(folder, ignore_errors=True)


def start(command: tuple[str, ...]) -> Server:
    """Start a redis-server that inherits the files this process was given. Call it in the main thread."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=die_with_parent())


def was_killed(server: Server) -> bool:
    """Tell whether a signal has ended *server*."""
    return (server.poll() or 0) < 0


def end(server: Server) -> None:
    """End a redis-server, and kill it if it does not end by itself."""
    try:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_S / 2)
    finally:
        server.kill()
        server.wait()


def die_with_parent() -> Callable[[], object] | None:
    """Return a function for a child to call: with it, Linux kills the child if we are killed. None on other systems."""
    if sys.platform != "linux":
        return None
    libc, pr_set_pdeathsig = ctypes.CDLL(None), 1
    return lambda: libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    guard(*sys.argv[1:])
