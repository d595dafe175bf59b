"""Each thing that is wrong with a Redis is found, and the fix that the finding names makes it disappear."""

import re
import shlex
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import Consumer, DeadLetterQueue, Order, OrderStream, Producer, Reject, connect
from orderstream.connection import open_client
from orderstream.doctor import Finding, Level, examine
from orderstream.doctor.server import version
from orderstream.doctor.streams import DAY_S, LAST, Stuck, stuck
from orderstream.doctor.user import is_settled, writes
from orderstream.embedded.find import redis_server
from orderstream.entries import UNOWNED
from orderstream.software import Software
from tests.process import Process

from .conftest import Server

FIGS = Order("o-1", "figs", 3)


@pytest.fixture
def serve(tmp_path, settings):
    """Start a server with such options, and connect to it."""
    started = []

    def serve(*options):
        folder = tmp_path / f"redis-{len(started)}"
        folder.mkdir()
        server = Server(folder, *options)
        started.append((server, None))
        server.start()
        stream = connect(replace(settings, redis_url=server.url))
        started[-1] = (server, stream)
        return stream

    @contextmanager
    def stopped():
        """The server that was started last does nothing."""
        process = started[-1][0].process
        process.send_signal(signal.SIGSTOP)
        yield
        process.send_signal(signal.SIGCONT)

    serve.stopped = stopped
    yield serve
    for server, stream in started:
        if stream:
            stream.close()
        server.kill()


def look(stream, subject):
    """What there is to say about *subject*, when it is one thing."""
    (finding,) = look_all(stream, subject)
    return finding


def look_all(stream, subject):
    return [finding for finding in examine(stream) if finding.subject == subject]


def levels(stream, subject):
    return {finding.level for finding in look_all(stream, subject)}


def mend(finding, client):
    """Do what the finding says, word by word."""
    commands = re.findall("`(.+?)`", finding.fix)
    assert commands, finding
    for command in commands:
        client.execute_command(*shlex.split(command))


def days_ago(days):
    return f"{int((time.time() - days * DAY_S) * 1000)}-0"


# All is well ----------------------------------------------------------------------------------------------


def test_a_redis_that_is_fit_to_keep_orders_has_no_finding_but_ok(own_stream):
    Producer(own_stream).send(FIGS)
    Consumer(own_stream, lambda order: None).drain()
    findings = examine(own_stream)
    assert {finding.level for finding in findings} == {Level.OK}, findings
    assert all(finding.found and not finding.fix for finding in findings)
    assert [finding.subject for finding in findings] == [
        "version",
        "replication",
        "replicas",
        "persistence",
        "memory",
        "eviction",
        "stream",
        "dead-letter stream",
        "last id",
        "groups",
        "dead letters",
        "writes",
        "permissions",
    ]


def test_looking_changes_nothing(own_stream):
    """Least of all what asks whether the user may add and delete."""
    Producer(own_stream).send_many([FIGS] * 3)
    own_stream.create_group()
    own_stream.read_new("a", 1, None)
    client, key = own_stream.client, own_stream.settings.stream

    def state():
        changes = client.info("persistence")["rdb_changes_since_last_save"]
        return changes, client.keys(), client.xinfo_stream(key), client.xinfo_groups(key)

    before = state()
    examine(own_stream)
    assert state() == before


def test_a_client_of_your_own_that_speaks_resp3_finds_the_same(own_stream):
    Producer(own_stream).send(FIGS)
    options = own_stream.client.connection_pool.connection_kwargs
    client = redis.Redis(port=options["port"], protocol=3, retry=Retry(NoBackoff(), 0))
    assert examine(OrderStream(client, own_stream.settings)) == examine(own_stream)
    client.close()


def test_a_redis_that_went_away_is_no_finding(own_stream, own_server):
    own_server.kill()
    with pytest.raises(redis.ConnectionError):
        examine(own_stream)


# The server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "level"),
    [("5.0.14", Level.LOSS), ("6.0.16", Level.LOSS), ("6.2.14", Level.OK), ("7.0.15", Level.OK), ("8.10.2", Level.OK)],
)
def test_a_version_before_6_2_is_too_old(number, level):
    finding = version(Software("Redis", tuple(map(int, number.split(".")))))
    assert (finding.level, number in finding.found, bool(finding.fix)) == (level, True, level is Level.LOSS)


