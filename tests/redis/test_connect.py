"""What is at the end of a URL, and who may come in: any answer of a Redis is an answer."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import redis
import trustme

from orderstream import Producer, connect
from orderstream.embedded.find import redis_server as find_redis_server
from orderstream.errors import ConfigError
from tests.process import Process
from tests.redis.handlers import ORDERS


def one_line(result):
    code, out, err = result
    assert (code, out) == (1, ""), err
    assert re.fullmatch("Error: .*\n", err)
    return err


@pytest.fixture
def answering():
    """``answering(b"…")``: the URL of a server that answers so to whoever connects, whatever it says."""
    listeners = []

    def serve(what, *, when_told=True):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        if when_told:
                            client.recv(65536)
                        client.sendall(what)

        threading.Thread(target=run, daemon=True).start()
        return f"redis://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.row(72)
def test_a_url_that_leads_to_a_sentinel_is_told_so(tmp_path, settings, environ, run, eventually):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    with (tmp_path / "log").open("wb") as log:
        sentinel = Process([find_redis_server(), tmp_path / "sentinel.conf", "--sentinel"], stdout=log)

    def answers():
        with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
            return client.ping()

    try:
        eventually(answers)
        url = f"redis://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match="leads to a Sentinel, which keeps no orders"):
            connect(replace(settings, redis_url=url))
        assert "Sentinel" in one_line(run("status", "--redis", url))
    finally:
        sentinel.kill()
        sentinel.wait()


@pytest.mark.row(72)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no Redis, or it speaks TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no Redis, or it speaks TLS"),  # an alert of TLS: no such version
        (b"", "ends the connection; if it speaks TLS, write rediss://"),
        (b"-ERR max number of clients reached\r\n", "as many clients as it takes"),
    ],
    ids=["HTTP", "an alert of TLS", "nothing", "no more clients"],
)
def test_what_answers_and_is_no_redis_for_us_is_said(answering, run, answer, says):
    assert says in one_line(run("status", "--redis", answering(answer)))


@pytest.mark.row(72)
def test_plain_bytes_to_a_port_of_tls_are_told_so(settings, run):
    """OpenSSL finds no TLS in a plain command, and closes the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with contextlib.suppress(ssl.SSLError), context.wrap_socket(client, server_side=True):
                        pass
                    client.close()

        threading.Thread(target=serve, daemon=True).start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        assert "TLS" in one_line(run("status", "--redis", url))
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.row(72)
def test_tls_to_a_server_that_answers_in_plain_text_is_told_so(answering, run):
    url = answering(b"-ERR unknown command\r\n").replace("redis:", "rediss:")
    assert "speaks no TLS: write redis:// in the Redis URL" in one_line(run("status", "--redis", url))


@pytest.mark.row(72)
def test_a_redis_that_takes_no_more_clients_says_so(own_server, run):
    """6.2 keeps some connections for itself, so all it has are taken here."""
    with redis.Redis(port=own_server.port) as admin, contextlib.ExitStack() as held:
        admin.config_set("maxclients", 1)
        for _ in range(64):
            held.enter_context(socket.create_connection(("127.0.0.1", own_server.port)))
        assert "as many clients as it takes" in one_line(run("status", "--redis", own_server.url))


# A Redis in trouble is there all the same --------------------------------------------------------------------


@pytest.fixture
def full_disk(own_server, own_stream, eventually):
    """It could not save, and refuses every write, and PING."""
    Producer(own_stream).send_many(ORDERS[:3])
    own_stream.create_group()
    (own_server.folder / "dump.rdb").mkdir()
    client = own_stream.client
    client.config_set("save", "3600 1")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    with pytest.raises(redis.ResponseError, match="MISCONF"):
        client.ping()

    def repair():
        client.config_set("save", "")

    return repair


@pytest.mark.row(73)
def test_a_redis_with_a_full_disk_can_be_looked_at(own_server, full_disk, run):
    """PING is refused there, and no look needs a write."""
    code, out, err = run("status", "--json", "--redis", own_server.url)
    assert code == 0, err
    assert json.loads(out)["length"] == 3
    code, _, err = run("dlq", "list", "--redis", own_server.url)
    assert code == 0, err
    code, out, _ = run("doctor", "--redis", own_server.url)
    assert "the last write to disk failed" in out


@pytest.mark.row(73)
@pytest.mark.parametrize("more", [(), ("--until-idle", 0.5)], ids=["for ever", "until idle"])
def test_a_consumer_that_starts_at_a_full_disk_waits_as_a_running_one_does(
    own_server, full_disk, start, eventually, more, tmp_path
):
    with (tmp_path / "err").open("wb") as err:
        process = start("consume", "--redis", own_server.url, *more, stdout=subprocess.DEVNULL, stderr=err)
    eventually(lambda: "aiting for Redis" in (tmp_path / "err").read_text(), timeout_s=10)
    time.sleep(1)  # longer than --until-idle: during an outage nobody is idle
    assert process.poll() is None
    full_disk()
    eventually(lambda: "Redis works again" in (tmp_path / "err").read_text(), timeout_s=10)
    if more:
        assert process.wait(10) == 0
        assert "Handled 3 orders" in (tmp_path / "err").read_text()
    else:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.row(73)
def test_until_idle_ends_with_an_error_when_an_outage_is_too_long(own_server, full_disk, start):
    """Somebody waits for its end: a script, say. It must not wait for ever, nor believe that nothing was left."""
    process = start("consume", "--until-idle", 0.5, "--redis", own_server.url)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"Error: orders may be left: for 2\d s Redis did not let this consumer work", err)
    assert "had in hand" not in err  # it had nothing


@pytest.mark.row(73)
def test_a_redis_that_loads_its_data_or_has_no_memory_left_is_there(own_server, own_stream, loading):
    own_stream.client.config_set("maxmemory", 1)
    with contextlib.closing(connect(own_stream.settings)) as stream:
        assert stream.backlog().length == 0
    own_stream.client.config_set("maxmemory", 0)
    with loading(own_server):
        connect(own_stream.settings).close()


@pytest.mark.row(48)
def test_a_missing_password_is_refused_at_connecting(own_server, own_stream):
    """It is an answer, too, and the only one that no waiting mends."""
    own_stream.client.config_set("requirepass", "s3cret")
    with pytest.raises(redis.AuthenticationError):
        connect(own_stream.settings)


# Numbers and names -------------------------------------------------------------------------------------------


@pytest.mark.row(74)
@pytest.mark.parametrize(
    "command",
    [
        "produce --count 1 --rate nan",
        "produce --count 1 --rate inf",
        "produce --count 1 --rate 1e-300",
        "produce --count 1 --rate 1e300",
        "consume --until-idle nan",
        "consume --until-idle inf",
        "consume --work-ms 1000000000000000000000",
    ],
)
def test_a_number_that_is_none_is_one_line(run, command):
    code, out, err = run(*command.split())
    assert (code, out) == (2, "")
    assert re.fullmatch("Error: Invalid value for '--.*\n", err)


@pytest.mark.row(75)
@pytest.mark.parametrize(
    "command",
    ["--stream {} produce --count 1", "--group {} status", "consume --name {}", "consume --name {} --processes 2"],
)
def test_a_name_that_is_not_utf_8_is_one_line(run, command):
    code, out, err = run(*command.format(os.fsdecode(b"\xff")).split())
    assert (code, out) == (2 if "--name" in command else 1, "")
    assert re.fullmatch("Error: .*must be UTF-8 text.*\n", err)
