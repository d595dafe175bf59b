"""Many handlers at once: every promise of a consumer holds for all that it has in hand."""

import asyncio
import contextlib
import contextvars
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
import redis
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orderstream import Consumer, DeadLetterQueue, Defer, Order, Producer, Reject, RetryPolicy, connect
from orderstream.crew import CrewConsumer
from orderstream.crew.hand import CANCEL_S
from orderstream.crew.threads import IDLE_S, MANY
from orderstream.entries import UNOWNED
from orderstream.errors import ConfigError
from tests.redis.conftest import ROOT

KINDS = "threads", "coroutines"


@pytest.fixture(params=KINDS)
def handler(request):
    """``handler(body)``: of each kind one. *body* gets the order and returns how many seconds the handler waits."""

    def make(body):
        if request.param == "threads":
            return lambda order: time.sleep(body(order))

        async def wait(order):
            await asyncio.sleep(body(order))

        return wait

    return make


def orders(count):
    return [Order(f"o-{n}", "tea", 1) for n in range(count)]


def held_by(pending, name):
    return [id for id, (owner, _, _) in pending().items() if owner == name]


class Runs(Counter):
    """Which order was handled how often, and when it began."""

    def __init__(self, wait_s=0.0):
        super().__init__()
        self.wait_s = wait_s

    def __call__(self, order):
        self[order.id] += 1
        return self.wait_s


# What it is given ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [0, -1, 1.5, True, "4"])
def test_concurrency_is_a_whole_number_above_0(stream, many):
    with pytest.raises(ConfigError, match="concurrency must be a whole number, 1 or more, not"):
        Consumer(stream, print, concurrency=many)


def test_one_handler_at_a_time_needs_no_crew(stream):
    """Who does not ask for it does not even import it."""
    code = "import sys, orderstream; print([name for name in sys.modules if 'crew' in name])"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    assert type(Consumer(stream, print)) is type(Consumer(stream, print, concurrency=1)) is Consumer


def test_very_many_threads_are_warned_of(stream, caplog):
    """And very many coroutines are nothing special."""

    async def wait(order):
        pass

    Consumer(stream, print, concurrency=MANY)
    Consumer(stream, wait, concurrency=1_000)
    assert not caplog.records
    Consumer(stream, print, name="c", concurrency=MANY + 1)
    assert caplog.messages == ["c: more than 200 threads are slow; better write the handler with `async def`"]


class Called:
    async def __call__(self, order):
        await asyncio.sleep(0)
        self.order = order


def test_an_object_that_is_called_by_a_coroutine_is_one(stream, send):
    send(*orders(1))
    called = Called()
    assert Consumer(stream, called).drain() == 1
    assert called.order == orders(1)[0]


# How many -----------------------------------------------------------------------------------------------------


def test_so_many_run_at_once_and_no_more_are_in_hand_than_soon_begin(stream, send, handler, running, eventually):
    """In hand are one for each, and about 50 ms of work."""
    now, lock, peak, pending = 0, threading.Lock(), 0, 0

    def body(order):
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        return 0.02

    wait = handler(body)

    def ended():
        nonlocal now
        with lock:
            now -= 1

    if asyncio.iscoroutinefunction(wait):

        async def counted(order):
            await wait(order)
            ended()
    else:

        def counted(order):
            wait(order)
            ended()

    def done():
        nonlocal pending
        backlog = stream.backlog()
        pending = max(pending, backlog.pending)
        return backlog.done

    send(*orders(900))
    with running(Consumer(stream, counted, concurrency=30)):
        eventually(done, timeout_s=20)
    assert peak == 30
    assert 30 <= pending <= 30 + 30 / 0.02 * 0.05 * 1.5  # the pace is measured, and a machine is not even


def test_each_outcome_is_what_it_is_with_one_handler(stream, send, handler, running, eventually):
    """Acked, retried, dead-lettered, deferred: the same number of runs."""
    runs = Runs()

    def body(order):
        runs(order)
        kind, run = int(order.id[2:]) % 10, runs[order.id]
        if kind == 3:
            raise ValueError("never")
        if kind == 5:
            raise Reject("sold out")
        if kind == 7 and run < 3:
            raise Defer(20)
        if kind == 9 and run < 3:
            raise ValueError("twice")
        return 0.002

    send(*orders(400))
    with running(Consumer(stream, handler(body), concurrency=20)):
        eventually(lambda: stream.backlog().done, timeout_s=20)
    expected = {3: 3, 5: 1, 7: 3, 9: 3}
    assert runs == {f"o-{n}": expected.get(n % 10, 1) for n in range(400)}
    reasons = Counter(letter.reason for letter in DeadLetterQueue(stream).list(1_000))
    assert reasons == {"ValueError: never": 40, "sold out": 40}


