"""Orders of consumers that died: who claims them, at which attempt, and when the dead are removed."""

import logging
import time
from dataclasses import replace
from itertools import islice

import pytest

from orderstream import Consumer, DeadLetterQueue, connect, random_orders
from tests.redis.handlers import ORDERS, Record


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


def test_a_walk_over_what_others_hold_takes_a_tenth_of_the_time(settings, send, monkeypatch):
    """While there is new work. Each page is made slow here, so that it shows."""
    patient = connect(replace(settings, claim_idle_ms=30_000, batch=5))
    send(*islice(random_orders(3), 3_000))
    patient.create_group()
    patient.read_new("other", 3_000, None)
    claim, took_s = patient.claim, []

    def slow(*args, **options):
        began = time.monotonic()
        time.sleep(0.01)
        found = claim(*args, **options)
        took_s.append(time.monotonic() - began)
        return found

    monkeypatch.setattr(patient, "claim", slow)
    handler = Record(lambda order: time.sleep(0.002))
    consumer = Consumer(patient, handler)
    send(*ORDERS, *islice(random_orders(4), 300))
    began = time.monotonic()
    while len(handler.runs) < 340:
        consumer.step()
    assert len(took_s) >= 3
    assert sum(took_s) < 0.25 * (time.monotonic() - began)
    patient.close()
