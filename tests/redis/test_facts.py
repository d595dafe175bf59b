"""
What Redis and redis-py do, without us: each fact that the core is built on, one test each.

Where a server version differs, the test says how. If one of these fails on a new Redis, the design must be looked at.
"""

import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LONG_AGO_MS = 3_600_000
JUST_NOW_MS = 5_000


@pytest.fixture
def key(settings):
    return settings.stream


@pytest.fixture
def one_pending(client, key):
    """The id of an entry that consumer "a" was given, long ago."""
    id = client.xadd(key, {"n": 1})
    client.xgroup_create(key, "g", "0")
    client.xreadgroup("g", "a", {key: ">"})
    client.xclaim(key, "g", "a", 0, [id], idle=LONG_AGO_MS, justid=True)
    return id


def clocks(client, key):
    """Idle time and delivery count of the only pending entry."""
    (row,) = client.xpending_range(key, "g", "-", "+", 10)
    return row["time_since_delivered"], row["times_delivered"]


# What moves the two clocks of a pending entry


def test_a_first_delivery_counts_one_and_starts_the_idle_clock(client, key):
    client.xadd(key, {"n": 1})
    client.xgroup_create(key, "g", "0")
    client.xreadgroup("g", "a", {key: ">"})
    idle_ms, count = clocks(client, key)
    assert (idle_ms < JUST_NOW_MS, count) == (True, 1)


def test_reading_new_entries_does_not_touch_the_pending_ones(client, key, one_pending):
    client.xreadgroup("g", "a", {key: ">"})
    idle_ms, count = clocks(client, key)
    assert (idle_ms >= LONG_AGO_MS, count) == (True, 1)


def test_reading_ones_own_history_counts_and_resets_the_clock(client, key, one_pending):
    """So a consumer that reads `0` after a crash spends an attempt of every batch-mate. Ours never does."""
    client.xreadgroup("g", "a", {key: "0"})
    idle_ms, count = clocks(client, key)
    assert (idle_ms < JUST_NOW_MS, count) == (True, 2)


def test_claiming_counts_and_resets_the_clock(client, key, one_pending):
    client.xclaim(key, "g", "b", 0, [one_pending])
    idle_ms, count = clocks(client, key)
    assert (idle_ms < JUST_NOW_MS, count) == (True, 2)


def test_claiming_automatically_counts_and_resets_the_clock(client, key, one_pending):
    client.xautoclaim(key, "g", "b", 0)
    idle_ms, count = clocks(client, key)
    assert (idle_ms < JUST_NOW_MS, count) == (True, 2)


def test_claiming_with_justid_resets_the_clock_and_does_not_count(client, key, one_pending):
    """This is the heartbeat."""
    client.xclaim(key, "g", "a", 0, [one_pending], justid=True)
    idle_ms, count = clocks(client, key)
    assert (idle_ms < JUST_NOW_MS, count) == (True, 1)


@pytest.mark.parametrize("idle_ms", [0, 20_000])
def test_claiming_with_idle_sets_the_clock_and_does_not_count_with_justid(client, key, one_pending, idle_ms):
    """This is the delayed retry."""
    client.xclaim(key, "g", "a", 0, [one_pending], idle=idle_ms, justid=True)
    now_ms, count = clocks(client, key)
    assert (idle_ms <= now_ms < idle_ms + JUST_NOW_MS, count) == (True, 1)


@pytest.mark.parametrize("justid", [True, False])
@pytest.mark.parametrize("count", [0, 7])
def test_claiming_with_retrycount_sets_the_count(client, key, one_pending, justid, count):
    """This is the release: the delivery is not counted."""
    client.xclaim(key, "g", "a", 0, [one_pending], retrycount=count, justid=justid)
    assert clocks(client, key)[1] == count


def test_an_idle_time_below_zero_counts_as_zero(client, key, one_pending):
    """So nothing can be delayed for longer than claim_idle_ms."""
    client.xclaim(key, "g", "a", 0, [one_pending], idle=-50_000, justid=True)
    assert clocks(client, key)[0] < JUST_NOW_MS