ERRORS = SystemExit(0), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_one_of_many_raises_is_its_failure(stream, send, handler, error):
    """Neither the crew nor its loop ends by it."""
    runs = Runs()

    def body(order):
        runs(order)
        if order.id == "o-1":
            raise error
        return 0.001

    send(*orders(10))
    Consumer(stream, handler(body), concurrency=5).drain()
    assert runs == {f"o-{n}": 3 if n == 1 else 1 for n in range(10)}
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason.startswith(type(error).__name__)


def test_an_order_that_cannot_be_read_is_a_dead_letter_at_once(stream, handler):
    stream.add([(b"data", b"{")])
    assert Consumer(stream, handler(Runs()), concurrency=5).drain() == 1
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.deliveries, letter.reason.partition(":")[0]) == (1, "DecodeError")


def test_a_plain_function_that_returns_a_coroutine_has_handled_nothing(stream, send):
    async def never(order):
        raise AssertionError("nobody runs it")

    send(*orders(1))
    Consumer(stream, lambda order: never(order), concurrency=2, policy=RetryPolicy(max_attempts=1)).drain()
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason == "TypeError: the handler returned a coroutine, and nobody runs that; write it with `def`"


def test_many_failures_share_their_round_trips(stream, send, handler, running, eventually):
    """A retry of each alone would cost as much as its handler."""
    calls = []
    exchange = stream._exchange

    def counted(commands):
        calls.append(commands[0][0])
        return exchange(commands)

    stream._exchange = counted

    def fail(order):
        raise ValueError

    send(*orders(100))
    calls.clear()
    policy = RetryPolicy(max_attempts=2, backoff_ms=60_000)
    with running(Consumer(stream, handler(fail), concurrency=100, policy=policy)):
        eventually(lambda: stream.backlog().waiting == 100)
        assert len([call for call in calls if call == "EVALSHA"]) < 50


# What it keeps ------------------------------------------------------------------------------------------------


def test_a_heartbeat_keeps_all_that_is_in_hand(stream, send, handler, settings, running, eventually):
    """The handlers take three times claim_idle_ms, and a rival looks for suspects all the while."""
    runs = Runs(3 * settings.claim_idle_ms / 1000)
    rival = connect(settings)
    send(*orders(40))
    with running(Consumer(stream, handler(runs), name="a", concurrency=40)):
        eventually(lambda: len(runs) == 40)
        with running(Consumer(rival, handler(runs), name="b", concurrency=40)):
            eventually(lambda: stream.backlog().done)
    assert set(runs.values()) == {1}
    rival.close()


@pytest.mark.row(105)
def test_a_coroutine_that_blocks_its_loop_keeps_its_orders(stream, send, settings, running, eventually):
    """It is wrong, and it happens."""
    runs = Runs()

    async def block(order):
        time.sleep(runs(order) + 2 * settings.claim_idle_ms / 1000)

    rival = connect(settings)
    send(*orders(3))
    with running(Consumer(stream, block, name="a", concurrency=10)):
        eventually(lambda: runs)
        with running(Consumer(rival, block, name="b", concurrency=10)):
            eventually(lambda: stream.backlog().done, timeout_s=10)
    assert set(runs.values()) == {1}
    rival.close()


def test_a_stop_ends_what_runs_and_gives_the_rest_back_at_once(
    stream, patient, send, handler, pending, running, eventually
):
    """Nothing is cut, nothing is counted, nothing is handled twice."""
    slow = threading.Event()
    runs = Runs()

    def body(order):
        runs(order)
        return 1.0 if slow.is_set() else 0.01

    send(*orders(1_500))
    consumer = Consumer(patient, handler(body), name="a", concurrency=10)
    with running(consumer):
        eventually(lambda: len(runs) > 300)
        slow.set()
        begun = len(runs)
        eventually(lambda: len(runs) >= begun + 10)
        time.sleep(0.02)
        told = time.monotonic()
        consumer.stop()
        eventually(lambda: len(held_by(pending, "a")) == 10)
        assert time.monotonic() - told < 0.5
        assert {deliveries for owner, _, deliveries in pending().values() if owner == UNOWNED} <= {0}
    assert stream.backlog().pending == len(held_by(pending, UNOWNED))
    Consumer(stream, runs, name="b").drain()
    assert runs == dict.fromkeys((order.id for order in orders(1_500)), 1)


