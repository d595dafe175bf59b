"""How many orders a consumer takes at once, and when it acknowledges them."""

import time
from dataclasses import replace

import pytest

from orderstream import Consumer, connect
from tests.redis.handlers import ORDERS, Record, warm


def test_a_consumer_takes_as_many_orders_as_it_handles_in_a_moment(stream, send, pending):
    """One at first, hundreds when they take no time, and few again when they do."""
    most = []
    work_s = 0

    def handle(order):
        most.append(len(pending()))
        time.sleep(work_s)

    consumer = Consumer(stream, handle)
    send(*ORDERS)
    consumer.drain()
    quick, most[:] = most[:], []
    assert quick[0] == 1
    assert max(quick) > 5
    work_s = 0.03
    send(*ORDERS[:4])
    consumer.drain()
    most.clear()
    send(*ORDERS[:10])
    consumer.drain()
    assert max(most) <= 3


@pytest.mark.row(62)
def test_a_batch_of_large_entries_is_bounded_by_its_bytes(stream, client, settings, pending, monkeypatch):
    monkeypatch.setattr("orderstream.consumer.BATCH_BYTES", 500_000)
    most = []
    consumer = Consumer(stream, lambda order: most.append(len(pending())))
    warm(consumer)
    large = b'{"id": "o-1", "item": "tea", "amount": 1, "note": "%s"}' % (b"x" * 50_000)
    for _ in range(150):
        client.xadd(settings.stream, {b"data": large})
    consumer.drain()
    assert max(most[-50:]) < 10  # the first batch was asked for before any of them was seen


def test_a_slow_handler_gives_the_rest_of_its_batch_back_after_a_second(stream, send, pending):
    """And it was not counted: who takes over begins at attempt 1. Lesson 02 shows the hoarding, this is the cure."""
    handler = Record(lambda order: time.sleep(0.15))
    consumer = Consumer(stream, handler, name="slow")
    warm(consumer)
    send(*ORDERS[:30])
    consumer.step()
    assert 5 <= len(handler.runs) <= 12
    left = pending()
    assert len(left) == 30 - len(handler.runs)
    assert {count for _, _, count in left.values()} == {0}
    others = Record()
    Consumer(stream, others, name="other").drain()
    assert sorted(handler.runs + others.runs) == sorted(order.id for order in ORDERS[:30])


def test_the_ack_of_a_slow_handler_does_not_wait_for_the_next_one(stream, send, pending):
    seen = []

    def handle(order):
        if order.id != "warm-up":
            seen.append(len(pending()))
            time.sleep(0.02)

    consumer = Consumer(stream, handle)
    warm(consumer)
    send(*ORDERS[:4])
    consumer.step()
    assert seen == [4, 3, 2, 1]


def test_the_acks_of_a_batch_go_in_front_of_the_next_read(settings, send):
    """In one write: it saves a round trip for each batch."""
    send(*ORDERS[:20])
    stream = connect(replace(settings, claim_idle_ms=30_000, block_ms=2_000))
    exchange, writes = stream._exchange, []
    stream._exchange = lambda commands: writes.append([command[0] for command in commands]) or exchange(commands)

    def send_some_at_20_and_stop_at_40(order):
        if len(handler.runs) == 20:
            send(*ORDERS[20:])
        if len(handler.runs) == 40:
            consumer.stop()

    handler = Record(send_some_at_20_and_stop_at_40)
    consumer = Consumer(stream, handler)
    consumer.run()
    assert ["XACK", "XREADGROUP"] in writes
    assert stream.backlog().done
    stream.close()
