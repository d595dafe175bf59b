"""What a consumer waits out: Redis restarts, loads, has no memory left, loses a reply or the whole group."""

import contextlib
import logging
import os
import resource
import socket
import socketserver
import threading
from dataclasses import replace
from hashlib import sha1
from itertools import product
from pathlib import Path

import psutil
import pytest
import redis

import orderstream
from orderstream import (
    Consumer,
    DeadLetterQueue,
    Defer,
    Order,
    Producer,
    Reject,
    RetryPolicy,
    SendUnknown,
    connect,
)
from orderstream.connection import ReplyLost
from orderstream.entries import UNOWNED
from orderstream.errors import ConfigError
from tests.redis.handlers import ORDERS, Record

LUA = Path(orderstream.__file__).with_name("lua")


@pytest.mark.row(18)
def test_a_restart_of_redis_is_waited_out(own_stream, own_server, running, eventually, caplog):
    """Nothing is lost: what was acked stays acked, what was pending is handled."""
    handler = Record()
    Producer(own_stream).send_many(ORDERS[:20])
    with caplog.at_level(logging.WARNING), running(Consumer(own_stream, handler)):
        eventually(lambda: len(handler.runs) >= 20)
        own_server.kill()
        eventually(lambda: "waiting for Redis" in caplog.text)
        own_server.start()
        Producer(own_stream).send_many(ORDERS[20:])
        eventually(lambda: own_stream.backlog().done, timeout_s=10)
    assert set(handler.runs) == {order.id for order in ORDERS}
    said = [record.message.partition(" (")[0] for record in caplog.records if "Redis" in record.message]
    assert said == ["waiting for Redis", "Redis works again"], "one line for each change"


@pytest.mark.row(21)
def test_a_redis_that_is_still_loading_is_waited_for(own_stream, own_server, loading, running, eventually):
    handler = Record()
    Producer(own_stream).send_many(ORDERS)
    with loading(own_server), running(Consumer(own_stream, handler)):
        eventually(lambda: len(handler.runs) == 40)


@pytest.mark.row(22, 77)
def test_a_full_redis_frees_itself_although_its_oldest_order_fails(own_stream, running, eventually):
    """The oldest order is the one that trim cannot pass while it is pending. Nobody helps."""

    def fail_at_the_oldest(order):
        if order == ORDERS[0]:
            raise LookupError("not on the shelf")

    client = own_stream.client
    handler = Record(fail_at_the_oldest)
    Producer(own_stream).send_many([*ORDERS, *(Order(f"o-{n}", "x" * 1_000, 1) for n in range(1_000))])
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(own_stream).send(ORDERS[0])
    with running(Consumer(own_stream, handler)):  # its group does not exist yet
        eventually(lambda: own_stream.backlog().done, timeout_s=10)
    (letter,) = DeadLetterQueue(own_stream).list()
    assert (letter.reason, letter.deliveries) == ("LookupError: not on the shelf", 3)
    assert own_stream.trim().removed == 1_040
    Producer(own_stream).send(ORDERS[0])


@pytest.mark.row(16)
@pytest.mark.parametrize("what", ["group", "stream", "everything"])
def test_a_group_that_is_deleted_while_running_is_made_again_from_the_first_entry(
    stream, send, settings, client, running, eventually, caplog, what
):
    """Not from `$`: what was added meanwhile is work too."""
    handler = Record()
    send(ORDERS[0])
    with running(Consumer(stream, handler)):
        eventually(lambda: len(handler.runs) == 1)
        eventually(lambda: stream.backlog().done)
        deletion = client.pipeline(transaction=True)
        if what == "group":
            deletion.xgroup_destroy(settings.stream, settings.group)
        elif what == "stream":
            deletion.delete(settings.stream)
        else:
            deletion.flushall()
        deletion.xadd(settings.stream, dict([ORDERS[1].to_fields()]))
        deletion.execute()
        eventually(lambda: ORDERS[1].id in handler.runs)
        eventually(lambda: stream.backlog().done)
    assert "creating it again, from the first entry" in caplog.text


