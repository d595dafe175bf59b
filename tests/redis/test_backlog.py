"""backlog(): how much is undelivered, pending and dead-lettered, how old it is, and who holds it."""

import time

import pytest
import redis

from orderstream import Backlog
from orderstream.entries import ConsumerState
from orderstream.stream import LAST_ID

SLACK_MS = 5_000


def test_a_stream_that_does_not_exist_has_nothing_to_do(stream):
    backlog = stream.backlog()
    assert backlog == Backlog(0, 0, 0, None, None, 0, ())
    assert backlog.done


def test_a_stream_without_the_group_has_everything_to_do(stream, client, settings):
    stream.add([[b"n", b"1"], [b"n", b"2"]])
    client.xgroup_create(settings.stream, "another group", "$")
    backlog = stream.backlog()
    assert (backlog.length, backlog.lag, backlog.pending, backlog.consumers) == (2, 2, 0, ())
    assert 0 <= backlog.oldest_undelivered_s < 5
    assert not backlog.done


def test_backlog_counts_what_is_where(patient, taken, client, settings, server_version):
    first, second, third = taken(3)
    patient.ack([first.id])
    patient.dead_letter("a", second, "no")
    client.xclaim(settings.stream, settings.group, "b", 0, [third.id])
    patient.add([[b"n", b"4"], [b"n", b"5"]])
    backlog = patient.backlog()
    assert (backlog.length, backlog.pending, backlog.dead_lettered) == (5, 1, 1)
    assert backlog.lag == (None if server_version < (7, 0) else 2)
    assert [(c.name, c.pending) for c in backlog.consumers] == [("a", 0), ("b", 1)]
    assert all(isinstance(c, ConsumerState) and 0 <= c.idle_ms < SLACK_MS for c in backlog.consumers)
    assert not backlog.done


def test_backlog_of_a_group_that_has_read_the_last_id_there_is(patient, client, settings):
    """No entry fits behind it, and Redis refuses to look there."""
    client.xadd(settings.stream, {"n": 1}, id=LAST_ID)
    patient.create_group()
    (entry,) = patient.read_new("a", 1, None)
    assert patient.backlog().oldest_undelivered_s is None
    patient.ack([entry.id])
    assert patient.backlog().done


def test_backlog_knows_how_old_the_oldest_are(patient, client, settings):
    """The ids say when an entry was added."""
    now_ms = int(time.time() * 1000)
    for age_s in (90, 60, 30):
        client.xadd(settings.stream, {"n": 1}, id=f"{now_ms - age_s * 1000}-0")
    patient.create_group()
    first, _ = patient.read_new("a", 2, None)
    backlog = patient.backlog()
    assert 90 <= backlog.oldest_pending_s < 95
    assert 30 <= backlog.oldest_undelivered_s < 35
    patient.ack([first.id])
    assert 60 <= patient.backlog().oldest_pending_s < 65


def test_backlog_says_none_and_not_zero_when_the_lag_is_unknown(patient, client, settings):
    """After a deletion ahead of the group. `oldest_undelivered_s` still tells the truth."""
    _, second, _ = patient.add([[b"n", b"1"], [b"n", b"2"], [b"n", b"3"]])
    patient.create_group()
    patient.read_new("a", 1, None)
    client.xdel(settings.stream, second)
    backlog = patient.backlog()
    assert backlog.lag is None
    assert backlog.oldest_undelivered_s is not None
    assert backlog.remainder() == "some undelivered, 1 pending (a holds 1)"


def test_an_age_is_never_below_zero(patient, client, settings):
    """The clocks of two machines differ."""
    client.xadd(settings.stream, {"n": 1}, id=f"{int(time.time() * 1000) + 60_000}-0")
    assert patient.backlog().oldest_undelivered_s == 0


def test_backlog_is_done_when_all_is_delivered_and_settled(patient, taken):
    (entry,) = taken(1)
    assert not patient.backlog().done
    patient.ack([entry.id])
    assert patient.backlog().done
    assert patient.backlog().remainder() == "0 undelivered, 0 pending"


def test_backlog_survives_a_consumer_name_that_is_not_text(patient, client, settings):
    patient.create_group()
    patient.add([[b"n", b"1"]])
    client.xreadgroup(settings.group, b"\xff", {settings.stream: ">"})
    assert [c.pending for c in patient.backlog().consumers] == [1]


@pytest.mark.parametrize("wrong", ["stream", "dlq"])
def test_backlog_does_not_hide_a_key_of_the_wrong_type(stream, client, settings, wrong):
    client.set(getattr(settings, wrong), "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        stream.backlog()
