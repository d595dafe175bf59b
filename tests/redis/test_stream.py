"""One method of OrderStream after the other, looked at from outside with plain redis-py."""

import time
from dataclasses import replace

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import DeadLetterQueue, Order, OrderStream, Settings, connect
from orderstream.connection import PIECE, ReplyLost, open_client
from orderstream.deadletter import NotRedriven
from orderstream.entries import METADATA, Entry

SLACK_MS = 5_000
FAR = 30_000  # claim_idle_ms of `patient`


# Connecting


def test_connect_answers_only_when_redis_does(settings):
    with pytest.raises(redis.ConnectionError):
        connect(replace(settings, redis_url="redis://127.0.0.1:1"))


def test_connect_reads_the_environment(settings, monkeypatch):
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("ORDERSTREAM_STREAM", settings.stream)
    stream = connect()
    assert (stream.settings.stream, stream.backlog().length) == (settings.stream, 0)
    stream.close()


def test_a_wrong_password_fails_at_connecting_and_is_not_repeated(settings):
    with pytest.raises(redis.AuthenticationError) as caught:
        connect(replace(settings, redis_url=settings.redis_url.replace("redis://", "redis://nobody:s3cret@")))
    assert "s3cret" not in str(caught.value)


def test_a_user_who_may_not_ping_got_an_answer_all_the_same(guest):
    assert guest("+xadd").add([[b"n", b"1"]])


def test_the_repr_names_the_stream_and_no_url():
    settings = Settings(redis_url="redis://:s3cret@localhost")
    with open_client(settings) as client:
        assert repr(OrderStream(client, settings)) == "OrderStream('orders', group='order_group')"


# Adding


def test_add_answers_with_one_id_for_each_entry_in_order(stream, client, settings):
    ids = stream.add([[b"n", b"1"], [b"n", b"2", b"n", b"3"]])
    assert [id for id, _ in client.xrange(settings.stream)] == ids


def test_add_keeps_every_byte(patient, taken):
    (entry,) = taken([b"\xff\x00", b"\r\n", b"same", b"1", b"same", b"2", b"", b""])
    assert entry.fields == [b"\xff\x00", b"\r\n", b"same", b"1", b"same", b"2", b"", b""]


def test_add_says_for_each_entry_whether_redis_refused_it(stream):
    good, bad = stream.add([[b"n", b"1"], [b"a name without a value"]])
    assert isinstance(good, bytes)
    assert isinstance(bad, redis.ResponseError)


def test_a_lost_reply_is_said_with_the_replies_that_came(linked_stream, link, client, settings):
    link.lose_reply("XADD", skip=1)
    with pytest.raises(ReplyLost) as caught:
        linked_stream.add([[b"n", b"1"], [b"n", b"2"]])
    assert client.xlen(settings.stream) == 2
    assert caught.value.replies == [client.xrange(settings.stream)[0][0]]


def test_add_sends_more_than_fits_into_one_piece(stream, client, settings):
    bodies = [[b"data", b"x" * PIECE * 3], [b"n", b"1"], [b"data", b"y" * PIECE]]
    stream.add(bodies)
    assert [[*fields.popitem()] for _, fields in client.xrange(settings.stream)] == bodies


def test_a_refused_entry_in_the_middle_leaves_the_connection_as_it_was(stream):
    """All replies are read before anybody looks at them: the next command gets its own."""
    connection = stream.client.client_id()
    good, bad, also_good = stream.add([[b"n", b"1"], [b"a name without a value"], [b"n", b"2"]])
    assert (type(good), type(bad), type(also_good)) == (bytes, redis.ResponseError, bytes)
    assert stream.client.client_id() == connection


def test_an_error_in_front_is_raised_when_the_replies_behind_it_are_read(guest, stream):
    """An ack that is refused, and a read that is not."""
    (id,) = stream.add([[b"n", b"1"]])
    stream.create_group()
    user = guest("+@all", "-xack")
    connection = user.client.client_id()
    with pytest.raises(redis.exceptions.NoPermissionError, match="xack"):
        user.read_new("a", 1, None, ack=[id.decode()])
    assert user.client.client_id() == connection
    assert user.backlog().pending == 1


