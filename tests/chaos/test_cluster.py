"""
On three real masters that share 16384 slots. Row 24 of the fault list.

A stream lives in one slot, and with its slot it may move to another master.
"""

import contextlib
import json
import socket
import threading
import time
from dataclasses import replace
from itertools import count

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import TryAgainError
from redis.retry import Retry

from orderstream import (
    Consumer,
    DeadLetterQueue,
    Order,
    OrderStream,
    Producer,
    Reject,
    SendUnknown,
    Settings,
    connect,
    random_orders,
)
from orderstream import cluster as module
from orderstream.cluster import exchange_in_cluster
from orderstream.connection import Trouble, trouble
from orderstream.errors import ConfigError
from tests.chaos.places import IDS, ORDERS, one_line
from tests.redis.conftest import Server
from tests.redis.front import Front

SLOTS = 16384
HIGHEST_PORT = 55_000  # the masters talk to each other on the port 10,000 above
ONE_TRY = Retry(NoBackoff(), 0)


def free_port():
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        if port < HIGHEST_PORT:
            return port


class Cluster:
    """Masters that share the slots, each a process that may be killed."""

    def __init__(self, folder, masters=3):
        self.folder = folder
        self.nodes = []
        for _ in range(masters):
            self.add_node()
        for n, node in enumerate(self.nodes):
            ours = range(SLOTS * n // masters, SLOTS * (n + 1) // masters)
            self.tell(node, "SET-CONFIG-EPOCH", n + 1)
            self.tell(node, "ADDSLOTS", *ours)
            self.meet(node)
        self.wait_until_it_works()

    def add_node(self):
        folder = self.folder / f"node-{len(self.nodes)}"
        folder.mkdir()
        node = Server(folder, *"--cluster-enabled yes --cluster-node-timeout 2000 --repl-diskless-sync-delay 0".split())
        node.port = free_port()
        node.start()
        node.client = redis.Redis(port=node.port, protocol=2, retry=ONE_TRY)
        node.id = self.tell(node, "MYID").decode()
        self.nodes.append(node)
        return node

    def tell(self, node, *command):
        return node.client.execute_command("CLUSTER", *command)

    def meet(self, node):
        self.tell(node, "MEET", "127.0.0.1", self.nodes[0].port)

    def alive(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def wait_until_it_works(self):
        deadline = time.monotonic() + 30
        while not all(self.works(node) for node in self.alive()):
            assert time.monotonic() < deadline, [self.tell(node, "NODES") for node in self.alive()]
            time.sleep(0.05)

    def works(self, node):
        known = self.tell(node, "NODES").decode().splitlines()
        return b"cluster_state:ok" in self.tell(node, "INFO") and len(known) == len(self.nodes)

    def owner(self, key):
        """Each node knows its own slots at once, and those of others after a while."""
        return next(node for node in self.alive() if self.owns(node, key_slot(key.encode())))

    def owns(self, node, slot):
        return any(
            first <= slot <= last and port == node.port
            for first, last, (_, port, *_), *_ in self.tell(node, "SLOTS")
        )

    def start_moving(self, key, source, target):
        slot = key_slot(key.encode())
        self.tell(target, "SETSLOT", slot, "IMPORTING", source.id)
        self.tell(source, "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, key, source, target):
        while keys := self.tell(source, "GETKEYSINSLOT", key_slot(key.encode()), 10):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def finish_moving(self, key, source, target):
        for node in (target, source):
            self.tell(node, "SETSLOT", key_slot(key.encode()), "NODE", target.id)

    def move_away(self):
        """Kill every node, and start it elsewhere."""
        for node in self.nodes:
            node.client.close()
            node.kill()
        for node in self.nodes:
            node.port = free_port()
            node.start()
            node.client = redis.Redis(port=node.port, protocol=2, retry=ONE_TRY)
            self.meet(node)
        self.wait_until_it_works()

    def close(self):
        for node in self.nodes:
            node.client.close()
            node.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three masters, each with a third of the slots."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


numbers = count(1)


@pytest.fixture
def settings(cluster):
    """A stream of this test's own, and its dead-letter stream in the same slot."""
    return on(cluster.nodes[0])


def on(node):
    name = f"orders-{next(numbers)}"
    times = {"claim_idle_ms": 300, "backoff_ms": 20, "block_ms": 100}
    return Settings(redis_url=node.url, stream=name, dlq=f"{{{name}}}-dlq", **times)


@pytest.fixture
def stream(settings):
    """The package's way to the cluster."""
    stream = connect(settings)
    yield stream
    stream.close()


@pytest.fixture
def masters(cluster, settings):
    """The master that has the stream, and one that does not."""
    source = cluster.owner(settings.stream)
    return source, next(node for node in cluster.nodes if node is not source)


@pytest.mark.row(24)
def test_an_order_lives_its_whole_life_on_a_cluster(stream):
    """Sent, abandoned and claimed, retried, dead-lettered, redriven."""
    handled, failed, refuse = [], set(), {IDS[3]}

    def handler(order):
        if order.id in refuse:
            raise Reject("not today")
        if order.id == IDS[4] and order.id not in failed:
            failed.add(order.id)
            raise RuntimeError("once")
        handled.append(order.id)

    Producer(stream).send_many(ORDERS)
    stream.create_group()
    assert len(stream.read_new("dead", 5, None)) == 5
    backlog = stream.backlog()
    assert (backlog.length, backlog.pending, [c.name for c in backlog.consumers]) == (60, 5, ["dead"])
    consumer = Consumer(stream, handler)
    consumer.drain()
    assert sorted(handled) == sorted({*IDS} - refuse)
    queue = DeadLetterQueue(stream)
    assert [(letter.reason, letter.deliveries) for letter in queue.list()] == [("not today", 2)]
    refuse.clear()
    assert queue.redrive_all() == 1
    consumer.drain()
    assert (handled[-1], stream.backlog().done, queue.list()) == (IDS[3], True, [])


def test_the_commands_work_on_a_cluster(settings, run):
    code, _, said = run(settings, "produce", "--count", 1000)
    assert (code, "Sent 1,000 orders" in said) == (0, True)
    code, printed, _ = run(settings, "consume", "--until-idle", 0.2)
    assert (code, len(printed.splitlines())) == (0, 1000)
    code, printed, _ = run(settings, "status", "--json")
    assert code == 0
    assert (json.loads(printed)["length"], json.loads(printed)["pending"]) == (1000, 0)
    assert run(settings, "dlq", "list") == (0, "", f"0 of 0 dead letters in {settings.dlq}.\n")


@pytest.mark.row(24)
def test_a_dead_letter_stream_in_another_slot_is_refused_at_start(settings, run):
    """Row 24: no script may work on two slots."""
    apart = replace(settings, dlq=f"{settings.stream}-dlq")
    with pytest.raises(ConfigError, match="different slots"):
        connect(apart)
    for command in ("produce", "consume", "status"):
        code, _, said = run(apart, command)
        assert code == 1
        assert one_line(said).endswith(f"set ORDERSTREAM_DLQ={{{settings.stream}}}-dlq\n")


def test_the_default_names_are_told_which_name_to_use(cluster):
    with pytest.raises(ConfigError, match=r"set ORDERSTREAM_DLQ=\{orders\}-dlq"):
        connect(Settings(redis_url=cluster.nodes[0].url))


def test_a_stream_with_a_hash_tag_needs_no_other_name(cluster):
    connect(Settings(redis_url=cluster.nodes[0].url, stream="{shop}:orders")).close()


def test_a_cluster_client_of_your_own_is_taken(cluster, settings):
    with RedisCluster(port=cluster.nodes[2].port, host="127.0.0.1", retry=ONE_TRY) as own:
        stream = OrderStream(own, settings)
        assert Producer(stream).send_many(ORDERS)
        assert Consumer(stream, lambda order: None).drain() == len(ORDERS)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "use retry=Retry"),
        ({"retry": ONE_TRY, "decode_responses": True}, "use decode_responses=False"),
        ({"retry": ONE_TRY, "socket_timeout": 0.05}, "use 5.1 s or more"),
    ],
    ids=["sends again", "decodes", "cuts"],
)
def test_a_cluster_client_that_does_not_fit_is_refused(cluster, settings, options, advice):
    own = RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, **options)
    with own, pytest.raises(ConfigError, match=advice):
        OrderStream(own, settings)


