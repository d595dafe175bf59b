"""On a unix socket."""

import json
import tempfile
from pathlib import Path

import pytest

from tests.chaos.places import live_through, one_line, plain
from tests.redis.conftest import Server


@pytest.fixture
def behind_a_socket():
    """A Redis with a unix socket. The path of a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="orders-") as folder:
        server = Server(Path(folder), "--unixsocket", f"{folder}/redis.sock")
        server.start()
        yield f"unix://{folder}/redis.sock"
        server.kill()


def test_an_order_lives_its_whole_life_on_a_unix_socket(behind_a_socket):
    live_through(plain(f"{behind_a_socket}?db=1"))


def test_the_commands_work_on_a_unix_socket(behind_a_socket, run):
    settings = plain(behind_a_socket)
    assert run(settings, "produce", "--count", 3)[0] == 0
    code, out, err = run(settings, "consume", "--until-idle", 0)
    assert (code, len(out.splitlines())) == (0, 3), err
    assert json.loads(run(settings, "status", "--json")[1])["length"] == 3


def test_a_socket_that_is_not_there_is_one_line(run):
    code, _, err = run(plain("unix:///missing/redis.sock"), "status")
    assert code == 1
    assert "no Redis answers at /missing/redis.sock" in one_line(err)