@pytest.mark.parametrize("failure", [KeyboardInterrupt, redis.exceptions.InvalidResponse, OSError])
def test_any_other_failure_in_the_middle_closes_the_connection(stream, client, settings, monkeypatch, failure):
    """Replies are on the way, and nobody may take them for those to the next command."""
    connection = stream.client.client_id()
    read, calls = redis.Connection.read_response, []

    def fail_at_the_second(self, **options):
        calls.append(self)
        if len(calls) == 2:
            raise failure
        return read(self, **options)

    monkeypatch.setattr(redis.Connection, "read_response", fail_at_the_second)
    with pytest.raises((failure, ReplyLost)):
        stream.add([[b"n", b"1"], [b"n", b"2"], [b"n", b"3"]])
    monkeypatch.undo()
    assert len(calls) == 2
    assert stream.client.client_id() != connection
    assert stream.add([[b"n", b"4"]]) == [client.xrevrange(settings.stream, count=1)[0][0]]


def test_a_reply_that_comes_too_late_is_never_taken_for_the_next_one(settings):
    """A read that timed out leaves its reply on the way; the connection must not be used again."""
    hasty = redis.Redis.from_url(settings.redis_url, socket_timeout=0.15, retry=Retry(NoBackoff(), 0))
    stream = OrderStream(hasty, replace(settings, block_ms=100))
    stream.create_group()
    with pytest.raises(ReplyLost):
        stream.read_new("a", 1, 250)
    assert stream.backlog().length == 0
    stream.add([[b"n", b"1"]])
    assert stream.read_new("a", 1, None)
    hasty.close()


# Reading


def test_create_group_begins_at_the_first_entry(stream, settings):
    """What was added before the first consumer came is work too."""
    stream.add([[b"n", b"1"]])
    stream.create_group()
    assert len(stream.read_new("a", 10, None)) == 1


def test_create_group_twice_changes_nothing(stream):
    stream.create_group()
    stream.add([[b"n", b"1"]])
    stream.read_new("a", 1, None)
    stream.create_group()
    assert not stream.read_new("a", 1, None)
    assert stream.backlog().pending == 1


