"""
Processes that cannot outlive the one that started them.

The lifeline is the child's standard input, a pipe. Only the process that started the child holds the other end. When
that process ends, in whatever way, the pipe ends, and the child sees it. Until then, it can send lines through the
pipe. ``Child`` is its side, and ``lifeline`` the child's side.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

GRACE_S = 5.0
"""Seconds a child has to end by itself."""


class Child:
    """
    A Python process that ends when this one does.

    It runs in a session of its own, so that Ctrl-C does not reach it. Its output goes to a file without a name, which
    nobody has to remove. Unlike a pipe, a file does not fill up when nobody reads it.

    Args:
        module: The module to run, as in ``python -m module``.
        arguments: Its command line. It must hold no password, because everybody on this machine can read it.
        environ: Variables to set on top of our own.
        files: Open files that it inherits.
    """

    def __init__(
        self, module: str, *arguments: str, environ: Mapping[str, str] | None = None, files: Collection[int] = ()
    ) -> None:
        found_at = str(Path(__file__).parents[2])  # the child must import the same package as we did
        paths = os.pathsep.join(filter(None, [found_at, os.environ.get("PYTHONPATH")]))
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when nobody needs it any more
        self._process = subprocess.Popen(
            # -P: Python must not import a file that lies in your folder, such as random.py.
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            pass_fds=files,
            env={**os.environ, "PYTHONPATH": paths, **(environ or {})},
        )
        assert self._process.stdin is not None  # it is the pipe that we asked for
        self._lifeline = self._process.stdin
        weakref.finalize(self, self._output.close).atexit = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def output(self, start: int = 0) -> bytes:
        """Return what it has printed, from byte *start* on."""
        size = os.fstat(self._output.fileno()).st_size
        # Not read(): it would move the file position, at which the child writes. Both processes share it.
        return os.pread(self._output.fileno(), max(0, size - start), start)

    def tell(self, line: bytes) -> None:
        """
        Send one line down the pipe.

        Raises:
            BrokenPipeError: It has ended, or was told to end.
        """
        if self._lifeline.closed:
            raise BrokenPipeError
        self._lifeline.write(line + b"\n")

    def let_go(self) -> None:
        """Tell it to end, and do not wait for its end."""
        self._lifeline.close()

    def stop(self, timeout_s: float = GRACE_S) -> int:
        """Tell it to end and wait until it has; after *timeout_s* seconds kill it. Returns its exit code."""
        self.let_go()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill it with SIGKILL, as a crash would. Returns its exit code."""
        self._process.kill()
        self.let_go()
        return self._process.wait()


def lifeline(stop: Callable[[], object], on_line: Callable[[bytes], object] = lambda line: None) -> None:
    """
    Call *stop* when the process that started this child is gone or tells it to end. SIGTERM calls *stop*, too.

    Call this in the main thread of the child. If the child still runs ``GRACE_S`` seconds after its lifeline ended, it
    is stuck. Perhaps nobody is left to kill it, so it then leaves at once.

    Args:
        stop: Must be quick, and safe to call from another thread.
        on_line: Gets each line that comes through the pipe, in another thread.
    """

    def listen() -> None:
        rest = b""
        try:
            while data := os.read(0, 4096):  # not sys.stdin: Python would wait for its lock at exit
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    on_line(line)
        finally:
            stop()
            time.sleep(GRACE_S)
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # In a thread: the main thread may be holding a lock that *stop* needs.
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=stop, daemon=True).start())
    threading.Thread(target=listen, name="lifeline", daemon=True).start()
