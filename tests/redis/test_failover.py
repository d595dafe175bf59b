"""Redis moves behind an address that stays, and we follow."""

import threading
import time
from contextlib import closing

import pytest
import redis

from orderstream import Consumer, Producer, Settings, connect, random_orders
from orderstream.connection import Trouble, trouble
from tests.redis.conftest import Server
from tests.redis.front import Front
from tests.redis.handlers import ORDERS, Record

RECOVERY_S = 5.0  # what docs/contract.md promises


class Pair:
    """A primary and its replica, each reached directly, and the address that leads to the primary."""

    def __init__(self, folder, eventually):
        self.servers = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            self.servers.append(Server(folder / name, "--repl-diskless-sync-delay", "0"))
            self.servers[-1].start()
        self.old, self.new = (redis.Redis(port=server.port, protocol=2) for server in self.servers)
        self.new.replicaof("127.0.0.1", self.servers[0].port)
        eventually(lambda: self.new.info("replication")["master_link_status"] == "up", timeout_s=20)
        self.front = Front(self.servers[0].port)
        self.eventually = eventually

    def fail_over(self):
        """As managed services do: nothing acknowledged is lost, and no connection is closed."""
        self.old.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
        written = self.old.info("replication")["master_repl_offset"]
        self.eventually(lambda: self.new.info("replication")["slave_repl_offset"] >= written, timeout_s=20)
        self.new.replicaof("NO", "ONE")
        self.front.leads_to = self.servers[1].port
        self.old.replicaof("127.0.0.1", self.servers[1].port)
        self.old.execute_command("CLIENT", "UNPAUSE")

    def close(self):
        self.front.close()
        for client, server in zip((self.old, self.new), self.servers, strict=True):
            client.close()
            server.kill()


@pytest.fixture
def pair(tmp_path, eventually):
    pair = Pair(tmp_path, eventually)
    yield pair
    pair.close()


@pytest.fixture
def moving(pair):
    """A stream at the address, with the production defaults of every timer."""
    with closing(connect(Settings(redis_url=pair.front.url))) as stream:
        yield stream


def send_until(enough, stream, sent):
    """Send an order every 20 ms. What was refused is sent again."""
    for order in random_orders(1):
        while not enough.wait(0.02):
            try:
                Producer(stream).send(order)
                sent.append(order.id)
                break
            except redis.RedisError as error:
                if trouble(error) is not Trouble.OUTAGE:
                    raise
        if enough.is_set():
            return


@pytest.mark.row(70)
@pytest.mark.parametrize("consumer_is", ["busy", "idle"])
def test_orders_flow_again_within_seconds_of_a_failover_behind_a_stable_address(
    pair, moving, running, eventually, consumer_is, record_property
):
    """With the production defaults of every timer. An idle consumer waits in a read when its server is demoted."""
    handler, sent, enough = Record(), [], threading.Event()
    sender = threading.Thread(target=send_until, args=(enough, moving, sent), daemon=True)
    with running(Consumer(moving, handler)):
        if consumer_is == "busy":
            sender.start()
            eventually(lambda: len(handler.runs) > 20)
            pair.fail_over()
        else:
            eventually(lambda: pair.old.info("clients")["blocked_clients"])
            pair.fail_over()
            sender.start()
        began, before = time.monotonic(), len(handler.runs)
        eventually(lambda: len(handler.runs) > before + 20, timeout_s=30)
        took_s = time.monotonic() - began
        enough.set()
        sender.join()
        eventually(lambda: set(sent) <= set(handler.runs))
    record_property("orders flow again after, in seconds", round(took_s, 2))
    print(f"orders flow again after {took_s:.2f} s")
    assert took_s < RECOVERY_S
    assert pair.new.xlen("orders") >= len(sent)


@pytest.mark.row(70)
def test_idle_connections_to_a_demoted_server_are_closed_too(pair, moving):
    """A thread that sends for the first time in a while is not refused once more."""
    pool = moving.client.connection_pool
    for connection in [pool.get_connection() for _ in range(5)]:
        pool.release(connection)
    pair.fail_over()
    with pytest.raises(redis.ReadOnlyError):
        Producer(moving).send(ORDERS[0])
    Producer(moving).send_many(ORDERS[:5])
    assert pair.new.xlen("orders") == 5
    assert pair.front.connections == 5 + 1


@pytest.mark.row(70)
def test_a_demotion_that_only_a_script_was_told_of_is_followed(pair, moving, eventually):
    """Redis 6.2 hides the code in the text of the script's error."""
    moving.create_group()
    Producer(moving).send(ORDERS[0])
    entries = moving.read_new("a", 1, None)
    pair.fail_over()
    refused = []

    def release():
        try:
            return moving.release("a", entries) == 1
        except redis.ResponseError as error:
            refused.append(trouble(error))

    eventually(release)
    # While a demoted server takes all data anew from its primary, it has none: no group either.
    assert [kind for kind in refused if kind is not Trouble.NO_GROUP] == [Trouble.OUTAGE]


def unmet(client):
    client.config_set("min-replicas-to-write", 1)


def masterless(client):
    client.config_set("replica-read-only", "no")  # else a write is refused with READONLY
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", 1)


@pytest.mark.row(70)
@pytest.mark.parametrize(
    ("lose_its_place", "code"), [(unmet, "NOREPLICAS"), (masterless, "MASTERDOWN")], ids=["NOREPLICAS", "MASTERDOWN"]
)
def test_a_server_that_may_have_lost_its_place_is_left(own_server, lose_its_place, code):
    """A primary cut off from its replicas refuses to write, while one of them takes its place behind the address."""
    front = Front(own_server.port)
    with closing(connect(Settings(redis_url=front.url))) as stream, redis.Redis(port=own_server.port) as outside:
        lose_its_place(outside)
        before = front.connections
        for n in range(3):
            with pytest.raises(redis.RedisError) as caught:
                Producer(stream).send(ORDERS[0])
            assert code in f"{caught.value} {getattr(caught.value, 'status_code', '')}"
            assert front.connections == before + n
    front.close()


@pytest.mark.row(70)
def test_a_server_that_only_loads_its_data_is_left(own_server, loading):
    """For how long nobody knows, and a replica that took its place has them in memory."""
    front = Front(own_server.port)
    with closing(connect(Settings(redis_url=front.url))) as stream:
        with loading(own_server), pytest.raises(redis.exceptions.BusyLoadingError):
            Producer(stream).send(ORDERS[0])
        before = front.connections
        Producer(stream).send(ORDERS[0])
        assert front.connections == before + 1
    front.close()


@pytest.mark.row(70)
def test_a_refusal_that_has_nothing_to_do_with_the_place_keeps_the_connection(own_server, own_stream):
    """A full memory is full behind a new connection, too."""
    connection = own_stream.client.client_id()
    own_stream.client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(own_stream).send(ORDERS[0])
    assert own_stream.client.client_id() == connection