def test_the_version_is_the_servers(stream, client):
    about = client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    assert f"{name} {about[f'{name.lower()}_version']}" in look(stream, "version").found


@pytest.mark.row(19)
def test_no_persistence_at_all_loses_every_order(serve):
    """It takes two fixes until nothing is left to say."""
    stream = serve()
    finding = look(stream, "persistence")
    assert (finding.level, "every order" in finding.found) == (Level.LOSS, True)
    mend(finding, stream.client)
    finding = look(stream, "persistence")
    assert (finding.level, "every second" in finding.found) == (Level.ADVICE, True)
    mend(finding, stream.client)
    assert look(stream, "persistence").level is Level.OK


def test_snapshots_alone_lose_minutes(serve):
    stream = serve()
    stream.client.config_set("save", "3600 1")
    finding = look(stream, "persistence")
    assert (finding.level, "snapshot" in finding.found, "every order" in finding.found) == (Level.LOSS, True, False)
    mend(finding, stream.client)
    assert look(stream, "persistence").level is Level.ADVICE


def test_an_append_only_file_that_is_never_synced_loses_half_a_minute(serve):
    stream = serve("--appendonly", "yes", "--appendfsync", "no")
    finding = look(stream, "persistence")
    assert (finding.level, "half a minute" in finding.found) == (Level.LOSS, True)
    mend(finding, stream.client)
    assert look(stream, "persistence").level is Level.ADVICE


def test_a_write_to_disk_that_failed_is_found(own_stream, own_server, eventually):
    """A folder stands where the snapshot should go."""

    def saved(status):
        return lambda: own_stream.client.info("persistence")["rdb_last_bgsave_status"] == status

    (own_server.folder / "dump.rdb").mkdir()
    own_stream.client.bgsave()
    eventually(saved("err"))
    failed, fine = look_all(own_stream, "persistence")
    assert (failed.level, "rdb_last_bgsave_status" in failed.found) == (Level.LOSS, True)
    assert fine.level is Level.OK
    (own_server.folder / "dump.rdb").rmdir()
    own_stream.client.bgsave()
    eventually(saved("ok"))
    assert look(own_stream, "persistence").level is Level.OK


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_policy_that_may_evict_the_stream_is_found(own_stream, policy):
    own_stream.client.config_set("maxmemory-policy", policy)
    finding = look(own_stream, "eviction")
    assert (finding.level, policy in finding.found) == (Level.ADVICE, True)
    own_stream.client.config_set("maxmemory", 100_000_000)
    finding = look(own_stream, "eviction")
    assert (finding.level, "100,000,000" in finding.found) == (Level.LOSS, True)
    mend(finding, own_stream.client)
    assert look(own_stream, "eviction").level is Level.OK


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_a_policy_that_evicts_what_expires_could_send_an_order_twice(own_stream, policy):
    """It evicts the memory of a producer with ``dedupe``; and a stream, if somebody made it expire."""
    client, key = own_stream.client, own_stream.settings.stream
    client.config_set("maxmemory-policy", policy)
    assert look(own_stream, "eviction").level is Level.ADVICE
    client.config_set("maxmemory", 100_000_000)
    finding = look(own_stream, "eviction")
    assert (finding.level, "an order may be in twice" in finding.found) == (Level.ADVICE, True)
    client.xadd(key, {"n": 1})
    client.expire(key, 1_000)
    finding = look(own_stream, "eviction")
    assert (finding.level, f"throw {key} away" in finding.found) == (Level.LOSS, True)
    mend(finding, client)
    assert look(own_stream, "eviction").level is Level.OK


def test_a_replica_is_no_place_to_send_orders_to(serve):
    primary = serve()
    replica = serve(*replica_of(primary))
    finding = look(replica, "replication")
    assert (finding.level, "replica" in finding.found, "primary" in finding.fix) == (Level.LOSS, True, True)
    assert look(primary, "replication").level is Level.OK
    assert look_all(replica, "replicas") == []


def replica_of(primary):
    return "--replicaof", "127.0.0.1", str(primary.client.connection_pool.connection_kwargs["port"])


def test_a_primary_that_need_not_reach_its_replicas_is_found(serve, eventually):
    primary = serve()
    finding = look(primary, "replicas")
    assert (finding.level, "only this server" in finding.found) == (Level.OK, True)
    serve(*replica_of(primary))
    eventually(lambda: levels(primary, "replicas") == {Level.ADVICE}, timeout_s=15.0)
    finding = look(primary, "replicas")
    assert "1 connected, min-replicas-to-write is not set" in finding.found
    mend(finding, primary.client)
    eventually(lambda: levels(primary, "replicas") == {Level.OK})


