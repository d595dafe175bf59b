"""
The guard of a private redis-server. This process ends the server and removes its folder as soon as the notebook's
process is gone, for whatever reason it ended.

    python -m orderstream.lab.server.guard EXECUTABLE PORT FOLDER
"""

import ctypes
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from orderstream.lab.lifeline import GRACE_S, lifeline


def guard(executable: str, port: str, folder: str) -> None:
    """Run a redis-server until our lifeline ends, then end it and remove its folder."""
    gone = threading.Event()
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
    server = subprocess.Popen(
        [executable, *(word for name, value in options.items() for word in (f"--{name}", value))],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # only safe as long as this process has no second thread
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


def die_with_parent() -> Callable[[], object] | None:
    """Return a function for a child to call: with it, Linux kills the child if we are killed. None on other systems."""
    if sys.platform != "linux":
        return None
    libc, pr_set_pdeathsig = ctypes.CDLL(None), 1
    return lambda: libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    guard(*sys.argv[1:])
