"""Settings: where they come from, and which of them contradict each other."""

import dataclasses
import math

import pytest

from orderstream import Settings
from orderstream.connection import open_client
from orderstream.errors import ConfigError

SECRET = "s3cret"


def test_the_defaults_are_the_documented_ones():
    settings = Settings()
    assert settings.redis_url == "redis://localhost:6379"
    assert dataclasses.asdict(settings) | {"redis_url": ""} == {
        "redis_url": "",
        "stream": "orders",
        "group": "order_group",
        "dlq": "orders-dlq",
        "max_attempts": 3,
        "claim_idle_ms": 30_000,
        "backoff_ms": 1_000,
        "defer_max_age_ms": 24 * 60 * 60 * 1_000,
        "batch": 500,
        "block_ms": 1_000,
        "handler_timeout_ms": 300_000,
        "on_timeout": "log",
        "grace_s": 10.0,
        "trace_parent": "creation",
        "trace_errors": "type",
    }


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_env({}) == Settings()


def test_every_setting_can_come_from_the_environment():
    """A new setting fails here until it can be set from outside."""
    given = {
        "stream": "s", "group": "g", "dlq": "d", "max_attempts": 5, "claim_idle_ms": 2000, "backoff_ms": 10,
        "defer_max_age_ms": 60_000, "batch": 7, "block_ms": 20, "handler_timeout_ms": 4000, "on_timeout": "exit",
        "grace_s": 0.5,
        "trace_parent": "link", "trace_errors": "message",
    }  # fmt: skip
    environ = {f"ORDERSTREAM_{name.upper()}": str(value) for name, value in given.items()}
    settings = Settings.from_env(environ)
    assert dataclasses.asdict(settings) == {"redis_url": "redis://localhost:6379", **given}


def test_the_environment_is_read_when_asked_for_and_not_at_import(monkeypatch):
    monkeypatch.setenv("ORDERSTREAM_STREAM", "tomorrow")
    assert Settings.from_env().stream == "tomorrow"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_ADDR": "example.org:7000"}, "redis://example.org:7000"),
        ({"REDIS_ADDR": "example.org"}, "redis://example.org"),
        ({"REDIS_ADDR": "[::1]:7000"}, "redis://[::1]:7000"),
        ({"REDIS_URL": "unix:///run/redis.sock"}, "unix:///run/redis.sock"),
        ({"REDIS_URL": "rediss://a:1", "REDIS_ADDR": "b:2"}, "rediss://a:1"),
        ({"REDIS_URL": "", "REDIS_ADDR": "b:2"}, "redis://b:2"),
        ({"REDIS_URL": "", "REDIS_ADDR": ""}, "redis://localhost:6379"),
    ],
)
def test_redis_url_wins_over_redis_addr_and_both_over_the_default(environ, url):
    assert Settings.from_env(environ).redis_url == url


def test_the_url_has_one_name_only():
    assert Settings.from_env({"ORDERSTREAM_REDIS_URL": "redis://elsewhere"}) == Settings()


@pytest.mark.parametrize(
    "addr", [f"user:{SECRET}@host:1", f"redis://:{SECRET}@host", "a b", "host:port", "a:1:2", ":1"]
)
def test_an_address_that_is_none_is_refused_and_not_repeated(addr):
    with pytest.raises(ConfigError, match="REDIS_ADDR must be host:port") as caught:
        Settings.from_env({"REDIS_ADDR": addr})
    assert SECRET not in str(caught.value)


