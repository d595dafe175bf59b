"""What the tests of the places share where orders live: a cluster, behind TLS, on a unix socket."""

import contextlib
from itertools import count, islice

from orderstream import Consumer, DeadLetterQueue, Order, Producer, Reject, Settings, connect, random_orders

ORDERS = list(islice(random_orders(1), 60))
IDS = [order.id for order in ORDERS]

numbers = count(1)


def plain(url):
    """On one Redis: a stream of this test's own, and times short enough to wait for."""
    return Settings(
        redis_url=url, stream=f"orders-{next(numbers)}", claim_idle_ms=300, backoff_ms=20, block_ms=100
    )  # fmt: skip


def live_through(settings):
    """Send, handle, retry, dead-letter, redrive; then orders by the hundred, some longer than goes out in one piece."""
    with contextlib.closing(connect(settings)) as stream:
        Producer(stream).send_many(ORDERS[:5])
        handled = []

        def refuse_the_first(order):
            if order == ORDERS[0]:
                raise Reject("no")
            handled.append(order)

        Consumer(stream, refuse_the_first).drain()
        assert DeadLetterQueue(stream).redrive_all() == 1
        Consumer(stream, handled.append).drain()
        assert sorted(handled, key=ORDERS.index) == ORDERS[:5]
        many = list(islice(random_orders(2), 1200))
        many[100] = Order("long", "x" * 100_000, 1)
        ids, handled[:] = Producer(stream).send_many(many), []
        assert len({*ids}) == 1200
        consumer = Consumer(stream, lambda order: handled.append(order) or (len(handled) == 1200 and consumer.stop()))
        consumer.run()
        assert handled == many
        assert stream.backlog().done


def one_line(stderr):
    assert stderr.startswith("Error: ")
    assert stderr.count("\n") == 1
    return stderr