def test_a_replica_that_is_behind_is_found(serve, eventually):
    """It is stopped while its primary takes two megabytes of orders."""
    primary = serve("--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0")
    serve(*replica_of(primary))
    eventually(lambda: levels(primary, "replicas") == {Level.OK}, timeout_s=15.0)
    with serve.stopped():
        primary.client.xadd(primary.settings.stream, {"n": b"x" * 2_000_000})
        finding = look(primary, "replicas")
        assert (finding.level, bool(re.search(r"2,\d{3},\d{3} bytes behind", finding.found))) == (Level.LOSS, True)
    eventually(lambda: levels(primary, "replicas") == {Level.OK})


def test_a_replica_that_has_nothing_yet_is_found(serve, eventually):
    primary = serve(*"--min-replicas-to-write 0 --repl-diskless-sync yes --repl-diskless-sync-delay 60".split())
    serve(*replica_of(primary))
    eventually(lambda: "still copying everything" in look_all(primary, "replicas")[0].found)
    assert look_all(primary, "replicas")[0].level is Level.LOSS


def test_on_a_cluster_the_node_that_holds_the_stream_is_looked_at(tmp_path, settings, eventually):
    server = Server(tmp_path, *"--cluster-enabled yes --appendonly yes --appendfsync always".split())
    server.start()
    try:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            eventually(lambda: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"))
        stream = connect(replace(settings, redis_url=server.url, dlq=f"{{{settings.stream}}}-dlq"))
        findings = examine(stream)
        stream.close()
        assert {finding.level for finding in findings} == {Level.OK}, findings
    finally:
        server.kill()


# Redis refuses orders -------------------------------------------------------------------------------------


def fill_memory(stream, server):
    stream.client.config_set("maxmemory", 100_000)
    yield
    stream.client.config_set("maxmemory", 0)


def fail_to_save(stream, server):
    (server.folder / "dump.rdb").mkdir()  # where the snapshot should go
    stream.client.config_set("save", "3600 1")
    stream.client.bgsave()
    yield
    (server.folder / "dump.rdb").rmdir()
    stream.client.config_set("save", "")


def ask_for_replicas(stream, server):
    stream.client.config_set("min-replicas-to-write", 1)
    yield
    stream.client.config_set("min-replicas-to-write", 0)


def become_a_replica(stream, server):
    stream.client.replicaof("127.0.0.1", 1)
    yield
    stream.client.replicaof("NO", "ONE")


@pytest.mark.row(85)
@pytest.mark.parametrize(
    ("refuse", "code", "cause"),
    [
        (fill_memory, "OOM", "memory"),
        (fail_to_save, "MISCONF", "persistence"),
        (ask_for_replicas, "NOREPLICAS", "replicas"),
        (become_a_replica, "READONLY", "replication"),
    ],
)
def test_a_redis_that_refuses_orders_is_found_and_its_cause_is_named(
    own_stream, own_server, eventually, refuse, code, cause
):
    Producer(own_stream).send(FIGS)
    refusing = refuse(own_stream, own_server)
    next(refusing)
    eventually(lambda: look(own_stream, "writes").level is Level.BLOCKED)
    with pytest.raises(redis.ResponseError):
        Producer(own_stream).send(FIGS)
    finding = look(own_stream, "writes")
    assert finding.found.startswith(f"the server refuses every order: {code} ")
    assert finding.fix
    assert look_all(own_stream, cause)[0].level is (Level.LOSS if cause == "replication" else Level.BLOCKED)
    assert "producer, consumer, redrive, janitor, monitor" in look(own_stream, "permissions").found  # all were tried
    assert next(refusing, None) is None
    eventually(lambda: look(own_stream, "writes").level is Level.OK)
    Producer(own_stream).send(FIGS)


@pytest.mark.row(85)
def test_whoever_may_not_add_learns_the_cause_all_the_same(guest, client, own_stream, own_server):
    own_stream.client.config_set("maxmemory", 100_000)
    own_stream.client.acl_setuser("doc", enabled=True, passwords=["+pw"], commands=["+@all", "-xadd"], keys=["*"])
    url = own_server.url.replace("://", "://doc:pw@")
    stream = OrderStream(open_client(replace(own_stream.settings, redis_url=url)), own_stream.settings)
    assert look_all(stream, "writes") == []
    finding = look(stream, "memory")
    assert (finding.level, "of 100,000 bytes: the server refuses every order" in finding.found) == (Level.BLOCKED, True)
    stream.close()


@pytest.mark.row(85)
def test_a_redis_that_reads_its_data_from_disk_is_no_redis_that_went_away(own_stream, own_server, loading):
    with loading(own_server):  # for so long that it answers one question, not for all of them
        (finding,) = writes(own_stream.client, own_stream.settings)
        examine(own_stream)
        assert (finding.level, ": LOADING " in finding.found, bool(finding.fix)) == (Level.BLOCKED, True, True)


def test_a_memory_that_is_nearly_full_is_found(own_stream):
    client = own_stream.client
    assert look(own_stream, "memory").level is Level.OK
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
    finding = look(own_stream, "memory")
    assert (finding.level, "% of maxmemory" in finding.found) == (Level.ADVICE, True)
    client.config_set("maxmemory", 1_000_000_000)
    assert look(own_stream, "memory").level is Level.OK


# The stream -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subject", "name"), [("stream", "stream"), ("dead-letter stream", "dlq")])
def test_a_key_of_another_type_is_found(own_stream, subject, name):
    key = getattr(own_stream.settings, name)
    own_stream.client.set(key, "not a stream")
    finding = look(own_stream, subject)
    assert (finding.level, "it is a string" in finding.found) == (Level.LOSS, True)
    assert {finding.level for finding in examine(own_stream)} == {Level.LOSS, Level.OK}  # said once
    mend(finding, own_stream.client)
    assert look(own_stream, subject).level is Level.OK
    assert own_stream.client.get(f"{key}-old") == b"not a stream"


@pytest.mark.parametrize(("subject", "name"), [("stream", "stream"), ("dead-letter stream", "dlq")])
def test_a_key_that_expires_is_found(own_stream, subject, name):
    key = getattr(own_stream.settings, name)
    own_stream.client.xadd(key, {"n": 1})
    own_stream.client.expire(key, 1_000)
    finding = look(own_stream, subject)
    assert (finding.level, "expires" in finding.found) == (Level.LOSS, True)
    mend(finding, own_stream.client)
    assert look(own_stream, subject).level is Level.OK


@pytest.mark.row(51)
@pytest.mark.parametrize(
    ("id", "level", "says"),
    [
        (f"{LAST}-{LAST}", Level.BLOCKED, "0 entries fit"),
        (f"{LAST}-{LAST - 17}", Level.LOSS, "17 entries fit"),
        (f"{LAST}-0", Level.ADVICE, "ahead of the clock"),
        (days_ago(-100), Level.ADVICE, "100 days ahead of the clock"),
    ],
    ids=["exhausted", "nearly", "the last millisecond", "100 days"],
)
def test_a_last_id_in_the_far_future_is_found(own_stream, id, level, says):
    """Row 51: nobody can forbid a producer to choose it."""
    own_stream.create_group()
    own_stream.client.xadd(own_stream.settings.stream, {"n": 1}, id=id)
    finding = look(own_stream, "last id")
    assert (finding.level, says in finding.found) == (level, True), finding
    if says.startswith("0"):
        with pytest.raises(redis.ResponseError, match="exhausted"):
            Producer(own_stream).send(FIGS)
    mend(finding, own_stream.client)
    Producer(own_stream).send(FIGS)
    assert look(own_stream, "last id").level is Level.OK
    assert Consumer(own_stream, lambda order: None).drain() == 1


@pytest.mark.row(51)
def test_a_last_id_of_the_dead_letter_stream_in_the_far_future_is_found(own_stream):
    own_stream.create_group()
    own_stream.client.xadd(own_stream.settings.dlq, {"n": 1}, id=f"{LAST}-{LAST}")
    findings = look_all(own_stream, "last id")
    bad = findings[-1]
    assert (len(findings), bad.level) == (2, Level.BLOCKED)
    assert "then the server refuses every dead letter" in bad.found
    mend(bad, own_stream.client)
    assert look(own_stream, "last id").level is Level.OK


def test_a_stream_that_nobody_reads_is_found(own_stream):
    own_stream.client.xadd(own_stream.settings.stream, {"n": 1})
    finding = look(own_stream, "groups")
    assert (finding.level, finding.fix) == (Level.ADVICE, "start a consumer")
    own_stream.create_group()
    assert look(own_stream, "groups").level is Level.OK


@pytest.mark.row(29)
@pytest.mark.parametrize("what", ["pending", "unread"])
def test_a_dead_group_is_found(own_stream, what):
    """It keeps the stream from being trimmed, for ever."""
    client, key = own_stream.client, own_stream.settings.stream
    client.xgroup_create(key, "forgotten", "0", mkstream=True)
    client.xadd(key, {"n": 1}, id=days_ago(0.9))
    if what == "pending":
        client.xreadgroup("forgotten", "a", {key: ">"})
    assert look(own_stream, "groups").level is Level.OK
    client.delete(key)
    client.xgroup_create(key, "forgotten", "0", mkstream=True)
    client.xadd(key, {"n": 1}, id=days_ago(3))
    if what == "pending":
        client.xreadgroup("forgotten", "a", {key: ">"})
    finding = look(own_stream, "groups")
    assert (finding.level, f"forgotten has had entries {what} for 3 days" in finding.found) == (Level.ADVICE, True)
    mend(finding, client)
    own_stream.create_group()
    assert not any("forgotten" in finding.found for finding in look_all(own_stream, "groups"))


def test_each_group_is_looked_at(own_stream):
    for group in ("one", "two"):
        own_stream.client.xgroup_create(own_stream.settings.stream, group, "0", mkstream=True)
    assert [finding.found for finding in look_all(own_stream, "groups")] == ["one keeps up", "two keeps up"]


def test_an_entry_that_was_deleted_while_it_was_pending_is_found(own_stream):
    """Somebody trims behind our back. A running consumer takes it off the list."""
    client, settings = own_stream.client, own_stream.settings
    own_stream.create_group()
    Producer(own_stream).send_many([FIGS] * 3)
    own_stream.read_new("a", 1, None)
    client.xtrim(settings.stream, maxlen=2, approximate=False)
    finding = look(own_stream, "groups")
    assert (finding.level, "deleted while" in finding.found) == (Level.LOSS, True)
    Consumer(own_stream, lambda order: None).drain()
    assert look(own_stream, "groups").level is Level.OK


def test_a_group_that_has_read_the_last_possible_id_keeps_up(own_stream):
    client, settings = own_stream.client, own_stream.settings
    own_stream.create_group()
    client.xadd(settings.stream, {"n": 1}, id=f"{LAST}-{LAST}")
    own_stream.read_new("a", 1, None)
    assert look(own_stream, "groups").level is Level.OK


@pytest.mark.row(87)
def test_entries_that_nobody_touches_are_named_with_who_holds_them(stream, settings, make_due):
    ids = Producer(stream).send_many([FIGS] * 4)
    stream.create_group()
    stream.read_new("ann", 2, None)
    stream.read_new("bob", 2, None)
    assert stuck(stream.client, settings) == []
    make_due(*ids[:3])  # for an hour
    assert stuck(stream.client, settings) == [Stuck("ann", 2, ids[0]), Stuck("bob", 1, ids[2])]
    first, second = [finding for finding in look_all(stream, "groups") if finding.level is Level.ADVICE]
    assert f"ann holds 2 entries that nobody has touched for longer than a handler may run, the oldest {ids[0]}" in (
        first.found
    )
    assert "bob holds 1 entry " in second.found


@pytest.mark.row(87)
def test_a_dead_holder_is_named_although_a_thousand_retries_are_due_before(patient, client, settings):
    """Its entry is on the second page."""
    ids = Producer(patient).send_many([FIGS] * 1_100)
    patient.create_group()
    entries = [entry for _ in range(3) for entry in patient.read_new("ann", 500, None)]
    for entry in entries[:-1]:
        patient.retry("ann", entry, 0)
    for owner, some in ((UNOWNED, ids[:-1]), ("ann", ids[-1:])):
        client.xclaim(settings.stream, settings.group, owner, 0, some, idle=3_600_000, justid=True)
    held = stuck(client, patient.settings)
    assert Stuck("ann", 1, ids[-1]) in held


@pytest.mark.row(87)
def test_an_old_entry_that_a_handler_works_on_is_not_named(stream, settings, client):
    """It waited for days before it was read; its heartbeat goes on."""
    client.xadd(settings.stream, {"n": 1}, id=days_ago(0.9))
    stream.create_group()
    entries = stream.read_new("ann", 1, None)
    assert stream.heartbeat("ann", entries)
    assert stuck(stream.client, settings) == []


@pytest.mark.row(87)
def test_an_order_that_was_taken_from_a_hanging_handler_and_that_nobody_tries_again_is_named(
    settings, running, eventually
):
    hasty = connect(replace(settings, handler_timeout_ms=settings.claim_idle_ms))
    let_go = threading.Event()
    Producer(hasty).send(FIGS)
    with running(Consumer(hasty, lambda order: let_go.wait(20), "ann")):
        eventually(lambda: [held.consumer for held in stuck(hasty.client, hasty.settings)] == [UNOWNED])
        let_go.set()
        eventually(lambda: stuck(hasty.client, hasty.settings) == [])
    hasty.close()


@pytest.mark.row(95)
def test_retries_that_wait_for_a_consumer_at_work_are_not_stuck(settings, running, eventually):
    """Their turn comes later than a handler may run."""
    hasty = connect(replace(settings, claim_idle_ms=1_000, handler_timeout_ms=1_000, backoff_ms=1))
    seen = set()

    def fail_at_first(order):
        if order.id not in seen:
            seen.add(order.id)
            raise LookupError
        time.sleep(0.1)

    def overdue():
        return hasty.client.xpending_range(settings.stream, settings.group, "-", "+", 1, UNOWNED, idle=1_500)

    Producer(hasty).send_many(Order(f"o-{n}", "figs", 1) for n in range(40))
    with running(Consumer(hasty, fail_at_first)):
        eventually(overdue)
        assert stuck(hasty.client, hasty.settings) == []
    eventually(lambda: [held.consumer for held in stuck(hasty.client, hasty.settings)] == [UNOWNED])
    assert any("nobody owns " in finding.found for finding in look_all(hasty, "groups"))
    hasty.close()


def test_where_there_is_no_stream_nobody_is_stuck(stream, settings):
    assert stuck(stream.client, settings) == []


def test_dead_letters_wait_for_somebody(own_stream):
    def refuse(order):
        raise Reject("no figs left")

    Producer(own_stream).send(FIGS)
    Consumer(own_stream, refuse).drain()
    finding = look(own_stream, "dead letters")
    assert (finding.level, finding.found.startswith("1 ")) == (Level.ADVICE, True)
    queue = DeadLetterQueue(own_stream)
    queue.purge(*(letter.id for letter in queue))
    assert look(own_stream, "dead letters").level is Level.OK


# The user -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "roles"),
    [
        ("-xadd", ["producer", "consumer", "redrive"]),
        ("-xreadgroup", ["consumer"]),
        ("-xclaim", ["consumer"]),
        ("-evalsha", ["consumer", "redrive", "janitor"]),
        ("-xdel", ["redrive"]),
        ("-xtrim", ["janitor"]),
        ("-xlen", ["redrive", "janitor", "monitor"]),
    ],
)
def test_what_the_user_may_not_do_is_found(guest, client, refused, roles):
    stream = guest("+@all", refused)
    *advice, fine = look_all(stream, "permissions")
    assert [re.search(r"all that a (\w+) does$", finding.found)[1] for finding in advice] == roles
    assert {finding.level for finding in advice} == {Level.ADVICE}
    assert fine.level is Level.OK
    assert not set(roles) & set(fine.found.split(": ")[1].split(", "))
    for finding in advice:
        assert f" +{refused[1:]}" in finding.fix
        mend(finding, client)
    assert look(stream, "permissions").level is Level.OK


