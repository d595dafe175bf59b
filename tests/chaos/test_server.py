"""The server is killed, emptied, demoted, full or busy, and people do things to the stream while it is read."""

import logging
import socket
import time
from dataclasses import replace
from itertools import islice

import pytest
import redis

from orderstream import Consumer, DeadLetterQueue, Producer, connect, random_orders
from tests.redis.conftest import Server

ORDERS = list(islice(random_orders(1), 40))


class Record:
    """A handler that remembers what it was given, and does what it was told to do with it."""

    def __init__(self, do=lambda order: None):
        self.do = do
        self.runs = []

    def __call__(self, order):
        self.runs.append(order)
        self.do(order)


def fail(order):
    raise ValueError("no")


def is_blocked(client):
    return client.info("clients")["blocked_clients"] > 0


@pytest.mark.row(17)
def test_when_a_group_is_destroyed_what_is_still_in_the_stream_is_delivered_again(
    stream, send, client, settings, running, eventually
):
    """The group was all that knew what had been handled."""
    handler = Record()
    send(*ORDERS[:3])
    with running(Consumer(stream, handler)):
        eventually(lambda: len(handler.runs) == 3 and stream.backlog().done)
        eventually(lambda: is_blocked(client))
        client.xgroup_destroy(settings.stream, settings.group)
        eventually(lambda: len(handler.runs) == 6)
        send(ORDERS[3])
        eventually(lambda: stream.backlog().done)
    assert handler.runs == ORDERS[:3] * 2 + ORDERS[3:4]


@pytest.mark.row(18)
def test_a_server_that_is_killed_remembers_the_attempts(own_server, own_stream):
    """It dies at each run of an order that always fails. Three runs, as if nothing had happened."""

    def kill_the_server_and_fail(order):
        own_server.kill()
        own_server.start()
        raise ValueError("no")

    handler = Record(kill_the_server_and_fail)
    ids = Producer(own_stream).send_many(ORDERS[:2])
    Consumer(own_stream, handler).drain(30)
    assert sorted(handler.runs, key=ORDERS.index) == [ORDERS[0]] * 3 + [ORDERS[1]] * 3
    letters = sorted((letter.source_id, letter.deliveries) for letter in DeadLetterQueue(own_stream))
    assert letters == [(ids[0], 3), (ids[1], 3)]


@pytest.mark.row(19)
def test_a_server_that_forgot_everything_is_worked_with_as_a_new_one(tmp_path, settings, running, eventually, caplog):
    server = Server(tmp_path, "--appendonly", "no")
    server.start()
    handler = Record()
    stream = connect(replace(settings, redis_url=server.url))
    try:
        Producer(stream).send(ORDERS[0])
        with running(Consumer(stream, handler)):
            eventually(lambda: handler.runs)
            server.kill()
            server.start()
            Producer(stream).send(ORDERS[1])
            eventually(lambda: stream.backlog().done, 15)
        assert handler.runs == ORDERS[:2]
        assert "creating it again, from the first entry" in caplog.text
    finally:
        stream.close()
        server.kill()


