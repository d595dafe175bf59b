"""Sending: in order, in bounded batches, and never twice by itself."""

from dataclasses import replace
from itertools import islice

import pytest
import redis

from orderstream import Order, OrderStream, Producer, SendUnknown, random_orders
from orderstream.connection import ReplyLost, open_client

ORDERS = [Order(f"o-{n}", "tea", 1) for n in range(9)]


@pytest.fixture
def in_stream(client, settings):
    """The orders in the stream."""
    return lambda: [
        Order.from_fields([item for pair in fields.items() for item in pair])
        for _, fields in client.xrange(settings.stream)
    ]


def in_batches_of(count, stream):
    return OrderStream(stream.client, replace(stream.settings, batch=count))


def test_send_adds_one_order_and_returns_its_entry_id(stream, client, settings):
    id = Producer(stream).send(ORDERS[0])
    ((entry_id, fields),) = client.xrange(settings.stream)
    assert (id, list(fields)) == (entry_id.decode(), [b"data"])


def test_send_many_keeps_the_order_and_returns_an_id_for_each(stream, client, settings, in_stream):
    ids = Producer(in_batches_of(4, stream)).send_many(ORDERS)
    assert in_stream() == ORDERS
    assert ids == [id.decode() for id, _ in client.xrange(settings.stream)]


def test_send_many_of_nothing_sends_nothing(stream):
    assert Producer(stream).send_many([]) == []
    assert stream.backlog().length == 0


def test_send_many_takes_an_iterator_of_any_length_a_batch_at_a_time(stream, client, settings):
    """Memory is bounded: while the third batch is taken, the two before are in the stream."""
    seen = []

    def orders():
        for n, order in enumerate(islice(random_orders(1), 10)):
            seen.append((n, client.xlen(settings.stream)))
            yield order

    assert len(Producer(in_batches_of(4, stream)).send_many(orders())) == 10
    assert seen == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 4), (5, 4), (6, 4), (7, 4), (8, 8), (9, 8)]


def test_a_batch_is_one_round_trip(linked_stream, link, client, settings):
    before = link.connections
    Producer(linked_stream).send_many(ORDERS)
    assert link.connections == before


@pytest.mark.row(7, 8)
def test_a_lost_reply_is_said_and_the_order_is_sent_once(linked_stream, link, in_stream):
    """redis-py by default sends it again: tests/redis/test_facts.py shows the two entries."""
    link.lose_reply("XADD")
    with pytest.raises(SendUnknown) as caught:
        Producer(linked_stream).send(ORDERS[0])
    assert (caught.value.sent, caught.value.unknown) == ([], [ORDERS[0]])
    assert in_stream() == [ORDERS[0]]


def test_a_reply_lost_in_the_middle_says_which_are_in_and_which_may_be(linked_stream, link, client, settings):
    link.lose_reply("XADD", skip=6)  # batches of four: one whole, two of the second
    remaining = iter(ORDERS)
    with pytest.raises(SendUnknown) as caught:
        Producer(in_batches_of(4, linked_stream)).send_many(remaining)
    in_there = [id.decode() for id, _ in client.xrange(settings.stream)]
    assert caught.value.sent == in_there[:6]
    assert caught.value.unknown == ORDERS[6:8]
    assert len(in_there) == 8, "these two are in, in fact"
    assert list(remaining) == ORDERS[8:], "nothing after them was taken"


def test_what_send_unknown_names_is_enough_to_go_on(linked_stream, link, in_stream):
    """Everything is in at least once: send `unknown` again, then the rest."""
    link.lose_reply("XADD", skip=3)
    producer, remaining = Producer(in_batches_of(4, linked_stream)), iter(ORDERS)
    with pytest.raises(SendUnknown) as caught:
        producer.send_many(remaining)
    producer.send_many(caught.value.unknown)
    producer.send_many(remaining)
    assert {order.id for order in in_stream()} == {order.id for order in ORDERS}


def test_a_refused_connection_is_no_unknown(settings):
    """For certain nothing is in the stream, so nothing needs a decision."""
    settings = replace(settings, redis_url="redis://127.0.0.1:1")
    with open_client(settings) as client, pytest.raises(redis.ConnectionError):
        Producer(OrderStream(client, settings)).send(ORDERS[0])


def test_a_server_that_dies_between_two_batches_leaves_the_second_unknown_and_the_rest_untaken(own_stream, own_server):
    def orders():
        for n, order in enumerate(ORDERS):
            if n == 4:
                own_server.kill()
            yield order

    remaining = orders()
    with pytest.raises(SendUnknown) as caught:
        Producer(in_batches_of(4, own_stream)).send_many(remaining)
    assert len(caught.value.sent) == 4
    assert caught.value.unknown == ORDERS[4:8]
    assert list(remaining) == ORDERS[8:]
    own_server.start()
    assert own_stream.backlog().length == 4


@pytest.mark.row(22)
def test_a_full_memory_is_said_as_redis_says_it_when_nothing_was_sent(own_stream):
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(own_stream).send_many(ORDERS)
    assert own_stream.backlog().length == 0