def test_nobody_goes_home_before_redis_was_told_of_a_failure(patient, send, handler, pending, eventually):
    """The entry has left the hand then, and its retry is on the way."""
    hand_over, told = patient.hand_over, threading.Event()

    def slow(*args, **more):
        told.set()
        time.sleep(0.3)
        return hand_over(*args, **more)

    def fail(order):
        raise ValueError

    patient.hand_over = slow
    (id,) = send(*orders(1))
    consumer = Consumer(patient, handler(fail), name="a", concurrency=5)
    taking = threading.Thread(target=consumer.run)
    taking.start()
    assert told.wait(5)
    consumer.stop()
    taking.join(10)
    assert pending()[id][0] == UNOWNED


@pytest.mark.row(106)
def test_what_has_not_begun_after_a_second_is_given_back(patient, send, handler, pending, running, eventually):
    """The handlers were quick, so there is something ahead. Then they are slow, and nobody hoards."""
    slow = threading.Event()
    runs = Runs()

    def body(order):
        runs(order)
        return 3.0 if slow.is_set() else 0.01

    send(*orders(3_000))
    with running(Consumer(patient, handler(body), name="a", concurrency=10)):
        eventually(lambda: len(runs) > 500)
        slow.set()
        eventually(lambda: len(held_by(pending, "a")) <= 11, timeout_s=3)


@pytest.mark.row(104)
def test_a_coroutine_is_cancelled_at_its_limit_and_tried_again(settings, send, running, eventually):
    """The others do not wait for it."""
    stream = connect(replace(settings, handler_timeout_ms=600))
    runs, cancelled = Runs(), []

    async def hang(order):
        try:
            await asyncio.sleep(runs(order) + (30 if order.id == "o-7" else 0.01))
        except asyncio.CancelledError:
            cancelled.append(order.id)
            raise

    send(*orders(50))
    with running(Consumer(stream, hang, concurrency=20)):
        eventually(lambda: stream.backlog().done, timeout_s=10)
    assert runs == {f"o-{n}": 3 if n == 7 else 1 for n in range(50)}
    assert cancelled == ["o-7"] * 3
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason == "HandlerTimeout: handler ran longer than 0.6 s, and was cancelled"
    stream.close()


@pytest.mark.row(104)
def test_a_thread_that_hangs_loses_its_order_and_another_takes_its_place(settings, send, running, eventually):
    """Nobody can end a thread."""
    stream = connect(replace(settings, handler_timeout_ms=400))
    let_go, runs = threading.Event(), Runs()

    def hang(order):
        if runs(order) == 0 and order.id in ("o-0", "o-1") and runs[order.id] == 1:
            let_go.wait(20)

    send(*orders(2))
    consumer = Consumer(stream, hang, concurrency=2)
    with running(consumer):
        eventually(lambda: stream.backlog().done)
        assert runs == {"o-0": 2, "o-1": 2}
        send(Order("o-2", "tea", 1))
        eventually(lambda: runs["o-2"] and stream.backlog().done)
        let_go.set()
    assert stream.backlog().dead_lettered == 0
    stream.close()


def test_a_coroutine_that_refuses_to_end_loses_its_order(settings, send, running, eventually):
    """As a thread that hangs."""
    stream = connect(replace(settings, handler_timeout_ms=400))
    let_go, runs = threading.Event(), Runs()

    async def stay(order):
        runs(order)
        while runs[order.id] == 1 and not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    send(*orders(1))
    with running(Consumer(stream, stay, concurrency=2)):
        eventually(lambda: stream.backlog().done, timeout_s=5 + CANCEL_S)
        assert runs == {"o-0": 2}
        let_go.set()
    stream.close()


@pytest.mark.row(105)
@pytest.mark.parametrize("harm", ["loop.stop()", "all tasks cancelled", "SystemExit in a task"])
def test_nothing_that_a_handler_does_to_its_loop_stops_the_others(stream, send, harm, running, eventually):
    runs = Runs()

    async def leave():
        raise SystemExit("out")

    async def harmful(order):
        runs(order)
        await asyncio.sleep(0.01)
        if order.id == "o-3" and runs[order.id] == 1:
            if harm == "loop.stop()":
                asyncio.get_running_loop().stop()
            elif harm == "all tasks cancelled":
                for task in asyncio.all_tasks():
                    task.cancel()
            else:
                runs.task = asyncio.create_task(leave())
        await asyncio.sleep(0.01)

    send(*orders(30))
    with running(Consumer(stream, harmful, concurrency=5)):
        eventually(lambda: stream.backlog().done)
    assert set(runs) == {order.id for order in orders(30)}
    assert stream.backlog().dead_lettered == 0


