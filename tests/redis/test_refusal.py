"""What a consumer does not wait out: Redis refuses a command, and the error is raised at once."""

from dataclasses import replace

import pytest
import redis

from orderstream import Consumer, OrderStream
from orderstream.connection import open_client
from tests.redis.handlers import ORDERS, Record, reject


@pytest.mark.row(48)
def test_a_wrong_password_fails_at_once(settings):
    """redis-py calls it a ConnectionError, and it must not be waited out."""
    wrong = replace(settings, redis_url=settings.redis_url.replace("://", "://nobody:s3cret@"))
    with open_client(wrong) as client, pytest.raises(redis.AuthenticationError) as caught:
        Consumer(OrderStream(client, wrong), print).run()
    assert "s3cret" not in str(caught.value)


@pytest.mark.row(48)
@pytest.mark.parametrize("command", ["xreadgroup", "xack", "evalsha", "xgroup"])
def test_a_missing_permission_fails_at_once_and_loses_nothing(guest, stream, send, command):
    send(*ORDERS[:3])
    with pytest.raises(redis.ResponseError):
        Consumer(guest("+@all", f"-{command}"), lambda order: None).run()
    handler = Record()
    Consumer(stream, handler).drain()
    assert len(handler.runs) >= 3
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(23)
@pytest.mark.parametrize("wrong", ["stream", "dlq"])
def test_a_key_of_the_wrong_type_fails_at_once(stream, send, settings, client, wrong):
    if wrong == "dlq":
        send(ORDERS[0])
    client.set(getattr(settings, wrong), "not a stream")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        Consumer(stream, reject).run()


def test_a_dead_letter_that_cannot_be_written_leaves_its_order_pending(stream, send, settings, client):
    """Nothing is acked before it is safe in the other stream. Once that is put right, the order goes there."""
    send(ORDERS[0])
    client.set(settings.dlq, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        Consumer(stream, reject).run()
    client.delete(settings.dlq)
    assert stream.backlog().pending == 1
    Consumer(stream, reject).drain()
    assert (stream.backlog().dead_lettered, stream.backlog().done) == (1, True)
