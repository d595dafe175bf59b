"""Looking after what failed."""

import pickle
import threading
from dataclasses import replace
from itertools import islice

import pytest

from orderstream import Consumer, DeadLetter, DeadLetterQueue, Order, OrderStream, Producer, Reject, random_orders
from orderstream.deadletter import NotRedriven
from orderstream.entries import METADATA

TOO_MANY = [part for n in range(4_100) for part in (b"%d" % n, b"")]
OURS = dict(
    zip([name.encode() for name in METADATA], [b"orders", b"g", b"1-0", b"3", b"no", b"1718000000000"], strict=True)
)


def refuse(order):
    raise Reject("sold out")


@pytest.fixture
def queue(stream):
    return DeadLetterQueue(stream)


@pytest.fixture
def bury(stream):
    """Send so many orders and let them all be rejected."""

    def bury(count):
        orders = list(islice(random_orders(1), count))
        Producer(stream).send_many(orders)
        Consumer(stream, refuse).drain()
        return orders

    return bury


def test_a_dead_letter_says_what_happened(queue, bury, settings, client):
    (order,) = bury(1)
    ((source_id, _),) = client.xrange(settings.stream)
    ((dead_id, fields),) = client.xrange(settings.dlq)
    assert queue.list() == [
        DeadLetter(
            id=dead_id.decode(),
            fields=dict([order.to_fields()]),
            reason="sold out",
            deliveries=1,
            group=settings.group,
            source_id=source_id.decode(),
            at_ms=int(fields[b"dlq-at"]),
        )
    ]


@pytest.mark.parametrize("length", [1, 31, 32, 255, 256, 65_535, 65_536], ids=lambda length: f"{length} bytes")
def test_an_entry_of_thousands_of_fields_is_shown_as_it_was(queue, stream, length):
    """lua/dead.lua had to pack it: a script cannot pass on so many values. Nor need they be text."""
    body = [part for n in range(2_500) for part in (b"\xff%d" % n, b"\xfe")] + [b"long", b"\xff" * length]
    stream.add([body])
    Consumer(stream, print).drain()
    (letter,) = queue.list()
    assert letter.fields == dict(zip(body[::2], body[1::2], strict=True))
    assert letter.deliveries == 1


@pytest.mark.row(38)
def test_what_a_script_cannot_put_back_stays_and_says_so(queue, stream):
    """A hundred thousand fields: moved to the dead letters all right, but XADD from a script takes fewer."""
    body = [part for n in range(100_000) for part in (b"%d" % n, b"")]
    stream.add([body])
    Consumer(stream, print).drain()
    (letter,) = queue.list()
    with pytest.raises(NotRedriven, match=r"has 100000 fields, and a script can add 3990 at most; add it with XADD"):
        queue.redrive(letter.id)
    assert queue.list() == [letter]
    assert queue.purge(letter.id) == 1


def test_there_are_none_before_the_first(queue):
    assert (queue.list(), list(queue), queue.redrive_all(), queue.purge()) == ([], [], 0, 0)


def test_list_comes_in_pages_oldest_first(queue, bury):
    bury(5)
    everything = queue.list()
    first = queue.list(2)
    assert queue.list(2, start=f"({first[-1].id}") == everything[2:4]
    assert queue.list(2, start=first[-1].id) == everything[1:3]
    assert [first, queue.list(0)] == [everything[:2], []]
    assert len(everything) == 5


def test_iterating_goes_through_all_pages(queue, bury):
    bury(250)
    ids = [letter.id for letter in queue]
    assert (len(ids), ids) == (250, sorted(set(ids), key=lambda entry: [int(part) for part in entry.split("-")]))


@pytest.mark.row(40)
def test_fields_named_like_our_metadata_are_told_from_it_by_their_place(queue, stream):
    body = [item for name in METADATA for item in (name.encode(), b"mine")]
    stream.add([body])
    Consumer(stream, print).drain()
    (letter,) = queue.list()
    assert letter.fields == dict(zip(body[::2], body[1::2], strict=True))
    assert (letter.reason, letter.deliveries) == ("DecodeError: no field named 'data'", 1)


@pytest.mark.parametrize(
    "fields",
    [
        {b"data": b'{"id":"a","item":"b","amount":1}'},
        {b"\xff": b"\xfe"},
        {name.encode(): b"not a number" for name in METADATA},
        {b"x": b"y"} | {name.encode(): b"" for name in METADATA},
        {name.encode(): b"1" for name in METADATA[:-1]},
        {name.encode(): b"1" for name in reversed(METADATA)},
        {b"data": b"x"} | OURS | {b"dlq-at": b""},
        {b"data": b"x"} | OURS | {b"dlq-at": b"9" * 5_000},
        {b"data": b"x"} | OURS | {b"dlq-deliveries": "٣".encode()},
        {b"data": b"x"} | OURS | {b"dlq-deliveries": b"-1"},
    ],
)
@pytest.mark.row(84)
def test_an_entry_of_another_program_is_listed_and_redriven_with_what_is_known(queue, client, settings, fields):
    """One strange entry must not hide the others. What is shown is what is put back."""
    id = client.xadd(settings.dlq, fields).decode()
    assert queue.list() == [DeadLetter(id, fields, reason="", deliveries=0, group="", source_id="", at_ms=0)]
    assert queue.redrive_all() == 1
    ((_, put_back),) = client.xrange(settings.stream)
    assert put_back == fields