@pytest.mark.parametrize(
    ("command", "skip"), [("group", 0), *product(["XREADGROUP", "XACK", "claim", "lease", "dead"], [0, 1])]
)
def test_a_lost_reply_loses_no_order_and_makes_no_second_dead_letter(linked_stream, link, stream, command, skip):
    """Whichever reply it is: of the read, the claim, the ack, the retry, or the move to the dead letters."""

    def fail_the_third(order):
        if order == ORDERS[2]:
            raise ValueError("no")
        if order == ORDERS[3]:
            raise Reject("never")

    handler = Record(fail_the_third)
    Producer(linked_stream).send_many(ORDERS[:6])
    script = LUA / f"{command}.lua"
    link.lose_reply(sha1(script.read_bytes()).hexdigest() if script.exists() else command, skip=skip)
    Consumer(linked_stream, handler).drain()
    assert link.lost == 1
    dead = {Order.from_fields([*letter.fields.popitem()]).id for letter in DeadLetterQueue(stream).list()}
    assert dead == {ORDERS[2].id, ORDERS[3].id}
    assert stream.backlog().dead_lettered == 2
    assert {order.id for order in ORDERS[:6]} == set(handler.runs) | dead
    assert stream.backlog().done


def test_a_process_without_a_file_left_waits_as_in_an_outage(stream, send):
    """redis-py reads a file of its own for each new connection."""
    limit, leaked = resource.getrlimit(resource.RLIMIT_NOFILE), []
    send(*ORDERS[:1])
    handled = []
    consumer = Consumer(stream, lambda order: handled.append(order))
    stream.client.connection_pool.disconnect()
    stream.client.connection_pool.reset()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 10, limit[1]))
        with contextlib.suppress(OSError):
            while True:
                leaked.append(os.open(os.devnull, os.O_RDONLY))
        consumer.step()
        waited = consumer.in_outage
    finally:
        for file in leaked:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert waited
    consumer.drain()
    assert len(handled) == 1


@pytest.mark.row(93)
@pytest.mark.parametrize(("max_attempts", "left"), [(1, "dead-lettered"), (3, "retried")])
def test_a_failure_that_an_outage_hides_is_settled_after_it(
    own_stream, own_server, settings, running, eventually, max_attempts, left
):
    """Long before others may claim the order. Its handler's reason is kept."""
    stream = connect(replace(own_stream.settings, claim_idle_ms=60_000))

    def fail(order):
        if len(handler.runs) == 1:
            own_server.kill()
        raise LookupError("not on the shelf")

    handler = Record(fail)
    Producer(stream).send(ORDERS[0])
    with running(Consumer(stream, handler, policy=RetryPolicy(max_attempts, backoff_ms=20))):
        eventually(lambda: handler.runs)
        own_server.start()
        eventually(lambda: stream.backlog().dead_lettered == 1, 15)
    assert len(handler.runs) == max_attempts, left
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.reason, letter.deliveries) == ("LookupError: not on the shelf", max_attempts)
    stream.close()


@pytest.mark.row(93)
def test_a_failure_is_not_settled_after_another_consumer_has_claimed_the_order(
    patient, send, make_due, pending, monkeypatch
):
    def fail(order):
        raise LookupError("not on the shelf")

    def away(*args):
        raise redis.ConnectionError

    (id,) = send(ORDERS[0])
    consumer = Consumer(patient, fail, name="me")
    monkeypatch.setattr(patient, "retry", away)
    consumer.step()
    assert consumer.in_outage
    monkeypatch.undo()
    make_due(id)
    assert patient.claim("other", "-", 16).entry.id == id
    consumer.step()
    assert not consumer.in_outage
    assert pending()[id][::2] == ("other", 2)


@pytest.mark.row(93)
def test_a_stop_in_the_pause_after_an_outage_still_settles(patient, send, monkeypatch, pending):
    def fail(order):
        raise Defer(50)

    def away(*args):
        consumer.stop()
        raise redis.ConnectionError

    (id,) = send(ORDERS[0])
    consumer = Consumer(patient, fail, name="me")
    with monkeypatch.context() as patch:
        patch.setattr(patient, "defer", away)
        consumer.step()
    consumer.run()
    assert pending()[id][::2] == (UNOWNED, 0)


@pytest.mark.row(93)
def test_a_deferral_whose_reply_was_lost_is_not_sent_again(patient, send, monkeypatch, pending, make_due):
    """
    It may have run. Then the next delivery has the same number, and whatever is sent again takes that one from its
    handler. If it has not, the order comes again when it has been silent for long enough.
    """

    def fail(order):
        raise Defer(50)

    def lose(*args):
        raise ReplyLost("no reply", [])

    (id,) = send(ORDERS[0])
    consumer = Consumer(patient, fail, name="me")
    with monkeypatch.context() as patch:
        patch.setattr(patient, "defer", lose)
        consumer.step()
    consumer.step()
    assert pending()[id][::2] == ("me", 1)
    make_due(id)
    consumer._next_walk = 0.0
    consumer.step()
    assert pending()[id][::2] == (UNOWNED, 1), "the second delivery was deferred: its attempt is taken back"


