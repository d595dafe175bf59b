"""drain() ends when nothing is left, or says what is."""

import threading
import time

import pytest

from orderstream import Consumer, Producer
from tests.redis.handlers import ORDERS, Record


def test_drain_of_nothing_ends_at_once(stream):
    began = time.monotonic()
    assert Consumer(stream, print).drain() == 0
    assert time.monotonic() - began < 2


def test_drain_says_what_is_left_and_who_holds_it(stream, patient, send):
    send(*ORDERS[:2])
    patient.create_group()
    patient.read_new("somebody", 2, None)
    with pytest.raises(
        TimeoutError, match=r"after 0.1 s there were left: 0 undelivered, 2 pending \(somebody holds 2\)"
    ):
        Consumer(patient, print).drain(timeout_s=0.1)


def test_drain_ends_in_time_even_if_new_orders_never_end(stream, send):
    send(ORDERS[0])
    with pytest.raises(TimeoutError, match=r"there were left: (1|some) undelivered"):
        Consumer(stream, lambda order: send(ORDERS[1])).drain(timeout_s=0.2)


def test_drain_waits_out_a_short_outage_too(own_stream, own_server):
    handler = Record()
    Producer(own_stream).send_many(ORDERS)
    own_server.kill()
    back = threading.Timer(0.2, own_server.start)
    back.start()
    assert Consumer(own_stream, handler).drain() == 40
    back.join()