@pytest.mark.row(84)
@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"x",
        b"\x92\xa1",
        b"\x91\xa1a",
        b"\x92\x01\x02",
        b"\x81\xa1a\xa1b",
        b"\x92\xa1a\xa1b\x01",
        b"\x91" * 100_000,
        b"\x90",
    ],
    ids=[
        "nothing",
        "a number",
        "cut off",
        "a name alone",
        "numbers",
        "a map",
        "two values",
        "a deep list",
        "an empty list",
    ],
)
def test_a_field_of_another_program_that_is_named_like_a_packed_entry_is_kept_as_it_is(queue, client, settings, packed):
    client.xadd(settings.dlq, {b"dlq-packed": packed} | OURS)
    (letter,) = queue.list()
    assert (letter.fields, letter.reason, letter.deliveries) == ({b"dlq-packed": packed}, "no", 3)
    assert queue.redrive_all() == 1
    ((_, put_back),) = client.xrange(settings.stream)
    assert put_back == letter.fields


def test_bytes_that_are_not_text_are_kept(queue, stream):
    stream.add([[b"data", b"\xff\xfe"]])
    Consumer(stream, print).drain()
    (letter,) = queue.list()
    assert letter.fields == {b"data": b"\xff\xfe"}
    assert letter.reason.startswith("DecodeError: ")


def test_a_redriven_order_has_its_id_and_all_its_attempts_again(queue, stream, bury):
    (order,) = bury(1)
    (letter,) = queue.list()
    tries = []

    def fail(order):
        tries.append(order)
        raise ValueError("still no")

    assert len(queue.redrive(letter.id)) == 1
    Consumer(stream, fail).drain()
    assert tries == [order] * 3
    assert [(again.deliveries, again.reason) for again in queue.list()] == [(3, "ValueError: still no")]


def test_redrive_puts_back_only_what_it_was_asked_for(queue, bury, stream):
    bury(3)
    first, second, third = queue.list()
    assert len(queue.redrive(first.id, third.id)) == 2
    assert queue.list() == [second]
    assert stream.backlog().length == 5


@pytest.mark.row(32)
def test_redrive_twice_is_harmless(queue, bury, stream):
    bury(1)
    (letter,) = queue.list()
    assert len(queue.redrive(letter.id, letter.id)) == 1
    assert queue.redrive(letter.id) == []
    assert stream.backlog().length == 2


@pytest.mark.row(32)
def test_redrive_by_two_people_at_once_puts_back_each_order_once(queue, bury, stream):
    bury(50)
    ids = [letter.id for letter in queue.list()]
    together, put_back = threading.Barrier(2), []

    def person():
        together.wait()
        put_back.extend(queue.redrive(*ids))

    people = [threading.Thread(target=person) for _ in range(2)]
    for someone in people:
        someone.start()
    for someone in people:
        someone.join()
    assert len(set(put_back)) == len(put_back) == 50
    assert stream.backlog().length == 100


def test_redrive_all_puts_back_all_pages(queue, bury, stream):
    orders = bury(150)
    assert queue.redrive_all() == 150
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == orders
    assert queue.list() == []


def test_redrive_all_does_not_run_after_orders_that_fail_again(queue, bury, stream, running, eventually):
    """A consumer that rejects everything is faster than any redrive: it must end all the same."""
    bury(150)
    with running(Consumer(stream, refuse)):
        assert queue.redrive_all() == 150
        eventually(lambda: stream.backlog().done)
    assert stream.backlog().dead_lettered == 150


@pytest.fixture
def stuck(queue, stream, client, settings):
    """The ids of two dead letters that cannot be put back: one has too many fields, the other none."""
    (gone,) = stream.add([Order("gone", "tea", 1).to_fields()])

    def delete_and_refuse(order):
        client.xdel(settings.stream, gone)
        raise Reject("sold out")

    Consumer(stream, delete_and_refuse).drain()
    stream.add([TOO_MANY])
    Consumer(stream, print).drain()
    empty, full = queue.list()
    return empty.id, full.id


@pytest.mark.row(84)
def test_redrive_all_goes_past_those_that_cannot_be_put_back_and_names_them(queue, stream, bury, stuck):
    bury(2)
    with pytest.raises(NotRedriven) as caught:
        queue.redrive_all()
    assert len(caught.value.redriven) == 2
    assert list(caught.value.refused) == list(stuck) == [letter.id for letter in queue.list()]
    assert "no fields to put back" in caught.value.refused[stuck[0]]
    assert "4100 fields" in caught.value.refused[stuck[1]]


def test_redrive_goes_past_those_that_cannot_be_put_back(queue, bury, stuck):
    bury(1)
    fine = queue.list()[-1].id
    with pytest.raises(
        NotRedriven, match=rf"^redriven: 1, cannot be: 1 \(first: {stuck[0]}, has no fields to put back"
    ):
        queue.redrive(stuck[0], "1-0", fine)
    assert [letter.id for letter in queue.list()] == list(stuck)


def test_what_was_not_redriven_can_be_pickled():
    error = NotRedriven(["1-0"], {"2-0": "has no fields"})
    again = pickle.loads(pickle.dumps(error))
    assert (again.redriven, again.refused, str(again)) == (error.redriven, error.refused, str(error))


def test_purge_deletes_what_it_was_asked_for(queue, bury, stream):
    bury(3)
    first, second, third = queue.list()
    assert [queue.purge(first.id, third.id), queue.purge(first.id)] == [2, 0]
    assert queue.list() == [second]
    assert stream.backlog().length == 3


def test_a_redriven_order_comes_to_every_group(queue, bury, stream, settings):
    """It is a new entry, and an entry is for all. A handler that is keyed by the order id does not mind."""
    other = OrderStream(stream.client, replace(settings, group="another"))
    (order,) = bury(1)
    seen = []
    Consumer(other, seen.append).drain()
    queue.redrive_all()
    Consumer(other, seen.append).drain()
    assert seen == [order, order]
