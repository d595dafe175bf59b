"""What the tests on a real Redis share: servers that may be killed, links that lose replies, consumers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import Producer, connect
from orderstream.embedded.find import redis_server
from orderstream.lab.workers.lossy_link import LossyLink
from tests.process import Process

ROOT = Path(__file__).parents[2]


class Server:
    """A redis-server of the test's own, so that it may be killed and started again on the same port and data."""

    def __init__(self, folder, *options):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.folder, self.options = folder, options
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more, wait=True):
        command = [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        where = ["--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = Process(
                [*command, *where, *self.options, *more], stdin=subprocess.DEVNULL, stdout=log
            )
        deadline = time.monotonic() + 10
        with redis.Redis(port=self.port) as client:
            while wait:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self.process.poll() is None, (self.folder / "log").read_text()
                    assert time.monotonic() < deadline, (self.folder / "log").read_text()
                    time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def a_hangup_is_heard():
    """Whoever runs these tests under nohup ignores SIGHUP, and a child inherits that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def own_server(tmp_path):
    """A server that writes every change to disk before it answers, and may be killed."""
    server = Server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def loading(eventually):
    """``with loading(own_server):`` it was killed, and reads its data from disk for two seconds."""

    @contextlib.contextmanager
    def load(server):
        with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
            for n in range(20):  # Redis looks up from its file every 2 MB
                client.set(f"key-{n}", b"x" * 1_000_000)
            client.config_set("rdbcompression", "no")
            client.save()
            server.kill()
            server.start("--appendonly", "no", "--key-load-delay", "100000", wait=False)

            def says_loading():
                try:
                    client.ping()
                except redis.exceptions.BusyLoadingError:
                    return True
                except redis.ConnectionError:
                    return False

            def answers():
                with contextlib.suppress(redis.ConnectionError):
                    return client.ping()

            eventually(says_loading)
            yield
            eventually(answers)

    return load


@pytest.fixture
def own_stream(own_server, settings):
    """This test's stream on ``own_server``."""
    stream = connect(replace(settings, redis_url=own_server.url))
    yield stream
    stream.close()


@pytest.fixture
def link(redis_server):
    """A link to this session's Redis that can lose replies."""
    with LossyLink(redis_server) as link:
        yield link


@pytest.fixture
def linked_stream(link, settings):
    """This test's stream, reached through ``link``."""
    stream = connect(replace(settings, redis_url=link.url))
    yield stream
    stream.close()


@pytest.fixture
def patient(settings):
    """The same stream, but nothing becomes due by itself while the test looks."""
    stream = connect(replace(settings, claim_idle_ms=30_000, backoff_ms=1_000))
    yield stream
    stream.close()


@pytest.fixture
def send(stream):
    """Send orders, return their entry ids."""
    return lambda *orders: Producer(stream).send_many(orders)


@pytest.fixture
def taken(patient):
    """Add entries and give them to consumer "a": ``taken(2)``, ``taken([b"name", b"value"], …)``."""

    def take(*wanted):
        bodies = [[b"n", b"%d" % n] for n in range(*wanted)] if isinstance(wanted[0], int) else wanted
        patient.create_group()
        patient.add(bodies)
        return patient.read_new("a", len(bodies), None)

    return take


@pytest.fixture
def pending(client, settings):
    """The group's pending entries: {id: (consumer, idle_ms, deliveries)}."""

    def look():
        rows = client.xpending_range(settings.stream, settings.group, "-", "+", 10_000)
        return {
            row["message_id"].decode(): (
                row["consumer"].decode(), row["time_since_delivered"], row["times_delivered"]
            )
            for row in rows
        }  # fmt: skip

    return look


@pytest.fixture
def make_due(client, settings):
    """Let entries look as if nobody had worked on them for a long time."""

    def age(*ids, idle_ms=3_600_000):
        for id in ids:
            (row,) = client.xpending_range(settings.stream, settings.group, id, id, 1)
            client.xclaim(
                settings.stream, settings.group, row["consumer"], 0, [id], idle=idle_ms, justid=True
            )  # fmt: skip

    return age


@pytest.fixture
def guest(client, settings):
    """Connect as a user with chosen permissions: ``guest("+@all", "-xack", keys=[...])``."""
    name, opened = f"guest-{settings.stream}", []

    def connect_as(*commands, keys=("*",)):
        client.acl_setuser(name, enabled=True, passwords=["+pw"], commands=commands, keys=keys, reset=True)
        opened.append(connect(replace(settings, redis_url=settings.redis_url.replace("://", f"://{name}:pw@"))))
        return opened[-1]

    yield connect_as
    for stream in opened:
        stream.close()
    client.acl_deluser(name)


@pytest.fixture
def running():
    """``with running(consumer):`` its ``run()`` is at work in a thread; what it raises, the end of the block raises."""

    @contextlib.contextmanager
    def run(*consumers):
        raised = []

        def target(consumer):
            try:
                consumer.run()
            except Exception as error:  # noqa: BLE001 - carried over to the test's thread
                raised.append(error)

        threads = [threading.Thread(target=target, args=(consumer,)) for consumer in consumers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for consumer in consumers:
                consumer.stop()
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive(), "run() did not end after stop()"
        if raised:
            raise raised[0]

    return run


@pytest.fixture
def environ(settings):
    """What a shell would hold that works on this test's stream."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ORDERSTREAM_", "REDIS_"))}
    numbers = ("claim_idle_ms", "backoff_ms", "block_ms", "grace_s")
    return {
        **clean,
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": settings.redis_url,
        "ORDERSTREAM_STREAM": settings.stream,
        "ORDERSTREAM_GROUP": settings.group,
        **{f"ORDERSTREAM_{name.upper()}": str(getattr(settings, name)) for name in numbers},
    }


def end_all(environ):
    """Kill every process that works on this test's stream, also those whose parent is gone."""
    ours = "ORDERSTREAM_STREAM", environ["ORDERSTREAM_STREAM"]
    for process in psutil.process_iter(["environ"]):
        if ours in (process.info["environ"] or {}).items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def start(environ, tmp_path):
    """Start a command in the background; neither it nor its children outlive the test."""
    started = []

    def start(*args, through=("-m", "orderstream"), **more):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command = [sys.executable, *through, *map(str, args)]
        process = Process(command, env=environ, cwd=tmp_path, text=True, **{**streams, **more})
        started.append(process)
        return process

    yield start
    if started:
        end_all(environ)
    for process in started:
        process.communicate()


@pytest.fixture
def run(start):
    """Run a command to its end: (exit code, stdout, stderr)."""

    def run(*args, input=None):
        process = start(*args, **({} if input is None else {"stdin": subprocess.PIPE}))
        out, err = process.communicate(input, timeout=20)
        return process.returncode, out, err

    return run
