"""A consumer that is told to stop: what it finishes, what it gives back, and whether it leaves the group."""

import threading
import time
from dataclasses import replace

import pytest

from orderstream import Consumer, OrderStream, connect
from orderstream.entries import UNOWNED
from orderstream.hand import Hand
from tests.redis.handlers import ORDERS, Record, warm


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_is_begun_or_given_back_and_never_both(patient, send, pending, when):
    """Two threads and no lock: one begins with it just before, or after, the other looks which one has begun."""

    class Watched(Hand):
        def look(self):
            begun = self.first
            if waiting := self.__dict__.pop("next", None):
                answer.append(self.begin(waiting, time.monotonic()))
            return begun if when == "after" else self.first

        _begun = property(look, lambda self, entry: setattr(self, "first", entry))

    answer = []
    ids = send(*ORDERS[:3])
    patient.create_group()
    entries = patient.read_new("me", 3, None)
    hand = Watched(patient, "me", flush=lambda: None, overrun=lambda entry: None)
    hand.take(entries)
    assert hand.begin(entries[0], time.monotonic())
    hand.next = entries[1]
    hand._give_back()
    assert [pending()[id][2] for id in ids] == [1, 1 if when == "before" else 0, 0]
    assert answer == [False]
    hand.take([])
    hand.stopping = True


def test_an_order_that_may_not_begin_any_more_is_given_back(patient, send, pending, monkeypatch):
    """The consumer was told to stop at this very moment."""
    consumer = Consumer(patient, Record(), name="me")
    warm(consumer)
    ids = send(*ORDERS[:3])
    hand = consumer._hand
    begin = hand.begin

    def begin_until_it_was_given_back(entry, now):
        if entry.id == ids[1]:
            hand.gave_back = True  # and that failed: nothing has changed in Redis
            return False
        return begin(entry, now)

    monkeypatch.setattr(hand, "begin", begin_until_it_was_given_back)
    consumer.step()
    assert {id: row[::2] for id, row in pending().items()} == dict.fromkeys(ids[1:], (UNOWNED, 0))


def test_stop_finishes_the_order_in_hand_gives_the_rest_back_and_leaves(stream, send, pending):
    def stop_at_the_third(order):
        if len(handler.runs) == 3:
            consumer.stop()

    handler = Record(stop_at_the_third)
    consumer = Consumer(stream, handler, name="me")
    warm(consumer)
    send(*ORDERS[:10])
    consumer.run()
    assert len(handler.runs) == 3
    left = pending()
    assert len(left) == 7
    assert {count for _, _, count in left.values()} == {0}
    other = Record()
    Consumer(stream, other, name="other").drain()
    assert handler.runs + other.runs == [order.id for order in ORDERS[:10]]


def test_stop_gives_the_rest_back_at_once_also_while_the_order_in_hand_goes_on(stream, send, settings):
    """Nobody has to wait for a slow handler, and if its process is killed meanwhile, no attempt of theirs is spent."""
    long = OrderStream(stream.client, replace(settings, claim_idle_ms=30_000))
    other, rival = Record(), connect(settings)

    def drain_but_for_the_one_in_hand(order):
        consumer.stop()
        helper = Consumer(rival, other, name="other")
        deadline = time.monotonic() + 5
        while len(other.runs) < 9 and time.monotonic() < deadline:
            helper.step()

    handler = Record(drain_but_for_the_one_in_hand)
    consumer = Consumer(long, handler, name="me")
    warm(consumer)
    send(*ORDERS[:10])
    consumer.run()
    assert handler.runs == [ORDERS[0].id]
    assert other.runs == [order.id for order in ORDERS[1:10]]
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)
    rival.close()


def test_what_was_given_back_begins_at_attempt_1(stream, send, settings, pending, eventually, running):
    """A deployment that has to kill a hung process costs the orders behind it nothing."""
    hanging, let_go = threading.Event(), threading.Event()

    def hang(order):
        hanging.set()
        let_go.wait(10)

    consumer = Consumer(stream, Record(hang), name="me")
    warm(consumer)
    ids = send(*ORDERS[:5])
    with running(consumer):
        assert hanging.wait(5)
        consumer.stop()
        eventually(lambda: [pending()[id][2] for id in ids] == [1, 0, 0, 0, 0])
        let_go.set()


def test_a_consumer_with_nothing_pending_leaves_the_group_when_it_stops(stream, send, running, eventually):
    send(*ORDERS)
    with running(Consumer(stream, lambda order: None, name="me")):
        eventually(lambda: stream.backlog().done)
    assert stream.backlog().consumers == ()


def test_an_order_that_is_to_be_tried_again_waits_without_its_consumer(stream, send, settings):
    """It belongs to nobody, so the consumer may leave, and the order is not forgotten with its name."""
    long = OrderStream(stream.client, replace(settings, claim_idle_ms=30_000, backoff_ms=30_000))

    def fail_and_stop(order):
        consumer.stop()
        raise ValueError("no")

    consumer = Consumer(long, fail_and_stop, name="me")
    send(ORDERS[0])
    consumer.run()
    left = stream.backlog()
    assert (left.consumers, left.pending, left.waiting) == ((), 1, 1)


def test_stop_ends_an_idle_consumer_within_its_block(stream):
    consumer = Consumer(stream, print)
    threading.Timer(0.05, consumer.stop).start()
    began = time.monotonic()
    consumer.run()
    assert time.monotonic() - began < 2


def test_stop_before_run_means_no_turn_at_all(stream, send):
    send(ORDERS[0])
    handler = Record()
    consumer = Consumer(stream, handler)
    consumer.stop()
    consumer.run()
    assert (handler.runs, consumer.drain()) == ([], 0)


def test_ctrl_c_in_a_handler_ends_the_run_and_gives_the_rest_back(stream, send, pending):
    def interrupt(order):
        raise KeyboardInterrupt

    handler = Record(interrupt)
    consumer = Consumer(stream, handler, name="me")
    warm(consumer)
    send(*ORDERS[:5])
    with pytest.raises(KeyboardInterrupt):
        consumer.run()
    assert [count for _, _, count in pending().values()] == [1, 0, 0, 0, 0]
    Consumer(stream, lambda order: None).drain()
    assert stream.backlog().dead_lettered == 0
