"""Redis did what it was asked, and nobody heard of it: a reply of each kind is lost."""

from itertools import islice
from urllib.parse import urlsplit

import pytest
import redis

from orderstream import Consumer, DeadLetterQueue, Order, Producer, Reject, SendUnknown, random_orders
from orderstream.scripts import CLAIM, DEAD, REDRIVE

ORDERS = list(islice(random_orders(1), 8))
WARM_UP = Order("warm-up", "tea", 1)


@pytest.fixture
def attempts(pending):
    """A handler that notes at which attempt it got each order, as Redis has it: ``attempts.seen``."""

    class Attempts:
        def __init__(self):
            self.seen = []

        def __call__(self, order):
            if order != WARM_UP:
                (mine,) = [count for id, (_, _, count) in pending().items() if id == self.ids.get(order.id)]
                self.seen.append((order, mine))

    return Attempts()


@pytest.fixture
def consumer(linked_stream, attempts):
    """A consumer behind the link. Its handler is quick, and it has found that out: it takes whole batches."""
    consumer = Consumer(linked_stream, attempts, name="me")
    Producer(linked_stream).send(WARM_UP)
    consumer.drain()
    return consumer


@pytest.fixture
def sent(send, attempts):
    """Orders in the stream."""

    def sent(*orders):
        attempts.ids = dict(zip((order.id for order in orders), send(*orders), strict=True))
        return list(attempts.ids.values())

    return sent


@pytest.fixture
def abandoned(sent, stream, make_due):
    """Orders whose consumer died, at their first attempt."""

    def abandon(*orders):
        ids = sent(*orders)
        stream.create_group()
        stream.read_new("dead", len(ids), None)
        make_due(*ids)
        return ids

    return abandon


@pytest.mark.row(3)
def test_a_batch_whose_reply_was_lost_comes_again_whole_at_attempt_2(link, consumer, sent, attempts, stream):
    """Nobody knew of these orders: they wait until they are due, and what was sent after them goes ahead."""
    sent(*ORDERS)
    link.lose_reply("XREADGROUP")
    consumer.drain()
    assert link.lost == 1
    assert attempts.seen == [(order, 2) for order in ORDERS]
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(4)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_lost_claim_spends_an_attempt_and_never_adds_one(
    link, consumer, abandoned, attempts, stream, make_due, times
):
    """Three attempts in all: one was the dead consumer's, and each lost reply is one more."""
    (id,) = abandoned(ORDERS[0])
    for _ in range(times):
        make_due(id)
        link.lose_reply(CLAIM.sha)
        consumer.step()
    consumer.drain()
    assert link.lost == times
    letters = [(letter.source_id, letter.deliveries) for letter in DeadLetterQueue(stream).list()]
    if times == 1:
        assert (attempts.seen, letters) == ([(ORDERS[0], 3)], [])
    else:
        assert (attempts.seen, letters) == ([], [(id, times + 2)])


@pytest.mark.row(5)
@pytest.mark.parametrize("kind", ["new", "suspect"])
def test_a_lost_ack_is_sent_again_and_0_is_fine(link, consumer, sent, abandoned, attempts, stream, kind):
    """A suspect's ack travels in front of the next claim."""
    (sent if kind == "new" else abandoned)(*ORDERS)
    link.lose_reply("XACK", times=2)
    consumer.drain()
    assert link.lost == 2
    assert sorted((order for order, _ in attempts.seen), key=ORDERS.index) == ORDERS
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)


@pytest.mark.row(6)
@pytest.mark.parametrize("times", [1, 2, 5])
def test_however_often_the_reply_is_lost_there_is_one_dead_letter(link, linked_stream, send, stream, times):
    """Whoever does not know moves it again, and finds nothing to move."""
    (id,) = send(ORDERS[0])
    linked_stream.create_group()
    (entry,) = linked_stream.read_new("me", 1, None)
    assert stream.dead_letter("somebody else", entry, "no") is None  # now the script is loaded
    link.lose_reply(DEAD.sha, times)
    for _ in range(times):
        with pytest.raises(redis.ConnectionError):
            linked_stream.dead_letter("me", entry, "no")
    assert linked_stream.dead_letter("me", entry, "no") is None
    assert [letter.source_id for letter in DeadLetterQueue(stream).list()] == [id]
    assert stream.backlog().done


@pytest.mark.row(6)
def test_a_consumer_that_did_not_hear_of_its_dead_letters_goes_on(link, linked_stream, send, stream):
    def refuse(order):
        raise Reject("no")

    consumer = Consumer(linked_stream, refuse)
    send(WARM_UP)
    consumer.drain()
    send(*ORDERS)
    link.lose_reply(DEAD.sha, times=3)
    consumer.drain()
    assert link.lost == 3
    assert [Order.from_fields([*letter.fields.popitem()]) for letter in DeadLetterQueue(stream)] == [WARM_UP, *ORDERS]


@pytest.mark.row(7, 8)
def test_three_lost_replies_make_no_four_entries(link, linked_stream, settings, client):
    """Our client sends once and says what is unknown. The default one is silent, and there are four."""
    link.lose_reply("XADD", times=3)
    with pytest.raises(SendUnknown):
        Producer(linked_stream).send(ORDERS[0])
    assert client.xlen(settings.stream) == 1
    with redis.Redis(port=urlsplit(link.url).port) as careless:
        careless.ping()
        link.lose_reply("XADD", times=1)  # two of the three are left
        careless.xadd("careless", dict([ORDERS[0].to_fields()]))
    assert client.xlen("careless") == 4
    client.delete("careless")


@pytest.mark.row(7)
def test_with_deduplication_three_lost_replies_make_one_entry_and_its_id(link, linked_stream, settings, client):
    """On 8.6 and newer by IDMP, before that by a script."""
    for word in ("XADD", "EVALSHA"):
        link.lose_reply(word, times=3)
    id = Producer(linked_stream, dedupe="till-1").send(ORDERS[0])
    assert link.lost == 3
    assert [entry for entry, _ in client.xrange(settings.stream)] == [id.encode()]


@pytest.mark.row(32)
def test_a_redrive_whose_reply_was_lost_may_be_repeated(link, linked_stream, stream, client, settings):
    """The one new entry has the bytes of the old one."""
    traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = [*ORDERS[0].to_fields(), b"traceparent", traceparent]
    stream.create_group()
    stream.add([body])
    (entry,) = stream.read_new("me", 1, None)
    dead_id = stream.dead_letter("me", entry, "no")
    queue = DeadLetterQueue(linked_stream)
    assert linked_stream.redrive("0-1", body) is None  # the script is loaded
    link.lose_reply(REDRIVE.sha, times=2)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            linked_stream.redrive(dead_id, body)
    assert queue.redrive(dead_id) == []
    assert queue.list() == []
    entries = [[part for pair in fields.items() for part in pair] for _, fields in client.xrange(settings.stream)]
    assert entries == [body] * 2
