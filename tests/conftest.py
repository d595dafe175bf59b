"""
A real Redis for every test that asks for one, and keys of its own for every test.

ORDERSTREAM_REDIS_SERVER      the redis-server to start; default: the one on PATH, else the one that came along
ORDERSTREAM_TEST_REDIS        "container": a redis:8.10 container instead, as users have it
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from opentelemetry import trace
from opentelemetry.util._once import Once

from orderstream import Settings, connect
from orderstream.embedded.find import ServerError
from orderstream.embedded.find import redis_server as find_redis_server
from orderstream.lab import patience
from orderstream.stream import OrderStream

IN_CI = os.environ.get("CI") == "true"


@pytest.fixture(autouse=True)
def python_answers_ctrl_c() -> None:
    """A program begins with Python's own handler of Ctrl-C. Some tests before this one may have replaced it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def a_provider_of_spans_ends_with_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry lets a process set one provider, once. The orders of other tests must carry no context of it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this test session's own."""
    if os.environ.get("ORDERSTREAM_TEST_REDIS") == "container":
        from testcontainers.community.redis import RedisContainer

        with RedisContainer("redis:8.10") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}"
        return

    try:
        executable = find_redis_server()
    except ServerError as error:
        pytest.skip(str(error))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    log = folder / "redis.log"
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --logfile {log} --appendonly no --save".split()
    server = subprocess.Popen([executable, *options, ""], stdin=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(server, port, log)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def settings(redis_server: str) -> Settings:
    """Names nobody else uses, and times short enough to wait for."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    return Settings(
        redis_url=redis_server,
        stream=name,
        group=f"{name}-group",
        claim_idle_ms=300,
        backoff_ms=20,
        block_ms=100,
        grace_s=2.0,
    )


@pytest.fixture
def stream(settings: Settings) -> Iterator[OrderStream]:
    """The package's way to this test's stream."""
    stream = connect(settings)
    yield stream
    stream.client.close()


@pytest.fixture
def client(redis_server: str) -> Iterator[redis.Redis]:
    """A plain client of the same server that replies in bytes, to look from outside."""
    client = redis.Redis.from_url(redis_server, protocol=2)
    yield client
    client.close()


@pytest.fixture
def server_version(client: redis.Redis) -> tuple[int, ...]:
    """Such as ``(6, 2, 14)``."""
    return tuple(int(part) for part in client.info("server")["redis_version"].split("."))


@pytest.fixture
def eventually() -> Callable[..., None]:
    """``eventually(condition, timeout_s=5.0)``: wait until it holds, fail when it does not."""

    def wait(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + patience.stretched(timeout_s)
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s} s")
            time.sleep(0.02)

    return wait


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is in the repository, in a repository of its own."""
    from tests.docs.pages import ROOT, tracked

    folder = tmp_path / "clone"
    for path in tracked():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for command in ("init", "add ."):
        subprocess.run(["git", *command.split()], cwd=folder, capture_output=True, check=True)
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test proves nothing: in CI the run fails, locally it is only named."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and reporter and (skipped := reporter.stats.get("skipped")):
        reporter.write_line(f"\nNothing may skip in CI, but {len(skipped)} did; see pytest -rs.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                said = log.read_text() if log.exists() else ""
                assert server.poll() is None, f"redis-server ended: {said}"
                assert time.monotonic() < deadline, f"redis-server does not answer: {said}"
                time.sleep(0.02)
