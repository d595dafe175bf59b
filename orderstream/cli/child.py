"""
The child process of a supervisor: what it is given, and how it ends.

A handler leaves things behind that keep a Python process from ending: a thread that waits for ever, an atexit function,
an object that hangs when it is deleted. So a child does not wait for the interpreter's end.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import traceback
from typing import NoReturn

import msgspec

from orderstream.cli.ledger import ALIVE, FINAL, READY, Ledger
from orderstream.cli.supervisor import DONE, FAILED, LEFT
from orderstream.cli.terminal import wait_for, write_out

LAST_S = 1.0  # how long a child waits for the atexit functions


class Child(msgspec.Struct, frozen=True):
    """
    What a child knows of its supervisor.

    Attributes:
        lifeline: A file. A byte there means stop, and its end means that the supervisor is gone.
        ledger: What it tells its supervisor.
        processes: How many children there are.
    """

    lifeline: int
    ledger: Ledger
    processes: int

    def leave_unless_ready(self) -> None:
        """While it is not ready, leave at once when the supervisor says so or is gone. A thread waits for that."""

        def wait() -> None:
            wait_for([self.lifeline])  # it reads nothing: whoever waits after this must see it, too
            if not self.ledger.words[READY]:
                os._exit(0)

        threading.Thread(target=wait, name="leave unless ready", daemon=True).start()

    def still_here(self) -> None:
        """Write down that it goes on."""
        self.ledger.times[ALIVE] = time.monotonic()

    def had_to_leave(self) -> None:
        """Write down that it leaves an order in hand."""
        self.ledger.words[FINAL] = LEFT

    def end(self, code: int) -> NoReturn:
        """
        End this process.

        Args:
            code: The exit code. DONE and FAILED are also written down, so that the supervisor believes them.
        """
        try:
            if code in (DONE, FAILED):
                self.ledger.words[FINAL] = code
            write_out()
            last = threading.Thread(target=atexit._run_exitfuncs, name="atexit", daemon=True)
            last.start()
            last.join(LAST_S)
            write_out()
        except BaseException:  # noqa: BLE001 - the system has no thread for us, or a handler has left an alarm
            traceback.print_exc()
        finally:
            os._exit(code)


this: Child | None = None  # what this process is
