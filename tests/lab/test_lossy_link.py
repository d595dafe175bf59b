"""A link that loses the replies it is told to lose, on a real Redis."""

import socket
import threading
import time
from contextlib import suppress

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import Order
from orderstream.embedded.find import ServerError
from orderstream.lab.workers.lossy_link import LossyLink

FIGS, TEA = Order("o-1", "figs", 1), Order("o-2", "tea", 60)
SHA = "a" * 40


@pytest.fixture
def link(lesson):
    """A link to the lesson's Redis."""
    with LossyLink() as link:
        yield link


@pytest.fixture
def connect(link):
    """Connect through the link: each command travels once, unless an option says otherwise."""
    opened = []

    def through(**options):
        opened.append(redis.Redis(port=link.port, **{"retry": Retry(NoBackoff(), 0), **options}))
        return opened[-1]

    yield through
    for client in opened:
        client.close()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "lossy link"]


# Replies that are lost -------------------------------------------------------------------------------------


def test_redis_runs_a_command_whose_reply_is_lost_and_the_caller_gets_an_error(lesson, link, connect):
    """A client that sends each command once: one entry, and nobody knows."""
    client = connect()
    link.lose_reply("XADD")
    with pytest.raises(redis.ConnectionError):
        client.xadd("orders", {"n": 1})
    assert lesson.xlen("orders") == 1
    assert link.lost == 1
    client.xadd("orders", {"n": 2})
    assert lesson.xlen("orders") == 2


def test_one_call_of_the_default_client_makes_two_entries(lesson, link):
    """redis-py sends it again and says nothing."""
    link.lose_reply("XADD")
    with redis.Redis(port=link.port) as client:
        client.xadd("orders", {"n": 1})
    assert lesson.xlen("orders") == 2


def test_a_read_whose_reply_is_lost_leaves_an_entry_pending_that_nobody_has_seen(lesson, link):
    """The call returns the second entry: no code has seen the first."""
    for id in ("1-0", "2-0"):
        lesson.xadd("orders", {"n": 1}, id=id)
    lesson.xgroup_create("orders", "g", "0")
    link.lose_reply("XREADGROUP")
    with redis.Redis(port=link.port, decode_responses=True) as client:
        ((_, ((id, _),)),) = client.xreadgroup("g", "c1", {"orders": ">"}, count=1)
    assert id == "2-0"
    assert [row["message_id"] for row in lesson.xpending_range("orders", "g", "-", "+", 10)] == ["1-0", "2-0"]


def test_a_read_that_waits_already_loses_its_reply_when_it_comes(lesson, link, connect, eventually):
    """Until then its connection stays open."""
    lesson.xgroup_create("orders", "g", "0", mkstream=True)
    client, ended = connect(socket_timeout=30), []

    def read():
        try:
            client.xreadgroup("g", "c1", {"orders": ">"}, block=20_000)
        except redis.ConnectionError as error:
            ended.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    eventually(lambda: lesson.info("clients")["blocked_clients"] == 1)
    link.lose_reply("XREADGROUP")
    assert reading.is_alive()
    lesson.xadd("orders", {"n": 1})
    reading.join(5)
    assert len(ended) == 1
    assert lesson.xpending("orders", "g")["pending"] == 1


def test_so_many_are_lost_after_so_many_got_through(lesson, link, connect):
    client, got = connect(), []
    link.lose_reply("XADD", times=2, skip=1)
    for n in range(5):
        try:
            got.append(bool(client.xadd("orders", {"n": n})))
        except redis.ConnectionError:
            got.append(False)
    assert got == [True, False, False, True, True]
    assert lesson.xlen("orders") == 5


def test_only_the_command_that_was_named_loses_its_reply(link, connect):
    """A value that holds its name is not it."""
    client = connect()
    link.lose_reply("xack")
    assert client.ping()
    assert client.set("xacks", "an xack or two")
    with pytest.raises(redis.ConnectionError):
        client.xack("orders", "g", "1-0")


def test_a_script_is_named_by_its_sha(link, connect):
    """Every word of a command can name it."""
    client = connect()
    link.lose_reply(SHA)
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("b" * 40, 0)
    with pytest.raises(redis.ConnectionError):
        client.evalsha(SHA, 0)


def test_what_is_asked_for_twice_is_lost_twice(lesson, link, connect):
    client = connect()
    for _ in range(2):
        link.lose_reply("XADD")
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.xadd("orders", {"n": 1})
    assert client.xadd("orders", {"n": 1})