def test_a_memory_that_fills_up_on_the_way_says_what_is_in(own_stream):
    def orders():
        for n, order in enumerate(ORDERS):
            if n == 4:
                own_stream.client.config_set("maxmemory", 1)
            yield order

    with pytest.raises(SendUnknown) as caught:
        Producer(in_batches_of(4, own_stream)).send_many(orders())
    assert (len(caught.value.sent), caught.value.unknown) == (4, ORDERS[4:8])
    assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)


def test_a_key_of_the_wrong_type_is_said_as_redis_says_it(stream, client, settings):
    client.set(settings.stream, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        Producer(stream).send(ORDERS[0])


def test_a_server_that_is_still_loading_has_taken_nothing(own_server, own_stream, loading):
    """Its answer is an error reply, although redis-py counts it among the broken links."""
    with loading(own_server), pytest.raises(redis.exceptions.BusyLoadingError):
        Producer(own_stream).send_many(ORDERS)
    Producer(own_stream).send(ORDERS[0])
    assert own_stream.backlog().length == 1


# With deduplication


@pytest.fixture
def once(linked_stream):
    """A producer on the link that may send again, because Redis remembers what it has."""
    return Producer(linked_stream, dedupe="till-1")


@pytest.fixture
def sends(once, server_version):
    """The command that adds an order once: from 8.6 on Redis has its own."""
    return "XADD" if server_version >= (8, 6) else "EVALSHA"


@pytest.mark.row(7)
def test_with_deduplication_a_lost_reply_is_no_question(once, link, sends, in_stream):
    """It was sent twice, and is in the stream once."""
    first = once.send(ORDERS[0])
    link.lose_reply(sends)
    second = once.send(ORDERS[1])
    assert in_stream() == ORDERS[:2]
    assert first != second


@pytest.mark.parametrize("lost_at", [0, 3, 8])
def test_a_batch_is_whole_and_in_order_wherever_its_replies_end(
    once, link, sends, in_stream, client, settings, lost_at
):
    """The ids are those of the first time."""
    link.lose_reply(sends, skip=lost_at)
    ids = once.send_many(ORDERS)
    assert link.lost == 1
    assert in_stream() == ORDERS
    assert ids == [id.decode() for id, _ in client.xrange(settings.stream)]


def test_an_order_that_is_sent_again_gets_the_id_it_has(once, in_stream):
    """By a process that was started anew, say: the name tells who sends."""
    again = Producer(once.stream, dedupe="till-1")
    assert again.send(ORDERS[0]) == again.send(ORDERS[0]) == once.send(ORDERS[0])
    assert in_stream() == ORDERS[:1]


def test_two_producers_of_different_names_know_nothing_of_each_other(once, stream, in_stream):
    once.send(ORDERS[0])
    Producer(stream, dedupe="till-2").send(ORDERS[0])
    assert in_stream() == ORDERS[:1] * 2


def test_a_batch_is_not_larger_than_what_redis_remembers(once, link, sends, in_stream):
    """All of a batch may have to be sent again."""
    orders = list(islice(random_orders(3), 450))
    link.lose_reply(sends, skip=399)
    once.send_many(orders)
    assert link.lost == 1
    assert in_stream() == orders


def test_a_restart_in_the_middle_is_waited_out(own_server, own_stream):
    """The order went out, the server died; whether it had it on disk is no question either."""
    producer = Producer(own_stream, dedupe="till-1")
    lost, add_once = [], own_stream.add_once

    def kill_after(*asked):
        replies = add_once(*asked)
        if not lost:
            lost.append(replies)
            own_server.kill()
            own_server.start()
            raise ReplyLost(OSError("gone"), [])
        return replies

    own_stream.add_once = kill_after
    ids = producer.send_many(ORDERS)
    assert ids == [id.decode() for id in lost[0]]
    assert own_stream.backlog().length == len(ORDERS)


def test_a_producer_that_gets_no_reply_for_long_gives_up_and_says_what_is_unknown(once, link, sends, monkeypatch):
    """Half a minute, in this test half a second."""
    monkeypatch.setattr("orderstream.producer.RESEND_S", 0.5)
    link.lose_reply(sends, times=1_000)
    with pytest.raises(SendUnknown) as caught:
        once.send_many(ORDERS)
    assert (caught.value.sent, caught.value.unknown) == ([], ORDERS)


def test_scripts_that_redis_forgot_are_loaded_again(once, client, in_stream):
    once.send(ORDERS[0])
    client.script_flush()
    once.send_many(ORDERS)
    assert in_stream() == ORDERS


def test_redis_forgets_an_order_after_a_while(once, client, settings, server_version):
    """Its memory is bounded: 100 s, and from 8.6 on the last 100 of a sender."""
    once.send(ORDERS[0])
    if server_version >= (8, 6):
        about = client.execute_command("XINFO", "STREAM", settings.stream)
        about = dict(zip(about[::2], about[1::2], strict=True))
        assert (about[b"idmp-duration"], about[b"idmp-maxsize"]) == (100, 100)
    else:
        (key,) = client.keys(f"{{{settings.stream}}}:sent:till-1:*")
        assert 90_000 < client.pttl(key) <= 100_000
