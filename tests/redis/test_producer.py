"""Sending: in order, in bounded batches, and never twice by itself."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pytest
import redis
from msgspec import structs
from redis.crc import key_slot

from orderstream import Order, OrderStream, Producer, SendUnknown, random_orders
from orderstream.connection import ReplyLost, open_client
from orderstream.errors import ConfigError, OrderError
from orderstream.scripts import ONCE

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


def test_a_server_that_dies_between_two_batches_has_not_the_second_and_the_rest_is_untaken(own_stream, own_server):
    def orders():
        for n, order in enumerate(ORDERS):
            if n == 4:
                own_server.kill()
            yield order

    remaining = orders()
    with pytest.raises(SendUnknown) as caught:
        Producer(in_batches_of(4, own_stream)).send_many(remaining)
    assert len(caught.value.sent) == 4
    assert (caught.value.unknown, caught.value.refused) == ([], ORDERS[4:8])
    assert list(remaining) == ORDERS[8:]
    own_server.start()
    assert own_stream.backlog().length == 4


@pytest.mark.row(22)
def test_a_full_memory_is_said_as_redis_says_it_when_nothing_was_sent(own_stream):
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(own_stream).send_many(ORDERS)
    assert own_stream.backlog().length == 0


@pytest.mark.row(78)
def test_a_memory_that_fills_up_on_the_way_says_what_is_in(own_stream):
    def orders():
        for n, order in enumerate(ORDERS):
            if n == 4:
                own_stream.client.config_set("maxmemory", 1)
            yield order

    with pytest.raises(SendUnknown) as caught:
        Producer(in_batches_of(4, own_stream)).send_many(orders())
    assert (len(caught.value.sent), caught.value.unknown, caught.value.refused) == (4, [], ORDERS[4:8])
    assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)


@pytest.mark.row(78)
def test_a_memory_that_fills_up_in_the_middle_of_a_batch_refuses_the_rest_and_no_reply_was_lost(own_stream):
    client = own_stream.client
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 400_000)
    large = [Order(f"o-{n}", "x" * 20_000, 1) for n in range(40)]
    with pytest.raises(SendUnknown, match="command not allowed") as caught:
        Producer(own_stream).send_many(large)
    outcome = caught.value
    assert 0 < len(outcome.sent) == own_stream.backlog().length < 40
    data = {fields[b"data"] for _, fields in client.xrange(own_stream.settings.stream)}
    assert (outcome.unknown, outcome.refused) == ([], [order for order in large if order.to_fields()[1] not in data])
    assert "lost" not in str(outcome)
    client.config_set("maxmemory", 0)
    Producer(own_stream).send_many(outcome.refused)
    assert own_stream.backlog().length == 40


class Unhashable(Exception):
    __hash__ = None


class Empty(Exception):
    def __len__(self):
        return 0


@pytest.mark.row(81)
@pytest.mark.parametrize("kind", [Unhashable, Empty])
def test_an_iterable_may_raise_an_odd_error(stream, kind):
    def orders():
        yield ORDERS[0]
        raise kind

    with pytest.raises(SendUnknown) as caught:
        Producer(stream).send_many(orders())
    assert len(caught.value.sent) == 1
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.row(81)
@pytest.mark.parametrize("count", [1, 3, 4, 6, 8])
def test_an_iterable_that_raises_hides_nothing_it_gave(stream, client, settings, in_stream, count):
    """The whole batches before, and the one that was being filled."""
    mistake = LookupError("no more rows")

    def rows():
        yield from ORDERS[:count]
        raise mistake

    told = "1 order is" if count == 1 else f"{count} orders are"
    with pytest.raises(SendUnknown, match=f"^{told} in the stream: LookupError: no more rows$") as caught:
        Producer(in_batches_of(4, stream)).send_many(rows())
    assert in_stream() == ORDERS[:count]
    assert caught.value.sent == [id.decode() for id, _ in client.xrange(settings.stream)]
    assert (caught.value.unknown, caught.value.refused, caught.value.__cause__) == ([], [], mistake)


@pytest.mark.row(81)
def test_an_iterable_that_raises_at_once_raises_its_own_error(stream):
    with pytest.raises(ZeroDivisionError):
        Producer(stream).send_many(Order("o-1", "tea", 1 // 0) for _ in range(1))
    assert stream.backlog().length == 0


@pytest.mark.row(81)
def test_an_iterable_that_raises_while_a_reply_is_lost_tells_both(linked_stream, link):
    def rows():
        yield from ORDERS[:3]
        raise LookupError("no more rows")

    link.lose_reply("XADD", skip=1)
    with pytest.raises(SendUnknown) as caught:
        Producer(linked_stream).send_many(rows())
    assert (len(caught.value.sent), caught.value.unknown) == (1, ORDERS[1:3])
    assert isinstance(caught.value.__cause__, ReplyLost)
    assert str(caught.value) == (
        "1 order is in the stream, 2 may be (first: 'o-1'; their replies were lost): LookupError: no more rows"
    )


NEVER = [
    structs.replace(ORDERS[0], **change)
    for change in (
        {"amount": 0}, {"amount": 1.5}, {"amount": 2**70},
        {"item": "\ud800"}, {"item": {1, object()}}, {"id": ""},
    )
]  # fmt: skip


@pytest.mark.row(82)
@pytest.mark.parametrize("never", NEVER, ids=["no amount", "half", "too many", "no UTF-8", "no text", "no id"])
def test_an_order_that_may_not_exist_is_refused_when_it_is_sent(stream, in_stream, never):
    """``structs.replace`` makes it without a check."""
    with pytest.raises(OrderError):
        Producer(stream).send(never)
    with pytest.raises(SendUnknown) as caught:
        Producer(stream).send_many([*ORDERS[:2], never, *ORDERS[2:]])
    assert in_stream() == ORDERS[:2]
    assert (len(caught.value.sent), caught.value.unknown, caught.value.refused) == (2, [], [never])
    assert isinstance(caught.value.__cause__, OrderError)


def test_a_batch_is_bounded_in_bytes_too(stream, client, settings):
    """An order may have nearly a megabyte of JSON: two of them are a batch."""
    seen = []

    def orders():
        for n in range(5):
            seen.append((n, client.xlen(settings.stream)))
            yield Order(f"o-{n}", "\x01" * 100_000, 1)

    Producer(stream).send_many(orders())
    assert seen == [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4)]


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
def sends(once):
    """The command that adds an order once."""
    once.stream.client.script_load(ONCE.source)  # so that each order is one command
    return "EVALSHA"


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


def test_redis_remembers_whatever_number_of_orders_comes_after(once, stream, in_stream):
    """So threads may share a producer, and late bytes add nothing. IDMP would have forgotten after 10,000 at most."""
    first = once.send(ORDERS[0])
    once.send_many(islice(random_orders(3), 10_001))
    assert once.send(ORDERS[0]) == first
    assert stream.backlog().length == 10_002


@pytest.mark.row(83)
def test_threads_that_share_a_producer_send_each_order_once_whatever_replies_are_lost(once, link, in_stream):
    orders = list(islice(random_orders(4), 400))

    def send(order):
        while True:
            try:
                return once.send(order)
            except redis.ConnectionError:  # the link broke before the order was sent
                continue

    link.lose_some(0.02)
    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(send, orders))
    link.lose_some(0)
    assert link.lost
    assert sorted(order.id for order in in_stream()) == sorted(order.id for order in orders)
    assert len(set(ids)) == len(orders)


@pytest.mark.row(80)
def test_no_two_senders_share_what_redis_remembers(stream, in_stream):
    """A colon may be in a name and in an id."""
    orders = [Order("berlin:1", "tea", 1), Order("1", "coffee", 7)]
    Producer(stream, dedupe="shop").send(orders[0])
    Producer(stream, dedupe="shop:berlin").send(orders[1])
    assert in_stream() == orders


@pytest.mark.row(80)
def test_no_two_streams_share_what_redis_remembers(stream, client, settings):
    """On a cluster the names ``s`` and ``{s}`` are in one slot, and so is what is remembered for them."""
    other = OrderStream(client, replace(settings, stream=f"{{{settings.stream}}}"))
    for one in (stream, other):
        Producer(one, dedupe="till-1").send(ORDERS[0])
        assert one.backlog().length == 1
    client.delete(other.settings.stream)


@pytest.mark.row(80)
@pytest.mark.parametrize("form", ["%s", "{%s}", "{%s}y", "a{%s", "a{%s}y"])
def test_what_is_remembered_is_in_the_slot_of_its_stream(client, settings, form):
    """Else a cluster refuses the script. Only a whole pair of braces makes a tag."""
    stream = OrderStream(client, replace(settings, stream=form % settings.stream))
    Producer(stream, dedupe="till-1").send(ORDERS[0])
    (memory,) = client.scan_iter(f"*{settings.stream}*:sent:*")
    assert key_slot(memory) == key_slot(stream.settings.stream.encode())
    client.delete(memory, stream.settings.stream)


@pytest.mark.row(79)
def test_no_order_is_sent_when_the_link_breaks_after_the_script_was_loaded(once, link, client, monkeypatch, in_stream):
    """The reply of SCRIPT LOAD is no entry id."""
    monkeypatch.setattr("orderstream.producer.RESEND_S", 0.5)
    client.script_flush()
    link.lose_reply("EVALSHA", skip=3, times=1_000)  # three times NOSCRIPT, and then nothing
    with pytest.raises(SendUnknown) as caught:
        once.send_many(ORDERS[:3])
    assert (caught.value.sent, caught.value.unknown, caught.value.refused) == ([], ORDERS[:3], [])


def test_an_empty_name_is_no_name(stream):
    with pytest.raises(ConfigError, match="needs a name"):
        Producer(stream, dedupe="")


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


def test_redis_forgets_an_order_after_a_while(once, client, settings):
    """Its memory is bounded: 100 s."""
    once.send(ORDERS[0])
    (key,) = client.keys(f"{{{settings.stream}}}:sent:*:till-1:*")
    assert 90_000 < client.pttl(key) <= 100_000