def test_create_group_ignores_no_other_error(stream, client, settings):
    client.set(settings.stream, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        stream.create_group()


def test_read_new_gives_the_oldest_entries_at_attempt_one(stream, pending):
    ids = [id.decode() for id in stream.add([[b"n", b"1"], [b"n", b"2"], [b"n", b"3"]])]
    stream.create_group()
    entries = stream.read_new("a", 2, None)
    assert entries == [Entry(ids[0], [b"n", b"1"], 1), Entry(ids[1], [b"n", b"2"], 1)]
    assert {id: row[0] for id, row in pending().items()} == {ids[0]: "a", ids[1]: "a"}


def test_read_new_never_gives_an_entry_twice(stream):
    stream.create_group()
    stream.add([[b"n", b"1"], [b"n", b"2"]])
    first, second = stream.read_new("a", 1, None), stream.read_new("b", 1, None)
    assert first[0].id != second[0].id
    assert stream.read_new("a", 1, None) == []


def test_read_new_waits_as_long_as_asked_and_no_longer(stream):
    stream.create_group()
    began = time.monotonic()
    assert stream.read_new("a", 1, None) == []
    at_once = time.monotonic() - began
    began = time.monotonic()
    assert stream.read_new("a", 1, 100) == []
    assert at_once < 0.1 <= time.monotonic() - began < 2


def test_read_new_acks_on_the_way(stream, pending):
    ids = [id.decode() for id in stream.add([[b"n", b"1"], [b"n", b"2"], [b"n", b"3"]])]
    stream.create_group()
    stream.read_new("a", 2, None)
    (entry,) = stream.read_new("a", 1, None, ack=[ids[0]])
    assert entry.id == ids[2]
    assert list(pending()) == ids[1:]


def test_read_new_says_nogroup(stream):
    with pytest.raises(redis.ResponseError, match=r"^NOGROUP"):
        stream.read_new("a", 1, None)


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_replies_mean_the_same_in_both_protocols(settings, client, protocol):
    """RESP3 brings maps where RESP2 brings lists. Ours speaks RESP2; a client of your own may not."""
    options = client.connection_pool.connection_kwargs
    one_try = Retry(NoBackoff(), 0)
    own = redis.Redis(host=options["host"], port=options["port"], protocol=protocol, retry=one_try)
    stream = OrderStream(own, settings)
    stream.create_group()
    stream.add([Order("o", "tea", 1).to_fields()])
    (entry,) = stream.read_new("a", 1, None)
    assert Order.from_fields(entry.fields) == Order("o", "tea", 1)
    assert stream.read_new("a", 1, None) == []
    stream.release("a", [entry])
    assert stream.claim("b", "-", 16).entry == entry
    assert [(c.name, c.pending) for c in stream.backlog().consumers] == [("a", 0), ("b", 1)]
    own.close()


# Claiming


def test_claim_takes_nothing_before_it_is_due(patient, taken):
    taken(1)
    found = patient.claim("b", "-", 16)
    assert (found.entry, found.cursor) == (None, "-")
    assert FAR - SLACK_MS < found.soonest_ms <= FAR


def test_claim_takes_one_suspect_and_not_its_neighbours(patient, taken, make_due, pending):
    """A message that kills its process must not take others with it."""
    ids = [entry.id for entry in taken(3)]
    make_due(*ids)
    assert patient.claim("b", "-", 16).entry.id == ids[0]
    assert [(row[0], row[2]) for row in pending().values()] == [("b", 2), ("a", 1), ("a", 1)]


def test_claim_goes_on_behind_the_entry_it_took(patient, taken, make_due):
    ids = [entry.id for entry in taken(3)]
    make_due(*ids)
    cursor, claimed = "-", []
    for _ in ids:
        found = patient.claim("b", cursor, 16)
        cursor = found.cursor
        claimed.append(found.entry.id)
    assert claimed == ids
    assert patient.claim("b", cursor, 16).entry is None


def test_claim_looks_at_one_page_and_says_where_to_go_on(patient, taken, make_due):
    entries = taken(5)
    make_due(entries[4].id)
    found = [patient.claim("b", "-", 2)]
    while found[-1].cursor != "-":
        found.append(patient.claim("b", found[-1].cursor, 2))
    assert [f.cursor for f in found] == [f"({entries[1].id}", f"({entries[3].id}", f"({entries[4].id}", "-"]
    assert [f.entry.id if f.entry else None for f in found] == [None, None, entries[4].id, None]


def test_claim_gives_the_number_of_the_attempt_and_the_fields(patient, taken, make_due):
    (entry,) = taken([b"\xff", b"1"])
    for attempt in (2, 3, 4):
        make_due(entry.id)
        assert patient.claim("b", "-", 16).entry == Entry(entry.id, [b"\xff", b"1"], attempt)


def test_claim_says_when_the_next_entry_becomes_due(patient, taken, make_due):
    first, second, _ = taken(3)
    make_due(first.id, idle_ms=FAR - 20_000)
    make_due(second.id, idle_ms=FAR - 10_000)
    assert 10_000 - SLACK_MS < patient.claim("b", "-", 16).soonest_ms <= 10_000


def test_claim_on_nothing_pending_has_nothing_to_say(patient):
    patient.create_group()
    found = patient.claim("b", "-", 16)
    assert (found.entry, found.cursor, found.lost, found.soonest_ms) == (None, "-", (), FAR)


@pytest.mark.row(15)
@pytest.mark.parametrize("how", ["deleted", "trimmed"])
def test_claim_names_pending_entries_that_are_gone_and_clears_them_away(
    patient, taken, make_due, client, settings, pending, how
):
    ids = [entry.id for entry in taken(3)]
    make_due(*ids)
    if how == "deleted":
        client.xdel(settings.stream, *ids[:2])
    else:
        client.xtrim(settings.stream, minid=ids[2], approximate=False)
    found = patient.claim("b", "-", 16)
    assert (found.lost, found.entry.id) == (tuple(ids[:2]), ids[2])
    assert list(pending()) == [ids[2]]


def test_claim_acks_on_the_way_before_it_looks(patient, taken, make_due, pending):
    first, second = taken(2)
    make_due(first.id, second.id)
    assert patient.claim("b", "-", 16, ack=[first.id]).entry.id == second.id
    assert list(pending()) == [second.id]


def test_claim_does_not_hide_that_the_ack_was_refused(guest, taken):
    """Else the orders would be handled again, and at last be dead-lettered although they succeeded."""
    (entry,) = taken(1)
    stream = guest("+@all", "-xack")
    with pytest.raises(redis.exceptions.NoPermissionError):
        stream.claim("a", "-", 16, ack=[entry.id])


def test_claim_says_nogroup(stream):
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        stream.claim("a", "-", 16)


@pytest.mark.parametrize(("mode", "attempt"), [("SILENT", 1), ("FAIL", 2), ("FATAL", 1_000_000_000)])
def test_claim_sees_what_another_program_gave_back_with_xnack(
    patient, taken, client, settings, server_version, mode, attempt
):
    """Since 8.8. Such an entry is due at once, and our fence still closes around it."""
    (entry,) = taken(1)
    give_back = ("XNACK", settings.stream, settings.group, mode, "IDS", 1, entry.id)
    if server_version < (8, 8):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command(*give_back)
        return
    client.execute_command(*give_back)
    claimed = patient.claim("b", "-", 16).entry
    assert claimed.attempt == attempt
    assert patient.heartbeat("b", [claimed]) == {entry.id}
    assert patient.dead_letter("b", claimed, "no")


# Settling


def test_ack_settles_and_the_second_time_is_harmless(patient, taken):
    ids = [entry.id for entry in taken(2)]
    assert [patient.ack(ids), patient.ack(ids)] == [2, 0]
    assert patient.backlog().done


def test_heartbeat_sets_the_idle_clock_back_and_does_not_count(patient, taken, make_due, pending):
    entries = taken(2)
    make_due(*(entry.id for entry in entries))
    assert patient.heartbeat("a", entries) == {entry.id for entry in entries}
    assert all(idle_ms < SLACK_MS and count == 1 for _, idle_ms, count in pending().values())


def test_heartbeat_names_only_what_is_still_held(patient, taken, make_due):
    lost, acked, held = taken(3)
    make_due(lost.id)
    patient.claim("b", "-", 16)
    patient.ack([acked.id])
    assert patient.heartbeat("a", [lost, acked, held]) == {held.id}


def test_retry_is_due_after_the_delay_and_counts(patient, taken, pending):
    (entry,) = taken(1)
    assert patient.retry("a", entry, 1_000)
    ((_, idle_ms, count),) = pending().values()
    assert (FAR - 1_000 <= idle_ms < FAR - 1_000 + SLACK_MS, count) == (True, 1)


def test_defer_is_due_after_the_delay_and_does_not_count(patient, taken, pending):
    (entry,) = taken(1)
    assert patient.defer("a", entry, 1_000)
    ((_, idle_ms, count),) = pending().values()
    assert (FAR - 1_000 <= idle_ms < FAR - 1_000 + SLACK_MS, count) == (True, 0)
    assert not patient.defer("a", Entry(entry.id, entry.fields, 0), 0)  # nobody has it now, so nobody can settle it


def test_an_entry_that_was_deferred_comes_again_at_the_same_attempt(patient, taken):
    (entry,) = taken(1)
    assert patient.defer("a", entry, 0)
    found = patient.claim("b", "-", 16)
    assert (found.entry.attempt, found.left_by) == (1, None)


@pytest.mark.row(10)
@pytest.mark.parametrize("method", ["retry", "defer"])
def test_no_delay_is_longer_than_claim_idle_ms(patient, taken, pending, method):
    (entry,) = taken(1)
    assert getattr(patient, method)("a", entry, 10 * FAR)
    ((_, idle_ms, _),) = pending().values()
    assert idle_ms < SLACK_MS


def test_release_makes_entries_due_now_and_does_not_count(patient, taken, pending):
    entries = taken(3)
    assert patient.release("a", entries) == 3
    assert all(idle_ms >= FAR and count == 0 for _, idle_ms, count in pending().values())
    assert patient.claim("b", "-", 16).entry == entries[0]


# Dead letters


def test_dead_letter_moves_the_original_bytes_and_appends_six_pairs(patient, taken, client, settings):
    body = [b"\xff\x00", b"\xfe", b"same", b"1", b"same", b"2", b"", b""]
    (entry,) = taken(body)
    before_ms = int(time.time() * 1000)
    dead_id = patient.dead_letter("a", entry, "sold out")
    ((id, fields),) = patient.dead_letters("-", 10)
    assert (id, fields[: len(body)]) == (dead_id, body)
    about = fields[len(body) :]
    assert about[::2] == [name.encode() for name in METADATA]
    assert about[1:10:2] == [settings.stream.encode(), settings.group.encode(), entry.id.encode(), b"1", b"sold out"]
    assert before_ms <= int(about[11]) <= time.time() * 1000
    assert client.xpending(settings.stream, settings.group)["pending"] == 0


def test_dead_letter_twice_makes_one_dead_letter(patient, taken):
    """As when the first reply was lost."""
    (entry,) = taken(1)
    assert patient.dead_letter("a", entry, "no")
    assert patient.dead_letter("a", entry, "no") is None
    assert patient.backlog().dead_lettered == 1


@pytest.mark.parametrize("count", [2_000, 2_001, 3_990])
def test_an_entry_with_thousands_of_fields_goes_there_and_back(patient, taken, count):
    body = [b"%d" % n for n in range(2 * count)]
    (entry,) = taken(body)
    dead_id = patient.dead_letter("a", entry, "too much")
    assert DeadLetterQueue(patient).redrive(dead_id)
    assert patient.read_new("a", 1, None)[0].fields == body


def test_an_entry_with_more_fields_than_can_come_back_stays_a_dead_letter(patient, taken):
    (entry,) = taken([b"%d" % n for n in range(2 * 4_100)])
    dead_id = patient.dead_letter("a", entry, "too much")
    with pytest.raises(NotRedriven, match="has 4100 fields, and a script can add 3990 at most"):
        DeadLetterQueue(patient).redrive(dead_id)
    assert patient.backlog().dead_lettered == 1


def test_dead_letters_come_in_pages(patient, taken):
    for entry in taken(3):
        patient.dead_letter("a", entry, "no")
    first, second = patient.dead_letters("-", 2)
    assert [patient.dead_letters(f"({second[0]}", 2)[0][1][1], first[1][1]] == [b"2", b"0"]
    assert patient.dead_letters("-", 0) == []


def test_there_are_no_dead_letters_before_the_first(stream):
    assert stream.dead_letters("-", 10) == []


@pytest.mark.row(32)
def test_redrive_puts_back_the_original_fields_as_a_new_entry(patient, taken):
    body = [b"\xff", b"1", b"same", b"1", b"same", b"2"]
    (entry,) = taken(body)
    (new_id,) = DeadLetterQueue(patient).redrive(patient.dead_letter("a", entry, "no"))
    assert new_id != entry.id
    assert patient.read_new("a", 1, None) == [Entry(new_id, body, 1)]
    assert patient.backlog().dead_lettered == 0


def test_redrive_twice_puts_back_one_entry(patient, taken):
    (entry,) = taken(1)
    dead_id = patient.dead_letter("a", entry, "no")
    assert DeadLetterQueue(patient).redrive(dead_id)
    assert DeadLetterQueue(patient).redrive(dead_id) == []
    assert patient.backlog().length == 2


@pytest.mark.row(40)
def test_redrive_strips_the_metadata_by_its_place_and_not_by_its_name(patient, taken):
    body = [item for name in METADATA for item in (name.encode(), b"mine")]
    (entry,) = taken(body)
    DeadLetterQueue(patient).redrive(patient.dead_letter("a", entry, "no"))
    assert patient.read_new("a", 1, None)[0].fields == body


@pytest.mark.row(32)
@pytest.mark.parametrize("fields", [{"data": "x"}, {"dlq-stream": "only this"}, {str(n): n for n in range(9)}])
def test_redrive_keeps_an_entry_of_another_program_whole(patient, client, settings, fields):
    foreign = client.xadd(settings.dlq, fields)
    DeadLetterQueue(patient).redrive(foreign.decode())
    ((_, put_back),) = client.xrange(settings.stream)
    assert put_back == {str(k).encode(): str(v).encode() for k, v in fields.items()}


def test_redrive_leaves_the_dead_letter_where_it_is_when_the_stream_refuses_it(patient, client, settings):
    foreign = client.xadd(settings.dlq, {"data": "x"})
    client.set(settings.stream, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        DeadLetterQueue(patient).redrive(foreign.decode())
    assert client.xlen(settings.dlq) == 1


def test_a_dead_letter_whose_entry_was_deleted_before_has_nothing_to_put_back(patient, taken, client, settings):
    """It is kept, for the person who looks."""
    (entry,) = taken(1)
    client.xdel(settings.stream, entry.id)
    dead_id = patient.dead_letter("a", entry, "no")
    with pytest.raises(NotRedriven, match="no fields to put back"):
        DeadLetterQueue(patient).redrive(dead_id)
    assert patient.backlog().dead_lettered == 1


def test_purge_deletes_and_says_how_many_there_were(patient, taken):
    ids = [patient.dead_letter("a", entry, "no") for entry in taken(3)]
    assert [patient.purge(ids[:2]), patient.purge(ids[:2])] == [2, 0]
    assert patient.backlog().dead_lettered == 1


# Leaving


def test_leave_removes_a_consumer_that_holds_nothing(patient, taken):
    (entry,) = taken(1)
    patient.ack([entry.id])
    assert patient.leave("a")
    assert patient.backlog().consumers == ()


@pytest.mark.row(28)
def test_leave_keeps_a_consumer_that_holds_something(patient, taken, pending):
    """Deleting it would forget its orders for ever."""
    (entry,) = taken(1)
    assert not patient.leave("a")
    assert list(pending()) == [entry.id]


def test_leave_removes_nobody_else(patient, taken):
    (entry,) = taken(1)
    patient.ack([entry.id])
    assert not patient.leave("b")
    assert [c.name for c in patient.backlog().consumers] == ["a"]