def test_an_idle_time_that_is_not_whole_is_refused(client, key, one_pending):
    with pytest.raises(redis.ResponseError, match="Invalid IDLE"):
        client.execute_command("XCLAIM", key, "g", "a", 0, one_pending, "IDLE", 1.5, "JUSTID")


def test_a_claim_needs_no_consumer_to_exist_and_asks_nobody(client, key, one_pending):
    """XCLAIM has no fence: only a script can check the owner first."""
    assert client.xclaim(key, "g", "thief", 0, [one_pending], justid=True) == [one_pending]


# What becomes of entries


def test_reading_removes_nothing_and_acking_removes_nothing_from_the_stream(client, key, one_pending):
    assert client.xack(key, "g", one_pending) == 1
    assert client.xlen(key) == 1


def test_acking_twice_answers_zero_and_no_error(client, key, one_pending):
    assert [client.xack(key, "g", one_pending), client.xack(key, "g", one_pending)] == [1, 0]


def test_acking_where_no_stream_is_answers_zero_and_no_error(client, key, one_pending):
    """The only command of a consumer that does not say NOGROUP."""
    client.delete(key)
    assert client.xack(key, "g", one_pending) == 0


@pytest.mark.parametrize("gone", ["stream", "group"])
def test_reading_and_looking_say_nogroup_when_stream_or_group_are_gone(client, key, one_pending, gone):
    if gone == "stream":
        client.delete(key)
    else:
        client.xgroup_destroy(key, "g")
    for ask in (
        lambda: client.xreadgroup("g", "a", {key: ">"}),
        lambda: client.xpending_range(key, "g", "-", "+", 1),
        lambda: client.xclaim(key, "g", "a", 0, [one_pending]),
    ):
        with pytest.raises(redis.ResponseError, match=r"^NOGROUP"):
            ask()


def test_deleting_a_consumer_forgets_what_it_had_pending(client, key, one_pending):
    """Those orders are never delivered again: leave only with nothing pending."""
    assert client.xgroup_delconsumer(key, "g", "a") == 1
    assert client.xpending(key, "g")["pending"] == 0
    assert not client.xreadgroup("g", "b", {key: ">"})


def test_a_pending_entry_that_was_trimmed_away_stays_pending(client, key, one_pending):
    client.xtrim(key, maxlen=0, approximate=False)
    assert client.xpending(key, "g")["pending"] == 1


def test_claiming_a_trimmed_entry_drops_it_since_7_0_and_never_before(client, key, one_pending, server_version):
    client.xdel(key, one_pending)
    claimed = client.execute_command("XCLAIM", key, "g", "b", 0, one_pending)
    still = client.xpending(key, "g")["pending"]
    if server_version < (7, 0):
        assert (len(claimed), still) == (1, 1)
        assert clocks(client, key)[1] == 2, "and its count goes up each time"
    else:
        assert (claimed, still) == ([], 0)


def test_a_group_made_at_dollar_misses_what_was_there_before(client, key):
    client.xadd(key, {"n": 1})
    client.xgroup_create(key, "at-dollar", "$")
    client.xgroup_create(key, "at-zero", "0")
    assert not client.xreadgroup("at-dollar", "a", {key: ">"})
    assert client.xreadgroup("at-zero", "a", {key: ">"})


def test_the_lag_is_unknown_before_7_0_and_after_a_deletion_ahead_of_the_group(client, key, server_version):
    _, second, _ = (client.xadd(key, {"n": n}) for n in range(3))
    client.xgroup_create(key, "g", "0")
    client.xreadgroup("g", "a", {key: ">"}, count=1)
    (group,) = client.xinfo_groups(key)
    assert group.get("lag") == (None if server_version < (7, 0) else 2)
    client.xdel(key, second)
    (group,) = client.xinfo_groups(key)
    assert group.get("lag") is None


