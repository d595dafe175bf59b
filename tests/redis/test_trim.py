"""Trimming removes what every group has handled, and nothing that any group still needs."""

import threading
from dataclasses import replace
from itertools import combinations, islice

import pytest
import redis

from orderstream import Consumer, Producer, connect, random_orders
from orderstream.entries import Trimmed
from orderstream.stream import TRIM_STEP

LAST = 2**64 - 1
IN_ORDER = [
    "1-9",
    "1-10",
    f"1-{2**53}",
    f"1-{2**53 + 1}",
    f"1-{LAST}",
    "9-0",
    "10-0",
    f"{2**53}-0",
    f"{2**53 + 1}-0",
    f"{2**53 + 1}-1",
    f"{LAST - 1}-{LAST}",
    f"{LAST}-{LAST - 1}",
    f"{LAST}-{LAST}",
]
"""Ids that a comparison by text, or by numbers as Lua has them, puts into another order."""


@pytest.fixture
def fill(patient):
    """Add so many entries to a stream that has its group."""

    def fill(count):
        patient.create_group()
        return [id.decode() for id in patient.add([[b"n", b"%d" % n] for n in range(count)])]

    return fill


@pytest.fixture
def take(client, settings):
    """Let a group be given so many entries and ack some of them: ``take(3, ack=ids[:2])``."""

    def take(count, ack=(), group=settings.group):
        client.xreadgroup(group, "a", {settings.stream: ">"}, count=count)
        if ack:
            client.xack(settings.stream, group, *ack)

    return take


@pytest.fixture
def left(client, settings):
    """The ids that are in the stream now."""
    return lambda: [id.decode() for id, _ in client.xrange(settings.stream)]


def needs(trimmed):
    return trimmed.holder and (trimmed.holder.group, trimmed.holder.id, trimmed.holder.pending)


# One group ------------------------------------------------------------------------------------------------


def test_trim_removes_what_was_acked_and_keeps_what_was_not_read(patient, fill, take, left, settings):
    ids = fill(10)
    take(6, ack=ids[:6])
    trimmed = patient.trim()
    assert (trimmed.removed, trimmed.left, needs(trimmed)) == (6, 4, (settings.group, ids[6], False))
    assert 0 <= trimmed.holder.age_s < 60
    assert left() == ids[6:]


@pytest.mark.row(29)
def test_trim_keeps_a_pending_entry_and_all_that_came_after_it(patient, fill, take, left, settings):
    ids = fill(10)
    take(8, ack=[*ids[:3], *ids[4:8]])
    trimmed = patient.trim()
    assert (trimmed.removed, trimmed.left, needs(trimmed)) == (3, 7, (settings.group, ids[3], True))
    assert left() == ids[3:]
    patient.ack([ids[3]])
    assert needs(patient.trim()) == (settings.group, ids[8], False)
    assert left() == ids[8:]


def test_trim_removes_the_last_entry_too_and_the_group_goes_on(patient, fill, take, client, settings, server_version):
    """The group remembers how far it read; no entry has to stay for that. Nor is the lag spoiled."""
    ids = fill(10)
    take(10, ack=ids)
    assert patient.trim() == Trimmed(removed=10, left=0, holder=None)
    assert patient.backlog().done
    (next_id,) = fill(1)
    assert patient.backlog().lag == (1 if server_version >= (7,) else None)
    assert [entry.id for entry in patient.read_new("a", 10, None)] == [next_id]


def test_trim_twice_removes_nothing_more(patient, fill, take):
    ids = fill(10)
    take(6, ack=ids[:5])
    assert patient.trim().removed == 5
    assert patient.trim().removed == 0


def test_trim_removes_more_than_one_step(patient, fill, take, left, settings):
    """Redis is asked again and again, so that others are served in between."""
    count = 3 * TRIM_STEP + 21
    ids = fill(count)
    take(count, ack=[id for id in ids if id != ids[-7]])
    trimmed = patient.trim()
    assert (trimmed.removed, needs(trimmed)) == (count - 7, (settings.group, ids[-7], True))
    assert left() == ids[-7:]
    patient.ack([ids[-7]])
    assert patient.trim() == Trimmed(7, 0, None)