def test_an_empty_variable_counts_as_not_set():
    assert Settings.from_env({"ORDERSTREAM_BATCH": "", "ORDERSTREAM_STREAM": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("ORDERSTREAM_BATCH", "many", "a whole number"),
        ("ORDERSTREAM_BATCH", "1.5", "a whole number"),
        ("ORDERSTREAM_GRACE_S", "soon", "a number"),
    ],
)
def test_a_variable_that_is_no_number_is_named(variable, text, wanted):
    with pytest.raises(ConfigError, match=f"{variable} must be {wanted}, not '{text}'"):
        Settings.from_env({variable: text})


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"stream": ""}, "stream and group need a name"),
        ({"group": ""}, "stream and group need a name"),
        ({"dlq": "orders"}, "dead letters would be consumed"),
        ({"stream": "x", "dlq": "x"}, "dead letters would be consumed"),
        ({"redis_url": "http://localhost"}, "must begin with redis://, rediss://, unix://"),
        ({"redis_url": ""}, "must begin with redis://, rediss://, unix://"),
        ({"max_attempts": 0}, "max_attempts=0 would never run a handler"),
        ({"batch": 0}, "batch=0 must be 1 to 100000"),
        ({"batch": 10**30}, "must be 1 to 100000"),
        ({"block_ms": 0}, "0 waits for ever"),
        ({"block_ms": -1}, "block_ms=-1 must be 1 to 2000"),
        ({"block_ms": 2001}, "delays stop"),
        ({"claim_idle_ms": 0, "backoff_ms": 0}, "claim_idle_ms=0 lets consumers steal"),
        ({"backoff_ms": -1}, "backoff_ms=-1 must be 0 to"),
        ({"backoff_ms": 30_001}, "an entry is due anyway"),
        ({"handler_timeout_ms": 29_999}, "the heartbeat would end before it was needed"),
        ({"handler_timeout_ms": 10**30}, "at most 30 days"),
        ({"claim_idle_ms": math.nan}, "claim_idle_ms=nan"),
        ({"grace_s": -0.1}, "grace_s=-0.1 must be 0 to 86400"),
        ({"trace_parent": "sender"}, "trace_parent='sender' must be 'creation' or 'link'"),
        ({"trace_errors": "all"}, "trace_errors='all' must be 'type' or 'message'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_reason(wrong, reason):
    with pytest.raises(ConfigError, match=reason):
        Settings(**wrong)


@pytest.mark.row(74)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e10", "1e300"])
def test_a_grace_time_that_never_ends_is_refused(text):
    """Python reads them as numbers, and no clock can wait so long."""
    with pytest.raises(ConfigError, match=r"grace_s=\S+ must be 0 to 86400, which is a day"):
        Settings.from_env({"ORDERSTREAM_GRACE_S": text})


@pytest.mark.row(75)
@pytest.mark.parametrize("setting", ["stream", "group", "dlq", "redis_url"])
def test_a_name_that_is_not_utf_8_is_refused(setting):
    """So Python hands over the byte 0xff of a command line."""
    with pytest.raises(ConfigError, match="must be UTF-8 text") as caught:
        Settings(**{setting: f"redis://{SECRET}\udcff"})
    assert SECRET not in str(caught.value)


@pytest.mark.row(76)
@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/orders",  # redis-py would take database 0
        "redis://localhost/1/2",  # 12
        "redis://localhost/-1",
        "redis://localhost#1",
        "redis://localhost?db",
        "unix://run/redis.sock",  # the socket /redis.sock
        "unix://",
        f"unix://:pa/{SECRET}@/run/redis.sock",
        "redis://[::1",
    ],
)
def test_a_url_that_would_be_read_over_is_refused(url):
    with pytest.raises(ConfigError, match="the Redis URL cannot be used") as caught:
        open_client(Settings(redis_url=url))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.row(76)
@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://localhost", {}),
        ("redis://localhost/", {}),
        ("redis://localhost/3", {"db": 3}),
        ("redis://u:p%2F%40@localhost:1/0", {"password": "p/@", "db": 0}),
        ("rediss://localhost?ssl_ca_certs=/a@b/ca.pem", {"ssl_ca_certs": "/a@b/ca.pem"}),
        ("redis://localhost?client_name=a@b", {"client_name": "a@b"}),
        ("unix:///run/redis@1.sock?db=1", {"path": "/run/redis@1.sock", "db": 1}),
        ("unix://u:p@/run/redis@1.sock", {"path": "/run/redis@1.sock", "password": "p"}),
    ],
)
def test_what_a_url_says_is_what_the_client_does(url, options):
    """An @ is no part of a password everywhere."""
    with open_client(Settings(redis_url=url)) as client:
        assert options.items() <= client.connection_pool.connection_kwargs.items()


@pytest.mark.parametrize(
    "edge",
    [
        {"block_ms": 1},
        {"block_ms": 2000},
        {"max_attempts": 1},
        {"batch": 1},
        {"backoff_ms": 0},
        {"backoff_ms": 30_000},
        {"claim_idle_ms": 1, "backoff_ms": 1, "handler_timeout_ms": 1},
        {"handler_timeout_ms": 30_000},
        {"batch": 100_000},
        {"grace_s": 0.0},
        {"grace_s": 86_400.0},
    ],
)
def test_the_edge_of_a_range_belongs_to_it(edge):
    assert Settings(**edge)


def test_the_dead_letter_stream_is_named_after_the_stream():
    assert Settings(stream="tea").dlq == "tea-dlq"
    assert Settings(stream="tea", dlq="morgue").dlq == "morgue"


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().batch = 1


def test_a_password_is_in_no_repr_and_no_str():
    settings = Settings(redis_url=f"redis://user:{SECRET}@localhost")
    assert SECRET not in f"{settings!r} {settings}"


def test_a_password_is_in_no_error_about_the_settings():
    for wrong in ({"redis_url": f"http://user:{SECRET}@host"}, {"redis_url": f"redis://:{SECRET}@host", "batch": 0}):
        with pytest.raises(ConfigError) as caught:
            Settings(**wrong)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("separator", ["/", "#", "?"])
def test_a_password_that_should_have_been_quoted_is_in_no_error(separator):
    """A URL ends at these characters, so the parser takes the first half of the password for a port, and says it."""
    with pytest.raises(ConfigError, match="percent") as caught:
        open_client(Settings(redis_url=f"redis://:{SECRET}{separator}more@localhost:6379"))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__
