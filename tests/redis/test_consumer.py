"""What a consumer does with orders: the good ones, the bad ones, its own end, and the trouble of others."""

import logging
import random
import threading
import time
from collections import Counter
from dataclasses import replace
from hashlib import sha1
from itertools import islice, product
from pathlib import Path

import pytest
import redis

import orderstream
from orderstream import (
    Consumer,
    DeadLetterQueue,
    Defer,
    Order,
    OrderStream,
    Producer,
    Reject,
    RetryPolicy,
    Settings,
    connect,
    random_orders,
)
from orderstream.connection import open_client
from orderstream.consumer import _Hand

ORDERS = list(islice(random_orders(1), 40))
LUA = Path(orderstream.__file__).with_name("lua")


def warm(consumer):
    """Let a consumer learn that its handler is quick, so that it takes whole batches."""
    Producer(consumer.stream).send(Order("warm-up", "tea", 1))
    consumer.drain()


def has_heartbeat(consumer):
    return f"heartbeat {consumer.name}" in [thread.name for thread in threading.enumerate()]


def reject(order):
    raise Reject("sold out")


class Record:
    """A handler that remembers what it was given, and does what it was told to do with it."""

    def __init__(self, do=lambda order: None):
        self.do = do
        self.runs = []

    def __call__(self, order):
        if order.id != "warm-up":
            self.runs.append(order.id)
            self.do(order)


# One order after the other


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


# Handlers that fail


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


# Orders of the dead


def test_the_order_of_a_dead_consumer_is_taken_over_at_its_second_attempt(stream, send, make_due, pending):
    (id,) = send(ORDERS[0])
    stream.create_group()
    stream.read_new("dead", 1, None)
    make_due(id)
    seen = []
    Consumer(stream, lambda order: seen.append((order, pending()[id])), name="me").drain()
    ((order, (owner, _, attempt)),) = seen
    assert (order, owner, attempt) == (ORDERS[0], "me", 2)


def test_the_order_of_a_live_consumer_is_left_alone(stream, send):
    send(ORDERS[0])
    stream.create_group()
    (entry,) = stream.read_new("alive", 1, None)
    handler = Record()
    consumer = Consumer(stream, handler)
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        stream.heartbeat("alive", [entry])
        consumer.step()
    assert handler.runs == []


def test_poison_is_dead_lettered_by_its_count_without_running_it(stream, send, make_due, client, settings):
    """It killed three processes. Its neighbours from the same batch did nothing wrong."""
    ids = send(*ORDERS[:3])
    stream.create_group()
    stream.read_new("dead", 3, None)
    for attempt in (2, 3):
        make_due(ids[1])
        client.xclaim(settings.stream, settings.group, f"dead-{attempt}", 0, [ids[1]])
    make_due(*ids)
    handler = Record()
    Consumer(stream, handler).drain()
    assert handler.runs == [ORDERS[0].id, ORDERS[2].id]
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.source_id, letter.deliveries) == (ids[1], 4)
    assert letter.reason.startswith("max-attempts: 3 deliveries")


def test_the_third_attempt_still_runs(stream, send, make_due, client, settings):
    (id,) = send(ORDERS[0])
    stream.create_group()
    stream.read_new("dead", 1, None)
    client.xclaim(settings.stream, settings.group, "dead", 0, [id])
    make_due(id)
    handler = Record()
    Consumer(stream, handler).drain()
    assert len(handler.runs) == 1


def test_suspects_are_claimed_one_at_a_time(stream, send, make_due, pending):
    """While one is handled, the others still belong to nobody who lives."""
    ids = send(*ORDERS[:5])
    stream.create_group()
    stream.read_new("dead", 5, None)
    make_due(*ids)
    mine = []
    Consumer(stream, lambda order: mine.append([row[0] for row in pending().values()].count("me")), name="me").drain()
    assert len(mine) == 5
    assert max(mine) <= 2, "the one in hand, and the one before it whose ack travels with the next claim"


def test_new_orders_are_read_while_many_suspects_wait(stream, send, make_due):
    orders = list(islice(random_orders(2), 100))
    ids = send(*orders)
    stream.create_group()
    stream.read_new("dead", 100, None)
    make_due(*ids)
    send(ORDERS[0])
    handler = Record()
    Consumer(stream, handler).drain()
    assert len(handler.runs) == 101
    assert handler.runs.index(ORDERS[0].id) < 50


@pytest.mark.row(15)
def test_a_deleted_order_is_named_in_the_log_and_holds_nobody_up(stream, send, make_due, client, settings, caplog):
    ids = send(*ORDERS[:2])
    stream.create_group()
    stream.read_new("dead", 2, None)
    make_due(*ids)
    client.xdel(settings.stream, ids[0])
    handler = Record()
    Consumer(stream, handler).drain()
    assert handler.runs == [ORDERS[1].id]
    assert f"deleted from the stream before they were handled: {ids[0]}" in caplog.text


