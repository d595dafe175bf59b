"""What a consumer does with orders, one after the other."""

import logging
import random
import time
from collections import Counter
from dataclasses import replace

from orderstream import Consumer, Order, OrderStream, Settings, connect
from orderstream.connection import open_client
from tests.redis.handlers import ORDERS, Record


def test_orders_are_handled_in_turn_and_acked(stream, send):
    send(*ORDERS)
    handled = []
    assert Consumer(stream, handled.append).drain() == 40
    assert handled == ORDERS
    assert stream.backlog().done


def test_an_entry_that_was_added_by_raw_bytes_is_handled(stream, client, settings):
    client.execute_command("XADD", settings.stream, "*", "data", '{"id":"a","item":"b","amount":1}')
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == [Order("a", "b", 1)]


def test_each_group_sees_every_order(stream, send, settings):
    send(*ORDERS)
    other = OrderStream(stream.client, replace(settings, group="another"))
    assert [Consumer(each, lambda order: None).drain() for each in (stream, other)] == [40, 40]


def test_two_consumers_of_one_group_share_the_orders(stream, send, settings, running, eventually):
    send(*ORDERS)
    records = Record(), Record()
    streams = stream, connect(settings)
    with running(*map(Consumer, streams, records)):
        eventually(lambda: stream.backlog().done)
    assert Counter(records[0].runs + records[1].runs) == Counter(order.id for order in ORDERS)
    streams[1].close()


def test_consumers_get_names_of_their_own_even_where_the_random_generator_was_seeded(stream):
    """Two consumers with one name would take each other's entries for their own."""
    names = set()
    for _ in range(3):
        random.seed(7)
        names.add(Consumer(stream, print).name)
    assert len(names) == 3


def test_a_consumer_leaves_the_random_numbers_of_its_handler_alone(stream, send):
    send(*ORDERS)
    random.seed(7)
    expected = [random.random() for _ in range(40)]
    random.seed(7)
    drawn = []
    Consumer(stream, lambda order: drawn.append(random.random())).drain()
    assert drawn == expected


def test_step_waits_for_new_orders_as_long_as_block_ms(stream, settings):
    consumer = Consumer(stream, print)
    consumer.step()
    began = time.monotonic()
    assert consumer.step() == 0
    assert 0.02 < time.monotonic() - began < 2


def test_field_values_and_passwords_are_in_no_log(stream, send, caplog):
    send(Order("secret-id", "secret-item", 1))
    with caplog.at_level(logging.INFO):
        Consumer(stream, lambda order: 1 / 0).drain()
    assert "dead-lettered" in caplog.text
    assert "secret" not in caplog.text


def test_the_repr_names_the_consumer_and_no_url(client):
    settings = Settings(redis_url="redis://:s3cret@localhost")
    with open_client(settings) as own:
        assert repr(Consumer(OrderStream(own, settings), print, name="c1")) == (
            "Consumer('c1', OrderStream('orders', group='order_group'))"
        )
