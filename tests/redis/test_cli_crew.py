"""``orderstream consume --concurrency N``: many handlers at once in each process of the service."""

import contextlib
import math
import signal
import time

import pytest

from orderstream import DeadLetterQueue, Order
from orderstream.cli.ledger import WAITS, Ledger
from orderstream.cli.told_crew import ToldCrew

pytestmark = pytest.mark.any_server("processes, signals and files; test_crew runs on each server")

HANDLERS = """
import asyncio, ctypes, os, sys, time
from orderstream import Reject
def note(order):
    with open("began", "a") as file:
        file.write(order.id + "\\n")
def say(order):
    sys.stdout.write(order.id + "\\n")  # at once: print() writes twice, and another thread may write in between
def threads(order):
    note(order); time.sleep(float(os.environ["WAIT_S"])); say(order)
async def coroutines(order):
    note(order); await asyncio.sleep(float(os.environ["WAIT_S"])); say(order)
def poison(order):
    if order.id == "o-3":
        os._exit(1)
    time.sleep(0.02); say(order)
async def poisonous(order):
    if order.id == "o-3":
        os._exit(1)
    await asyncio.sleep(0.02); say(order)
def closes(order):
    if order.id == "o-3":
        os.closerange(3, 60)
    time.sleep(0.02); say(order)
def freezes(order):
    if order.id == "o-3" and not os.path.exists("frozen"):
        open("frozen", "w").close()
        ctypes.PyDLL(None).sleep(60)  # it holds the interpreter
    time.sleep(0.02); say(order)
"""


@pytest.fixture
def consume(start, tmp_path, environ):
    """``consume("threads", wait_s=0.1)``: the service, with 50 at once."""
    (tmp_path / "shop.py").write_text(HANDLERS)

    def begin(handler, *options, wait_s=0.05, concurrency=50, **more):
        environ["WAIT_S"] = str(wait_s)
        environ.update(more)
        return start("consume", "--name", "c", "--handler", f"shop:{handler}", "--concurrency", concurrency, *options)

    return begin


def orders(count):
    return [Order(f"o-{n}", "tea", 1) for n in range(count)]


@pytest.mark.parametrize("handler", ["threads", "coroutines"])
@pytest.mark.parametrize("processes", [0, 1, 2])
def test_each_order_is_handled_and_many_at_once(stream, send, consume, handler, processes):
    """200 orders of 50 ms, one after the other, would take ten seconds."""
    send(*orders(200))
    process = consume(handler, "--processes", processes, "--until-idle", 0.3)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert sorted(out.split()) == sorted(order.id for order in orders(200))
    assert stream.backlog().done
    assert float(err.partition(" in ")[2].split()[0].rstrip("s")) < 5 or "per second" in err


@pytest.mark.row(101)
@pytest.mark.parametrize("handler", ["threads", "coroutines"])
def test_sigterm_finishes_what_is_in_hand_and_leaves_nothing_pending(
    stream, send, consume, handler, eventually, tmp_path
):
    send(*orders(300))
    began = tmp_path / "began"
    began.touch()
    process = consume(handler, wait_s=0.5)
    eventually(lambda: len(began.read_text().split()) >= 50, timeout_s=10)
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert time.monotonic() - told < 2.5
    handled, backlog = out.split(), stream.backlog()
    assert sorted(handled) == sorted(began.read_text().split())
    assert backlog.pending == backlog.waiting


@pytest.mark.row(103)
@pytest.mark.parametrize("handler", ["poison", "poisonous"])
def test_an_order_that_ends_its_process_is_a_dead_letter_and_no_other_is(stream, send, consume, handler, eventually):
    """The process is replaced. On its last attempt the order is alone, and so are those that were beside it."""
    send(*orders(60))
    consume(handler)
    eventually(lambda: stream.backlog().done, timeout_s=30)
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.fields[b"data"].partition(b",")[0], letter.deliveries) == (b'{"id":"o-3"', 4)
    assert "its consumer died" in letter.reason


@pytest.mark.row(96)
def test_a_handler_that_closes_the_files_of_its_process_stops_nobody(stream, send, consume, eventually):
    send(*orders(60))
    consume("closes")
    eventually(lambda: stream.backlog().done, timeout_s=30)
    assert len(DeadLetterQueue(stream).list()) <= 1


def test_a_handler_that_holds_the_interpreter_is_ended_with_its_process(stream, send, consume, eventually):
    """No thread of it can do anything, so its supervisor does."""
    send(*orders(20))
    limits = {"ORDERSTREAM_CLAIM_IDLE_MS": "300", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "600"}
    process = consume("freezes", **limits)
    eventually(lambda: stream.backlog().done, timeout_s=60)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(Exception):
        _, err = process.communicate(timeout=10)
        assert "has not gone on for" in err
    assert not DeadLetterQueue(stream).list()


def test_a_crew_that_reads_nothing_has_reached_redis_all_the_same(stream):
    """Else its supervisor takes it for cut off some seconds after an outage, and kills it."""
    ledger = Ledger.new(10)
    consumer = ToldCrew(ledger, stream, print, "c", None, 5)
    ledger.times[WAITS] = 1.0
    consumer.step()
    assert ledger.times[WAITS] == math.inf
    ledger.close()


def test_concurrency_is_1_or_more(consume):
    process = consume("threads", concurrency=0)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "--concurrency" in err
