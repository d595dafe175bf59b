"""Worker processes: ``orderstream consume`` with a handler of one's own, and without a supervisor that would help."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import Process
from tests.redis.conftest import (  # noqa: F401 - fixtures are found by their names
    Server,
    guest,
    link,
    linked_stream,
    loading,
    make_due,
    own_server,
    own_stream,
    patient,
    pending,
    running,
    send,
)

ROOT = Path(__file__).parents[2]
SHOP = """
import asyncio, ctypes, os, signal, threading, time
import redis
from orderstream import Defer, OrderStream, Reject

NAME, NOTES = {name!r}, {notes!r}
outside = redis.Redis.from_url({url!r})

def note(what, order):
    outside.rpush(f"{{NOTES}}:{{what}}", order.id)

def wait_for(what):
    outside.blpop(f"{{NOTES}}:{{what}}")

def handle(order):
    note("began", order)
    {handler}
    note("done", order)

async def handle_async(order):
    await asyncio.to_thread(handle, order)
"""
AT_ONCE = 50  # handlers of a crew


@pytest.fixture
def crew(request):
    """What runs the handlers of ``start``: one thread, as by default, or many ``"threads"`` or ``"coroutines"``."""
    return getattr(request, "param", "")


@pytest.fixture
def start(settings, tmp_path, crew):
    """
    ``start(name, handler, **settings)``: a worker process whose handler runs these lines of code. It notes what it
    began and what is done; see ``noted``. No process outlives the test, not even a stopped one.
    """
    started = []

    def start(name, handler="pass", *, setup="", **more):
        folder = tmp_path / name
        folder.mkdir()
        code = SHOP.format(name=name, notes=settings.stream, url=settings.redis_url, handler=handler)
        (folder / "shop.py").write_text(code + setup)
        names = {"stream": settings.stream, "group": settings.group}
        wanted = {**names, "claim_idle_ms": 1_000, "backoff_ms": 20, "block_ms": 100, **more}
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ORDERSTREAM_", "REDIS_"))}
        environ |= {"PYTHONPATH": str(ROOT), "REDIS_URL": settings.redis_url}
        environ |= {f"ORDERSTREAM_{name.upper()}": str(value) for name, value in wanted.items()}
        command = [sys.executable, "-m", "orderstream", "consume", "--processes", "0"]
        command += ["--name", name, "--handler", "shop:handle_async" if crew == "coroutines" else "shop:handle"]
        command += ["--concurrency", str(AT_ONCE)] if crew else []
        with (folder / "log").open("wb") as log:
            started.append(Process(command, cwd=folder, env=environ, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.fixture
def run(tmp_path):
    """Run a command to its end, on the stream that the settings name: (exit code, stdout, stderr)."""

    def run(settings, *args):
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ORDERSTREAM_", "REDIS_"))}
        environ |= {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": settings.redis_url,
            "ORDERSTREAM_STREAM": settings.stream,
            "ORDERSTREAM_DLQ": settings.dlq,
            "ORDERSTREAM_BLOCK_MS": "100",
        }
        command = [sys.executable, "-m", "orderstream", *map(str, args)]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def noted(client, settings):
    """``noted("done")``: ids of the orders for which a handler came to its end, in any process; ``"began"``, too."""
    return lambda what: [id.decode() for id in client.lrange(f"{settings.stream}:{what}", 0, -1)]


@pytest.fixture
def let(client, settings):
    """``let("go")``: one handler that does ``wait_for("go")`` goes on."""
    return lambda what: client.rpush(f"{settings.stream}:{what}", 1)


@pytest.fixture
def tell(record_property):
    """``tell(line)``: the line stands at the end of what pytest prints, though the test passed."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter):
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, line in getattr(report, "user_properties", ()):
                if name == "told" and report.when == "call":
                    terminalreporter.write_line(line)
