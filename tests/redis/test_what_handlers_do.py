"""A handler may raise, return, fork or hang as it likes: it fails, and everybody else's orders go on."""

import asyncio
import contextlib
import functools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orderstream import Consumer, DeadLetterQueue, Defer, Order, Producer, Reject, RetryPolicy, connect
from orderstream.entries import UNOWNED
from orderstream.errors import ConfigError
from tests.redis.handlers import ORDERS, Record, warm

ROOT = Path(__file__).parents[2]


def raise_(error):
    raise error


@pytest.fixture
def program(settings):
    """Run Python code on this test's stream: ``program(code, on_timeout="exit")``. It does not outlive the test."""
    started = []

    def start(code, **more):
        fields = ("stream", "group", "claim_idle_ms", "backoff_ms", "block_ms")
        chosen = {name: getattr(settings, name) for name in fields} | more
        environ = {f"ORDERSTREAM_{name.upper()}": str(value) for name, value in chosen.items()}
        environ = os.environ | environ | {"PYTHONPATH": str(ROOT), "REDIS_URL": settings.redis_url}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code], env=environ, cwd=ROOT, text=True, start_new_session=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


# What it raises ---------------------------------------------------------------------------------------------


@pytest.mark.row(53)
@pytest.mark.parametrize(
    "error", [SystemExit(0), SystemExit("no till"), asyncio.CancelledError(), GeneratorExit()], ids=repr
)
def test_whatever_a_handler_raises_is_its_failure(stream, send, error):
    send(*ORDERS[:3])
    handler = Record(lambda order: raise_(error) if order == ORDERS[1] else None)
    Consumer(stream, handler).drain()
    assert [handler.runs.count(order.id) for order in ORDERS[:3]] == [1, 3, 1]
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason.startswith(type(error).__name__)


def test_an_interrupt_in_a_thread_is_no_ctrl_c(stream, send, running, eventually):
    send(*ORDERS[:2])
    handler = Record(lambda order: raise_(KeyboardInterrupt()) if order == ORDERS[0] else None)
    with running(Consumer(stream, handler)):
        eventually(lambda: stream.backlog().done)
    assert [letter.reason for letter in DeadLetterQueue(stream).list()] == ["KeyboardInterrupt: "]


def test_what_a_signal_raises_in_a_handler_ends_the_consumer_and_is_no_failure(stream, send, pending):
    def leave(number, frame):
        sys.exit("told to leave")

    (id,) = send(ORDERS[0])
    before = signal.signal(signal.SIGUSR1, leave)
    try:
        with pytest.raises(SystemExit, match="told to leave"):
            Consumer(stream, lambda order: os.kill(os.getpid(), signal.SIGUSR1)).step()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert pending()[id][2] == 1


def test_the_log_says_what_was_raised_and_at_debug_where(stream, send, caplog):
    send(ORDERS[0])
    handler = Record(lambda order: raise_(KeyError("4711")) if len(handler.runs) < 3 else None)
    with caplog.at_level(logging.DEBUG, "orderstream"):
        Consumer(stream, handler).drain()
    told = [record for record in caplog.records if record.levelno == logging.INFO]
    assert ["(KeyError)" in record.getMessage() for record in told] == [True, True]
    assert not any("4711" in record.getMessage() for record in caplog.records)  # a message may hold what an order holds
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError, KeyError]


class OddReject(Reject):
    def __init__(self):
        self.reason = 404


class OddDefer(Defer):
    def __init__(self):
        pass


class TextDefer(Defer):
    def __init__(self):
        self.delay_ms = "soon"


class ExitsWhenPrinted(Exception):
    def __str__(self):
        sys.exit(0)


class Long(Exception):
    def __str__(self):
        return "x" * 30_000_000


class Nameless(type):
    @property
    def __name__(cls):
        raise ValueError("no name")


class OfNoName(Exception, metaclass=Nameless):
    pass


class OfNoClass(BaseException):
    @property
    def __class__(self):
        raise ValueError("no class")