def test_a_cluster_client_of_your_own_does_not_make_two_slots_one(cluster, settings):
    own = RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, retry=ONE_TRY)
    with own, pytest.raises(ConfigError, match="different slots"):
        OrderStream(own, replace(settings, dlq=f"{settings.stream}-dlq"))


def test_a_user_who_may_not_ask_where_the_stream_is_is_told_so(cluster, settings):
    """What docs/operate.md adds to every role on a cluster: each of the two rules is needed, and they are enough."""
    user = replace(settings, redis_url=settings.redis_url.replace("://", "://till-1:pw@"))

    def allow(*rules):
        for node in cluster.nodes:
            node.client.execute_command("ACL", "SETUSER", "till-1", *rules)

    allow("reset", "on", ">pw", f"~{settings.stream}", "+xadd")
    with pytest.raises(redis.exceptions.NoPermissionError, match="'cluster"):
        connect(user)
    allow("+cluster|slots")
    with pytest.raises(redis.exceptions.NoPermissionError, match="'command"):
        connect(user)
    allow("+command")
    with contextlib.closing(connect(user)) as stream:
        assert Producer(stream).send(ORDERS[0])
    for node in cluster.nodes:
        node.client.acl_deluser("till-1")


@pytest.mark.parametrize("name", ["a{b", "{x}y", "a}b{c}"])
def test_a_producer_with_deduplication_takes_every_name_that_is_taken(cluster, settings, name):
    """Before 8.6 the key that remembers an order stands beside the stream, in its slot."""
    dlq = f"{name}-dlq" if "}" in name else f"{{{name}}}-dlq"
    with contextlib.closing(connect(replace(settings, stream=name, dlq=dlq))) as stream:
        assert Producer(stream, dedupe="till-1").send(ORDERS[0]) == Producer(stream, dedupe="till-1").send(ORDERS[0])
        assert stream.backlog().length == 1