def test_a_copy_that_a_handler_makes_of_the_process_handles_nothing(stream, send, settings):
    """It comes back from the handler as if it were the process that has the orders."""
    code = """
import os, sys, threading
from orderstream import Consumer, connect
handled = []
def fork(order):
    if order.id == "o-3" and os.fork() == 0:
        return                       # the copy comes back
    handled.append(order.id)
Consumer(connect(), fork, concurrency=4).drain()
os.wait()
print(len(handled), os.getpid() == int(sys.argv[1] if len(sys.argv) > 1 else os.getpid()))
"""
    send(*orders(10))
    fields = ("stream", "group", "claim_idle_ms", "backoff_ms", "block_ms")
    environ = {f"ORDERSTREAM_{name.upper()}": str(getattr(settings, name)) for name in fields}
    environ = os.environ | environ | {"REDIS_URL": settings.redis_url, "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=20)
    assert told.stdout.split() == ["10", "True"], told.stderr
    assert "forked, and the copy came back from it" in told.stderr


# Poison -------------------------------------------------------------------------------------------------------


@pytest.mark.row(103)
def test_on_its_last_attempt_an_order_whose_consumer_died_is_alone(
    patient, send, handler, make_due, running, eventually, settings
):
    """It may be what ended the others. Nobody else is in hand then, before it or beside it."""
    ids = send(*orders(60))
    patient.create_group()
    dead = patient.read_new("dead", 1, None)
    client = patient.client
    client.xclaim(settings.stream, settings.group, "dead", 0, [dead[0].id], idle=0, retrycount=2, justid=True)
    now, together = set(), []
    lock = threading.Lock()

    def body(order):
        with lock:
            now.add(order.id)
            together.append(set(now))
        return 0.03

    wait = handler(body)
    if asyncio.iscoroutinefunction(wait):

        async def watched(order):
            await wait(order)
            now.discard(order.id)
    else:

        def watched(order):
            wait(order)
            now.discard(order.id)

    with running(Consumer(patient, watched, concurrency=10)):
        eventually(lambda: any(len(each) == 10 for each in together))
        make_due(ids[0])
        eventually(lambda: patient.backlog().done, timeout_s=10)
    assert [each for each in together if "o-0" in each] == [{"o-0"}]


def test_a_failing_order_is_not_taken_for_poison(stream, send, handler, running, eventually):
    """Its consumer has handed it over. So nobody waits for it."""
    waits = 0
    consumer = None
    runs = Runs()

    def body(order):
        runs(order)
        if order.id in ("o-0", "o-1"):
            raise ValueError
        return 0.01

    consumer = Consumer(stream, handler(body), concurrency=10)
    wait = consumer._drained

    def counted():
        nonlocal waits
        waits += 1
        return wait()

    consumer._drained = counted
    send(*orders(200))
    with running(consumer):
        eventually(lambda: stream.backlog().done)
    assert (runs["o-0"], runs["o-1"], waits) == (3, 3, 0)


# Outages ------------------------------------------------------------------------------------------------------


def test_a_redis_that_comes_back_gets_all_acks_and_failures(own_stream, own_server, handler, running, eventually):
    """Nothing is lost, and few orders are handled twice."""
    runs = Runs()

    def body(order):
        runs(order)
        if order.id.endswith("7") and runs[order.id] == 1:
            raise ValueError
        return 0.02

    Producer(own_stream).send_many(orders(600))
    with running(Consumer(own_stream, handler(body), concurrency=30)):
        for so_many in (150, 350):
            eventually(lambda so_many=so_many: len(runs) > so_many)
            own_server.kill()
            time.sleep(0.3)
            own_server.start()

        def done():
            try:
                return own_stream.backlog().done
            except redis.RedisError:
                return False

        eventually(done, timeout_s=20)
    assert len(runs) == 600
    assert own_stream.backlog().dead_lettered == 0


def test_a_missing_permission_ends_it_with_the_error(guest, send, client, settings, handler):
    """A person has to act. The reader has room for no more, and does not wait for ever."""
    send(*orders(10))
    stream = guest("+@all")

    def forbid(order):
        client.acl_setuser(f"guest-{settings.stream}", commands=["-xack"], enabled=True)
        return 0

    with pytest.raises(redis.exceptions.NoPermissionError):
        Consumer(stream, handler(forbid), concurrency=3).run()


def test_a_deleted_group_is_made_again(stream, send, client, settings, handler, running, eventually):
    runs = Runs()
    with running(Consumer(stream, handler(runs), concurrency=5)):
        send(*orders(5))
        eventually(lambda: len(runs) == 5 and stream.backlog().done)
        client.delete(settings.stream)
        send(*orders(9))
        eventually(lambda: len(runs) == 9)


# Threads and loops --------------------------------------------------------------------------------------------


def ours(name):
    return [thread.name for thread in threading.enumerate() if name in thread.name]


def test_its_threads_end_with_it_and_when_there_is_nothing_to_do(stream, send, handler, running, eventually):
    """Also the keeper's. So an idle consumer costs one thread, which waits at Redis."""
    with running(Consumer(stream, handler(Runs(0.01)), name="tidy", concurrency=20)):
        send(*orders(100))
        eventually(lambda: stream.backlog().done)
        eventually(lambda: [name for name in ours("tidy") if "handlers" not in name] == [], timeout_s=5 + IDLE_S)
    assert ours("tidy") == []


@pytest.mark.parametrize("take", ["step", "drain"])
def test_threads_end_after_step_and_drain(stream, send, handler, take, eventually):
    consumer = Consumer(stream, handler(Runs()), name="tidy", concurrency=10)
    send(*orders(50))
    assert getattr(consumer, take)() >= 1
    eventually(lambda: ours("tidy") == [], timeout_s=5 + IDLE_S)
    consumer.drain()
    assert stream.backlog().done


def test_in_drain_a_free_place_takes_the_next_order(stream, send, handler):
    """It does not wait for the slowest of a batch."""
    ended = []
    wait = handler(lambda order: 2.0 if order.id == "o-0" else 0.01)
    if asyncio.iscoroutinefunction(wait):

        async def whole(order):
            await wait(order)
            ended.append(order.id)
    else:

        def whole(order):
            wait(order)
            ended.append(order.id)

    send(*orders(10))
    assert Consumer(stream, whole, concurrency=2).drain() == 10
    assert (len(ended), ended[-1]) == (10, "o-0")


def test_ctrl_c_ends_a_drain_and_waits_for_no_handler(stream, send, handler):
    def body(order):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return 6.0

    send(*orders(1))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Consumer(stream, handler(body), concurrency=2).drain()
    assert time.monotonic() - began < 4


def test_in_your_loop_the_handlers_run_in_your_loop_and_a_cancel_is_a_stop(stream, send):
    """What runs is finished, and nothing is left pending."""
    send(*orders(200))
    runs = Runs()

    async def main():
        mine = asyncio.get_running_loop()

        async def handle(order):
            assert asyncio.get_running_loop() is mine
            await asyncio.sleep(runs(order) + 0.02)

        task = asyncio.create_task(Consumer(stream, handle, concurrency=20).run_async())
        while len(runs) < 100:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    backlog = stream.backlog()
    assert (backlog.pending - backlog.waiting, set(runs.values())) == (0, {1})
    Consumer(stream, runs).drain()
    assert set(runs.values()) == {1}


@pytest.mark.parametrize("many", [1, 3])
def test_in_your_loop_a_plain_function_runs_in_threads(stream, send, many):
    """Your loop goes on meanwhile."""
    send(*orders(6))
    runs, turns = Runs(), 0

    def block(order):
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.05)
        runs(order)

    async def main():
        nonlocal turns
        consumer = Consumer(stream, block, concurrency=many)
        task = asyncio.create_task(consumer.run_async())
        while len(runs) < 6:
            turns += 1
            await asyncio.sleep(0.005)
        consumer.stop()
        await task

    asyncio.run(main())
    assert turns > 10