HUGE = [lambda: Defer(10**400), lambda: Defer(float("1e300"))]
ODD = [OddReject, OddDefer, TextDefer, *HUGE, ExitsWhenPrinted, Long, OfNoName, OfNoClass]


@pytest.mark.row(53)
@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__qualname__)
def test_an_error_that_cannot_be_used_or_printed_is_a_failure_like_any_other(stream, send, running, eventually, make):
    send(*ORDERS[:2])
    handler = Record(lambda order: raise_(make()) if order == ORDERS[0] else None)
    with running(Consumer(stream, handler)):
        eventually(lambda: ORDERS[1].id in handler.runs)
        eventually(lambda: handler.runs.count(ORDERS[0].id) >= 2 or stream.backlog().dead_lettered)


@pytest.mark.row(58)
def test_an_error_whose_text_takes_for_ever_is_a_handler_that_runs_too_long(
    stream, send, settings, running, eventually
):
    """Its text is code of the handler's. While it runs, the handler runs."""
    let_go = threading.Event()

    class Lazy(Exception):
        def __str__(self):
            let_go.wait(20)
            return "late"

    quick = connect(replace(settings, handler_timeout_ms=settings.claim_idle_ms, max_attempts=1))
    send(ORDERS[0])
    with running(Consumer(quick, lambda order: raise_(Lazy()))):
        eventually(lambda: stream.backlog().dead_lettered)
        let_go.set()
    assert [letter.reason for letter in DeadLetterQueue(stream).list()] == [
        "HandlerTimeout: handler ran longer than 0.3 s"
    ]
    quick.close()


# What it is, and what it returns ------------------------------------------------------------------------------


async def coroutine(order):
    pass


def generator(order):
    yield


async def asynchronous_generator(order):
    yield


class GeneratorObject:
    def __call__(self, order):
        yield


class Shop:
    async def method(self, order):
        yield


WOULD_NOT_RUN = [
    generator, asynchronous_generator, GeneratorObject(), Shop().method, functools.partial(generator),
]  # fmt: skip


@pytest.mark.row(54)
@pytest.mark.parametrize("handler", WOULD_NOT_RUN, ids=lambda handler: type(handler).__name__)
def test_a_handler_that_a_call_would_not_run_is_refused(stream, handler):
    with pytest.raises(ConfigError, match="would not run"):
        Consumer(stream, handler)


@pytest.mark.parametrize("handler", [coroutine, generator, asynchronous_generator])
@pytest.mark.filterwarnings("error")
def test_a_handler_that_returns_what_nobody_runs_has_failed(stream, send, handler):
    send(ORDERS[0])
    Consumer(stream, lambda order: handler(order)).drain()
    (letter,) = DeadLetterQueue(stream).list()
    assert "nobody runs" in letter.reason


def test_any_other_result_of_a_handler_is_ignored(stream, send):
    send(ORDERS[0])
    assert Consumer(stream, lambda order: [order.id]).drain() == 1
    assert stream.backlog().dead_lettered == 0


def test_no_consumer_may_have_the_name_for_nobody(stream):
    with pytest.raises(ConfigError, match="cannot be called"):
        Consumer(stream, print, name=UNOWNED)


# What it forks ----------------------------------------------------------------------------------------------

FORKS_AND_RETURNS = """
import os
from orderstream import Consumer, connect
parent = os.getpid()
def handler(order):
    if not os.fork():
        return
    os.wait()
    print("done", order.id, flush=True)
Consumer(connect(), handler).drain()
print(os.getpid() == parent, flush=True)
"""
USED_BEFORE_THE_FORK = """
import os, time
from orderstream import Consumer, connect
def handler(order):
    time.sleep(1.2)
consumer = Consumer(connect(), lambda order: consumer.work(order))
consumer.work = lambda order: None
consumer.drain()
if os.fork():
    os.wait()
else:
    consumer.work = handler
    print("ready", flush=True)
    while not consumer.step():
        pass
    os._exit(0)
"""