def test_more_values_than_lua_can_unpack_are_refused(client, key):
    """So a dead letter with thousands of fields is packed into one."""
    script = "local t = {} for i = 1, %d do t[i] = 'x' end return redis.call('XADD', KEYS[1], '*', unpack(t))"
    assert client.eval(script % 7980, 1, key)
    with pytest.raises(redis.ResponseError, match="too many results to unpack"):
        client.eval(script % 8200, 1, key)


def test_an_entry_given_back_with_xnack_has_no_owner_and_an_idle_time_below_zero(
    client, key, one_pending, server_version
):
    """Since 8.8. Whoever looks for suspects by idle time alone never sees it."""
    if server_version < (8, 8):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("XNACK", key, "g", "FAIL", "IDS", 1, one_pending)
        return
    client.execute_command("XNACK", key, "g", "FAIL", "IDS", 1, one_pending)
    (row,) = client.xpending_range(key, "g", "-", "+", 1)
    assert (row["consumer"], row["time_since_delivered"]) == (b"", -1)


# Why the move to the dead-letter stream is a script


def test_multi_acks_even_when_the_add_failed(client, key, one_pending):
    """MULTI does not undo: the order is in neither place."""
    client.set(f"{key}-dlq", "not a stream")
    moving = client.pipeline(transaction=True).xadd(f"{key}-dlq", {"n": 1}).xack(key, "g", one_pending)
    refused, acked = moving.execute(raise_on_error=False)
    assert isinstance(refused, redis.ResponseError)
    assert acked == 1
    assert client.xpending(key, "g")["pending"] == 0


@pytest.mark.parametrize(("order", "pending"), [("add, then ack", 1), ("ack, then add", 0)])
def test_a_script_stops_at_an_error_and_keeps_what_it_did_before(client, key, one_pending, order, pending):
    """So the order of the two matters: what is acked first is lost."""
    client.set(f"{key}-dlq", "not a stream")
    add = "redis.call('XADD', KEYS[2], '*', 'n', '1')"
    ack = "redis.call('XACK', KEYS[1], 'g', ARGV[1])"
    script = f"{add} {ack}" if order == "add, then ack" else f"{ack} {add}"
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.eval(script, 2, key, f"{key}-dlq", one_pending)
    assert client.xpending(key, "g")["pending"] == pending


@pytest.mark.parametrize(
    ("expression", "reply"),
    [
        ("{KEYS[1], ARGV[1], ARGV[2]}", [b"orders", b"1-0", b"3"]),
        ("ARGV[2] == 3", None),
        ("ARGV[2] ~= 3", 1),
        ("tonumber(ARGV[2]) == 3", 1),
        ("0 and 'yes' or 'no'", b"yes"),
        ("nil and 'yes' or 'no'", b"no"),
        ("redis.call('GET', 'nothing') == false", 1),
    ],
)
def test_lua_gets_texts_and_a_text_is_no_number(client, expression, reply):
    """So a script that compares a delivery count with ARGV without `tonumber` never finds them equal."""
    assert client.eval(f"return {expression}", 1, "orders", "1-0", 3) == reply


# Where the time goes


def test_redis_works_far_longer_for_an_order_than_its_xadd_takes_and_a_batch_saves_that_too(client, key):
    """`INFO commandstats` counts the command alone. `INFO cpu` also counts reading, answering and waking up."""

    def spent_us():
        cpu, command = client.info("cpu"), client.info("commandstats").get("cmdstat_xadd", {"usec": 0})
        return 1e6 * (cpu["used_cpu_user"] + cpu["used_cpu_sys"]), command["usec"]

    def adds(size):
        cpu_us, command_us = spent_us()
        for _ in range(0, 2_000, size):
            pipe = client.pipeline(transaction=False)
            for _ in range(size):
                pipe.xadd(key, {"n": 1})
            pipe.execute()
        after_cpu_us, after_command_us = spent_us()
        return after_cpu_us - cpu_us, after_command_us - command_us

    alone_us, command_us = adds(1)
    batched_us, _ = adds(100)
    assert command_us < alone_us / 4
    assert batched_us < alone_us / 2


