"""Behind TLS. Row 50 of the fault list."""

import contextlib
import re
import ssl

import pytest
import redis
import trustme
from anyio import BrokenResourceError, connect_tcp, create_task_group, create_tcp_listener
from anyio.abc import SocketAttribute
from anyio.from_thread import start_blocking_portal
from anyio.streams.tls import TLSListener

from orderstream import Consumer, OrderStream, connect
from orderstream.connection import Trouble, open_client, trouble
from orderstream.errors import ConfigError
from tests.chaos.places import live_through, one_line, plain

pytestmark = pytest.mark.any_server("TLS ends in front of Redis, which gets plain bytes")


class TlsFront:
    """Speaks TLS to whoever connects and plain TCP to the Redis behind: few servers are built with TLS."""

    def __init__(self, certificate, host, port):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._behind = host, port
        self._portal = start_blocking_portal()
        portal = self._portal.__enter__()
        self._serving, self.port = portal.start_task(self._serve)

    async def _serve(self, *, task_status):
        plain = await create_tcp_listener(local_host="127.0.0.1")
        task_status.started(plain.extra(SocketAttribute.local_port))
        # A client may leave without a TLS goodbye.
        async with TLSListener(plain, self._context, standard_compatible=False) as listener:
            await listener.serve(self._carry_both_ways)

    async def _carry_both_ways(self, client):
        async with client, await connect_tcp(*self._behind) as server, create_task_group() as ways:
            ways.start_soon(self._carry, client, server, ways.cancel_scope)
            ways.start_soon(self._carry, server, client, ways.cancel_scope)

    async def _carry(self, source, goal, both):
        with contextlib.suppress(BrokenResourceError):
            async for data in source:
                await goal.send(data)
        both.cancel()

    def close(self):
        """Ends what is under way, closes every connection, and waits for it."""
        self._serving.cancel()
        self._portal.__exit__(None, None, None)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA of one's own, and the file of its certificate."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(file := tmp_path_factory.mktemp("ca") / "ca.pem")
    return ca, file


@pytest.fixture
def front(authority, redis_server):
    """``front("localhost")``: a TLS front whose certificate is for this host."""
    opened, (ca, _) = [], authority

    def front(*hosts):
        address = redis_server.removeprefix("redis://").split(":")
        opened.append(TlsFront(ca.issue_cert(*hosts), address[0], int(address[1])))
        return opened[-1]

    yield front
    for each in opened:
        each.close()


def test_an_order_lives_its_whole_life_behind_tls(authority, front):
    """The CA's file is an option of the URL."""
    live_through(plain(f"rediss://localhost:{front('localhost').port}?ssl_ca_certs={authority[1]}"))


def test_the_commands_work_behind_tls(authority, front, run):
    settings = plain(f"rediss://localhost:{front('localhost').port}?ssl_ca_certs={authority[1]}")
    assert run(settings, "produce", "--count", 3)[0] == 0
    code, out, _ = run(settings, "consume", "--until-idle", 0)
    assert (code, len(out.splitlines())) == (0, 3)


@pytest.mark.row(50)
@pytest.mark.parametrize(
    ("host", "knows_the_ca", "why"),
    [
        ("localhost", False, "certificate"),
        ("redis.example", True, "Hostname mismatch|not valid for 'localhost'"),
    ],
    ids=["a CA that nobody knows", "the certificate of another host"],
)
def test_a_certificate_that_does_not_fit_is_refused_and_the_way_out_is_no_hole(
    authority, front, run, host, knows_the_ca, why
):
    """One line that says what to do. Nobody is told to switch the verification off."""
    url = f"rediss://localhost:{front(host).port}" + f"?ssl_ca_certs={authority[1]}" * knows_the_ca
    code, out, err = run(plain(url), "status")
    assert (code, out) == (1, "")
    assert re.search(why, one_line(err))
    assert "rediss://HOST:PORT?ssl_ca_certs=/path/ca.pem" in err
    assert "cert_reqs" not in err
    with pytest.raises(ConfigError, match="no TLS with Redis"):
        connect(plain(url))


def test_a_certificate_that_stops_to_fit_ends_a_consumer_at_once(authority, front, running):
    """It is no outage: waiting does not mend it."""
    settings = plain(f"rediss://localhost:{front('redis.example').port}?ssl_ca_certs={authority[1]}")
    with open_client(settings) as client, pytest.raises(redis.ConnectionError) as caught:
        Consumer(OrderStream(client, settings), print).step()
    assert trouble(caught.value) is Trouble.FATAL


def test_tls_towards_a_redis_that_speaks_none_is_one_line(redis_server, run):
    """It waits for more, and never answers. So it may also be one that is too busy."""
    url = redis_server.replace("redis://", "rediss://")
    code, _, err = run(plain(url), "status")
    assert code == 1
    assert "speaks no TLS, or is too busy" in one_line(err)


def test_a_ca_file_that_is_not_there_is_one_line(front, run):
    url = f"rediss://localhost:{front('localhost').port}?ssl_ca_certs=/missing/ca.pem"
    code, _, err = run(plain(url), "status")
    assert code == 1
    assert "No such file" in one_line(err)
