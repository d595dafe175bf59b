"""Worker processes that are killed, stopped, told to end, or hang. Who does what is in rows.py."""

import signal
import threading
from collections import Counter
from itertools import islice, pairwise

import pytest

from orderstream import DeadLetterQueue, Order, Producer, random_orders

same = pytest.mark.any_server("a crew asks of Redis what one handler at a time does")
with_each_crew = pytest.mark.parametrize(
    "crew", ["", pytest.param("threads", marks=same), pytest.param("coroutines", marks=same)], indirect=True
)

ORDERS = list(islice(random_orders(1), 40))
SLOW = Order("slow-1", "slow", 1)


def dead_lettered(stream):
    return [(letter.source_id, letter.deliveries, letter.reason) for letter in DeadLetterQueue(stream).list()]


def ids(orders):
    return [order.id for order in orders]


# Killed


@pytest.mark.row(1)
@with_each_crew
def test_the_order_of_a_killed_process_goes_to_another_at_its_next_attempt(
    start, send, stream, pending, noted, let, eventually
):
    (id,) = send(SLOW)
    first = start("first", "wait_for('never')")
    eventually(lambda: noted("began"), 10)
    start("second", "wait_for('go')")
    first.kill()
    eventually(lambda: noted("began") == [SLOW.id] * 2, 10)
    assert pending()[id][::2] == ("second", 2)
    let("go")
    eventually(lambda: stream.backlog().done)
    assert (noted("done"), dead_lettered(stream)) == ([SLOW.id], [])


@pytest.mark.row(2)
@with_each_crew
def test_what_was_handled_and_not_yet_acked_at_the_kill_is_handled_twice(start, send, stream, noted, eventually):
    """Its process dies with a buffer full of acks. Whoever keys the effect by the order id has one of each."""
    send(*ORDERS)
    die_at_a_full_buffer = """
import orderstream.stream
exchange = orderstream.stream.exchange
def exchange_or_die(pool, commands):
    first = commands[0]
    if first[0] == "XACK" and len(first) > 4:  # the key, the group, and more than one id
        os.kill(os.getpid(), signal.SIGKILL)
    return exchange(pool, commands)
orderstream.stream.exchange = exchange_or_die
"""
    assert start("doomed", setup=die_at_a_full_buffer).wait(10) == -signal.SIGKILL
    held = stream.backlog().pending
    start("heir")
    eventually(lambda: stream.backlog().done, 10)
    runs = Counter(noted("done"))
    assert set(runs) == set(ids(ORDERS))
    assert max(runs.values()) == 2
    assert 2 <= list(runs.values()).count(2) <= held
    assert dead_lettered(stream) == []


# Slow, and too slow


@pytest.mark.row(11)
@with_each_crew
def test_a_handler_of_three_times_claim_idle_ms_runs_once(start, send, stream, pending, noted, eventually):
    (id,) = send(SLOW)
    for name in ("first", "second"):
        start(name, "time.sleep(2.7)", claim_idle_ms=800)
    eventually(lambda: noted("began"), 10)
    idle, owners = [], set()
    while held := pending().get(id):
        owners.add(held[::2])
        idle.append(held[1])
    heartbeats = sum(later < earlier for earlier, later in pairwise(idle))
    assert heartbeats >= 3
    assert [count for _, count in owners] == [1]
    assert (noted("began"), noted("done")) == ([SLOW.id], [SLOW.id])


@pytest.mark.row(12)
@with_each_crew
def test_an_order_that_hangs_every_process_ends_in_the_dead_letter_queue(start, send, stream, noted, eventually):
    """Three hang, and the third failure is the last. The others' orders are not theirs to keep."""
    hang = "if order.item == 'slow': wait_for('never')"
    ids = send(*ORDERS[:5], SLOW, *ORDERS[5:10])
    for name in ("a", "b", "c", "d"):
        start(name, hang, claim_idle_ms=400, handler_timeout_ms=400)
    eventually(lambda: stream.backlog().dead_lettered, 20)
    eventually(lambda: stream.backlog().done, 10)
    ((source, deliveries, reason),) = dead_lettered(stream)
    assert (source, deliveries) == (ids[5], 3)
    assert reason.startswith("HandlerTimeout: handler ran longer than 0.4 s")
    assert Counter(noted("began"))[SLOW.id] == 3
    assert set(noted("done")) == {order.id for order in ORDERS[:10]}


@pytest.mark.row(13)
@with_each_crew
@pytest.mark.parametrize("end", ["return", "raise ValueError('late')", "raise Reject('late')", "raise Defer(0)"])
def test_a_process_that_was_stopped_and_wakes_up_changes_nothing(
    start, send, stream, pending, noted, let, eventually, end
):
    """Somebody else has the order by then. Only an ack counts: the work is done."""
    (id,) = send(SLOW)
    zombie = start("zombie", f"wait_for('zombie'); note('woke', order); {end}", claim_idle_ms=500)
    eventually(lambda: noted("began"), 10)
    zombie.send_signal(signal.SIGSTOP)
    try:
        start("heir", "wait_for('heir')", claim_idle_ms=500)
        eventually(lambda: len(noted("began")) == 2, 10)
    finally:
        zombie.send_signal(signal.SIGCONT)
    let("zombie")
    eventually(lambda: noted("woke"))
    zombie.send_signal(signal.SIGTERM)
    assert zombie.wait(10) == 0
    held = {} if end == "return" else {id: ("heir", 2)}
    assert {id: row[::2] for id, row in pending().items()} == held
    let("heir")
    eventually(lambda: stream.backlog().done)
    eventually(lambda: noted("done") == [SLOW.id])
    assert (noted("began"), dead_lettered(stream)) == ([SLOW.id] * 2, [])