@pytest.fixture
def nobody():
    """A port of this machine where nobody answers: a master that is never reached sends no data to replace ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.row(20)
@pytest.mark.parametrize("when", ["while the read blocks", "in a handler"])
def test_a_demotion_is_waited_out(own_stream, running, eventually, caplog, nobody, when):
    """In a handler: then it is the retry that is refused, inside a script."""
    client = own_stream.client

    def demote(order=None):
        client.replicaof("127.0.0.1", nobody)

    def demote_and_fail(order):
        if len(handler.runs) == 1 and when == "in a handler":
            demote()
            raise ValueError("not yet")

    handler = Record(demote_and_fail)
    with caplog.at_level(logging.WARNING), running(Consumer(own_stream, handler)):
        Producer(own_stream).send(ORDERS[0])
        eventually(lambda: handler.runs)
        if when == "while the read blocks":
            eventually(lambda: own_stream.backlog().done)
            eventually(lambda: is_blocked(client))
            demote()
        eventually(lambda: "waiting for Redis" in caplog.text)
        client.replicaof("NO", "ONE")
        Producer(own_stream).send(ORDERS[1])
        eventually(lambda: own_stream.backlog().done, 15)
    assert sorted(handler.runs, key=ORDERS.index) == [ORDERS[0]] * (1 + (when == "in a handler")) + [ORDERS[1]]
    assert own_stream.backlog().dead_lettered == 0


@pytest.fixture
def masterdown(own_stream, nobody):
    """A replica that takes writes lost its master, and was told to give no stale answers."""

    def begin():
        own_stream.client.config_set("replica-read-only", "no")
        own_stream.client.config_set("replica-serve-stale-data", "no")
        own_stream.client.replicaof("127.0.0.1", nobody)

    return begin, lambda: own_stream.client.replicaof("NO", "ONE")


@pytest.fixture
def misconf(own_stream, own_server, eventually):
    """A server that cannot save its data, and was told to take no more then."""
    in_the_way = own_server.folder / "dump.rdb"

    def begin():
        in_the_way.mkdir()
        own_stream.client.config_set("save", "3600 1")
        own_stream.client.bgsave()
        eventually(lambda: own_stream.client.info("persistence")["rdb_last_bgsave_status"] == "err")

    def end():
        own_stream.client.config_set("save", "")
        in_the_way.rmdir()

    return begin, end


@pytest.mark.row(21)
@pytest.mark.parametrize(
    ("trouble", "says"), [("masterdown", redis.exceptions.MasterDownError), ("misconf", redis.ResponseError)]
)
def test_a_server_in_trouble_is_waited_for(own_stream, running, eventually, caplog, request, trouble, says):
    begin, end = request.getfixturevalue(trouble)
    handler = Record()
    Producer(own_stream).send(ORDERS[0])
    with caplog.at_level(logging.WARNING), running(Consumer(own_stream, handler)):
        eventually(lambda: handler.runs and own_stream.backlog().done)
        begin()
        eventually(lambda: "waiting for Redis" in caplog.text)
        with pytest.raises(says, match=r"(?i)master|misconf"):
            Producer(own_stream).send(ORDERS[1])
        end()
        Producer(own_stream).send(ORDERS[1])
        eventually(lambda: own_stream.backlog().done, 15)
    assert handler.runs == ORDERS[:2]


@pytest.mark.row(22)
def test_a_full_memory_stops_no_read_and_no_ack(own_stream):
    """What adds is refused, what settles is not."""
    handler = Record()
    consumer = Consumer(own_stream, handler)
    consumer.step()
    Producer(own_stream).send_many(ORDERS)
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(own_stream).send(ORDERS[0])
    consumer.drain()
    assert handler.runs == ORDERS


@pytest.mark.row(30)
def test_a_hundred_thousand_pending_entries_slow_nobody_down(stream, client, settings, patient, send):
    """The quickest of many looks is taken: what a look costs, not how busy the machine was."""
    stream.create_group()
    for _ in range(20):
        pipeline = client.pipeline(transaction=False)
        for _ in range(5_000):
            pipeline.xadd(settings.stream, {"n": 1})
        pipeline.execute()
        client.xreadgroup(settings.group, "alive", {settings.stream: ">"}, count=5_000)
    looks, cursor = [], "-"
    for _ in range(400):
        began = time.perf_counter()
        cursor = patient.claim("me", cursor, 256).cursor
        looks.append(time.perf_counter() - began)
    assert client.xpending(settings.stream, settings.group)["pending"] == 100_000
    assert min(looks) < 0.005
    handler = Record()
    send(*ORDERS)
    consumer = Consumer(patient, handler)
    turns = 0
    while len(handler.runs) < 40:
        consumer.step()
        turns += 1
    assert turns < 100, "a walk takes 391 of them"
    client.delete(settings.stream)


@pytest.mark.row(31)
def test_scripts_that_are_flushed_while_a_consumer_runs_are_missed_by_nobody(stream, send, client):
    def flush_and_fail(order):
        client.script_flush()
        raise ValueError("no")

    handler = Record(flush_and_fail)
    send(*ORDERS[:5])
    Consumer(stream, handler).drain()
    assert len(handler.runs) == 15
    assert stream.backlog().dead_lettered == 5


@pytest.mark.row(33)
@pytest.mark.parametrize(("mode", "attempt"), [("SILENT", 1), ("FAIL", 2), ("FATAL", None)])
def test_an_entry_that_an_operator_gave_back_is_claimed_at_once_and_its_neighbours_stay(
    stream, patient, send, client, settings, pending, server_version, mode, attempt
):
    """
    Since 8.8. One consumer holds three entries, and somebody gives back the second: another one has it at once, and
    the heartbeat goes on for the two others. FATAL makes the count so high that it is dead-lettered unrun.
    """
    ids = send(*ORDERS[:3])
    patient.create_group()
    held = patient.read_new("holder", 3, None)
    give_back = ("XNACK", settings.stream, settings.group, mode, "IDS", 1, ids[1])
    if server_version < (8, 8):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command(*give_back)
        return
    client.execute_command(*give_back)
    assert patient.heartbeat("holder", held) == {ids[0], ids[2]}
    attempts = []
    handler = Record(lambda order: attempts.append(pending()[ids[1]][2]))
    consumer = Consumer(patient, handler, name="other")
    for _ in range(3):
        consumer.step()
    assert (handler.runs, attempts) == ((ORDERS[1:2], [attempt]) if attempt else ([], []))
    assert stream.backlog().dead_lettered == (0 if attempt else 1)
    assert patient.heartbeat("holder", held) == {ids[0], ids[2]}
    assert [row[::2] for row in pending().values()] == [("holder", 1)] * 2


@pytest.mark.row(34)
def test_when_the_clock_of_the_server_jumps_ahead_orders_run_twice_at_most(
    patient, send, client, settings, make_due, pending
):
    """
    Idle time is the server's clock minus the time of the last delivery or heartbeat. A jump of an hour makes every
    pending entry an hour older, and that is what we do here: XCLAIM … IDLE. A jump back only makes them due later.
    """
    send(*ORDERS[:5])
    rival = Record()
    other = Consumer(patient, rival, name="other")

    def jump_in_the_first(order):
        while len(handler.runs) == 1 and ORDERS[0] not in rival.runs:
            make_due(*pending())  # once more, if a heartbeat comes between the jump and the claim
            other.step()

    handler = Record(jump_in_the_first)
    consumer = Consumer(patient, handler, name="me")
    consumer.drain()
    assert handler.runs[0] == ORDERS[0]
    assert ORDERS[0] in rival.runs
    assert sorted(rival.runs + handler.runs, key=ORDERS.index) == [ORDERS[0], *ORDERS[:5]]
    assert (patient.backlog().done, patient.backlog().dead_lettered) == (True, 0)


@pytest.mark.row(22)
def test_a_consumer_that_starts_in_a_full_memory_works_too(own_stream):
    """Redis refuses XGROUP CREATE then, also of a group that is there."""
    own_stream.create_group()
    Producer(own_stream).send_many(ORDERS)
    own_stream.client.config_set("maxmemory", 1)
    handler = Record()
    Consumer(own_stream, handler).drain()
    assert handler.runs == ORDERS