def test_two_commands_can_wait_for_their_fault(link, connect):
    client = connect()
    link.lose_reply("XADD")
    link.lose_reply("XLEN", skip=1)
    assert client.xlen("orders") == 0
    for call in (lambda: client.xadd("orders", {"n": 1}), lambda: client.xlen("orders")):
        with pytest.raises(redis.ConnectionError):
            call()
    assert client.xlen("orders") == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_within_a_pipeline_every_reply_before_it_arrives(lesson, link, connect, protocol):
    """Whatever stands before it: replies of every shape, as Redis sends them."""
    lesson.xadd("orders", {"text": "two\r\nlines", "": "*3\r\n$1\r\n"}, id="1-0")
    lesson.hset("hash", mapping={"a": 1, "b": 2})
    lesson.zadd("scores", {"a": 1.5})
    lesson.set("long", "x" * 300_000)
    commands = [
        ("GET", "missing"),
        ("XRANGE", "orders", "-", "+"),
        ("HGETALL", "hash"),
        ("NO-SUCH-COMMAND",),
        ("ZRANGE", "scores", 0, -1, "WITHSCORES"),
        ("XRANGE", "missing", "-", "+"),
        ("XREAD", "STREAMS", "orders", "1-0"),
        ("XINFO", "STREAM", "orders", "FULL"),
        ("GET", "long"),
        ("CONFIG", "GET", "maxmemory*"),
    ]
    with redis.Redis(port=link.port, protocol=protocol) as client:
        expected = answers(client, commands)
    assert len(expected) == len(commands)
    for n in range(len(commands) + 1):
        link.lose_reply("this one")
        assert answers(connect(protocol=protocol), [*commands[:n], ("ECHO", "this one"), *commands[n:]]) == expected[:n]
    assert link.lost == len(commands) + 1


def answers(client, commands):
    """Send *commands* in one write, and return the replies that came, errors as text."""
    connection, replies = client.connection_pool.get_connection(), []
    connection.send_packed_command(connection.pack_commands(commands))
    try:
        for _ in commands:
            try:
                replies.append(connection.read_response(disconnect_on_error=False))
            except redis.ResponseError as refused:
                replies.append(str(refused))
    except redis.ConnectionError:
        pass
    finally:
        connection.disconnect()
    return replies


def test_a_command_may_arrive_in_pieces(lesson, link):
    """A byte at a time, with another command behind it."""
    link.lose_reply("xadd")
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as client:
        for byte in b"*1\r\n$4\r\nPING\r\n*5\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$1\r\nn\r\n$1\r\n1\r\n":
            client.sendall(bytes([byte]))
        assert received(client) == b"+PONG\r\n"
    assert lesson.xlen("orders") == 1


def received(client):
    """Everything until the connection is closed."""
    return b"".join(iter(lambda: client.recv(65_536), b""))


REPLIES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":1\r\n",
    b"$5\r\na\r\nb\r\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n*2\r\n$1\r\na\r\n:1\r\n*-1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"(12345678901234567890\r\n",
    b"=7\r\ntxt:a\r\n\r\n",
    b"!5\r\nERR \n\r\n",
    b"%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%0\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n*2\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n",
]


@pytest.fixture
def dripping():
    """A server that reads as many commands as there are replies, then sends them in pieces of a size of your choice."""

    def start(replies, size):
        def serve():
            with suppress(OSError), listener, listener.accept()[0] as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for _ in replies:
                    client.recv(14, socket.MSG_WAITALL)
                data = b"".join(replies)
                for at in range(0, len(data), size):
                    client.sendall(data[at : at + size])
                received(client)

        listener = socket.create_server(("127.0.0.1", 0))
        serving.append(threading.Thread(target=serve))
        serving[-1].start()
        return f"redis://127.0.0.1:{listener.getsockname()[1]}"

    serving = []
    yield start
    for thread in serving:
        thread.join(5)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_a_reply_of_any_kind_may_arrive_in_pieces(dripping, size):
    """RESP2 and RESP3, with attributes. Nothing of the lost one arrives, and nothing before it is missing."""
    replies = [*REPLIES, b"$4\r\nlost\r\n", b"+after\r\n"]
    with LossyLink(dripping(replies, size)) as link, socket.create_connection(("127.0.0.1", link.port), 5) as client:
        link.lose_reply("LOSE")
        client.sendall(b"*1\r\n$4\r\nPASS\r\n" * len(REPLIES) + b"*1\r\n$4\r\nLOSE\r\n" + b"*1\r\n$4\r\nPASS\r\n")
        assert received(client) == b"".join(REPLIES)


def test_what_redis_says_unasked_is_no_reply(dripping):
    """A push of RESP3, between two replies."""
    push = b">2\r\n+invalidate\r\n*1\r\n+key\r\n"
    replies = [push + b"+one\r\n" + push, b"+two\r\n", b"+three\r\n"]
    with LossyLink(dripping(replies, 5)) as link, socket.create_connection(("127.0.0.1", link.port), 5) as client:
        link.lose_reply("LOSE", skip=1)
        client.sendall(b"*1\r\n$4\r\nPASS\r\n" + b"*1\r\n$4\r\nLOSE\r\n" * 2)
        assert received(client) == b"".join(replies[:2])