def test_a_key_that_the_user_may_not_touch_is_found(guest, client, settings):
    stream = guest("+@all", keys=[settings.stream])
    advice = [finding for finding in look_all(stream, "permissions") if finding.level is Level.ADVICE]
    assert len(advice) == 3  # consumer, redrive, monitor
    assert all(f"~{settings.dlq}" in finding.fix for finding in advice)
    for finding in advice:
        mend(finding, client)
    assert look(stream, "permissions").level is Level.OK


def test_who_may_do_nothing_learns_what_could_not_be_looked_at(guest, client, settings):
    """And whoever allows what the findings name can look at everything."""
    stream = guest("-@all", keys=[])
    findings = examine(stream)
    hidden = {finding.subject: finding for finding in findings if finding.level is Level.UNKNOWN}
    from_info = ["replicas", "persistence", "memory", "eviction"]
    assert list(hidden) == [*from_info, "stream", "last id", "groups", "dead letters"]
    assert look(stream, "version").level is Level.OK  # HELLO asks for no permission
    assert look(stream, "replication").level is Level.OK
    assert len(look_all(stream, "permissions")) == 5
    rules = {rule for finding in hidden.values() for rule in re.findall(r"\+\S+", finding.fix)}
    name = stream.client.connection_pool.connection_kwargs["username"]
    client.execute_command("ACL", "SETUSER", name, f"~{settings.stream}", f"~{settings.dlq}", *rules)
    assert Level.UNKNOWN not in {finding.level for finding in examine(stream)}