# Slow handlers


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


def test_the_heartbeat_ends_with_the_work(stream, send, eventually):
    consumer = Consumer(stream, lambda order: None)
    send(ORDERS[0])
    consumer.drain()
    eventually(lambda: not has_heartbeat(consumer))


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
    send(*ORDERS)
    stream = connect(replace(settings, claim_idle_ms=30_000, block_ms=2_000))
    exchange, writes = stream._exchange, []
    stream._exchange = lambda commands: writes.append([command[0] for command in commands]) or exchange(commands)
    handler = Record(lambda order: consumer.stop() if len(handler.runs) == 40 else None)
    consumer = Consumer(stream, handler)
    consumer.run()
    assert ["XACK", "XREADGROUP"] in writes
    assert stream.backlog().done
    stream.close()


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


# The end


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_is_begun_or_given_back_and_never_both(patient, send, pending, when):
    """Two threads and no lock: one begins with it just before, or after, the other looks which one has begun."""

    class Watched(_Hand):
        def look(self):
            begun = self.first
            if waiting := self.__dict__.pop("next", None):
                answer.append(self.begin(waiting, 0.0))
            return begun if when == "after" else self.first

        _begun = property(look, lambda self, entry: setattr(self, "first", entry))

    answer = []
    ids = send(*ORDERS[:3])
    patient.create_group()
    entries = patient.read_new("me", 3, None)
    hand = Watched(patient, "me")
    hand.take(entries)
    assert hand.begin(entries[0], 0.0)
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
    begin = consumer._hand.begin
    monkeypatch.setattr(consumer._hand, "begin", lambda entry, now: entry.id != ids[1] and begin(entry, now))
    consumer.step()
    assert {id: row[::2] for id, row in pending().items()} == {ids[1]: ("me", 0)}


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


def test_a_consumer_with_something_pending_does_not_leave(stream, send, settings):
    """Its retries would be forgotten with its name."""
    long = OrderStream(stream.client, replace(settings, claim_idle_ms=30_000, backoff_ms=30_000))

    def fail_and_stop(order):
        consumer.stop()
        raise ValueError("no")

    consumer = Consumer(long, fail_and_stop, name="me")
    send(ORDERS[0])
    consumer.run()
    assert [(c.name, c.pending) for c in stream.backlog().consumers] == [("me", 1)]


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


@pytest.mark.row(28)
def test_consumers_that_died_are_removed_once_nothing_of_theirs_is_pending(
    stream, send, client, settings, monkeypatch, running, eventually, caplog
):
    """With it, DELCONSUMER would forget their orders: those are claimed first."""
    monkeypatch.setattr("orderstream.consumer.REAP_EVERY_S", 0.1)
    monkeypatch.setattr("orderstream.consumer.REAP_IDLE_MS", 400)
    send(*ORDERS[:3])
    stream.create_group()
    stream.read_new("dead", 3, None)
    handler = Record()
    with caplog.at_level(logging.INFO), running(Consumer(stream, handler, name="me")):
        eventually(lambda: [c.name for c in stream.backlog().consumers] == ["me"])
    assert len(handler.runs) == 3
    assert "removed from the group, idle and with nothing pending: 'dead'" in caplog.text


def test_a_consumer_looks_for_dead_ones_at_most_once_a_minute(stream, send, monkeypatch):
    looks = []
    monkeypatch.setattr(stream, "reap", lambda idle_ms: looks.append(idle_ms) or [])
    consumer = Consumer(stream, Record())
    consumer._next_reap = 0.0  # the minute is over
    for order in ORDERS:
        send(order)
        consumer.step()
    assert looks == [600_000]


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


# Draining


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


def test_step_waits_for_new_orders_as_long_as_block_ms(stream, settings):
    consumer = Consumer(stream, print)
    consumer.step()
    began = time.monotonic()
    assert consumer.step() == 0
    assert 0.02 < time.monotonic() - began < 2


# Trouble


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


@pytest.mark.row(18)
def test_a_restart_of_redis_is_waited_out(own_stream, own_server, running, eventually, caplog):
    """Nothing is lost: what was acked stays acked, what was pending is handled."""
    handler = Record()
    Producer(own_stream).send_many(ORDERS[:20])
    with caplog.at_level(logging.WARNING), running(Consumer(own_stream, handler)):
        eventually(lambda: len(handler.runs) >= 20)
        own_server.kill()
        eventually(lambda: "Redis does not answer" in caplog.text)
        own_server.start()
        Producer(own_stream).send_many(ORDERS[20:])
        eventually(lambda: own_stream.backlog().done, timeout_s=10)
    assert set(handler.runs) == {order.id for order in ORDERS}
    said = [record.message.partition(" (")[0] for record in caplog.records if "answer" in record.message]
    assert said == ["Redis does not answer", "Redis answers again"], "one line for each change"


