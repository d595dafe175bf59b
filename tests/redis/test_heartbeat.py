"""The heartbeat keeps orders while a handler works on them, and ends with the work."""

import threading
import time
from dataclasses import replace

import pytest
import redis

from orderstream import Consumer, Producer, Reject, connect
from tests.redis.handlers import ORDERS, Record, warm


def has_heartbeat(consumer):
    return f"heartbeat {consumer.name}" in [thread.name for thread in threading.enumerate()]


def test_a_heartbeat_keeps_the_order_of_a_slow_handler(stream, send, settings):
    """The handler takes three times claim_idle_ms, and lets a rival look for suspects all the while."""
    send(ORDERS[0])
    rival_stream = connect(settings)
    rival_handler = Record()
    rival = Consumer(rival_stream, rival_handler, name="rival")

    def slow(order):
        deadline = time.monotonic() + 3 * settings.claim_idle_ms / 1000
        while time.monotonic() < deadline:
            rival.step()

    handler = Record(slow)
    Consumer(stream, handler).drain()
    assert (len(handler.runs), rival_handler.runs) == (1, [])
    rival_stream.close()


def test_a_heartbeat_keeps_the_orders_that_wait_behind_a_slow_one(stream, send, settings, pending):
    rival_stream = connect(settings)
    rival_handler = Record()
    rival = Consumer(rival_stream, rival_handler, name="rival")

    def slow_once(order):
        deadline = time.monotonic() + 2 * settings.claim_idle_ms / 1000
        while len(handler.runs) == 1 and time.monotonic() < deadline:
            rival.step()

    handler = Record(slow_once)
    consumer = Consumer(stream, handler)
    warm(consumer)
    send(*ORDERS[:5])
    consumer.drain()
    assert (len(handler.runs), rival_handler.runs) == (5, [])
    rival_stream.close()


@pytest.mark.row(12)
def test_a_handler_that_hangs_loses_its_order_after_the_timeout(stream, send, settings, running, eventually):
    """The heartbeat falls silent and another consumer takes over; the late end of the first changes nothing."""
    send(ORDERS[0])
    hanging, let_go = threading.Event(), threading.Event()
    first = connect(replace(settings, handler_timeout_ms=settings.claim_idle_ms))

    def hang(order):
        hanging.set()
        let_go.wait(10)
        raise Reject("too late to matter")

    second = Record()
    with running(Consumer(first, hang)):
        assert hanging.wait(5)
        Consumer(stream, second).drain()
        let_go.set()
    assert second.runs == [ORDERS[0].id]
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)
    first.close()


def test_a_heartbeat_that_comes_late_takes_nothing_back(stream, send, client, settings, pending):
    """Its consumer slept too long, and somebody else has the order by now, at another attempt."""
    (id,) = send(ORDERS[0])
    stream.create_group()
    (entry,) = stream.read_new("late", 1, None)
    client.xclaim(settings.stream, settings.group, "other", 0, [id])
    assert stream.heartbeat("late", [entry]) == set()
    owner, _, attempt = pending()[id]
    assert (owner, attempt) == ("other", 2)


def test_an_order_that_somebody_else_took_while_it_waited_is_not_handled(
    stream, send, client, settings, pending, eventually
):
    """A heartbeat found out, behind the back of the handler before it."""

    def lose_the_second(order):
        if order == ORDERS[0]:
            client.xclaim(settings.stream, settings.group, "other", 0, [ids[1]])
            eventually(lambda: ids[1] not in consumer._hand._entries)

    handler = Record(lose_the_second)
    consumer = Consumer(stream, handler, name="me")
    warm(consumer)
    ids = send(*ORDERS[:3])
    consumer.step()
    assert handler.runs == [ORDERS[0].id, ORDERS[2].id]
    assert {id: row[::2] for id, row in pending().items()} == {ids[1]: ("other", 2)}


@pytest.mark.row(94)
def test_the_heartbeat_goes_on_after_what_nobody_expected(stream, send, settings, monkeypatch, caplog):
    """Redis-py, for one, raises errors that are none of Redis, and a thread has no caller."""

    def slow(order):
        time.sleep(settings.claim_idle_ms / 1000 * 3)

    def fail_twice(*args):
        if len(beats) < 2:
            beats.append(args)
            raise redis.exceptions.RedisClusterException("no node")
        return heartbeat(*args)

    beats, heartbeat = [], stream.heartbeat
    monkeypatch.setattr(stream, "heartbeat", fail_twice)
    handler = Record(slow)
    send(ORDERS[0])
    consumer = Consumer(stream, handler, name="me")
    assert consumer.step() == 1
    assert len(beats) == 2
    assert caplog.text.count("the heartbeat of me goes on after this") == 1
    assert caplog.text.count("RedisClusterException: no node") == 1


def test_the_heartbeat_ends_with_the_work(stream, send, eventually):
    consumer = Consumer(stream, lambda order: None)
    send(ORDERS[0])
    consumer.drain()
    eventually(lambda: not has_heartbeat(consumer))


def test_an_abandoned_consumer_sends_no_heartbeat_for_finished_work(stream, send, eventually):
    """Ctrl-C in a notebook: the next consumer must not wait minutes for orders that nobody holds."""

    def interrupt_the_third(order):
        if len(handler.runs) == 3:
            raise KeyboardInterrupt

    handler = Record(interrupt_the_third)
    consumer = Consumer(stream, handler)
    warm(consumer)
    send(*ORDERS[:5])
    with pytest.raises(KeyboardInterrupt):
        consumer.drain()
    eventually(lambda: not has_heartbeat(consumer))
    Consumer(stream, Record()).drain()


def test_a_run_that_ends_in_an_outage_leaves_no_heartbeat_behind(own_stream, own_server, eventually):
    """The ack could not be sent; others must get the order when Redis is back."""
    Producer(own_stream).send(ORDERS[0])

    def finish_as_redis_dies(order):
        own_server.kill()
        consumer.stop()

    consumer = Consumer(own_stream, finish_as_redis_dies)
    consumer.run()
    eventually(lambda: not has_heartbeat(consumer))
    own_server.start()
    other = Record()
    assert Consumer(own_stream, other, name="other").drain() == 1
