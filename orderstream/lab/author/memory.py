"""
How much memory a learner needs: run a lesson in a JupyterLab of its own, and add up all its processes.

    python -m orderstream.lab.author.memory 00 09        of these lessons; none named: of each (Linux only)

Counted are JupyterLab, the lesson's kernel, its Redis and its workers, whoever their parents are: they are known by a
variable in their environment. A page that several of them share is counted once. The browser is not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from jupyter_client.blocking.client import BlockingKernelClient

from orderstream.lab.edition import author
from orderstream.lab.edition.learner import LearnersEdition

MARK = "ORDERSTREAM_LAB_HOME"
"""The variable that every process of a lesson inherits. Its value, a new folder, is found nowhere else."""

KINDS = {"ipykernel": "kernel", "redis-server": "server", "valkey": "server", "jupyter": "JupyterLab"}
"""What a command line has in it -> which process it is. Any other is a worker, or guards one."""


class Peak(NamedTuple):
    """The moment at which a lesson took most: MB and processes of each kind."""

    mb: dict[str, float]
    processes: dict[str, int]

    @property
    def total_mb(self) -> float:
        return sum(self.mb.values())

    def __str__(self) -> str:
        kinds = [f"{self.processes[kind]} {kind} {mb:.0f}" for kind, mb in sorted(self.mb.items())]
        return f"{self.total_mb:.0f} MB: {', '.join(kinds)}"


def peak_of(lesson: str) -> Peak:
    """Run every cell of a lesson, and return the moment at which its processes took most memory."""
    with tempfile.TemporaryDirectory(prefix="orderstream-memory-") as home:
        folder = Path(home, "learn")
        LearnersEdition(folder).update()
        with _jupyterlab(folder, home) as lab, _watched(home) as samples:
            _run(lab, author.path_of(lesson))
        return max(samples, key=lambda peak: peak.total_mb)


class Lab(NamedTuple):
    """A JupyterLab that runs: where it is asked, and where it puts the addresses of its kernels."""

    url: str
    token: str
    runtime: Path

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers)) as reply:
            return json.loads(reply.read())


@contextmanager
def _jupyterlab(folder: Path, home: str) -> Iterator[Lab]:
    runtime = Path(home, "runtime")
    paths = {f"JUPYTER_{name}_DIR": str(Path(home, name.lower())) for name in ("CONFIG", "DATA", "RUNTIME")}
    environ = os.environ | paths | {MARK: str(Path(home, "answers")), "IPYTHONDIR": str(Path(home, "ipython"))}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    try:
        while (lab := _answering(runtime)) is None:
            if process.poll() is not None:
                raise RuntimeError("JupyterLab ended at once")
            time.sleep(0.1)
        yield lab
    finally:
        process.terminate()
        process.wait()


def _answering(runtime: Path) -> Lab | None:
    """Return the JupyterLab that wrote its address into *runtime*, once it answers."""
    try:
        [note] = (json.loads(path.read_bytes()) for path in runtime.glob("jpserver-*.json"))
        lab = Lab(note["url"], note["token"], runtime)
        lab.ask("lab/api/settings")  # the browser asks for them first, and they load the extensions
    except (ValueError, urllib.error.URLError):  # not yet
        return None
    return lab


def _run(lab: Lab, lesson: Path) -> None:
    """Run the code cells of *lesson*, as JupyterLab does when you press Shift+Enter."""
    wish = {"path": lesson.name, "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    session = lab.ask("api/sessions", wish)
    note = lab.runtime / f"kernel-{session['kernel']['id']}.json"
    client = BlockingKernelClient(connection_file=str(note))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        for cell in author.code_cells(lesson).values():
            reply = client.execute_interactive(cell.source, output_hook=lambda said: None, timeout=120)
            if reply["content"]["status"] != "ok":
                raise RuntimeError(f"{lesson.name}, cell {cell['id']}: {reply['content']['evalue']}")
    finally:
        client.stop_channels()


@contextmanager
def _watched(home: str, every_s: float = 0.25) -> Iterator[list[Peak]]:
    """Look at the processes again and again, in a thread."""
    samples: list[Peak] = []
    done = Event()

    def look() -> None:
        while not done.wait(every_s):
            samples.append(_now(home))

    thread = Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _now(home: str) -> Peak:
    peak = Peak({}, {})
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={home}/".encode() not in (process / "environ").read_bytes():
                continue
            command = (process / "cmdline").read_text().replace("\0", " ")
            kb = int((process / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):  # it has just ended
            continue
        kind = next((kind for part, kind in KINDS.items() if part in command), "workers")
        peak.mb[kind] = peak.mb.get(kind, 0) + kb / 1024
        peak.processes[kind] = peak.processes.get(kind, 0) + 1
    return peak


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.author.memory", description=peak_of.__doc__)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="such as 04; none: all")
    named = parser.parse_args(argv).lessons
    for lesson in named or sorted(path.name[:2] for path in author.FOLDER.glob("[0-9][0-9]_*.ipynb")):
        print(f"lesson {lesson}: {peak_of(lesson)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