def test_in_your_loop_an_error_that_needs_a_person_comes_to_whoever_waits(guest, send):
    send(*orders(3))
    stream = guest("+@all", "-xreadgroup")

    async def handle(order):
        pass

    with pytest.raises(redis.exceptions.NoPermissionError):
        asyncio.run(Consumer(stream, handle, concurrency=2).run_async())


@pytest.mark.row(36)
def test_your_loop_may_end_without_a_word(stream, send, eventually):
    """As a program does that ends on an error. What ran then comes again, what had not begun is given back."""
    send(*orders(50))
    began = threading.Event()

    async def hang(order):
        began.set()
        await asyncio.sleep(60)

    async def main():
        consumer = Consumer(stream, hang, concurrency=5)
        consumer.task = asyncio.create_task(consumer.run_async())
        while not began.is_set():
            await asyncio.sleep(0.01)

    asyncio.run(main())
    runs = Runs()
    Consumer(stream, runs).drain()
    assert len(runs) == 50


# Signals and death --------------------------------------------------------------------------------------------


PROGRAM = """
import asyncio, signal, sys, time
from orderstream import Consumer, connect
kind, wait_s = sys.argv[1], float(sys.argv[2])
def say(line):
    sys.stdout.write(line + "\\n")  # at once: print() writes twice, and another thread may write in between
    sys.stdout.flush()
def threads(order):
    say(f"began {order.id}"); time.sleep(wait_s); say(f"ended {order.id}")
async def coroutines(order):
    say(f"began {order.id}"); await asyncio.sleep(wait_s); say(f"ended {order.id}")
consumer = Consumer(connect(), globals()[kind], name="c", concurrency=100)
signal.signal(signal.SIGTERM, lambda *told: consumer.stop())
consumer.run()
"""