# Why the client is made by us


def test_what_the_default_client_waits_and_repeats_is_that_of_redis_py_8():
    """
    5 s and ten retries. Lessons 01 and 06 say so with the version: before 8.0 it waits for ever; 6 and 7 repeat three
    times, 5 not at all. A client of `from_url` repeats nothing in any of them.
    """
    assert redis.__version__.startswith("8.")
    with redis.Redis() as plain, redis.Redis.from_url("redis://localhost") as by_url:
        assert plain.get_retry().get_retries() == 10
        assert by_url.get_retry() is None
        for made in (plain, by_url):
            assert made.connection_pool.make_connection().socket_timeout == 5


def test_the_default_client_sends_an_xadd_again_when_its_reply_is_lost(client, key, link):
    """One call, no error, two entries."""
    with redis.Redis(port=link.port) as careless:
        careless.ping()
        link.lose_reply("XADD")
        careless.xadd(key, {"n": 1})
    assert client.xlen(key) == 2


def test_the_default_client_of_redis_py_8_waits_5_s_and_repeats_ten_times():
    """Lesson 01 says so. Of 5 to 7 it says what was measured there: no timeout, and 0 to 3 repetitions."""
    assert redis.__version__.startswith("8.")
    default = redis.Redis()
    assert default.get_connection_kwargs()["socket_timeout"] == 5
    assert default.get_retry().get_retries() == 10
    by_url = redis.Redis.from_url("redis://localhost").connection_pool.make_connection()
    assert (by_url.socket_timeout, by_url.retry.get_retries()) == (5, 0)


def test_a_client_without_retries_sends_it_once_and_says_so(client, key, link):
    with redis.Redis(port=link.port, retry=Retry(NoBackoff(), 0)) as careful:
        careful.ping()
        link.lose_reply("XADD")
        with pytest.raises(redis.ConnectionError):
            careful.xadd(key, {"n": 1})
    assert client.xlen(key) == 1


def test_a_wrong_password_is_a_kind_of_connection_error_to_redis_py():
    """So it must be looked for first, or it is retried for ever."""
    assert issubclass(redis.AuthenticationError, redis.ConnectionError)


def test_a_client_that_decodes_fails_on_one_bad_byte_after_the_whole_batch_was_delivered(client, key):
    client.xadd(key, {"n": b"\xff"})
    client.xadd(key, {"n": 1})
    client.xgroup_create(key, "g", "0")
    options = client.connection_pool.connection_kwargs
    with redis.Redis(host=options["host"], port=options["port"], decode_responses=True) as decoding:
        with pytest.raises(UnicodeDecodeError):
            decoding.xreadgroup("g", "a", {key: ">"})
        assert decoding.xpending(key, "g")["pending"] == 2


def test_a_read_that_blocks_longer_than_the_socket_timeout_is_cut(client, key):
    options = client.connection_pool.connection_kwargs
    client.xgroup_create(key, "g", "0", mkstream=True)
    one_try = Retry(NoBackoff(), 0)
    with redis.Redis(host=options["host"], port=options["port"], socket_timeout=0.1, retry=one_try) as hasty:
        hasty.ping()
        with pytest.raises(redis.TimeoutError):
            hasty.xreadgroup("g", "a", {key: ">"}, block=2000)


def test_a_blocked_read_wakes_up_with_the_first_entry(client, key, settings, eventually):
    """So a long BLOCK costs no latency."""
    client.xgroup_create(key, "g", "0", mkstream=True)
    got = []

    def read():
        with redis.Redis.from_url(settings.redis_url) as reader:
            got.append((reader.xreadgroup("g", "a", {key: ">"}, block=4000), time.monotonic()))

    reading = threading.Thread(target=read)
    reading.start()
    eventually(lambda: client.info("clients")["blocked_clients"] == 1)
    added = time.monotonic()
    client.xadd(key, {"n": 1})
    reading.join()
    entries, woken = got[0]
    assert entries
    assert woken - added < 2
