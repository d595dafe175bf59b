"""What the tests of the lab share: a folder that tells which processes a test started, and servers to be a guest on."""

import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
import redis

from orderstream import lab
from orderstream.embedded.find import redis_server
from orderstream.embedded.private import FOLDER
from orderstream.lab import server
from orderstream.lab.server.client import open_client

ROOT = Path(__file__).parents[2]


class Scratch(type(Path())):
    """The folder for temporary files of one test, and of every process that the test starts."""

    def processes(self, but=()):
        """Return the processes that work here: by their environment, or by their folder as redis-server erases that."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("TMPDIR") == str(self) or process.cwd().startswith(str(self))
                if mine and process.status() != psutil.STATUS_ZOMBIE and process.pid not in but:
                    found.append(process)
            except psutil.Error:  # it has just ended, or is not ours to look at
                continue
        return found

    def folders(self):
        return list(self.glob(f"{FOLDER}*"))

    def is_clean(self, but=()):
        return not self.processes(but) and not self.folders()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A fresh TMPDIR; no process outlives the test, whatever became of it."""
    folder = Scratch(tmp_path / "scratch")
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for variable in ("REDIS_URL", "REDIS_ADDR"):
        monkeypatch.delenv(variable, raising=False)
    yield folder
    server.close()
    for process in folder.processes():
        process.kill()


@pytest.fixture
def lesson(scratch, capsys):
    """A started lesson: its redis-py client."""
    client = lab.start("01")
    capsys.readouterr()
    return client


@pytest.fixture
def guest_on(scratch, tmp_path, eventually):
    """Start a redis-server that is not the lab's, with options, and return its URL."""
    started = []

    def start(*options, port=None):
        if port is None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
        folder = tmp_path / f"theirs-{port}"
        folder.mkdir(exist_ok=True)
        address = ["--port", str(port), "--bind", "127.0.0.1"]
        command = [redis_server(), *address, "--save", "", "--dir", str(folder)]
        with (folder / "log").open("wb") as log:
            started.append(subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, stdout=log))

        def answers():
            try:
                return open_client(f"redis://127.0.0.1:{port}").ping()
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                assert started[-1].poll() is None, (folder / "log").read_text()
                return False

        eventually(answers)
        return f"redis://127.0.0.1:{port}"

    yield start
    server.close()  # while the server still answers
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def guest(guest_on, monkeypatch):
    """A client of a redis-server that is not the lab's, and that REDIS_ADDR leads to."""
    url = guest_on()
    monkeypatch.setenv("REDIS_ADDR", url.removeprefix("redis://"))
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test(eventually):
    """The next test may count them. Those of a link end when it is closed, those of a sampler when it is stopped."""
    before = set(threading.enumerate())
    yield
    eventually(lambda: {"lossy link", "sampler"}.isdisjoint(t.name for t in threading.enumerate() if t not in before))