def test_a_client_of_one_node_is_refused_before_it_has_taken_an_order(stream, settings, masters):
    """It would work, until the slot moves or an order fails."""
    Producer(stream).send_many(ORDERS)
    own = redis.Redis(port=masters[0].port, retry=ONE_TRY)
    with own, pytest.raises(ConfigError, match=r"orderstream\.connect\(\) or a redis\.cluster\.RedisCluster"):
        Consumer(OrderStream(own, settings), print).step()
    assert stream.backlog().pending == 0


def test_a_producer_that_knows_only_another_node_is_told_at_once(settings, masters):
    """MOVED would be the answer for ever: this is no outage."""
    with redis.Redis(port=masters[1].port, retry=ONE_TRY) as own, pytest.raises(redis.RedisError) as caught:
        Producer(OrderStream(own, settings)).send(ORDERS[0])
    assert trouble(caught.value) is Trouble.FATAL


def test_the_url_of_a_cluster_has_no_option_that_would_be_ignored(settings):
    """redis-py drops on a cluster what it does not know, such as a list of ciphers."""
    with pytest.raises(ConfigError, match="takes no health_check_interval"):
        connect(replace(settings, redis_url=f"{settings.redis_url}?health_check_interval=5"))


def test_only_the_commands_that_did_not_run_are_sent_to_the_new_owner(cluster, stream, settings, masters, eventually):
    """The slot moves between two commands of one write."""
    source, target = masters
    key, slot = settings.stream, key_slot(settings.stream.encode())
    Producer(stream).send(ORDERS[0])
    cluster.start_moving(key, source, target)
    add = [("XADD", key, "*", *order.to_fields()) for order in ORDERS[1:]]
    move = ("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    commands = [*add[:10], move, ("WAIT", 1, 1500), *add[10:]]  # WAIT: time enough to give the slot away
    replies = []
    pipeline = threading.Thread(target=lambda: replies.extend(exchange_in_cluster(stream.client, key, commands)))
    pipeline.start()
    eventually(lambda: cluster.tell(target, "COUNTKEYSINSLOT", slot) == 1)
    cluster.finish_moving(key, source, target)
    pipeline.join()
    assert replies[10:12] == [b"OK", 0]
    entries = target.client.xrange(key)
    assert [id for id, _ in entries][1:] == replies[:10] + replies[12:]
    assert [fields[b"data"] for _, fields in entries] == [order.to_fields()[1] for order in ORDERS]


def test_what_was_added_is_known_although_the_new_owner_cannot_be_found(
    cluster, stream, settings, masters, eventually, monkeypatch
):
    """The slot moves between two commands of one write, and then no node has it for a moment."""
    source, target = masters
    key, slot = settings.stream, key_slot(settings.stream.encode())
    Producer(stream).send(ORDERS[0])
    cluster.start_moving(key, source, target)
    move = ("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    add = [("XADD", key, "*", *order.to_fields()) for order in ORDERS[1:3]]
    exchange, replies = module._exchange_with_owner, []

    def lose_the_owner_after_the_first_round(*args):
        monkeypatch.setattr(module, "_exchange_with_owner", no_owner)
        return exchange(*args)

    def no_owner(*args):
        raise module._down("no node has the slot")

    monkeypatch.setattr(module, "_exchange_with_owner", lose_the_owner_after_the_first_round)
    commands = [add[0], move, ("WAIT", 1, 1500), add[1]]
    pipeline = threading.Thread(target=lambda: replies.extend(exchange_in_cluster(stream.client, key, commands)))
    pipeline.start()
    eventually(lambda: cluster.tell(target, "COUNTKEYSINSLOT", slot) == 1)
    cluster.finish_moving(key, source, target)
    pipeline.join()
    assert replies[0] == target.client.xrange(key)[-1][0]
    assert trouble(replies[3]) is Trouble.OUTAGE


def test_between_two_masters_an_order_is_refused_for_certain(cluster, stream, settings, masters):
    """The key has moved and the slot has not: nothing is in, and trying again is right."""
    source, target = masters
    Producer(stream).send(ORDERS[0])
    cluster.start_moving(settings.stream, source, target)
    cluster.move_keys(settings.stream, source, target)
    with pytest.raises(TryAgainError, match="is moving to another node") as caught:
        Producer(stream).send(ORDERS[1])
    assert trouble(caught.value) is Trouble.OUTAGE
    cluster.finish_moving(settings.stream, source, target)
    Producer(stream).send(ORDERS[1])
    assert stream.backlog().length == 2


class Sender(threading.Thread):
    """Sends orders until told to stop. While it is certain that an order is not in, it waits and sends it again."""

    def __init__(self, stream):
        super().__init__(daemon=True)  # a test that fails must not wait for it
        self.stream, self.enough = stream, threading.Event()
        self.sent, self.waited, self.unknown = [], 0, 0

    def run(self):
        for order in random_orders(7):
            while not self.enough.is_set():
                try:
                    Producer(self.stream).send(order)
                    self.sent.append(order.id)
                    break
                except SendUnknown:
                    self.unknown += 1
                    break
                except redis.RedisError as error:
                    if trouble(error) is not Trouble.OUTAGE:
                        raise
                    self.waited += 1
                    time.sleep(0.01)
            if self.enough.is_set():
                return


@pytest.fixture
def sender(stream):
    sender = Sender(stream)
    yield sender
    sender.enough.set()
    sender.join()


def test_a_stream_moves_from_master_to_master_and_loses_nothing(cluster, stream, settings, sender, running, eventually):
    """Twice round the three masters, while orders are sent, handled and dead-lettered."""
    handled = []

    def handler(order):
        if order.item == "tea":
            raise Reject("no tea")
        handled.append(order.id)

    another = connect(settings)
    with contextlib.closing(another), running(Consumer(stream, handler), Consumer(another, handler)):
        sender.start()
        for _ in range(6):
            source = cluster.owner(settings.stream)
            target = cluster.nodes[(cluster.nodes.index(source) + 1) % 3]
            before, waited = len(handled), sender.waited
            eventually(lambda before=before: len(handled) > before + 50, timeout_s=20)
            cluster.start_moving(settings.stream, source, target)
            cluster.move_keys(settings.stream, source, target)
            eventually(lambda waited=waited: sender.waited > waited)
            cluster.finish_moving(settings.stream, source, target)
        sender.enough.set()
        sender.join()
        eventually(lambda: stream.backlog().done, timeout_s=20)
    dead = [Order.from_fields([*letter.fields.popitem()]).id for letter in DeadLetterQueue(stream)]
    assert {*handled, *dead} == {*sender.sent}  # twice, perhaps: while a slot moves, acks and heartbeats are refused
    assert sorted(dead) == sorted({*dead} - {*handled})
    assert dead
    assert sender.unknown == 0


# A master that dies -----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path, eventually):
    """Three masters, and a replica of the first one."""
    cluster = Cluster(tmp_path)
    replica = cluster.add_node()
    cluster.meet(replica)
    cluster.wait_until_it_works()
    cluster.tell(replica, "REPLICATE", cluster.nodes[0].id)
    eventually(lambda: replica.client.info("replication")["master_link_status"] == "up", timeout_s=20)
    yield cluster
    cluster.close()


def test_a_consumer_and_a_producer_survive_the_death_of_their_master(guarded, running, eventually):
    """The replica takes over by itself. What it had received is handled, what is sent later too."""
    master, *_, replica = guarded.nodes
    settings = next(s for s in (on(guarded.nodes[1]) for _ in count()) if guarded.owner(s.stream) is master)
    handled = []
    with contextlib.closing(connect(settings)) as stream, contextlib.closing(connect(settings)) as another:
        sender = Sender(another)
        with running(Consumer(stream, lambda order: handled.append(order.id))):
            sender.start()
            eventually(lambda: len(handled) > 50)
            sender.enough.set()
            sender.join()
            master.client.wait(1, 5000)
            sent = sender.sent
            master.kill()
            sender = Sender(another)
            sender.start()
            eventually(lambda: len(sender.sent) > 50, timeout_s=30)
            sender.enough.set()
            sender.join()
            eventually(lambda: another.backlog().done, timeout_s=20)
    assert guarded.owner(settings.stream) is replica
    assert {*handled} == {*sent, *sender.sent}


# Nodes that all move ----------------------------------------------------------------------------------------


@pytest.mark.row(71)
def test_a_cluster_whose_addresses_all_changed_is_found_again_through_its_url(tmp_path, running, eventually):
    """As when a service of Kubernetes stays, and every pod behind it is replaced."""
    cluster = Cluster(tmp_path)
    front = Front(cluster.nodes[0].port)
    settings = replace(on(cluster.nodes[0]), redis_url=front.url)
    try:
        handled = []
        with contextlib.closing(connect(settings)) as stream, contextlib.closing(connect(settings)) as another:
            sender = Sender(another)
            with running(Consumer(stream, lambda order: handled.append(order.id))):
                sender.start()
                eventually(lambda: len(handled) > 50)
                cluster.move_away()
                front.leads_to = cluster.nodes[0].port
                before = len(handled)
                eventually(lambda: len(handled) > before + 50, timeout_s=20)
                sender.enough.set()
                sender.join()
    finally:
        front.close()
        cluster.close()
