"""Start one process of one peer, and talk with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Failed(Exception):
    """A process ended without a result. The message is one line."""


class Process:
    """
    One ``benchmarks.worker``. Use it in a ``with`` block: it is gone afterwards.

    Args:
        peer: Its module in ``peers/``. It runs in ``.venv-bench/NAME`` if that is there, else in our own Python; or on
            node, if it is a file of JavaScript.
        action: What to do, see ``worker.ACTIONS``.
        limit_s: After so many seconds it ends, whatever it does.
        environ: Variables to set for it.
        options: For the action.
    """

    def __init__(
        self, peer: str, action: str, *, limit_s: int, environ: dict[str, str] | None = None, **options: Any
    ) -> None:
        own = Path(sys.prefix, peer.rpartition(".")[2])
        program = _program(peer, own)
        paths = {"PYTHONPATH": str(ROOT), "NODE_PATH": str(own / "node_modules")}
        self._limit_s = limit_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [*program, action, json.dumps({"limit_s": limit_s, **options})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**_clean(os.environ), **paths, **(environ or {})},
        )
        self.version = ""

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *problem: object) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            file.close()

    def ready(self) -> None:
        """Wait until it has imported and connected."""
        self.version = self.result().get("version", self.version)
        self.result()

    def go(self) -> None:
        """Let it begin."""
        self._process.stdin.write(b"\n")

    def result(self) -> dict[str, Any]:
        """
        Return what it says next.

        Raises:
            Failed: It has ended instead.
        """
        if line := self._process.stdout.readline():
            return json.loads(line)
        raise Failed(self._reason())

    def terminate(self) -> None:
        """Ask for the result of a ``share``."""
        self._process.terminate()

    def _reason(self) -> str:
        if self._process.wait() == -signal.SIGALRM:
            return f"no result within {self._limit_s} s"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        return lines[-1][:120]


def _program(peer: str, own: Path) -> list[str]:
    """
    Return the words that start *peer*, who may have a folder of its *own* with all that it needs.

    Raises:
        Failed: It needs node, and there is none.
    """
    script = ROOT / "benchmarks" / "peers" / f"{peer.replace('.', '/')}.js"
    if script.exists():
        if not (node := shutil.which("node")):
            raise Failed("node is not installed")
        return [node, str(script)]
    python = own / "bin" / "python"
    return [str(python) if python.exists() else sys.executable, "-P", "-m", "benchmarks.worker", peer]


def _clean(environ: os._Environ[str]) -> dict[str, str]:
    """What you set for your own Redis and consumers must not change what is measured."""
    return {name: value for name, value in environ.items() if not name.startswith(("REDIS_", "ORDERSTREAM_"))}