@pytest.mark.row(55)
def test_a_copy_that_comes_back_from_a_handler_ends_and_settles_nothing(stream, send, program):
    send(*ORDERS[:3])
    out, err = program(FORKS_AND_RETURNS).communicate(timeout=20)
    assert out.splitlines() == [*(f"done {order.id}" for order in ORDERS[:3]), "True"], err
    assert err.count("the copy ends here") == 3
    assert stream.backlog().consumers[0].pending == 0
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)


def test_a_consumer_that_was_used_before_a_fork_has_a_heartbeat_in_the_child(stream, send, program, eventually):
    """Its handler takes four times claim_idle_ms, and another consumer looks for suspects all the while."""
    send(ORDERS[0])
    child = program(USED_BEFORE_THE_FORK)
    assert child.stdout.readline() == "ready\n"
    send(ORDERS[1])
    eventually(lambda: stream.backlog().pending)
    other = Record()
    Consumer(stream, other).drain()
    assert other.runs == []


def test_a_system_without_a_thread_for_the_heartbeat_stops_nobody(stream, send, monkeypatch):
    send(*ORDERS[:3])
    handler, refused = Record(), []

    def refuse(thread):
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Consumer(stream, handler).drain() == 3
    assert len(handler.runs) == 3
    assert refused


# How long it runs -------------------------------------------------------------------------------------------


@pytest.mark.row(56)
def test_what_is_done_is_acked_while_a_slow_handler_goes_on(patient, send, pending, eventually):
    """A crash of the slow one must not repeat the quick ones, nor may they run again when it loses its order."""

    def look_at_the_last(order):
        if order == ORDERS[9]:
            eventually(lambda: list(pending()) == [ids[9]])

    handler = Record(look_at_the_last)
    consumer = Consumer(patient, handler)
    warm(consumer)
    ids = send(*ORDERS[:10])
    assert consumer.drain() == 10
    assert len(handler.runs) == 10


@pytest.mark.row(57)
def test_orders_behind_a_slow_one_are_given_back_after_a_second(stream, send, eventually):
    other = Record()

    def wait_until_the_others_are_handled(order):
        if order == ORDERS[0]:
            helper = Consumer(stream, other)
            eventually(lambda: (helper.step(), len(other.runs) == 9)[1], timeout_s=10)

    handler = Record(wait_until_the_others_are_handled)
    consumer = Consumer(stream, handler)
    warm(consumer)
    send(*ORDERS[:10])
    consumer.drain()
    assert handler.runs + other.runs == [order.id for order in ORDERS[:10]]


@pytest.mark.row(58)
def test_a_handler_that_runs_too_long_has_failed_and_the_dead_letter_says_so(
    stream, send, settings, running, eventually, caplog
):
    """It is tried again elsewhere, and at last it is dead-lettered, while each of its handlers still hangs."""
    let_go = threading.Event()
    quick = connect(replace(settings, handler_timeout_ms=settings.claim_idle_ms))
    send(ORDERS[0])
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running(Consumer(quick, lambda order: let_go.wait(20))))
        stack.callback(let_go.set)
        eventually(lambda: stream.backlog().dead_lettered)
        (letter,) = DeadLetterQueue(stream).list()
    assert (letter.reason, letter.deliveries) == ("HandlerTimeout: handler ran longer than 0.3 s", 3)
    assert sum("loses it" in record.getMessage() for record in caplog.records) == 3
    quick.close()


@pytest.mark.row(59)
def test_a_dead_letter_says_that_its_order_was_handled_after_all(stream, send, settings, eventually):
    quick = connect(replace(settings, handler_timeout_ms=settings.claim_idle_ms, max_attempts=1))
    send(ORDERS[0])
    seen = []

    def slow(order):
        eventually(lambda: DeadLetterQueue(stream).list())
        seen.extend(DeadLetterQueue(stream).list())

    Consumer(quick, slow).step()
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason == f"handled after all; before that: {seen[0].reason}"
    assert replace_reason(letter, seen[0]) == seen[0]
    stream.ack([letter.source_id])  # once more: the reply to the first ack was lost
    assert DeadLetterQueue(stream).list() == [letter]
    quick.close()


