"""What the command line says when no Redis answers: the way out depends on where it was looked for."""

import errno
import socket

import pytest
import redis

from orderstream import Settings
from orderstream.cli.connect import _why_no_answer

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_ROUTE = OSError(errno.EHOSTUNREACH, "No route to host")
SILENT = TimeoutError("timed out")


def said(url, reason):
    error = redis.ConnectionError("Error connecting")
    error.__context__ = reason
    line = _why_no_answer(error, Settings(redis_url=url))
    assert "\n" not in line
    assert "S3cret" not in line
    return line


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "shop.localhost", ""])
def test_on_this_machine_it_names_the_ways_to_start_one(host):
    """The default port needs no name."""
    assert "Start one with `orderstream server`" in said(f"redis://:S3cret@{host}", REFUSED)
    assert "`orderstream server --port 7000`" in said(f"redis://:S3cret@{host}:7000", REFUSED)
    assert "add --embedded to your commands" in said(f"redis://:S3cret@{host}", REFUSED)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        (UNKNOWN, "The name redis.example leads nowhere from here: correct it, or look at your network"),
        (REFUSED, "That machine is there, but nothing takes connections at this port"),
        (NO_ROUTE, "Nothing comes back from that machine"),
        (SILENT, "Nothing comes back from that machine"),
    ],
)
def test_a_remote_redis_has_its_own_trouble_and_no_server_here_would_help(reason, says):
    line = said("rediss://till:S3cret@redis.example", reason)
    assert line.startswith("no Redis answers at redis.example:6379 (")
    assert says in line
    assert not any(way in line for way in ("orderstream server", "--embedded", "docker"))


def test_a_socket_that_is_not_there_names_what_can_be_started_there():
    line = said("unix://:S3cret@/run/redis.sock", FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert "no Redis answers at /run/redis.sock (No such file or directory). Start that one; or add --embedded" in line
