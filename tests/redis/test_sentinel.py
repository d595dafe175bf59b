"""``redis+sentinel://``: the primary is where the Sentinels say, and we follow it."""

import subprocess
import threading
import time
from contextlib import closing, suppress
from urllib.parse import quote

import pytest
import redis

from orderstream import Consumer, Producer, SendUnknown, Settings, connect, random_orders
from orderstream.connection import Trouble, open_client, trouble
from orderstream.embedded.find import redis_server
from orderstream.errors import ConfigError
from orderstream.sentinel import read_url
from tests.redis.conftest import Server
from tests.redis.handlers import Record

NAME = "shop"
PASSWORD, ASKED = "p@ss/word", "s3cret"
RECOVERY_S = 60.0  # 0.5 s until the primary counts as down, and the election; a busy machine elects again


class Watch:
    """
    A primary, its replica, and three Sentinels that watch them.

    Args:
        secret: Whether the servers and the Sentinels want passwords.
    """

    def __init__(self, folder, eventually, *, secret=False):
        self.folder, self.eventually, self.secret, self.sentinels = folder, eventually, secret, []
        for name in ("a", "b"):
            (folder / name).mkdir()
        self.primary, self.replica = (Server(folder / name, "--repl-diskless-sync-delay", "0") for name in ("a", "b"))
        self.primary.start()
        self.replica.start("--replicaof", "127.0.0.1", str(self.primary.port))
        for server in (self.primary, self.replica) if secret else ():
            with redis.Redis(port=server.port) as client:
                client.config_set("masterauth", PASSWORD)
                client.config_set("requirepass", PASSWORD)
        eventually(lambda: self.role(self.replica) == "slave up", timeout_s=20)
        self.ports = [Server(folder).port for _ in range(3)]
        for port in self.ports:
            self.begin_sentinel(port)
        eventually(lambda: all(map(self.knows_all, self.ports)), timeout_s=20)

    @property
    def url(self):
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/{NAME}"

    def begin_sentinel(self, port):
        file = self.folder / f"sentinel-{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor {NAME} 127.0.0.1 {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 3000\n"
            + f"sentinel auth-pass {NAME} {PASSWORD}\nrequirepass {ASKED}\n" * self.secret
        )
        with (self.folder / f"sentinel-{port}.log").open("wb") as log:
            self.sentinels.append(subprocess.Popen([redis_server(), file, "--sentinel"], stdout=log, stderr=log))

    def knows_all(self, port):
        with self.client(port, ASKED) as client, suppress(redis.RedisError):
            state = client.sentinel_master(NAME)
            return (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)

    def client(self, port, password=PASSWORD):
        return redis.Redis(port=port, password=password if self.secret else None, decode_responses=True)

    def role(self, server):
        with self.client(server.port) as client, suppress(redis.RedisError):
            told = client.info("replication")
            return f"{told['role']} {told.get('master_link_status', '')}".strip()

    def close(self):
        for process in self.sentinels:
            process.kill()
            process.wait()
        for server in (self.primary, self.replica):
            server.kill()


@pytest.fixture(scope="module")
def shared_watch(tmp_path_factory, eventually_of_module):
    """For tests that break nothing."""
    watch = Watch(tmp_path_factory.mktemp("watch"), eventually_of_module)
    yield watch
    watch.close()


