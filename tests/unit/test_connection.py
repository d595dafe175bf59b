"""What each error of Redis asks for, and which clients are refused. No server is needed."""

import pytest
import redis
from redis import exceptions
from redis._parsers.base import BaseParser
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import OrderStream, Settings
from orderstream.connection import ReplyLost, Trouble, mode_of, open_client, packer, trouble
from orderstream.errors import ConfigError

FATAL, OUTAGE, NO_GROUP = Trouble.FATAL, Trouble.OUTAGE, Trouble.NO_GROUP


def in_a_script(reply):
    """As 6.2 reports an error raised inside a script."""
    return f"ERR Error running script (call to f_9a0b): @user_script:17: @user_script: 17: -{reply}"


REPLIES = [
    ("WRONGPASS invalid username-password pair or user is disabled.", FATAL),
    ("NOAUTH Authentication required.", FATAL),
    ("NOPERM this user has no permissions to run the 'xadd' command", FATAL),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", FATAL),
    ("ERR unknown command 'XREADGROUP'", FATAL),
    ("ERR invalid stream ID specified as stream command argument", FATAL),
    ("CROSSSLOT Keys in request don't hash to the same slot", FATAL),
    ("NOGROUP No such key 'orders' or consumer group 'g' in XREADGROUP with GROUP option", NO_GROUP),
    ("NOGROUP No such consumer group 'g' for key name 'orders'", NO_GROUP),
    ("-NOGROUP the consumer group this client was blocked on no longer exists", NO_GROUP),
    ("LOADING Redis is loading the dataset in memory", OUTAGE),
    ("READONLY You can't write against a read only replica.", OUTAGE),
    ("OOM command not allowed when used memory > 'maxmemory'.", OUTAGE),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", OUTAGE),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", OUTAGE),
    ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", OUTAGE),
    ("NOREPLICAS Not enough good replicas to write.", OUTAGE),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", OUTAGE),
    ("CLUSTERDOWN The cluster is down", OUTAGE),
    ("TRYAGAIN Multiple keys request during rehashing of slot", OUTAGE),
    ("ERR max number of clients reached", OUTAGE),
]


@pytest.mark.parametrize(("reply", "meaning"), REPLIES, ids=lambda value: str(value)[:20])
def test_an_error_reply_has_one_meaning(reply, meaning):
    """The reply goes through redis-py's own parser, which takes the code off some messages."""
    assert trouble(BaseParser.parse_error(reply)) is meaning


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [(reply, meaning) for reply, meaning in REPLIES if not reply.startswith(("ERR", "-", "CROSS"))],
    ids=lambda value: str(value)[:20],
)
def test_it_means_the_same_inside_a_script(reply, meaning):
    assert trouble(BaseParser.parse_error(in_a_script(reply))) is meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (redis.ConnectionError("Connection refused"), OUTAGE),
        (redis.TimeoutError("Timeout reading from socket"), OUTAGE),
        (ReplyLost(redis.ConnectionError("closed"), []), OUTAGE),
        (ConnectionResetError(), OUTAGE),
        (redis.AuthenticationError("invalid password"), FATAL),
        (exceptions.AuthorizationError(), FATAL),
        (redis.DataError("Invalid input of type"), FATAL),
    ],
    ids=repr,
)
def test_an_error_of_the_link_has_one_meaning(error, meaning):
    assert trouble(error) is meaning


def test_a_word_inside_a_message_is_not_its_code():
    assert trouble(redis.ResponseError("ERR no such key 'LOADINGdock'")) is FATAL


def refusal_of(client):
    with client, pytest.raises(ConfigError) as caught:
        OrderStream(client, Settings())
    return str(caught.value)


def one_try(**options):
    return redis.Redis(**({"retry": Retry(NoBackoff(), 0)} | options))


@pytest.mark.row(8)
def test_the_default_client_is_refused_because_it_sends_writes_again():
    assert "use retry=Retry(NoBackoff(), 0)" in refusal_of(redis.Redis())