@pytest.mark.row(21)
def test_a_redis_that_is_still_loading_is_waited_for(own_stream, own_server, loading, running, eventually):
    handler = Record()
    Producer(own_stream).send_many(ORDERS)
    with loading(own_server), running(Consumer(own_stream, handler)):
        eventually(lambda: len(handler.runs) == 40)


def test_drain_waits_out_a_short_outage_too(own_stream, own_server):
    handler = Record()
    Producer(own_stream).send_many(ORDERS)
    own_server.kill()
    back = threading.Timer(0.2, own_server.start)
    back.start()
    assert Consumer(own_stream, handler).drain() == 40
    back.join()


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


@pytest.mark.parametrize(
    ("command", "skip"), [("XGROUP", 0), *product(["XREADGROUP", "XACK", "claim", "lease", "dead"], [0, 1])]
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


@pytest.mark.row(48)
def test_a_wrong_password_fails_at_once(settings):
    """redis-py calls it a ConnectionError, and it must not be waited out."""
    wrong = replace(settings, redis_url=settings.redis_url.replace("://", "://nobody:s3cret@"))
    with open_client(wrong) as client, pytest.raises(redis.AuthenticationError) as caught:
        Consumer(OrderStream(client, wrong), print).run()
    assert "s3cret" not in str(caught.value)


@pytest.mark.row(48)
@pytest.mark.parametrize("command", ["xreadgroup", "xack", "evalsha", "xgroup"])
def test_a_missing_permission_fails_at_once_and_loses_nothing(guest, stream, send, command):
    send(*ORDERS[:3])
    with pytest.raises(redis.ResponseError):
        Consumer(guest("+@all", f"-{command}"), lambda order: None).run()
    handler = Record()
    Consumer(stream, handler).drain()
    assert len(handler.runs) >= 3
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(23)
@pytest.mark.parametrize("wrong", ["stream", "dlq"])
def test_a_key_of_the_wrong_type_fails_at_once(stream, send, settings, client, wrong):
    if wrong == "dlq":
        send(ORDERS[0])
    client.set(getattr(settings, wrong), "not a stream")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        Consumer(stream, reject).run()


def test_a_dead_letter_that_cannot_be_written_leaves_its_order_pending(stream, send, settings, client):
    """Nothing is acked before it is safe in the other stream. Once that is put right, the order goes there."""
    send(ORDERS[0])
    client.set(settings.dlq, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        Consumer(stream, reject).run()
    client.delete(settings.dlq)
    assert stream.backlog().pending == 1
    Consumer(stream, reject).drain()
    assert (stream.backlog().dead_lettered, stream.backlog().done) == (1, True)


@pytest.mark.row(22)
def test_a_full_memory_is_waited_out_and_the_dead_letter_comes_later(own_stream, running, eventually, caplog):
    def reject_in_full_memory(order):
        own_stream.client.config_set("maxmemory", 1)
        raise Reject("no")

    handler = Record(reject_in_full_memory)
    Producer(own_stream).send(ORDERS[0])
    with caplog.at_level(logging.WARNING), running(Consumer(own_stream, handler)):
        eventually(lambda: "waiting for it" in caplog.text)
        assert own_stream.backlog().pending == 1
        handler.do = reject
        own_stream.client.config_set("maxmemory", 0)
        eventually(lambda: own_stream.backlog().dead_lettered == 1)
    assert own_stream.backlog().done


def test_field_values_and_passwords_are_in_no_log(stream, send, caplog):
    send(Order("secret-id", "secret-item", 1))
    with caplog.at_level(logging.INFO):
        Consumer(stream, lambda order: 1 / 0).drain()
    assert "dead-lettered" in caplog.text
    assert "secret" not in caplog.text


def test_the_policy_may_be_your_own(stream, send):
    send(ORDERS[0])
    handler = Record(lambda order: 1 / 0)
    Consumer(stream, handler, policy=RetryPolicy(max_attempts=1)).drain()
    assert len(handler.runs) == 1
    assert stream.backlog().dead_lettered == 1


def test_the_repr_names_the_consumer_and_no_url(client):
    settings = Settings(redis_url="redis://:s3cret@localhost")
    with open_client(settings) as own:
        assert repr(Consumer(OrderStream(own, settings), print, name="c1")) == (
            "Consumer('c1', OrderStream('orders', group='order_group'))"
        )
