"""The Lua scripts: fenced by owner and attempt, unharmed by a second call, and loaded again when Redis forgot them."""

import pytest
import redis
from msgspec.structs import replace

from orderstream.connection import Trouble, trouble
from orderstream.entries import Entry


@pytest.fixture
def entry(patient):
    """An entry in the hand of consumer "a", at attempt 1."""
    patient.create_group()
    patient.add([[b"n", b"1"]])
    return patient.read_new("a", 1, None)[0]


SETTLEMENTS = {
    "heartbeat": lambda stream, who, entry: stream.heartbeat(who, [entry]),
    "retry": lambda stream, who, entry: stream.retry(who, entry, 0),
    "defer": lambda stream, who, entry: stream.defer(who, entry, 0),
    "release": lambda stream, who, entry: stream.release(who, [entry]),
    "dead_letter": lambda stream, who, entry: stream.dead_letter(who, entry, "no"),
}
settlements = pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)


@settlements
def test_the_owner_at_its_attempt_may_settle(patient, entry, settle):
    assert settle(patient, "a", entry)


@settlements
def test_who_does_not_own_the_entry_changes_nothing(patient, entry, settle, pending):
    before = pending()[entry.id]
    assert not settle(patient, "b", entry)
    owner, idle_ms, count = pending()[entry.id]
    assert (owner, count) == (before[0], before[2])
    assert idle_ms >= before[1]
    assert patient.backlog().dead_lettered == 0


@settlements
def test_a_consumer_that_was_overtaken_changes_nothing(patient, entry, settle, make_due, pending):
    """It slept, somebody else claimed the entry, it woke up."""
    make_due(entry.id)
    patient.claim("b", "-", 16)
    assert not settle(patient, "a", entry)
    assert (pending()[entry.id][0], pending()[entry.id][2]) == ("b", 2)
    assert patient.backlog().dead_lettered == 0


@settlements
def test_an_older_attempt_of_the_same_consumer_changes_nothing(patient, entry, settle, make_due, pending):
    """It slept, and its own loop claimed the entry again: the name alone is no fence."""
    make_due(entry.id)
    assert patient.claim("a", "-", 16).entry.attempt == 2
    make_due(entry.id)
    assert not settle(patient, "a", entry)
    assert (pending()[entry.id][1] >= 3_600_000, pending()[entry.id][2]) == (True, 2)
    assert patient.backlog().dead_lettered == 0


@settlements
def test_a_settled_entry_stays_settled(patient, entry, settle, pending):
    patient.ack([entry.id])
    assert not settle(patient, "a", entry)
    assert pending() == {}
    assert patient.backlog().dead_lettered == 0


def test_a_late_ack_still_counts(patient, entry, make_due):
    """The work is done: repeating it helps nobody."""
    make_due(entry.id)
    patient.claim("b", "-", 16)
    assert patient.ack([entry.id]) == 1


def test_one_entry_that_was_lost_does_not_keep_the_others_from_their_heartbeat(patient, entry, make_due):
    patient.add([[b"n", b"2"]])
    other = patient.read_new("a", 1, None)[0]
    make_due(other.id)
    stranger = Entry("1-0", [], 1)
    assert patient.heartbeat("a", [stranger, replace(entry, attempt=9), other]) == {other.id}


@pytest.mark.row(31)
def test_scripts_that_redis_forgot_are_loaded_again(patient, client, entry, make_due):
    """After SCRIPT FLUSH, a restart, or on a replica that was promoted."""
    for forget_and in (
        lambda: patient.claim("a", "-", 16).cursor == "-",
        lambda: patient.heartbeat("a", [entry]) == {entry.id},
        lambda: patient.release("a", [entry]) == 1,
        lambda: patient.claim("a", "-", 16).entry == entry,
        lambda: patient.redrive(patient.dead_letter("a", entry, "no"), entry.fields),
        lambda: patient.leave("a"),
    ):
        client.script_flush()
        assert forget_and()


def test_an_ack_that_travels_in_front_of_a_forgotten_script_is_not_lost(patient, client, entry, pending):
    client.script_flush()
    patient.claim("a", "-", 16, ack=[entry.id])
    assert pending() == {}


@pytest.mark.row(23)
def test_a_dead_letter_key_of_the_wrong_type_leaves_the_entry_pending(patient, client, settings, entry, pending):
    client.set(settings.dlq, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        patient.dead_letter("a", entry, "no")
    assert pending()[entry.id][0] == "a"


@pytest.mark.row(22, 77)
def test_a_full_memory_refuses_nothing_that_lets_it_be_freed(own_stream):
    """Under noeviction Redis refuses what adds. A group, an ack and a dead letter are on the way to a trim."""
    own_stream.add([[b"n", b"1"], [b"n", b"2"]])
    own_stream.client.config_set("maxmemory", 1)
    own_stream.create_group()
    own_stream.create_group()
    first, second = own_stream.read_new("a", 2, None)
    assert own_stream.ack([second.id]) == 1
    assert own_stream.dead_letter("a", first, "no")
    assert own_stream.trim().removed == 2
    ((_, fields),) = own_stream.dead_letters("-", 1)
    assert fields[:2] == [b"n", b"1"]


@pytest.mark.row(23, 77)
def test_a_full_memory_and_a_dead_letter_key_of_the_wrong_type_leave_the_entry_pending(own_stream):
    own_stream.create_group()
    own_stream.add([[b"n", b"1"]])
    (entry,) = own_stream.read_new("a", 1, None)
    own_stream.client.set(own_stream.settings.dlq, "not a stream")
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        own_stream.dead_letter("a", entry, "no")
    (pending,) = own_stream.client.xpending_range(own_stream.settings.stream, own_stream.settings.group, "-", "+", 9)
    assert pending["message_id"].decode() == entry.id


def test_a_group_at_a_key_of_the_wrong_type_is_refused(stream, client, settings):
    client.set(settings.stream, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        stream.create_group()


@pytest.mark.row(22)
def test_a_full_memory_refuses_a_redrive_and_the_dead_letter_stays(own_stream):
    """A redrive frees nothing: the order would only wait again."""
    own_stream.create_group()
    own_stream.add([[b"n", b"1"]])
    (entry,) = own_stream.read_new("a", 1, None)
    id = own_stream.dead_letter("a", entry, "no")
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory") as caught:
        own_stream.redrive(id, [b"n", b"1"])
    assert trouble(caught.value) is Trouble.OUTAGE
    own_stream.client.config_set("maxmemory", 0)
    assert own_stream.redrive(id, [b"n", b"1"])


def test_a_missing_permission_for_the_dead_letter_stream_leaves_the_entry_pending(guest, settings, entry, pending):
    """As for a user who may only touch the stream itself."""
    limited = guest("+@all", keys=[settings.stream])
    with pytest.raises(redis.ResponseError) as caught:
        limited.dead_letter("a", entry, "no")
    assert trouble(caught.value) is Trouble.FATAL
    assert list(pending()) == [entry.id]
