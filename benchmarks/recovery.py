"""
How fast one consumer recovers what a dead one left behind, against a bare loop of the same script calls.

Both take the suspects one at a time, with the ack of the one before in front of each claim. The bare loop does
nothing else: no handler, no heartbeat, no retry policy, no new orders. While the consumer recovers, new orders wait
too; it is told how far the recovery was when the last of them was handled.
"""

from __future__ import annotations

import time
from itertools import islice

from orderstream import Consumer, Order, Producer, random_orders
from orderstream.consumer import SMALL_PAGE
from orderstream.stream import OrderStream

NEW = 1_000  # orders that come while the consumer is busy with the old ones
HOUR_MS = 3_600_000
CHUNK = 1_000


def abandon(stream: OrderStream, count: int) -> None:
    """Send *count* orders, let a consumer read them, and let an hour pass since it died."""
    s, client = stream.settings, stream.client
    client.delete(s.stream, s.dlq)
    stream.create_group()
    Producer(stream).send_many(islice(random_orders(), count))
    while entries := stream.read_new("dead", CHUNK, None):
        client.xclaim(s.stream, s.group, "dead", 0, [entry.id for entry in entries], idle=HOUR_MS, justid=True)


def bare(stream: OrderStream, count: int) -> float:
    """Claim and ack *count* suspects with nothing around it. Returns how many per second."""
    abandon(stream, count)
    began, cursor, acks = time.perf_counter(), "-", []
    for _ in range(count):
        found = stream.claim("bare", cursor, SMALL_PAGE, ack=acks)
        cursor, acks = found.cursor, [found.entry.id]
    stream.ack(acks)
    rate = count / (time.perf_counter() - began)
    assert stream.backlog().done
    return rate


def consumer(stream: OrderStream, count: int) -> tuple[float, float]:
    """
    Let a consumer recover *count* suspects while new orders wait.

    Returns:
        Orders per second, and which part of the suspects was done when the last new order was.
    """
    abandon(stream, count)
    Producer(stream).send_many(Order(f"new-{n}", "tea", 1) for n in range(NEW))
    handled, new, share = 0, 0, 0.0

    def handle(order: Order) -> None:
        nonlocal handled, new, share
        handled += 1
        if order.id.startswith("new-"):
            new += 1
            share = (handled - new) / count
        if handled == count + NEW:
            worker.stop()

    worker = Consumer(stream, handle, "ours")
    began = time.perf_counter()
    worker.run()
    rate = (count + NEW) / (time.perf_counter() - began)
    assert stream.backlog().done
    return rate, share