@pytest.mark.row(101)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sigterm_with_100_in_hand_cuts_none_and_doubles_none(
    stream, send, kind, start, eventually, tmp_path, pending
):
    send(*orders(500))
    with (tmp_path / "out").open("w+") as out:
        process = start(kind, "0.5", through=("-c", PROGRAM), stdout=out)
        eventually(lambda: (tmp_path / "out").read_text().count("began") >= 100, timeout_s=10)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - told < 0.5 + 1.5
    lines = (tmp_path / "out").read_text().split("\n")
    began, ended = ({line.split()[1] for line in lines if line.startswith(word)} for word in ("began", "ended"))
    assert began == ended
    assert set(held_by(pending, "c")) == set()
    runs = Runs()
    Consumer(stream, runs).drain()
    assert set(runs) == {order.id for order in orders(500)} - began
    assert set(runs.values()) == {1}


@pytest.mark.row(102)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sigkill_with_100_in_hand_loses_none(stream, send, kind, start, eventually, tmp_path):
    """What had ended some time before is not handled again."""
    send(*orders(500))
    with (tmp_path / "out").open("w+") as out:
        process = start(kind, "0.1", through=("-c", PROGRAM), stdout=out)
        eventually(lambda: (tmp_path / "out").read_text().count("ended") >= 150, timeout_s=10)
        process.kill()
        process.wait()
    ended = {line.split()[1] for line in (tmp_path / "out").read_text().split("\n") if line.startswith("ended")}
    runs = Runs()
    Consumer(stream, runs).drain()
    assert set(runs) | ended == {order.id for order in orders(500)}
    assert set(runs.values()) == {1}
    assert len(set(runs) & ended) <= 100


def test_names_of_consumers_have_64_random_bits(stream):
    assert len(Consumer(stream, print).name.rpartition("-")[2]) == 16


# Tracing ------------------------------------------------------------------------------------------------------