def test_some_replies_are_lost_by_chance_and_the_same_ones_with_the_same_seed(link, connect):
    """Of 300 about a third; 0 ends it."""
    client = connect(protocol=2, driver_info=None)  # without a handshake, of which replies would be lost too
    runs = []
    for seed in (1, 1, 2):
        client.ping()
        link.lose_some(0.3, seed)
        runs.append([gets_an_answer(client) for _ in range(100)])
        link.lose_some(0)
    assert runs[0] == runs[1] != runs[2]
    assert 150 < sum(map(sum, runs)) < 270
    assert all(gets_an_answer(client) for _ in range(100))


def test_only_replies_to_commands_with_a_word_are_lost_by_chance(link, connect):
    """A client connects again in one try: else each order would cost several replies."""
    client = connect()
    client.ping()
    link.lose_some(1, of="orders")
    assert client.ping()
    with pytest.raises(redis.ConnectionError):
        client.xadd("orders", {"n": 1})
    assert (client.ping(), client.xlen("others"), link.lost) == (True, 0, 1)


def gets_an_answer(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


# Delays, cuts, ends ----------------------------------------------------------------------------------------


def test_a_delay_holds_each_reply_until_it_is_ended(link, connect):
    """No reply is early; a pipeline's replies wait together."""
    client = connect()
    client.ping()
    link.delay(100)
    began = time.monotonic()
    answers(client, [("PING",)] * 100)
    client.ping()
    assert time.monotonic() - began >= 0.2


def test_who_waits_for_a_delayed_reply_gets_it_when_the_delay_ends(lesson, link, connect, eventually):
    """Or loses it to a cut, at once."""
    client, came = connect(socket_timeout=30), []
    for end, answer in ((lambda: link.delay(0), True), (link.cut, False), (link.cut, False), (link.close, False)):
        link.delay(0)
        client.ping()
        link.delay(60_000)
        asked = pings(lesson)
        waiting = threading.Thread(target=lambda: came.append(gets_an_answer(client)))
        waiting.start()
        eventually(lambda asked=asked: pings(lesson) > asked)
        end()
        waiting.join(5)
        assert came[-1:] == [answer]


def pings(client):
    """How many of them Redis has answered."""
    return client.info("commandstats")["cmdstat_ping"]["calls"]


def test_a_cut_closes_every_connection_and_new_ones_work(link, connect):
    clients = [connect(single_connection_client=True) for _ in range(3)]
    before = link.connections
    assert before == 3
    link.cut()
    for client in clients:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert client.ping()
    assert link.connections == before + 3


def test_a_closed_link_takes_nobody_and_leaves_no_thread(lesson, eventually):
    with LossyLink() as link, redis.Redis(port=link.port, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        assert threads()
        link.close()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    eventually(lambda: not threads())


def test_a_client_that_leaves_takes_its_connection_to_redis_along(lesson, link, connect, eventually):
    before = lesson.info("clients")["connected_clients"]
    client = connect()
    client.ping()
    client.close()
    eventually(lambda: lesson.info("clients")["connected_clients"] == before)
    eventually(lambda: len(threads()) == 1)


def test_a_link_to_a_redis_that_is_down_closes_and_works_again_when_it_is_up(guest_on, eventually):
    """As a client sees the end of a server itself."""
    url = guest_on()
    with LossyLink(url) as link, redis.Redis(port=link.port, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        with redis.Redis.from_url(url) as direct:
            direct.shutdown(nosave=True)
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        guest_on(port=int(url.rpartition(":")[2]))
        assert client.ping()


def test_a_link_keeps_login_and_database_of_the_url(guest_on):
    """Its repr shows neither them nor a port."""
    url = guest_on("--requirepass", "s3cret").replace("redis://", "redis://:s3cret@") + "/3?protocol=3"
    with LossyLink(url) as link, redis.Redis.from_url(link.url) as client:
        assert link.url == f"redis://:s3cret@127.0.0.1:{link.port}/3?protocol=3"
        client.set("key", "value")
        assert client.client_info()["db"] == 3
        assert repr(link) == "LossyLink(lost=0)"


@pytest.mark.parametrize("url", ["rediss://:s3cret@localhost", "unix:///s3cret", "s3cret"])
def test_a_link_goes_by_redis_only(url):
    with pytest.raises(ValueError, match=r"^the link reaches a Redis by redis://") as caught:
        LossyLink(url)
    assert "s3cret" not in str(caught.value)


def test_a_link_before_the_lesson_says_what_to_do(scratch):
    with pytest.raises(ServerError, match="no server yet"):
        LossyLink()