def test_redis_is_never_busy_with_more_than_a_step(patient, fill, take, client, settings, monkeypatch):
    """Seen from outside, in its log of commands."""
    ids = fill(1_000)
    take(1_000, ack=ids)
    monkeypatch.setattr("orderstream.stream.TRIM_STEP", 300)
    client.config_resetstat()
    assert patient.trim() == Trimmed(1_000, 0, None)
    assert client.info("commandstats")["cmdstat_xtrim"]["calls"] >= 4


def test_trim_keeps_what_was_given_back_with_xnack(patient, fill, take, client, settings, server_version, left):
    """Since 8.8 an entry may be pending and belong to nobody."""
    ids = fill(5)
    take(5, ack=[*ids[:2], *ids[3:]])
    give_back = ("XNACK", settings.stream, settings.group, "FAIL", "IDS", 1, ids[2])
    if server_version < (8, 8):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command(*give_back)
    else:
        client.execute_command(*give_back)
    assert needs(patient.trim()) == (settings.group, ids[2], True)
    assert left() == ids[2:]


def test_trim_keeps_what_a_group_that_was_set_back_has_before_it(patient, fill, take, client, settings, left):
    """It has entries pending that come after those it is to read again."""
    ids = fill(6)
    take(6, ack=ids[:4])
    client.xgroup_setid(settings.stream, settings.group, ids[1])
    assert needs(patient.trim()) == (settings.group, ids[2], False)
    assert left() == ids[2:]


def test_a_pending_entry_that_somebody_deleted_holds_until_it_is_claimed_away(patient, fill, take, client, settings):
    ids = fill(3)
    take(3, ack=ids[1:])
    client.xdel(settings.stream, ids[0])
    assert needs(patient.trim()) == (settings.group, ids[0], True)
    patient.ack([ids[0]])
    assert patient.trim() == Trimmed(2, 0, None)


def test_trim_works_when_the_memory_is_full(own_stream):
    """Then it is needed most."""
    own_stream.create_group()
    own_stream.add([[b"n", b"1"]] * 10)
    own_stream.ack([entry.id for entry in own_stream.read_new("a", 9, None)])
    own_stream.trim()
    own_stream.client.config_set("maxmemory", 1)
    own_stream.ack([entry.id for entry in own_stream.read_new("a", 1, None)])
    assert own_stream.trim() == Trimmed(1, 0, None)


def test_what_was_trimmed_stays_so_after_a_crash(own_server, own_stream):
    """Redis writes the steps down as what they did, not as what they might have done."""
    own_stream.create_group()
    own_stream.add([[b"n", b"1"]] * 12_345)
    own_stream.ack([entry.id for entry in own_stream.read_new("a", 12_000, None)])
    trimmed = own_stream.trim()
    before = own_stream.client.xinfo_stream(own_stream.settings.stream)
    own_server.kill()
    own_server.start()
    assert (trimmed.removed, own_stream.trim().removed) == (12_000, 0)
    after = own_stream.client.xinfo_stream(own_stream.settings.stream)
    assert [after[key] for key in ("length", "first-entry", "last-generated-id")] == [
        before[key] for key in ("length", "first-entry", "last-generated-id")
    ]


# Several groups, or none ----------------------------------------------------------------------------------


@pytest.mark.row(29)
def test_the_slowest_group_decides_and_is_named(patient, fill, take, client, settings, left):
    ids = fill(10)
    client.xgroup_create(settings.stream, "slow \xff", "0")
    take(10, ack=ids)
    assert needs(patient.trim()) == ("slow \xff", ids[0], False)
    take(7, ack=ids[:4], group="slow \xff")
    trimmed = patient.trim()
    assert (trimmed.removed, needs(trimmed)) == (4, ("slow \xff", ids[4], True))
    take(3, ack=ids, group="slow \xff")
    assert patient.trim() == Trimmed(6, 0, None)


def test_a_group_with_a_name_that_is_no_text_is_named_all_the_same(patient, fill, client, settings):
    fill(1)
    client.xgroup_create(settings.stream, b"\xff", "0")
    client.xgroup_destroy(settings.stream, settings.group)
    assert patient.trim().holder.group == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(("older", "newer"), list(combinations(IN_ORDER, 2)))