def replace_reason(letter, other):
    return type(letter)(
        other.id, letter.fields, other.reason, letter.deliveries, letter.group, letter.source_id, letter.at_ms
    )


def test_a_full_redis_takes_the_note_in_a_dead_letter(own_stream):
    own_stream.create_group()
    Producer(own_stream).send(ORDERS[0])
    (entry,) = own_stream.read_new("a", 1, None)
    own_stream.dead_letter("a", entry, "too slow")
    own_stream.client.config_set("maxmemory", 1)
    own_stream.ack([entry.id])
    assert [letter.reason for letter in DeadLetterQueue(own_stream).list()] == [
        "handled after all; before that: too slow"
    ]


def test_an_ack_of_what_was_acked_before_touches_no_dead_letter(stream, send, taken):
    first, second = taken(2)
    stream.dead_letter("a", first, "no")
    assert [stream.ack([second.id]) for _ in range(2)] == [1, 0]
    assert [letter.reason for letter in DeadLetterQueue(stream).list()] == ["no"]


HANGS = """
import ctypes, sys, time
from orderstream import Consumer, connect
def handler(order):
    print("began", flush=True)
    if order.item == "python":
        time.sleep(60)
    ctypes.PyDLL(None).usleep(60_000_000)  # holds the interpreter
Consumer(connect(), handler).run()
"""


@pytest.mark.row(60)
@pytest.mark.parametrize("how", ["python", "C code that holds the interpreter"])
def test_a_process_can_ask_to_be_ended_when_its_handler_hangs(stream, send, program, how):
    (order,) = [type(ORDERS[0])("o-1", how, 1)]
    send(order)
    process = program(HANGS, on_timeout="exit", handler_timeout_ms=400)
    assert process.wait(20) == 1
    out, err = process.communicate()
    assert out == "began\n"
    assert "line 8 in handler" in err or "line 7 in handler" in err


HANGING_REDIS = """
import os, signal, sys, threading
from orderstream import Consumer, connect
stream = connect()
def handler(order):
    if order.item == "stop redis":
        os.kill(int(sys.argv[1]), signal.SIGSTOP)
        threading.Timer(3, lambda: (os.kill(int(sys.argv[1]), signal.SIGCONT), print("awake", flush=True))).start()
Consumer(stream, handler).drain(30)
print("done", flush=True)
"""


def test_a_redis_that_hangs_while_no_handler_runs_ends_no_process(own_server, own_stream, settings):
    """It is waited out, although handlers have one second."""
    own_stream.create_group()
    Producer(own_stream).send_many([Order("o-1", "tea", 1), Order("o-2", "stop redis", 1), Order("o-3", "tea", 1)])
    environ = {
        "PYTHONPATH": str(ROOT), "REDIS_URL": own_server.url, "ORDERSTREAM_STREAM": settings.stream,
        "ORDERSTREAM_GROUP": settings.group, "ORDERSTREAM_ON_TIMEOUT": "exit", "ORDERSTREAM_CLAIM_IDLE_MS": "1000",
        "ORDERSTREAM_HANDLER_TIMEOUT_MS": "1000",
    }  # fmt: skip
    command = [sys.executable, "-c", HANGING_REDIS, str(own_server.process.pid)]
    ran = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "awake\ndone\n"), ran.stderr