@pytest.mark.row(14)
def test_a_handler_that_holds_the_gil_may_be_overtaken_and_makes_no_second_dead_letter(
    start, send, stream, noted, let, eventually
):
    """No heartbeat can be sent meanwhile: its thread waits for the interpreter. Both reject the order."""
    (id,) = send(SLOW)
    hold_the_gil = "wait_for('go'); ctypes.PyDLL(None).usleep(2_500_000); note('late', order); raise Reject('no')"
    start("first", hold_the_gil, claim_idle_ms=400)
    eventually(lambda: noted("began"), 10)
    start("second", "if order.item == 'slow': raise Reject('no')", claim_idle_ms=400)
    send(ORDERS[0])
    eventually(lambda: noted("done"), 10)  # the second is there
    let("go")
    eventually(lambda: noted("late"), 10)
    eventually(lambda: stream.backlog().done)
    assert noted("began").count(SLOW.id) == 2
    assert dead_lettered(stream) == [(id, 2, "no")]


# Told to end


@pytest.fixture
def busy(start, client, settings, pending, noted, eventually):
    """
    ``busy(then)``: a process with a slow order in hand and others waiting behind it, up to nine. For the slow one its
    handler runs *then*. Returns the process and their entry ids.
    """

    def begin(then, **more):
        process = start("first", f"if order.item == 'slow': {then}", claim_idle_ms=30_000, **more)
        for order in ORDERS[10:15]:  # so that it knows that it is quick, and takes whole batches
            client.xadd(settings.stream, dict([order.to_fields()]))
        eventually(lambda: len(noted("done")) == 5, 10)
        together = client.pipeline(transaction=True)
        for order in (SLOW, *ORDERS[:9]):
            together.xadd(settings.stream, dict([order.to_fields()]))
        slow = together.execute()[0].decode()
        eventually(lambda: noted("began")[5:] == [SLOW.id])
        held = list(pending())
        assert held[0] == slow
        assert len(held) > 1
        return process, held

    return begin


@pytest.mark.row(26)
@with_each_crew
def test_sigterm_ends_an_idle_process_and_it_leaves_the_group(start, send, stream, noted, eventually):
    send(ORDERS[0])
    process = start("first")
    eventually(lambda: noted("done") and stream.backlog().done, 10)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert stream.backlog().consumers == ()


@pytest.mark.row(26)
def test_sigterm_lets_the_handler_finish_and_gives_the_rest_back_at_attempt_1(
    busy, start, stream, pending, noted, let, eventually
):
    """At once: nobody has to wait for the slow one, and nobody for claim_idle_ms, which is 30 s here."""
    process, (slow, *rest) = busy("wait_for('go')")
    process.send_signal(signal.SIGTERM)
    eventually(lambda: {id: row[2] for id, row in pending().items()} == {slow: 1} | dict.fromkeys(rest, 0))
    start("second", "wait_for('second')", claim_idle_ms=30_000)
    eventually(lambda: len(noted("began")) == 7, 10)
    assert [row[2] for row in pending().values() if row[0] == "second"] == [1]
    for _ in ORDERS[:9]:
        let("second")
    eventually(lambda: len(noted("done")) == 14 and list(pending()) == [slow], 10)
    let("go")
    assert process.wait(10) == 0
    assert sorted(noted("done")[5:14]) == sorted(ids(ORDERS[:9]))
    assert noted("done")[14:] == [SLOW.id]
    assert stream.backlog().done
    assert [consumer.name for consumer in stream.backlog().consumers] == ["second"]


@pytest.mark.row(27)
@pytest.mark.parametrize(("twice", "grace_s"), [(True, 30), (False, 0.3)], ids=["second SIGTERM", "grace exceeded"])
def test_a_process_that_leaves_at_once_costs_only_the_order_in_hand_an_attempt(
    busy, start, stream, pending, noted, make_due, eventually, twice, grace_s
):
    process, (slow, *rest) = busy("wait_for('never')", grace_s=grace_s)
    process.send_signal(signal.SIGTERM)
    eventually(lambda: {id: row[2] for id, row in pending().items()} == {slow: 1} | dict.fromkeys(rest, 0))
    if twice:
        process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    make_due(slow)  # which would take 30 s
    start("second", "if order.item == 'slow': wait_for('go')", claim_idle_ms=30_000)
    eventually(lambda: slow in pending() and pending()[slow][::2] == ("second", 2), 10)
    eventually(lambda: noted("began").count(SLOW.id) == 2)
    assert dead_lettered(stream) == []


@pytest.mark.row(28)
@with_each_crew
def test_a_consumer_that_is_removed_over_and_over_loses_nothing_and_comes_back(start, stream, noted, eventually):
    """Whenever it holds nothing, its name is taken away: in between two orders, all the time."""
    orders, sent = random_orders(2), []
    over, removed = threading.Event(), Counter()

    def remove():
        while not over.is_set():
            removed.update(stream.reap(0))

    def each_was_removed_often():
        some = list(islice(orders, 20))
        Producer(stream).send_many(some)
        sent.extend(some)
        return removed["first"] >= 20 and removed["second"] >= 20

    stream.create_group()
    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for name in ("first", "second"):
            start(name)
        eventually(each_was_removed_often, 20)
        eventually(lambda: stream.backlog().done, 20)
    finally:
        over.set()
        remover.join()
    assert set(noted("done")) == set(ids(sent))
    assert dead_lettered(stream) == []
    Producer(stream).send(SLOW)
    eventually(lambda: SLOW.id in noted("done"))