@pytest.fixture(scope="module")
def eventually_of_module():
    def wait(condition, timeout_s=5.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return wait


@pytest.fixture
def watch(tmp_path, eventually):
    """For tests that end something."""
    watch = Watch(tmp_path, eventually)
    yield watch
    watch.close()


# The URL ------------------------------------------------------------------------------------------------------


@pytest.mark.any_server("text; no Redis is asked")
@pytest.mark.parametrize(
    ("url", "sentinels", "name", "asking", "options"),
    [
        ("redis+sentinel://a/shop", [("a", 26379)], "shop", {}, {"db": 0}),
        ("redis+sentinel://a:1,b:2,[::1]:3/shop/4", [("a", 1), ("b", 2), ("::1", 3)], "shop", {}, {"db": 4}),
        (
            "redis+sentinel://ann:p%40ss@a/shop?sentinel_username=eve&sentinel_password=x%2Fy&socket_keepalive=yes",
            [("a", 26379)],
            "shop",
            {"username": "eve", "password": "x/y"},
            {"db": 0, "username": "ann", "password": "p@ss", "socket_keepalive": True},
        ),
    ],
)
def test_a_url_names_the_sentinels_and_the_primary(url, sentinels, name, asking, options):
    found = read_url(url)
    assert (found.sentinels, found.name, found.asking, found.options()) == (sentinels, name, asking, options)
    assert "p@ss" not in found.where
    assert found.where.startswith("the primary 'shop' of the Sentinels at ")


@pytest.mark.any_server("text; no Redis is asked")
@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://a:1",
        "redis+sentinel:///shop",
        "redis+sentinel://a:1,,b:2/shop",
        "redis+sentinel://a:port/shop",
        "redis+sentinel://a:1/shop/one",
        "redis+sentinel://a:1/shop/0/1",
        "redis+sentinel://a:1/shop?nonsense=1",
        "redis+sentinel://a:1/shop?socket_timeout",
        "redis+sentinel://a:1/shop#0",
        "redis+sentinel://u:secret@a@b:1/shop",
    ],
)
def test_a_url_that_says_something_else_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError, match=r"redis\+sentinel://HOST:26379,HOST2:26379/NAME") as refused:
        open_client(Settings(redis_url=url))
    assert "secret" not in str(refused.value)


# A primary that is there --------------------------------------------------------------------------------------


def test_orders_go_through_the_primary(shared_watch):
    with closing(connect(Settings(redis_url=shared_watch.url, stream="orders-1"))) as stream:
        handler = Record()
        Producer(stream).send_many(order for order, _ in zip(random_orders(1), range(100), strict=False))
        assert Consumer(stream, handler).drain() == 100
    with shared_watch.client(shared_watch.primary.port) as client:
        assert client.xlen("orders-1") == 100


def test_a_sentinel_that_is_away_is_passed_over(shared_watch):
    away = shared_watch.url.replace("redis+sentinel://", f"redis+sentinel://127.0.0.1:{Server(None).port},localhost:1,")
    with closing(connect(Settings(redis_url=away))) as stream:
        assert stream.client.ping()


def test_a_name_that_no_sentinel_knows_is_said_and_not_waited_for(shared_watch):
    url = shared_watch.url.replace(NAME, "shoo")
    with pytest.raises(redis.ResponseError, match="the Sentinels watch no primary 'shoo'") as refused:
        connect(Settings(redis_url=url))
    assert trouble(refused.value) is Trouble.FATAL


def test_a_name_that_those_who_answer_do_not_know_is_waited_for_while_others_are_away(shared_watch):
    """A Sentinel that has just begun may know nothing yet. No service ends because of it."""
    url = shared_watch.url.replace(NAME, "shoo").replace("://", f"://127.0.0.1:{Server(None).port},")
    with pytest.raises(redis.ConnectionError, match="others are away") as away:
        connect(Settings(redis_url=url))
    assert trouble(away.value) is Trouble.OUTAGE


def test_where_no_sentinel_answers_it_is_an_outage():
    with pytest.raises(redis.ConnectionError, match="no Sentinel answers") as away:
        connect(Settings(redis_url="redis+sentinel://127.0.0.1:1,127.0.0.1:2/shop"))
    assert trouble(away.value) is Trouble.OUTAGE


def test_a_url_of_one_sentinel_as_if_it_were_a_redis_says_how_to_write_it(shared_watch):
    with pytest.raises(ConfigError, match=r"write redis\+sentinel://HOST:26379/NAME"):
        connect(Settings(redis_url=f"redis://127.0.0.1:{shared_watch.ports[0]}"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("/shop", "/shoo"), "the Sentinels watch no primary 'shoo'; correct the name in the URL"),
        (("127.0.0.1", "127.0.0.2"), "no Redis answers at the primary 'shop' of the Sentinels at 127.0.0.2:"),
    ],
)
def test_the_command_line_says_it_in_one_line(shared_watch, run, environ, change, says):
    environ["REDIS_URL"] = shared_watch.url.replace(*change)
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_the_command_line_works_through_sentinels(shared_watch, run, environ):
    environ["REDIS_URL"] = shared_watch.url
    assert run("produce", "--count", 5)[0] == 0
    assert run("consume", "--until-idle", 0.2)[0] == 0
    code, out, _ = run("status")
    assert code == 0, out
    assert run("doctor")[0] in (0, 1)