@pytest.mark.row(93)
def test_orders_behind_a_failure_in_an_outage_lose_no_attempt(patient, send, monkeypatch, pending):
    """No handler has begun them."""

    def fail(order):
        raise LookupError("not on the shelf")

    def away(*args):
        raise redis.ConnectionError

    ids = send(*ORDERS[:3])
    consumer = Consumer(patient, fail, name="me")
    consumer._wanted = 3
    with monkeypatch.context() as patch:
        patch.setattr(patient, "retry", away)
        patch.setattr(patient, "release", away)
        consumer.step()
    consumer.stop()
    consumer.run()
    assert [pending()[id][::2] for id in ids] == [(UNOWNED, 1), (UNOWNED, 0), (UNOWNED, 0)]


class _Answers(socketserver.BaseRequestHandler):
    """Carries bytes in both directions; while the server behind it is lost, it answers what a proxy says then."""

    def handle(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port)) as behind:
            threading.Thread(target=self.carry_back, args=(behind,), daemon=True).start()
            while data := self.request.recv(65536):
                behind.sendall(data)

    def carry_back(self, behind):
        with contextlib.suppress(OSError):
            while data := behind.recv(65536):
                self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n" if self.server.lost.is_set() else data)


@pytest.fixture
def proxy(settings):
    """A proxy before Redis. While ``proxy.lost`` is set, it answers in words that are no reply of Redis."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    server.port = int(settings.redis_url.rpartition(":")[2])
    server.lost = threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxied(proxy, settings):
    stream = connect(replace(settings, redis_url=f"redis://127.0.0.1:{proxy.server_address[1]}"))
    yield stream
    stream.close()


@pytest.mark.row(92)
def test_an_answer_that_is_no_reply_is_a_lost_reply(proxied, proxy, stream):
    proxy.lost.set()
    with pytest.raises(SendUnknown) as caught:
        Producer(proxied).send_many(ORDERS[:2])
    assert (caught.value.sent, caught.value.unknown, caught.value.refused) == ([], ORDERS[:2], [])
    assert stream.backlog().length == 2


@pytest.mark.row(92)
def test_orders_are_sent_again_after_an_answer_that_is_no_reply_and_are_there_once(proxied, proxy, stream, client):
    proxy.lost.set()
    threading.Timer(0.3, proxy.lost.clear).start()
    assert len(set(Producer(proxied, dedupe="till-1").send_many(ORDERS[:2]))) == 2
    assert stream.backlog().length == 2


@pytest.mark.row(92)
def test_an_answer_that_is_no_reply_does_not_end_the_consumer(proxied, proxy, stream, running, eventually, caplog):
    handler = Record()
    Producer(stream).send(ORDERS[0])
    with running(Consumer(proxied, handler)):
        eventually(lambda: handler.runs)
        proxy.lost.set()
        eventually(lambda: "waiting for Redis (" in caplog.text)
        proxy.lost.clear()
        Producer(stream).send(ORDERS[1])
        eventually(lambda: stream.backlog().done, 15)
    assert set(handler.runs) == {ORDERS[0].id, ORDERS[1].id}


def test_where_no_redis_answers_connect_says_so(proxy, settings):
    proxy.lost.set()
    with pytest.raises(ConfigError, match=r"^what answers there is no Redis"):
        connect(replace(settings, redis_url=f"redis://127.0.0.1:{proxy.server_address[1]}"))


@pytest.mark.row(92)
def test_a_process_that_is_replaced_behind_such_a_proxy_waits(proxy, stream, settings, start, tmp_path, eventually):
    """The supervisor was connected before."""
    url = f"redis://127.0.0.1:{proxy.server_address[1]}"
    (tmp_path / "shop.py").write_text(
        "import os\ndef handle(order):\n    if order.amount == 7:\n        os._exit(3)\n    print(order.id)\n"
    )
    process = start("consume", "--redis", url, "--name", "till", "--handler", "shop:handle")
    Producer(stream).send(Order("o-1", "tea", 1))
    assert process.stdout.readline() == "o-1\n"
    proxy.lost.set()
    (child,) = psutil.Process(process.pid).children()
    child.kill()
    while not process.stderr.readline().startswith("Waiting for Redis ("):
        pass
    proxy.lost.clear()
    Producer(stream).send(Order("o-2", "tea", 1))
    assert process.stdout.readline() == "o-2\n"
    process.terminate()
    assert process.wait(20) == 0
