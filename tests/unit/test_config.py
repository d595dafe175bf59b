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
        "batch": 7, "block_ms": 20, "handler_timeout_ms": 4000, "on_timeout": "exit", "grace_s": 0.5,
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
        ({"redis_url": "http://localhost"}, "must begin with redis://, rediss:// or unix://"),
        ({"redis_url": ""}, "must begin with redis://, rediss:// or unix://"),
        ({"max_attempts": 0}, "max_attempts=0 would never run a handler"),
        ({"batch": 0}, "batch=0 would read nothing"),
        ({"block_ms": 0}, "0 waits for ever"),
        ({"block_ms": -1}, "block_ms=-1 must be 1 to 2000"),
        ({"block_ms": 2001}, "delays stop"),
        ({"claim_idle_ms": 0, "backoff_ms": 0}, "claim_idle_ms=0 lets consumers steal"),
        ({"backoff_ms": -1}, "backoff_ms=-1 must be 0 to"),
        ({"backoff_ms": 30_001}, "an entry is due anyway"),
        ({"handler_timeout_ms": 29_999}, "the heartbeat would end before it was needed"),
        ({"grace_s": -0.1}, "grace_s=-0.1 must be 0 or more"),
        ({"grace_s": math.nan}, "grace_s=nan must be 0 or more"),
        ({"trace_parent": "sender"}, "trace_parent='sender' must be 'creation' or 'link'"),
        ({"trace_errors": "all"}, "trace_errors='all' must be 'type' or 'message'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_reason(wrong, reason):
    with pytest.raises(ConfigError, match=reason):
        Settings(**wrong)


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
        {"grace_s": 0.0},
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
