"""
A server of its own for an experiment, and what lesson 03 says of one that dies and of one that is full.

Each test runs on the server under test: a Redis or a Valkey.
"""

import subprocess

import pytest
import redis

from orderstream import lab
from orderstream.embedded.find import redis_server
from orderstream.lab import server
from orderstream.software import software_of
from tests.process import Process

AS_IT_COMES = {
    "save": "3600 1 300 100 60 10000",
    "appendonly": "no",
    "appendfsync": "everysec",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
}


@pytest.fixture
def own(lesson):
    """A server beside that of the lesson, with a group on an empty stream."""
    started = lab.OwnServer()
    started.client.xgroup_create("orders", "order_group", "0", mkstream=True)
    yield started
    started.close()


def add(client, first, last):
    for n in range(first, last + 1):
        client.xadd("orders", {"item": "tea"}, id=f"{n}-0")


def look(client):
    """Entries, and for each group what it has pending."""
    if not client.exists("orders"):
        return 0, {}
    return client.xlen("orders"), {group["name"]: group["pending"] for group in client.xinfo_groups("orders")}


def test_it_is_not_the_one_of_the_lesson_and_leaves_nothing(lesson, scratch):
    """An experiment may kill it and fill it up, also if you named a server of yours."""
    own, before = lab.OwnServer(), scratch.folders()
    assert own.url != server.current().url
    own.client.config_set("maxmemory-policy", "allkeys-lru")
    own.restart()
    assert lesson.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    own.close()
    assert len(scratch.folders()) == len(before) - 1


def test_a_redis_as_it_comes_makes_snapshots_now_and_then_and_has_no_limit(scratch, eventually):
    """What the lesson calls so: nobody configured it."""
    socket = scratch / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(scratch)]
    with Process([redis_server(), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as started:
        eventually(socket.exists)
        with redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
            found = {name: client.config_get(name)[name] for name in AS_IT_COMES}
        started.kill()
    assert found == AS_IT_COMES


def test_a_killed_redis_has_what_its_last_snapshot_had(own):
    """Without one: nothing, and the group is gone, too."""
    own.client.config_set("save", AS_IT_COMES["save"])
    add(own.client, 1, 60)
    own.client.save()
    add(own.client, 61, 100)
    own.client.xreadgroup("order_group", "ann", {"orders": ">"}, count=10)
    own.restart()
    assert look(own.client) == (60, {"order_group": 0})


def test_a_redis_that_is_killed_before_its_first_snapshot_has_nothing(own):
    own.client.config_set("save", AS_IT_COMES["save"])
    add(own.client, 1, 100)
    own.restart()
    assert look(own.client) == (0, {})


def test_a_killed_redis_with_an_aof_has_all_that_it_answered(own):
    """Also what is pending, although the disk was due only a second later."""
    own.keep_log(True)
    assert own.client.config_get("appendfsync")["appendfsync"] == "everysec"
    add(own.client, 1, 100)
    own.client.xreadgroup("order_group", "ann", {"orders": ">"}, count=10)
    own.restart()
    assert look(own.client) == (100, {"order_group": 10})


@pytest.mark.parametrize("sync", ["everysec", "always"])
def test_the_disk_has_an_answered_order_at_once_or_within_a_second(own, sync):
    """
    WAITAOF tells, on a Redis from 8.0 on. A Valkey 9.1 says yes before the disk has it, as Redis 7.4 did
    (https://github.com/redis/redis/pull/13793), although it, too, writes once a second. So lesson 03 asks for 8.0.
    """
    own.keep_log(True)
    own.client.config_set("appendfsync", sync)
    if software_of(own.client).level < (7, 2):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            own.client.waitaof(1, 0, 1)
        return
    add(own.client, 1, 1)
    own.client.waitaof(1, 0, 3_000)
    add(own.client, 2, 2)
    says_yes = own.client.waitaof(1, 0, 1)[0] == 1
    assert says_yes == (sync == "always" or software_of(own.client).level < (8, 0))


@pytest.mark.parametrize(
    ("policy", "left", "refused"),
    [
        ("noeviction", (24_000, {"order_group": 10}), 90),
        ("volatile-lru", (24_000, {"order_group": 10}), 90),
        ("allkeys-lru", (90, {}), 0),
        ("allkeys-random", (90, {}), 0),
    ],
)
def test_a_full_redis_refuses_or_takes_the_stream_away(own, policy, left, refused):
    """A stream is one key, and goes as a whole: its groups and what is pending with it."""
    with own.client.pipeline(transaction=False) as pipe:
        add(pipe, 1, 24_000)
        pipe.execute()
    own.client.xreadgroup("order_group", "ann", {"orders": ">"}, count=10)
    own.client.config_set("lazyfree-lazy-eviction", "no")
    own.client.config_set("maxmemory-policy", policy)
    own.client.config_set("maxmemory", own.client.info("memory")["used_memory"] - 100_000)
    said_no = 0
    for _ in range(90):
        try:
            own.client.xadd("orders", {"item": "tea"})
        except redis.OutOfMemoryError:
            said_no += 1
    assert (look(own.client), said_no) == (left, refused)