def test_a_managed_redis_that_hides_config_is_looked_at_all_the_same(serve):
    stream = serve("--rename-command", "CONFIG", "", "--appendonly", "yes")
    finding = look(stream, "persistence")
    assert (finding.level, "refuses to show" in finding.found) == (Level.UNKNOWN, True)
    assert look(stream, "eviction").level is Level.OK


def test_a_managed_redis_that_hides_config_and_keeps_nothing_is_found_out(serve):
    stream = serve("--rename-command", "CONFIG", "")
    assert look(stream, "persistence").level is Level.LOSS


def test_a_redis_that_hides_all_about_itself_is_no_reason_to_fail(serve):
    stream = serve(*(word for name in ("INFO", "CONFIG") for word in ("--rename-command", name, "")))
    hidden = [finding.subject for finding in examine(stream) if finding.level is Level.UNKNOWN]
    assert hidden == ["replicas", "persistence", "memory", "eviction"]


@pytest.mark.row(86)
def test_a_sentinel_takes_no_orders(tmp_path, own_server, settings, eventually):
    """It answers HELLO and PING as a Redis does."""
    (tmp_path / "sentinel.conf").touch()
    sentinel = Server(tmp_path)
    command = [redis_server(), tmp_path / "sentinel.conf", "--sentinel", "--port", str(sentinel.port)]
    process = Process([*command, "--bind", "127.0.0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    stream = OrderStream(open_client(replace(settings, redis_url=sentinel.url)), settings)

    def answers():
        try:
            return stream.client.ping()
        except redis.ConnectionError:
            return False

    eventually(answers)
    (finding,) = examine(stream)
    assert (finding.level, "a Sentinel" in finding.found) == (Level.BLOCKED, True)
    assert "primary" in finding.fix
    stream.close()
    process.kill()
    process.wait()


@pytest.mark.row(86)
@pytest.mark.parametrize(
    ("command", "roles"),
    [
        ("XADD", ["producer", "consumer", "redrive"]),
        ("XCLAIM", ["consumer"]),
        ("EVALSHA", ["consumer", "redrive", "janitor"]),
        ("SCRIPT", ["consumer", "redrive", "janitor"]),
        ("XINFO", ["consumer", "redrive", "janitor", "monitor"]),
    ],
)
def test_no_permission_is_ticked_for_a_command_that_the_server_does_not_know(serve, command, roles):
    stream = serve("--rename-command", command, "")
    *blocked, fine = look_all(stream, "permissions")
    assert [re.search(r"all that a (\w+) needs: unknown command", finding.found)[1] for finding in blocked] == roles
    assert {finding.level for finding in blocked} == {Level.BLOCKED}
    assert not set(roles) & set(fine.found.split(": ")[1].split(", "))
    assert look(stream, "writes").level is (Level.BLOCKED if command == "XADD" else Level.OK)


@pytest.mark.row(86)
def test_an_answer_that_says_nothing_about_the_permission_is_no_tick():
    assert not is_settled(redis.ResponseError("ERR this proxy does not pass it on"))
    assert is_settled(redis.exceptions.NoPermissionError("no"))
    assert is_settled(None)


def test_no_finding_holds_the_password(guest, settings):
    stream = guest("-@all", keys=[])
    assert ":pw@" in stream.settings.redis_url
    assert not any("pw" in text for finding in examine(stream) for text in (finding.found, finding.fix, repr(finding)))


def test_a_finding_is_a_value():
    assert Finding("a", Level.OK, "b") == Finding("a", Level.OK, "b", fix="")
    assert f"{Level.LOSS}" == "orders could be lost"