def test_a_lesson_stays_with_the_primary_of_now(shared_watch, start, environ):
    environ["REDIS_URL"] = shared_watch.url
    code = "from orderstream import lab; r = lab.start('04'); print(r.connection_pool.connection_kwargs['port'])"
    out, err = start("-c", code, through=()).communicate(timeout=20)
    assert out.splitlines()[1:] == [str(shared_watch.primary.port)], err


# Passwords ----------------------------------------------------------------------------------------------------


def test_servers_and_sentinels_have_passwords_of_their_own(tmp_path, eventually):
    watch = Watch(tmp_path, eventually, secret=True)
    try:
        login = watch.url.replace("://", f"://:{quote(PASSWORD, safe='')}@")
        with closing(connect(Settings(redis_url=f"{login}?sentinel_password={ASKED}"))) as stream:
            assert stream.client.ping()
            assert PASSWORD not in repr(stream.client)
            assert ASKED not in repr(stream.client)
        with pytest.raises(redis.AuthenticationError, match=r"a Sentinel refuses the password.*sentinel_password="):
            connect(Settings(redis_url=login))
        with pytest.raises(redis.AuthenticationError):
            connect(Settings(redis_url=f"{watch.url}?sentinel_password={ASKED}"))
    finally:
        watch.close()


# Failover -----------------------------------------------------------------------------------------------------


def send_until(enough, stream, sent):
    """Send an order every 5 ms. What is perhaps not in is sent again: here only losses count."""
    for order in random_orders(1):
        while not enough.wait(0.005):
            try:
                Producer(stream).send(order)
                sent.append(order.id)
                break
            except SendUnknown:
                continue
            except redis.RedisError as error:
                if trouble(error) is not Trouble.OUTAGE:
                    raise
        if enough.is_set():
            return


@pytest.mark.row(107)
@pytest.mark.parametrize("consumer_is", ["busy", "idle"])
def test_orders_flow_again_within_seconds_of_a_failover(watch, running, eventually, consumer_is, record_property):
    """The primary is killed. What the replica had is handled, and so is what comes after."""
    handler, sent, enough = Record(), [], threading.Event()
    with closing(connect(Settings(redis_url=watch.url))) as stream, running(Consumer(stream, handler)):
        sender = threading.Thread(target=send_until, args=(enough, stream, sent), daemon=True)
        if consumer_is == "busy":
            sender.start()
            eventually(lambda: len(handler.runs) >= 100, timeout_s=20)
        else:
            Producer(stream).send(next(random_orders(2)))
            eventually(lambda: len(handler.runs) == 1)
        watch.primary.kill()
        killed, before = time.monotonic(), len(sent)
        if consumer_is == "idle":
            sender.start()
        eventually(lambda: len(sent) >= before + 10, timeout_s=RECOVERY_S)
        there = set(sent[-5:])
        eventually(lambda: there <= set(handler.runs), timeout_s=RECOVERY_S)
        record_property("recovered_s", time.monotonic() - killed)
        enough.set()
        sender.join()
        eventually(lambda: stream.backlog().done, timeout_s=20)
        with watch.client(watch.replica.port) as client:
            kept = {fields["data"] for _, fields in client.xrange("orders")}
        ids = set(handler.runs)
        lost = [id for id in sent if id not in ids]
        assert not [id for id in lost if any(id in data for data in kept)], "what is in the new primary is handled"
        assert len(lost) <= 5, "only what the replica had not got yet"


@pytest.mark.row(108)
def test_an_order_that_a_demoted_primary_refuses_is_not_told_as_perhaps_sent(watch):
    """READONLY is an answer. redis-py takes it for a broken connection."""
    with closing(connect(Settings(redis_url=watch.url))) as stream:
        producer, orders = Producer(stream), random_orders(3)
        producer.send(next(orders))
        with watch.client(watch.primary.port) as client:
            client.replicaof("127.0.0.1", watch.replica.port)  # the connection of the producer stays open
        with pytest.raises(redis.ReadOnlyError) as refused:
            producer.send(next(orders))
        assert trouble(refused.value) is Trouble.OUTAGE
