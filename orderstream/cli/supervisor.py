"""
Keep child processes running: replace one that ends, stop them all together. It knows no Redis and no orders.

A child writes down that its end is final, where its watcher reads it. Whatever else ends it, a handler may have done,
and a handler can end it with any exit code: so any other end is replaced.

Each child is in a session of its own. So a terminal's Ctrl-C reaches only this process, which then tells each child.
It tells by the child's lifeline, a pipe: one byte means stop. If this process is killed it can write nothing, but then
the pipe ends, and the child stops, too. A signal would be less safe: a handler may change what its process does at
signals, and every ``asyncio.run()`` does.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, Protocol

log = logging.getLogger("orderstream")

# The codes that a child writes down, and then exits with. The work is done; or a person has to act, and the child has
# said why; or the child had to leave an order in hand, which is final only for a supervisor that is stopping. They are
# no errno and no code of sysexits.h, and a shell would report them only for signals that nobody sends.
DONE, FAILED, LEFT = 170, 171, 172
WRONG_COMMAND = 2  # what a wrong command line ends with; final as long as no child was ready
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0  # before a child is replaced; twice as long after each that did no work
STEADY_S = 30.0  # after a child has run so long, the next pause is a short one again
READY_EVERY_S = 0.01  # between two looks whether the first child is ready
STOP = b"."  # any byte
STOPS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}  # what stops a whole service
SAME_STOP_S = 0.5  # a service manager signals this process and its children: one may hear it so much later


class Last(NamedTuple):
    """
    What a child has written down before it ended.

    Attributes:
        worked: A handler has begun in it.
        code: DONE, FAILED or LEFT; 0 if it did not come to its end by itself.
    """

    worked: bool = False
    code: int = 0


class Watcher(Protocol):
    """Is told of each child process, by the child's name."""

    def opens(self, name: str) -> int:
        """Return a file that a new child inherits. Its number is the child's option ``--ledger``."""

    def started(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """The child runs."""

    def ready(self, name: str) -> bool:
        """Return whether the child has begun to work, or one before it."""

    def ended(self, name: str, how: str, *, stopped: bool) -> Last:
        """
        The child is dead. Return what it has written down.

        Args:
            how: How it ended, in words.
            stopped: Somebody who stops the whole service has ended it by a signal.
        """


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    lifeline: int  # our end of it


class Supervisor:
    """
    Some child processes that are to be kept running.

    Args:
        commands: What to run, by the child's name. Each child is given two options more. ``--lifeline=FD``: a byte
            there means stop, and its end means that this process is gone. ``--ledger=FD``: from *watcher*. Everybody on
            this machine can read a command, so it must hold no password.
        environ: The children's environment.
        watcher: Is told of each child.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], watcher: Watcher) -> None:
        self._commands = commands
        self._environ = environ
        self._watcher = watcher
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # held while a child is started, and while all are told to stop

    def run(self) -> list[int]:
        """
        Run all children until each has come to a final end, or ``stop()`` was called and they have ended.

        The first child starts alone. The others follow when it is ready: so what is wrong with the command is said
        once.

        Returns:
            The code that each child has written down; 0 for one that wrote none. Or WRONG_COMMAND.
        """
        first, *others = self._commands
        with ThreadPoolExecutor(len(self._commands)) as threads:
            ends = [threads.submit(self._keep, first)]
            if self._wait_until_ready(first, ends[0]):
                ends += [threads.submit(self._keep, name) for name in others]
        return [end.result() for end in ends]

    def stop(self) -> None:
        """Tell each child to stop, and start no other. Safe to call from any thread."""
        with self._lock:
            if not self._stopping.is_set():
                self._stopping.set()
                for process, lifeline in self._running.values():
                    try:
                        os.write(lifeline, STOP)
                    except BrokenPipeError:  # a handler has closed the other end
                        process.terminate()

    def kill(self) -> None:
        """Kill each child with SIGKILL, and start no other. Safe to call from any thread."""
        with self._lock:
            self._stopping.set()
            for process, _ in self._running.values():
                kill(process)

    def _wait_until_ready(self, name: str, end: Future[int]) -> bool:
        """Return whether the child has begun to work before it came to its final end."""
        while not self._watcher.ready(name):
            if end.done():
                return self._watcher.ready(name)
            time.sleep(READY_EVERY_S)
        return True

    def _keep(self, name: str) -> int:
        """
        Run a child, and start another one in its place, until an end is final or ``stop()`` was called.

        Returns:
            The code that the last child has written down, or WRONG_COMMAND.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                code, last = self._run_once(name)
                how = _how(code)
            except Exception as error:  # noqa: BLE001 - such as too many processes or too little memory: that may pass
                code, last = 0, Last()
                how = f"could not be started ({getattr(error, 'strerror', None) or type(error).__name__})"
            if code == WRONG_COMMAND and not self._watcher.ready(name):
                return code
            if last.code in (DONE, FAILED) or self._stopping.is_set():
                return last.code
            if last.worked or time.monotonic() - began >= STEADY_S:
                pause_s = FIRST_PAUSE_S
            log.warning("%s %s; it is started again in %g s", name, how, pause_s)
            if self._stopping.wait(pause_s):
                return 0  # what the last child had in hand is settled, and there is no other
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _run_once(self, name: str) -> tuple[int, Last]:
        """Return the exit code of a child, and what it has written down."""
        with self._lock:
            if self._stopping.is_set():
                return DONE, Last(code=DONE)
            process, lifeline = self._running[name] = self._start(name)
        code = process.wait()
        with self._lock:
            del self._running[name]
            os.close(lifeline)
        stopped = -code in STOPS and self._stopping.wait(SAME_STOP_S)
        return code, self._watcher.ended(name, _how(code), stopped=stopped)

    def _start(self, name: str) -> _Running:
        ledger = self._watcher.opens(name)
        theirs, ours = os.pipe()
        try:
            process = subprocess.Popen(
                [*self._commands[name], f"--lifeline={theirs}", f"--ledger={ledger}"],
                env=self._environ,
                stdin=subprocess.DEVNULL,  # they cannot all read one terminal
                pass_fds=[theirs, ledger],
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._watcher.started(name, process)
        return _Running(process, ours)


def kill(process: subprocess.Popen[bytes]) -> None:
    """
    Kill a child, and with it what it has started, except for what is in a session of its own.

    The system may refuse that, if a handler changed the user of its process. So it can be called again.
    """
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _how(code: int) -> str:
    return f"exited with {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
