"""
A worker process that the notebook talks with. It cannot outlive the notebook: see `orderstream.embedded.lifeline`.
"""

import ctypes
import os
import subprocess
import sys

from orderstream.embedded import lifeline
from orderstream.embedded.lifeline import GRACE_S
from orderstream.lab import patience


class Child(lifeline.Child):
    """A child whose output goes on for as long as the lesson does."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 0 after a clean end; minus the signal's number if a signal killed it."""
        return self._process.poll()

    @property
    def last_alive_s(self) -> float:
        """When it last wrote or touched its output, in Unix seconds."""
        return os.fstat(self._output.fileno()).st_mtime

    def give_back(self, end: int) -> None:
        """Free the disk space of its output before byte *end*. This works on Linux; elsewhere nothing happens."""
        if sys.platform == "linux":
            keep_size, punch_hole = 1, 2
            begin, length = ctypes.c_int64(0), ctypes.c_int64(end)
            ctypes.CDLL(None).fallocate64(self._output.fileno(), keep_size | punch_hole, begin, length)

    def wait(self, timeout_s: float = 2 * GRACE_S) -> int:
        """
        Wait until it has ended by itself. Returns its exit code.

        Raises:
            TimeoutError: It still runs after *timeout_s* seconds.
        """
        limit_s = patience.stretched(timeout_s)
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self!r}: it has not ended within {limit_s:.3g} s") from None
        return self.stop()

    def stop(self, timeout_s: float = GRACE_S) -> int:
        """Tell it to end and wait until it has; after *timeout_s* seconds kill it. Returns its exit code."""
        return super().stop(patience.stretched(timeout_s))
