"""
Keep child processes running: replace one that crashes, stop them all together. It knows no Redis and no orders.

Each child is in a session of its own. So a terminal's Ctrl-C reaches only this process, which then sends each child
one SIGTERM. If this process is killed, it can send nothing. So each child watches the lifeline, a pipe whose other
end is open in this process alone: when this process is gone the pipe ends, and the child stops.

Under systemd set ``KillMode=mixed``. With the default, systemd sends the children a SIGTERM too, and a second one
tells them to leave at once.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("orderstream")

DONE, FAILED = 0, 1  # exit codes that are final: the work is done; or a person has to act, and the child has said why
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0  # before a child is replaced; each time twice as long as before
STEADY_S = 30.0  # after a child has run so long, the next pause is a short one again


class Supervisor:
    """
    Some child processes that are to be kept running.

    Args:
        commands: What to run, by the child's name. Each child is given one option more, ``--lifeline=FD``: that file
            ends when this process is gone. Everybody on this machine can read a command, so it must hold no password.
        environ: The children's environment.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> None:
        self._commands = commands
        self._environ = environ
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # held while a child is started, and while all are told to stop

    def run(self) -> int:
        """
        Run all children until each has come to a final end, or ``stop()`` was called and they have ended.

        Returns:
            How many children failed, which means that they exited with 1.
        """
        lifeline, held = os.pipe()  # the children inherit the first end only; the second keeps the pipe open
        try:
            with ThreadPoolExecutor(len(self._commands)) as threads:
                codes = threads.map(lambda name: self._keep(name, lifeline), self._commands)
            return list(codes).count(FAILED)
        finally:
            os.close(lifeline)
            os.close(held)

    def stop(self) -> None:
        """Send each child one SIGTERM, and start no other. Safe to call from any thread."""
        with self._lock:
            if not self._stopping.is_set():
                self._stopping.set()
                for process in self._running.values():
                    process.terminate()

    def kill(self) -> None:
        """Kill each child with SIGKILL, and start no other. Safe to call from any thread."""
        with self._lock:
            self._stopping.set()
            for process in self._running.values():
                process.kill()

    def _keep(self, name: str, lifeline: int) -> int | None:
        """
        Run a child, and start another one in its place, until an exit code is final or ``stop()`` was called.

        Returns:
            The exit code of the last child. None if that one could not be started.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                code = self._run_once(name, lifeline)
                how = f"exited with {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
            except OSError as error:  # such as too many processes or too little memory: that may pass
                code, how = None, f"could not be started ({error.strerror})"
            if code in (DONE, FAILED) or self._stopping.is_set():
                return code
            if time.monotonic() - began >= STEADY_S:
                pause_s = FIRST_PAUSE_S
            log.warning("%s %s; it is started again in %g s", name, how, pause_s)
            if self._stopping.wait(pause_s):
                return code
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _run_once(self, name: str, lifeline: int) -> int:
        with self._lock:
            if self._stopping.is_set():
                return DONE
            self._running[name] = process = subprocess.Popen(
                [*self._commands[name], f"--lifeline={lifeline}"],
                env=self._environ,
                stdin=subprocess.DEVNULL,  # they cannot all read one terminal
                pass_fds=[lifeline],
                start_new_session=True,
            )
        return process.wait()
