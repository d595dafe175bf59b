"""How often an order is tried whose handler fails, when, and what becomes of it at last."""

import time
from collections import Counter
from dataclasses import replace

import pytest

from orderstream import Consumer, DeadLetterQueue, Defer, OrderStream, RetryPolicy
from tests.redis.handlers import ORDERS, Record, reject


def test_an_order_that_fails_is_tried_again_after_a_backoff(stream, send, settings):
    send(ORDERS[0])
    at = []

    def fail_once(order):
        at.append(time.monotonic())
        if len(at) == 1:
            raise ValueError("not yet")

    Consumer(stream, fail_once, policy=RetryPolicy(3, backoff_ms=200)).drain()
    assert len(at) == 2
    assert 0.1 <= at[1] - at[0] < 2
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(10)
def test_the_pause_between_attempts_grows(stream, send):
    send(ORDERS[0])
    at = []

    def fail(order):
        at.append(time.monotonic())
        raise ValueError("no")

    Consumer(stream, fail, policy=RetryPolicy(3, backoff_ms=120)).drain()
    assert at[1] - at[0] >= 0.06
    assert at[2] - at[1] >= 0.12


def test_an_order_that_fails_comes_behind_those_that_did_not(stream, send):
    """Handling has no fixed order: a retry is overtaken, and so are the orders of a slower consumer."""
    send(*ORDERS[:5])
    done = []

    def fail_the_first_once(order):
        if order == ORDERS[0] and order.id not in failed:
            failed.append(order.id)
            raise ValueError("not yet")
        done.append(order)

    failed = []
    Consumer(stream, fail_the_first_once).drain()
    assert done == [*ORDERS[1:5], ORDERS[0]]


@pytest.mark.row(10)
def test_after_three_attempts_an_order_is_dead_lettered(stream, send):
    send(*ORDERS[:3])

    def fail_the_second(order):
        if order == ORDERS[1]:
            raise ValueError("no tea")

    handler = Record(fail_the_second)
    Consumer(stream, handler).drain()
    assert Counter(handler.runs) == {ORDERS[0].id: 1, ORDERS[1].id: 3, ORDERS[2].id: 1}
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.reason, letter.deliveries) == ("ValueError: no tea", 3)
    assert stream.backlog().done


def test_the_number_of_attempts_is_a_setting(stream, send, settings):
    send(ORDERS[0])
    handler = Record(lambda order: 1 / 0)
    Consumer(OrderStream(stream.client, replace(settings, max_attempts=2)), handler).drain()
    assert len(handler.runs) == 2


def test_the_policy_may_be_your_own(stream, send):
    send(ORDERS[0])
    handler = Record(lambda order: 1 / 0)
    Consumer(stream, handler, policy=RetryPolicy(max_attempts=1)).drain()
    assert len(handler.runs) == 1
    assert stream.backlog().dead_lettered == 1


def test_a_rejected_order_is_dead_lettered_at_once(stream, send):
    send(ORDERS[0])

    handler = Record(reject)
    Consumer(stream, handler).drain()
    assert len(handler.runs) == 1
    assert [letter.reason for letter in DeadLetterQueue(stream).list()] == ["sold out"]


def test_a_deferred_order_comes_later_and_spends_no_attempt(stream, send, pending):
    send(ORDERS[0])
    counts = []

    def defer(order):
        counts.extend(count for _, _, count in pending().values())
        if len(counts) < 6:
            raise Defer(10)

    Consumer(stream, defer).drain()
    assert counts == [1] * 6
    assert stream.backlog().dead_lettered == 0


def test_a_deferred_order_comes_to_an_end_when_it_is_too_old(stream, client, settings):
    """Its id says how old it is."""
    data = ORDERS[0].to_fields()[1]
    client.xadd(settings.stream, {"data": data}, id=f"{int((time.time() - 60) * 1000)}-0")

    def defer(order):
        raise Defer(1)

    handler = Record(defer)
    Consumer(stream, handler, policy=RetryPolicy(3, 1, max_age_ms=60_000)).drain()
    assert len(handler.runs) == 3
    assert [(letter.reason, letter.deliveries) for letter in DeadLetterQueue(stream).list()] == [("Defer: in 1 ms", 3)]


def test_how_long_an_order_may_be_deferred_is_a_setting(stream, client, settings):
    """An entry id that is no time counts as old."""
    client.xadd(settings.stream, {"data": ORDERS[0].to_fields()[1]}, id="1-0")

    def defer_often(order):
        if len(handler.runs) < 6:
            raise Defer(1)

    handler = Record(defer_often)
    patient = OrderStream(client, replace(settings, defer_max_age_ms=2**60))
    Consumer(patient, handler).drain()
    assert len(handler.runs) == 6
    assert stream.backlog().dead_lettered == 0


def test_a_delay_that_is_not_whole_does_not_stop_the_consumer(stream, send):
    send(*ORDERS[:2])
    handler = Record()
    handler.do = lambda order: (_ for _ in ()).throw(Defer(10.5)) if len(handler.runs) == 1 else None
    Consumer(stream, handler).drain()
    assert len(handler.runs) == 3


@pytest.mark.parametrize(
    "fields",
    [
        [b"data", b"junk"],
        [b"data", b'{"id":"\xff","item":"b","amount":1}'],
        [b"\xff", b"\xfe"],
        [b"data", b'{"id":"a","item":"b","amount":0}'],
        [b"data", b"[" * 100_000],
    ],
    ids=["junk", "not UTF-8", "no data", "no order", "deep"],
)
def test_a_malformed_entry_is_dead_lettered_and_its_neighbours_are_handled(stream, fields):
    """The handler never sees it."""
    stream.add([ORDERS[0].to_fields(), fields, ORDERS[1].to_fields()])
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == ORDERS[:2]
    (letter,) = DeadLetterQueue(stream).list()
    assert [item for pair in letter.fields.items() for item in pair] == fields
    assert letter.reason.startswith("DecodeError: ")


def test_an_error_that_cannot_be_printed_does_not_stop_the_consumer(stream, send):
    class SpeechlessError(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(order):
        raise SpeechlessError

    send(ORDERS[0])
    Consumer(stream, fail).drain()
    assert [letter.reason for letter in DeadLetterQueue(stream).list()] == ["SpeechlessError"]
