"""Real processes that die in the middle of their work, as SIGKILL ends them: nothing runs, nothing is said."""

import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from orderstream import Consumer, DeadLetterQueue, Order, Producer, random_orders
from tests.process import Process

ROOT = Path(__file__).parents[2]
ORDERS = list(islice(random_orders(1), 30))

WORKER = """
import os, signal, sys
from orderstream import Consumer, connect

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def handler(order):
    print("began", order.id, flush=True)
    if order.item == "poison":
        die()
    if order.item == "slow":
        signal.pause()
    stream.client.rpush(f"{stream.settings.stream}:handled", order.id)

stream = connect()
if "die-before-ack" in sys.argv:
    exchange = stream._exchange
    stream._exchange = lambda commands: die() if commands[0][0] == "XACK" else exchange(commands)
Consumer(stream, handler).run()
"""


@pytest.fixture
def start_worker(settings):
    """Start a worker process on this test's stream; none outlives the test."""
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": settings.redis_url,
        "ORDERSTREAM_STREAM": settings.stream,
        "ORDERSTREAM_GROUP": settings.group,
        "ORDERSTREAM_CLAIM_IDLE_MS": str(settings.claim_idle_ms),
        "ORDERSTREAM_BACKOFF_MS": str(settings.backoff_ms),
        "ORDERSTREAM_BLOCK_MS": str(settings.block_ms),
    }
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", WORKER, *arguments]
        started.append(Process(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def handled(client, settings):
    """The ids of the orders whose handler came to its end, in any process."""
    return lambda: [id.decode() for id in client.lrange(f"{settings.stream}:handled", 0, -1)]


@pytest.fixture
def take_over(stream, client, settings):
    """Handle what is left, in this process."""
    return Consumer(stream, lambda order: client.rpush(f"{settings.stream}:handled", order.id)).drain


def dead_lettered(stream):
    return [Order.from_fields([*letter.fields.popitem()]).id for letter in DeadLetterQueue(stream).list()]


def test_the_order_of_a_killed_process_is_handled_by_another(stream, start_worker, take_over, handled):
    slow = Order("slow-1", "slow", 1)
    Producer(stream).send_many([*ORDERS[:5], slow, *ORDERS[5:]])
    worker = start_worker()
    assert any("slow-1" in line for line in iter(worker.stdout.readline, ""))
    assert "slow-1" not in handled()
    worker.send_signal(signal.SIGKILL)
    take_over()
    assert set(handled()) == {*(order.id for order in ORDERS), "slow-1"}
    assert handled().count("slow-1") == 1
    assert (dead_lettered(stream), stream.backlog().done) == ([], True)


def test_a_process_killed_between_handling_and_acking_costs_a_second_run_and_no_order(
    stream, start_worker, take_over, handled
):
    """At least once: the handler must bear it."""
    Producer(stream).send(ORDERS[0])
    assert start_worker("die-before-ack").wait(10) == -signal.SIGKILL
    take_over()
    assert handled() == [ORDERS[0].id] * 2
    assert stream.backlog().done


@pytest.mark.row(9)
def test_an_order_that_kills_every_process_ends_in_the_dead_letter_queue_alone(
    stream, start_worker, take_over, handled
):
    """Three processes die of it, the next one does not run it. Its batch-mates are handled."""
    poison = Order("poison-1", "poison", 1)
    Producer(stream).send_many([*ORDERS[:10], poison, *ORDERS[10:]])
    for _ in range(3):
        assert start_worker().wait(15) == -signal.SIGKILL
    take_over()
    assert dead_lettered(stream) == ["poison-1"]
    assert set(handled()) == {order.id for order in ORDERS}
    assert stream.backlog().done
    assert DeadLetterQueue(stream).list()[0].deliveries == 4


def test_what_was_sent_is_acked_or_dead_lettered_whoever_dies(stream, start_worker, take_over, handled, pending):
    """Two processes at work, one killed in mid-stream, and an order that kills the others."""
    poison = Order("poison-1", "poison", 1)
    sent = [*ORDERS[:20], poison, *ORDERS[20:]]
    workers = [start_worker(), start_worker()]
    poison_id = Producer(stream).send_many(sent)[20]
    workers[0].stdout.readline()
    workers[0].kill()
    assert workers[1].wait(15) == -signal.SIGKILL
    while pending()[poison_id][2] < 3:
        assert start_worker().wait(15) == -signal.SIGKILL
    take_over()
    acked, dead = set(handled()), set(dead_lettered(stream))
    assert acked | dead == {order.id for order in sent}
    assert (acked & dead, dead, stream.backlog().done) == (set(), {"poison-1"}, True)
