"""What a server is: of one that answers, and of an executable. It is the same on Redis and on Valkey."""

from contextlib import ExitStack, suppress

import redis

from orderstream.embedded.find import redis_server
from orderstream.software import greeting, software_at, software_of

from .conftest import Server


def test_a_server_is_called_what_it_calls_itself(client):
    about = client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    assert str(software_of(client)) == f"{name} {about[f'{name.lower()}_version']}"


def test_its_level_is_the_redis_that_info_says(client):
    """A Valkey has the commands of that one, whatever its own version."""
    major, minor, _ = client.info("server")["redis_version"].split(".")
    assert software_of(client).level == (int(major), int(minor))


def test_an_executable_is_what_its_server_says(own_server):
    """So what is decided before a lesson holds in it."""
    with redis.Redis.from_url(own_server.url) as client:
        assert software_at(redis_server()) == software_of(client)


def test_a_client_that_decodes_and_one_that_speaks_resp3_hear_the_same(client, redis_server):
    other = redis.Redis.from_url(redis_server, decode_responses=True, protocol=3)
    assert greeting(other) == greeting(client)
    assert software_of(other) == software_of(client)
    other.close()


def test_who_may_do_nothing_else_may_ask_what_the_server_is(guest, client):
    assert software_of(guest("-@all", keys=[]).client) == software_of(client)


def test_a_valkey_that_says_hello_as_a_redis_is_still_called_valkey(client):
    if "valkey_version" not in client.info("server"):
        assert software_of(client).name == "Redis"
        return
    client.config_set("extended-redis-compatibility", "yes")
    try:
        assert greeting(client)["server"] == "redis"
        assert software_of(client) == software_at(redis_server())
    finally:
        client.config_set("extended-redis-compatibility", "no")


def test_a_server_that_knows_no_hello_says_it_in_info(tmp_path, eventually):
    """A Redis before 6.0 has no other way."""
    server = Server(tmp_path, "--rename-command", "HELLO", "")
    server.start(wait=False)  # it waits with a client that says HELLO
    with ExitStack() as stack:
        stack.callback(server.kill)
        client = stack.enter_context(redis.Redis.from_url(server.url, protocol=2))

        def answers():
            with suppress(redis.ConnectionError):
                return client.ping()

        eventually(answers)
        assert software_of(client) == software_at(redis_server())