@pytest.mark.row(58)
def test_a_slow_link_lets_no_order_pay_for_the_one_before_it(stream, send, settings, caplog):
    """The heartbeat's thread gives the second order back, slowly; meanwhile the first ends and the second begins."""
    quick = connect(replace(settings, claim_idle_ms=1_000, handler_timeout_ms=1_000, max_attempts=1))
    exchange = quick._exchange

    def slowly(commands):
        if threading.current_thread().name.startswith("heartbeat") and UNOWNED in commands[-1]:
            time.sleep(0.5)
        return exchange(commands)

    handler = Record(lambda order: time.sleep(1.2 if order == ORDERS[0] else 0.4))
    consumer = Consumer(quick, handler)
    warm(consumer)
    ids = send(*ORDERS[:2])
    quick._exchange = slowly
    consumer.drain(20)
    late = [record.getMessage() for record in caplog.records if "loses it" in record.getMessage()]
    assert not any(ids[1] in line for line in late)
    assert ORDERS[1].id in handler.runs
    quick.close()


def test_what_one_thread_gave_back_the_other_does_not_give_back_again(patient, send, pending):
    """It may be in somebody's hand by then, at the same attempt."""
    ids = send(*ORDERS[:2])
    patient.create_group()
    entries = patient.read_new("me", 2, None)
    consumer = Consumer(patient, Record(), "me")
    hand = consumer._hand
    hand.take(entries)
    hand.begin(entries[0], time.monotonic())
    hand._give_back()
    again = patient.claim("me", "-", 16).entry
    assert (again.id, again.attempt) == (ids[1], 1)
    consumer._give_back(entries[1:])
    assert pending()[ids[1]][::2] == ("me", 1)
    hand.take([])


def test_a_new_consumer_handles_others_before_an_order_that_was_left_behind(patient, send, pending, make_due):
    """The one that was left behind may be what ends each process that tries it."""
    (left,) = send(ORDERS[0])
    patient.create_group()
    patient.read_new("dead", 1, None)
    make_due(left)
    send(ORDERS[1])
    handler = Record()
    consumer = Consumer(patient, handler)
    assert [consumer.step() for _ in range(2)] == [1, 1]
    assert handler.runs == [ORDERS[1].id, ORDERS[0].id]


# Nobody's entries -------------------------------------------------------------------------------------------


@pytest.mark.row(61)
def test_a_heartbeat_that_is_under_way_does_not_undo_a_delay(patient, taken, pending):
    (entry,) = taken(1)
    assert patient.retry("a", entry, 1_000)
    assert patient.heartbeat("a", [entry]) == set()
    ((owner, idle_ms, attempt),) = pending().values()
    assert (owner, idle_ms >= 29_000, attempt) == (UNOWNED, True, 1)


def test_what_waits_is_counted_and_belongs_to_no_consumer(patient, taken):
    _held, retried, deferred, given_back = taken(4)
    patient.retry("a", retried, 1_000)
    patient.defer("a", deferred, 1_000)
    patient.release("a", [given_back])
    left = patient.backlog()
    assert [(consumer.name, consumer.pending) for consumer in left.consumers] == [("a", 1)]
    assert (left.pending, left.waiting) == (4, 3)
    assert left.remainder() == "0 undelivered, 4 pending (a holds 1, nobody has 3, to be tried again)"


def test_a_claim_tells_a_death_from_a_retry(patient, taken, make_due):
    left, retried = taken(2)
    patient.retry("a", retried, 0)
    make_due(left.id)
    found = [patient.claim("b", "-", 16), patient.claim("b", f"({left.id}", 16)]
    assert [(claimed.entry.id, claimed.left_by) for claimed in found] == [(left.id, "a"), (retried.id, None)]


def test_the_dead_letter_of_an_order_that_was_only_retried_speaks_of_no_death(stream, send):
    """Somebody lowered max_attempts while it waited."""
    send(ORDERS[0])
    generous = Consumer(
        stream, lambda order: raise_(ValueError("no")), policy=RetryPolicy(max_attempts=9, backoff_ms=0)
    )
    while not generous.step():
        pass
    Consumer(connect(replace(stream.settings, max_attempts=1)), Record()).drain()
    (letter,) = DeadLetterQueue(stream).list()
    assert re.fullmatch("max-attempts: 1 delivery, none settled", letter.reason)