def test_each_span_is_below_the_run_of_its_own_order(stream, handler, request):
    """However many run at once, and in whatever order they end."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("shop")
    wait = handler(lambda order: random.random() / 50)
    if asyncio.iscoroutinefunction(wait):

        async def inner(order):
            await wait(order)
            with tracer.start_as_current_span(f"inner {order.id}"):
                await wait(order)
    else:

        def inner(order):
            wait(order)
            with tracer.start_as_current_span(f"inner {order.id}"):
                wait(order)

    producer = Producer(stream)
    for order in orders(60):
        producer.send(order)
    consumer = Consumer(stream, inner, concurrency=20)
    consumer.drain()
    spans = {span.context.span_id: span for span in kept.get_finished_spans()}
    by_name = {}
    for span in spans.values():
        by_name.setdefault(span.name.partition(" ")[0], []).append(span)
    assert {name: len(each) for name, each in by_name.items()} == {"send": 60, "process": 60, "ack": 60, "inner": 60}
    for span in by_name["inner"]:
        parent = spans[span.parent.span_id]
        assert parent.name.startswith("process ")
        assert f"inner {parent.attributes['messaging.message.conversation_id']}" == span.name
    for span in by_name["ack"]:
        parent = spans[span.parent.span_id]
        assert parent.name.startswith("process ")
        assert parent.attributes["messaging.message.id"] == span.attributes["messaging.message.id"]
    assert not consumer._observed._of, "it forgets what is settled"


def test_its_log_says_what_failed(stream, send, handler, caplog):
    def fail(order):
        raise KeyError("4711")

    send(*orders(1))
    with caplog.at_level(logging.INFO, "orderstream"):
        Consumer(stream, handler(fail), concurrency=3).drain()
    assert ["(KeyError)" in message for message in caplog.messages] == [True, True, False]
    assert not any("4711" in message for message in caplog.messages)


def test_large_entries_are_taken_a_few_at_a_time(stream, handler, running, eventually):
    """Else a hundred of a megabyte each would be in memory at once."""
    large = [Order(f"o-{n}", "x" * 100_000, 1) for n in range(120)]
    asked, read_new = [], stream.read_new

    def noted(consumer, count, *rest, **more):
        asked.append(count)
        return read_new(consumer, count, *rest, **more)

    stream.read_new = noted
    Producer(stream).send_many(large[:1])
    runs = Runs()
    with running(Consumer(stream, handler(runs), concurrency=100)):
        eventually(lambda: len(runs) == 1)
        asked.clear()
        Producer(stream).send_many(large[1:])
        eventually(lambda: len(runs) == 120)
    assert max(asked[1:]) <= 80


# What somebody who tried to break it has found ------------------------------------------------------------------


@pytest.mark.row(104)
@pytest.mark.parametrize("kind", KINDS)
def test_orders_that_hang_again_and_again_leave_room_for_the_others(settings, send, kind, running, eventually):
    """Three attempts of two orders hang in a crew of two. Nobody can end them."""
    stream = connect(replace(settings, handler_timeout_ms=400, claim_idle_ms=300))
    let_go, good = threading.Event(), Runs()

    def threads(order):
        if order.item == "slow":
            let_go.wait(30)
        else:
            good(order)

    async def coroutines(order):
        while order.item == "slow" and not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        if order.item != "slow":
            good(order)

    send(*[Order(f"slow-{n}", "slow", 1) for n in range(2)])
    consumer = Consumer(stream, threads if kind == "threads" else coroutines, concurrency=2)
    with running(consumer):
        for n in range(20):
            send(Order(f"good-{n}", "tea", 1))
            time.sleep(0.1)
        eventually(lambda: len(good) == 20, timeout_s=10)
        eventually(lambda: stream.backlog().done, timeout_s=20)
        reasons = {letter.reason.partition(":")[0] for letter in DeadLetterQueue(stream).list()}
        let_go.set()
    assert reasons == {"HandlerTimeout"}
    stream.close()


def test_a_coroutine_that_is_cancelled_before_it_began_leaves_its_place(stream, send, running, eventually):
    runs = Runs()

    async def harmful(order):
        runs(order)
        if order.id == "o-0" and runs[order.id] == 1:
            for task in asyncio.all_tasks():
                task.cancel()
        await asyncio.sleep(0)

    send(*orders(30))
    with running(Consumer(stream, harmful, concurrency=5)):
        eventually(lambda: stream.backlog().done)
    assert set(runs) == {order.id for order in orders(30)}


@pytest.mark.row(105)
def test_a_coroutine_that_blocks_its_loop_for_too_long_fails_alone(settings, send, running, eventually):
    """The time of the others stands still meanwhile."""
    stream = connect(replace(settings, handler_timeout_ms=600, claim_idle_ms=300))
    runs = Runs()

    async def handle(order):
        runs(order)
        if order.id == "o-3":
            await asyncio.sleep(0.05)
            time.sleep(1.5)
            raise ValueError
        for _ in range(2):  # the second wait comes after the block, and is cut if that counts
            await asyncio.sleep(0.2)

    send(*orders(20))
    with running(Consumer(stream, handle, concurrency=20)):
        eventually(lambda: stream.backlog().done, timeout_s=20)
    assert {id: count for id, count in runs.items() if id != "o-3"} == {f"o-{n}": 1 for n in range(20) if n != 3}
    assert [b'"o-3"' in letter.fields[b"data"] for letter in DeadLetterQueue(stream).list()] == [True]
    stream.close()


@pytest.mark.row(103)
def test_an_order_that_goes_alone_does_not_wait_for_one_that_hangs(
    patient, send, handler, make_due, running, eventually, settings
):
    """Nobody else waits for the two for longer than a moment."""
    (id,) = send(*orders(1))
    patient.create_group()
    patient.read_new("dead", 1, None)
    patient.client.xclaim(settings.stream, settings.group, "dead", 0, [id], idle=0, retrycount=2, justid=True)
    runs, let_go = Runs(), threading.Event()

    def body(order):
        runs(order)
        return 6.0 if order.id == "hangs" else 0.001

    with running(Consumer(patient, handler(body), concurrency=10)):
        send(Order("hangs", "tea", 1))
        eventually(lambda: runs["hangs"])
        make_due(id)
        for n in range(30):
            send(Order(f"good-{n}", "tea", 1))
            time.sleep(0.05)
        eventually(lambda: len(runs) >= 31, timeout_s=4)
        let_go.set()
        eventually(lambda: runs["o-0"] == 1, timeout_s=15)
        eventually(lambda: patient.backlog().done, timeout_s=10)


@pytest.mark.parametrize("take", ["step", "drain"])
def test_a_stop_meanwhile_cuts_nothing(stream, send, handler, take, eventually):
    """Neither in step() nor in drain(): what runs is finished and acked."""
    runs, ended = Runs(), Runs()

    def body(order):
        runs(order)
        return 0.5

    wait = handler(body)
    if asyncio.iscoroutinefunction(wait):

        async def whole(order):
            await wait(order)
            ended(order)
    else:

        def whole(order):
            wait(order)
            ended(order)

    send(*orders(5))
    consumer = Consumer(stream, whole, concurrency=5)
    taking = threading.Thread(target=getattr(consumer, take))
    taking.start()
    eventually(lambda: len(runs) == 5)
    consumer.stop()
    taking.join(10)
    assert runs == ended == {order.id: 1 for order in orders(5)}
    assert stream.backlog().pending == 0


def test_in_your_loop_a_second_cancel_cuts_nothing_either(stream, send):
    send(*orders(10))
    runs, ended = Runs(), Runs()

    async def handle(order):
        runs(order)
        await asyncio.sleep(0.5)
        ended(order)

    async def main():
        task = asyncio.create_task(Consumer(stream, handle, concurrency=10).run_async())
        while len(runs) < 10:
            await asyncio.sleep(0.01)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert runs == ended
    assert stream.backlog().pending == 0


def test_a_consumer_of_steps_may_go_on_in_your_loop(stream, send):
    send(*orders(3))
    seen = []

    async def handle(order):
        seen.append(asyncio.get_running_loop())

    consumer = Consumer(stream, handle, concurrency=3)
    consumer.step()

    async def main():
        send(*orders(3))
        task = asyncio.create_task(consumer.run_async())
        while len(seen) < 6:
            await asyncio.sleep(0.01)
        consumer.stop()
        await task
        assert seen[3:] == [asyncio.get_running_loop()] * 3

    asyncio.run(main())


def test_an_end_does_not_wait_for_a_coroutine_that_blocks_its_loop(settings, send, running, eventually):
    """Its order has been taken from it long ago."""
    stream = connect(replace(settings, handler_timeout_ms=400, claim_idle_ms=300, max_attempts=1))
    let_go = threading.Event()

    async def block(order):
        let_go.wait(30)

    send(*orders(1))
    consumer = Consumer(stream, block, concurrency=2)
    taking = threading.Thread(target=consumer.run)
    taking.start()
    eventually(lambda: stream.backlog().dead_lettered == 1)
    consumer.stop()
    taking.join(2 + 4 * CANCEL_S)
    assert not taking.is_alive()
    let_go.set()
    stream.close()


def test_a_crew_that_claims_what_it_has_in_hand_goes_on_with_it(
    stream, send, handler, pending, make_due, running, eventually
):
    """As after a pause of Redis that was longer than claim_idle_ms. It does not begin a second time."""
    runs = Runs(3.0)
    ids = send(*orders(5))

    def claimed():
        make_due(*ids)  # again and again: a heartbeat may come in between
        return any(attempt > 1 for _, _, attempt in pending().values())

    with running(Consumer(stream, handler(runs), name="c", concurrency=10)):
        eventually(lambda: len(runs) == 5)
        eventually(claimed, timeout_s=2.5)
        eventually(lambda: stream.backlog().done, timeout_s=10)
    assert set(runs.values()) == {1}


def test_no_order_sees_the_context_variables_of_another(stream, send, handler):
    mine = contextvars.ContextVar("mine", default=None)
    seen = []

    def body(order):
        seen.append(mine.get())
        mine.set(order.id)
        return 0.001

    send(*orders(100))
    Consumer(stream, handler(body), concurrency=5).drain()
    assert set(seen) == {None}


def test_a_subclass_that_cannot_have_many_says_so(stream):
    class Own(Consumer):
        pass

    class OwnCrew(CrewConsumer):
        pass

    async def handle(order):
        pass

    for wrong in (lambda: Own(stream, print, concurrency=2), lambda: Own(stream, handle)):
        with pytest.raises(ConfigError, match="Own runs one plain function at a time; derive it from"):
            wrong()
    assert OwnCrew(stream, print, concurrency=2).concurrency == 2


HOLDS = """
import ctypes, time
from orderstream import Consumer, connect
def freeze(order):
    ctypes.PyDLL(None).sleep(30)
Consumer(connect(), freeze, concurrency=4).run()
"""


@pytest.mark.row(60)
def test_a_handler_that_holds_the_interpreter_ends_the_process_if_asked_to(send, start, environ):
    environ |= {"ORDERSTREAM_ON_TIMEOUT": "exit", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "400"}
    send(*orders(1))
    process = start(through=("-c", HOLDS))
    assert process.wait(10) == 1
    assert "freeze" in process.stderr.read()