@pytest.mark.parametrize("pending", [True, False], ids=["pending", "unread"])
def test_ids_are_compared_as_the_numbers_they_are(patient, client, settings, left, older, newer, pending):
    """Whichever group is looked at first."""
    for id in (older, newer):
        client.xadd(settings.stream, {"n": 1}, id=id)
    for group, needed in (("g1", older), ("g2", newer), ("g3", older)):
        client.xgroup_create(settings.stream, group, "0" if needed == older else older)
        if pending:
            client.xreadgroup(group, "a", {settings.stream: ">"}, count=1)
    for destroyed, holder in (("g3", "g1"), ("g1", "g2")):
        client.xgroup_destroy(settings.stream, destroyed)
        expected = older if holder == "g1" else newer
        assert needs(patient.trim()) == (holder, expected, pending)
        assert left()[0] == expected


@pytest.mark.parametrize("first", ["older", "newer"])
def test_the_order_of_the_groups_does_not_matter(patient, client, settings, left, first):
    older, newer = f"{2**53}-0", f"{2**53 + 1}-0"
    for id in (older, newer):
        client.xadd(settings.stream, {"n": 1}, id=id)
    names = {"older": ("a", "b"), "newer": ("b", "a")}[first]
    for group, start in zip(names, ("0", older), strict=True):
        client.xgroup_create(settings.stream, group, start)
    assert needs(patient.trim()) == (names[0], older, False)
    assert left() == [older, newer]


def test_a_stream_of_which_the_last_possible_id_was_read_is_trimmed_too(patient, client, settings, take, left):
    patient.create_group()
    ids = [f"{LAST}-{LAST - 1}", f"{LAST}-{LAST}"]
    for id in ids:
        client.xadd(settings.stream, {"n": 1}, id=id)
    take(2, ack=ids[:1])
    assert needs(patient.trim()) == (settings.group, ids[1], True)
    assert left() == ids[1:]
    patient.ack(ids)
    assert patient.trim() == Trimmed(1, 0, None)


def test_a_stream_without_a_group_is_kept_whole(patient, fill, client, settings, left):
    ids = fill(5)
    client.xgroup_destroy(settings.stream, settings.group)
    assert patient.trim() == Trimmed(removed=0, left=5, holder=None)
    assert left() == ids


def test_a_stream_that_does_not_exist_has_nothing_to_trim(patient, client, settings):
    assert patient.trim() == Trimmed(0, 0, None)
    assert not client.exists(settings.stream)


def test_a_key_of_another_type_is_refused_and_kept(patient, client, settings):
    client.set(settings.stream, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        patient.trim()
    assert client.get(settings.stream) == b"not a stream"


# Under load -----------------------------------------------------------------------------------------------


@pytest.mark.row(29)
def test_trimming_under_load_takes_no_order_from_any_group(stream, settings, running, client, caplog, eventually):
    """Each group handles each order, also those that fail at first and come again, and in the end nothing is left."""
    orders = list(islice(random_orders(1), 3_000))
    streams = [stream, connect(replace(settings, group="second", claim_idle_ms=100))]
    handled = [set(), set()]

    def handler(mine):
        failed = set()

        def handle(order):
            if int(order.id[-1], 36) % 5 == 0 and order.id not in failed:
                failed.add(order.id)
                raise OSError("at the first time")
            mine.add(order.id)

        return handle

    consumers = [Consumer(s, handler(mine)) for s, mine in zip(streams, handled, strict=True) for _ in range(2)]
    for s in streams:
        s.create_group()
    stopping, removed = threading.Event(), []

    def keep_trimming():
        janitor = connect(settings)
        while not stopping.is_set():
            removed.append(janitor.trim().removed)
        janitor.close()

    trimming = threading.Thread(target=keep_trimming)
    trimming.start()
    try:
        with running(*consumers):
            for n in range(0, len(orders), 100):
                Producer(stream).send_many(orders[n : n + 100])
            eventually(lambda: all(s.backlog().done for s in streams), timeout_s=30)
    finally:
        stopping.set()
        trimming.join()
        streams[1].close()
    everything = {order.id for order in orders}
    assert handled == [everything, everything]
    assert "deleted from the stream" not in caplog.text
    assert sum(1 for count in removed if count) > 1
    assert sum(removed) + stream.trim().removed == len(orders)
    assert client.xlen(settings.stream) == 0
