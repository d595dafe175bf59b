"""The wire format: programs in other languages share the stream, so it is compared byte by byte."""

import socket
from urllib.parse import urlsplit

import pytest

from orderstream import Consumer, Order, Producer


@pytest.fixture
def raw(settings):
    """Send words to Redis over a plain socket, and return its reply as it came."""
    url = urlsplit(settings.redis_url)
    with socket.create_connection((url.hostname, url.port), timeout=5) as link:

        def send(*words):
            parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
            link.sendall(b"*%d\r\n%s" % (len(words), b"".join(parts)))
            return link.recv(65_536)

        yield send


def test_an_order_of_another_program_is_consumed(raw, stream, settings):
    """No library of ours on the sending side: only bytes."""
    raw(b"XADD", settings.stream.encode(), b"*", b"data", b'{"id":"a","item":"b","amount":1}')
    seen = []
    Consumer(stream, seen.append).drain()
    assert seen == [Order("a", "b", 1)]


def test_what_we_send_is_one_field_with_exactly_that_json(raw, stream, settings):
    """What comes back over a plain socket is what anybody will read."""
    id = Producer(stream).send(Order("a", "b", 1)).encode()
    entry = b"*2\r\n$%d\r\n%s\r\n*2\r\n$4\r\ndata\r\n$32\r\n%s\r\n"
    reply = raw(b"XRANGE", settings.stream.encode(), b"-", b"+")
    assert reply == b"*1\r\n" + entry % (len(id), id, b'{"id":"a","item":"b","amount":1}')


def test_what_we_do_not_know_is_kept_and_ignored(raw, stream, client, settings):
    """A field or a member that a newer program adds stops nobody, and stays in the entry."""
    data = b'{"id":"a","item":"b","amount":1,"colour":"blue"}'
    raw(b"XADD", settings.stream.encode(), b"1-0", b"priority", b"high", b"data", data)
    seen = []
    Consumer(stream, seen.append).drain()
    assert seen == [Order("a", "b", 1)]
    assert client.xrange(settings.stream) == [(b"1-0", {b"priority": b"high", b"data": data})]