def test_a_client_that_tries_twice_is_refused():
    assert "use retry=" in refusal_of(redis.Redis(retry=Retry(NoBackoff(), 1)))


def test_a_client_that_tries_again_after_a_timeout_is_refused():
    """A pool of one's own has no retry, and these two bring one."""
    for option in ({"retry_on_timeout": True}, {"retry_on_error": [redis.ConnectionError]}):
        pool = redis.ConnectionPool(**option)
        assert "use retry=" in refusal_of(redis.Redis(connection_pool=pool))


def test_a_client_that_decodes_replies_is_refused():
    assert "use decode_responses=False" in refusal_of(one_try(decode_responses=True))


@pytest.mark.row(25)
@pytest.mark.parametrize("timeout_s", [0.5, 1.0])
def test_a_client_whose_timeout_cuts_a_blocking_read_is_refused(timeout_s):
    assert "use 6 s or more" in refusal_of(one_try(socket_timeout=timeout_s))


@pytest.mark.parametrize("options", [{}, {"socket_timeout": None}, {"socket_timeout": 1.1}, {"protocol": 3}])
def test_a_fitting_client_is_taken(options):
    with one_try(**options) as client:
        assert OrderStream(client, Settings()).client is client


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://localhost", "unix:///run/redis.sock"])
def test_our_own_client_fits_for_every_kind_of_url(url):
    settings = Settings(redis_url=url, block_ms=2000)
    with open_client(settings) as client:
        assert OrderStream(client, settings)
        options = client.connection_pool.connection_kwargs
        assert options["retry"].get_retries() == 0
        assert options["socket_timeout"] == 7


def test_an_option_in_the_url_cannot_bring_back_what_we_refuse():
    for option in ("decode_responses=True", "socket_timeout=0.5"):
        settings = Settings(redis_url=f"redis://localhost?{option}")
        with open_client(settings) as client, pytest.raises(ConfigError):
            OrderStream(client, settings)


def test_a_url_that_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="Redis URL cannot be used"):
        open_client(Settings(redis_url="redis://localhost:99999"))


def test_a_password_is_in_no_repr_of_the_stream():
    settings = Settings(redis_url="redis://:s3cret@localhost")
    with open_client(settings) as client:
        assert "s3cret" not in repr(OrderStream(client, settings))


# What is sent


@pytest.mark.parametrize(
    "words",
    [(), (b"name",), (b"name", b"value"), (b"", b""), (b"\r\n", b"\xff\x00"), (b"a", b"1", b"b", b"x" * 100_000)],
    ids=["none", "one", "two", "empty", "bytes", "four"],
)
@pytest.mark.parametrize("tail", [(), (b"more%d", b"100 %")], ids=["alone", "with a tail"])
def test_what_is_packed_in_advance_is_what_redis_py_would_send(words, tail):
    expected = redis.Connection().pack_command("XADD", "örders-%b", "*", *words, *tail)
    assert packer("XADD", "örders-%b", "*", tail=tail)(words) == b"".join(expected)


# What HELLO says


@pytest.mark.parametrize(
    ("reply", "mode"),
    [
        ([b"server", b"redis", b"version", b"8.10.2", b"mode", b"standalone"], "standalone"),
        ({b"server": b"valkey", b"version": b"9.1.2", b"mode": b"cluster"}, "cluster"),
        ([b"server", b"redis", b"mode", b"sentinel"], "sentinel"),
        ([b"proto", 2], "standalone"),
        ([], "standalone"),
        (redis.ResponseError("unknown command 'HELLO'"), "standalone"),
    ],
    ids=["RESP2", "RESP3", "a Sentinel", "hardly anything", "nothing", "refused"],
)
def test_a_server_that_does_not_say_its_mode_stands_alone(reply, mode):
    assert mode_of(reply) == mode
