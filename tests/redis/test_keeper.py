"""``consume`` and handlers that hang, hold the interpreter, or die: what its supervisor does for them."""

import os
import re
import signal
import time
from itertools import islice

import psutil
import pytest
import redis

from orderstream import DeadLetterQueue, Order, Producer, random_orders
from orderstream.entries import UNOWNED

pytestmark = [
    pytest.mark.any_server("processes, signals and memory; the scripts that settle are tested on each server"),
    pytest.mark.usefixtures("a_hangup_is_heard"),
]

SLOW = Order("slow", "slow", 1)
SHOP = """
import ctypes, multiprocessing, os, signal, subprocess, threading, time

def note(what, order):
    with open("notes", "a") as notes:
        notes.write(f"{{what}} {{order.id}}\\n")

def handle(order):
    note("began", order)
    if order.item == "slow":
        {slow}
    note("done", order)
"""
NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "orderstream", *sys.argv[1:]])
"""
EVENT_LOOP = """
import asyncio, signal, time

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.{number}, print)
    await asyncio.sleep(0.01)

def handle(order):
    asyncio.run(main())
    time.sleep(0.05)
    print(order.id)
"""
FEW_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4096))
os.execv(sys.executable, [sys.executable, "-m", "orderstream", *sys.argv[1:]])
"""
LEAKS = """
import os, threading, time

def leak(files=[]):
    while True:
        try:
            files.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            time.sleep(0.001)

def handle(order):
    if order.item == "slow":
        threading.Thread(target=leak, daemon=True).start()
        time.sleep(0.5)
    print(order.id)
"""
WARM = list(islice(random_orders(1), 20))
REST = list(islice(random_orders(2), 5))


@pytest.fixture
def environ(environ):
    return {**environ, "ORDERSTREAM_CLAIM_IDLE_MS": "30000", "ORDERSTREAM_GRACE_S": "30"}


@pytest.fixture
def notes(tmp_path):
    """What the handlers noted: lines such as ``began o-1``."""

    def look():
        path = tmp_path / "notes"
        return path.read_text().splitlines() if path.exists() else []

    return look


@pytest.fixture
def service(start, tmp_path, stream, notes, eventually):
    """``service(slow)``: a service that is warm, so it takes whole batches. For a slow order it runs *slow*."""

    def begin(slow, *args):
        (tmp_path / "shop.py").write_text(SHOP.format(slow=slow))
        process = start("consume", "--name", "till", "--handler", "shop:handle", *args)
        Producer(stream).send_many(WARM)
        eventually(lambda: stream.backlog().done, 20)
        assert len(notes()) == 2 * len(WARM)
        return process

    return begin


def child_of(process):
    (child,) = psutil.Process(process.pid).children()
    return child


def reasons(stream):
    return [letter.reason for letter in DeadLetterQueue(stream).list()]


def stop(process):
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=20)[1]
    assert process.returncode == 0, err
    return err


# A handler that hangs -------------------------------------------------------------------------------------


@pytest.mark.row(64)
@pytest.mark.parametrize(
    "hang",
    ["threading.Event().wait()", "ctypes.PyDLL(None).sleep(600)", "subprocess.run(['sleep', '600'])"],
    ids=["waiting", "holding the interpreter", "in a program that it started"],
)
def test_a_handler_that_hangs_is_ended_and_dead_lettered_and_the_service_goes_on(
    service, environ, stream, notes, eventually, hang
):
    environ |= {"ORDERSTREAM_HANDLER_TIMEOUT_MS": "400", "ORDERSTREAM_CLAIM_IDLE_MS": "400"}
    process = service(hang)
    (id,) = Producer(stream).send_many([SLOW])
    eventually(lambda: stream.backlog().dead_lettered, 20)
    assert reasons(stream) == ["HandlerTimeout: handler ran longer than 0.4 s"]
    assert notes().count("began slow") == 3
    Producer(stream).send_many(REST)
    eventually(lambda: stream.backlog().done, 20)
    assert {f"done {order.id}" for order in REST} <= set(notes())
    assert not any("sleep" in child.cmdline() for child in psutil.Process(process.pid).children(recursive=True))
    err = stop(process)
    assert err.count(f"till: the handler of entry {id} runs for longer than 0.4 s\n") == 3
    assert len(re.findall(r"^till was ended by signal 9 \(Killed\); it is started again in ", err, re.M)) == 3


@pytest.mark.row(64)
def test_those_behind_a_handler_that_is_ended_come_again_uncounted_and_those_before_it_do_not(
    service, environ, client, settings, stream, notes, eventually
):
    """The handler holds the interpreter. So the process itself can neither ack nor give back."""
    environ["ORDERSTREAM_HANDLER_TIMEOUT_MS"] = "30000"
    process = service("os.path.exists('hung') or os.mkdir('hung') or ctypes.PyDLL(None).sleep(600)")
    together = client.pipeline(transaction=True)
    for order in (*REST[:2], SLOW, *REST[2:]):
        together.xadd(settings.stream, dict([order.to_fields()]))
    together.execute()
    eventually(lambda: "began slow" in notes())
    child_of(process).kill()
    eventually(lambda: {f"done {order.id}" for order in REST} <= set(notes()), 20)
    for order in REST:
        assert notes().count(f"began {order.id}") == 1
    eventually(lambda: "done slow" in notes())
    assert notes().count("began slow") == 2


# A handler that holds the interpreter ----------------------------------------------------------------------


@pytest.mark.row(65)
def test_a_handler_that_holds_the_interpreter_keeps_its_order_and_runs_once(
    service, start, environ, client, settings, stream, notes, eventually
):
    """For more than three times claim_idle_ms, with another consumer that would claim it."""
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "20000"}
    process = service("ctypes.PyDLL(None).usleep(2_000_000)", "--processes", "2")
    before = [row["idle"] for row in client.xinfo_consumers(settings.stream, settings.group)]
    assert before
    Producer(stream).send_many([SLOW])
    eventually(lambda: stream.backlog().done, 20)
    assert (notes().count("began slow"), notes().count("done slow")) == (1, 1)
    assert stream.backlog().dead_lettered == 0
    stop(process)


@pytest.mark.row(65)
def test_what_was_finished_before_a_handler_holds_the_interpreter_is_acked(
    service, environ, client, settings, pending, notes, eventually
):
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "20000"}
    service("ctypes.PyDLL(None).usleep(3_000_000)")
    together = client.pipeline(transaction=True)
    for order in (*REST, SLOW):
        together.xadd(settings.stream, dict([order.to_fields()]))
    *_, slow = together.execute()
    eventually(lambda: list(pending()) == [slow.decode()] and "began slow" in notes(), 10)
    assert "done slow" not in notes()


# A process that dies --------------------------------------------------------------------------------------


@pytest.mark.row(63)
def test_the_order_of_a_process_that_dies_is_retried_without_waiting_for_claim_idle_ms(
    service, stream, notes, eventually
):
    """Which is 30 s here."""
    process = service("ctypes.string_at(0)")
    Producer(stream).send_many([SLOW, *REST])
    eventually(lambda: stream.backlog().done, 20)
    assert reasons(stream) == ["ProcessDied: its process was ended by signal 11 (Segmentation fault)"]
    assert notes().count("began slow") == 3
    assert {f"done {order.id}" for order in REST} <= set(notes())
    assert re.search(r"^entry .* failed at attempt 2 \(ProcessDied\), again in \d+ ms$", stop(process), re.M)


@pytest.mark.row(63)
def test_what_a_process_left_behind_is_settled_when_redis_is_back(
    start, environ, own_server, own_stream, tmp_path, notes, eventually
):
    (tmp_path / "shop.py").write_text(SHOP.format(slow="time.sleep(600)"))
    process = start("consume", "--redis", own_server.url, "--name", "till", "--handler", "shop:handle")
    Producer(own_stream).send(SLOW)
    eventually(lambda: notes() == ["began slow"], 20)
    own_server.kill()
    child_of(process).kill()
    eventually(lambda: process.stderr.readline().startswith("Waiting for Redis"))
    own_server.start()
    eventually(lambda: notes() == ["began slow"] * 2, 20)
    ((_, _, attempt),) = [tuple(row.values())[1:] for row in _rows(own_stream)]
    assert attempt == 2


def _rows(stream):
    s = stream.settings
    with redis.Redis.from_url(s.redis_url, decode_responses=True) as client:
        return client.xpending_range(s.stream, s.group, "-", "+", 10)


# A handler that starts processes ---------------------------------------------------------------------------


@pytest.mark.row(66)
@pytest.mark.parametrize(
    "work",
    [
        "multiprocessing.Pool(2).__enter__().terminate()",
        "p = multiprocessing.Process(target=time.sleep, args=[600]); p.start(); p.terminate(); p.join(10);"
        " assert p.exitcode == -signal.SIGTERM",
        "pid = os.fork() or time.sleep(600); os.kill(pid, signal.SIGHUP);"
        " assert os.waitpid(pid, 0)[1] == signal.SIGHUP",
        "pid = os.fork() or time.sleep(600); time.sleep(0.5); os.kill(pid, signal.SIGINT);"
        " assert os.waitpid(pid, 0)[1] >> 8 == 1",
    ],
    ids=["pool", "process", "fork", "Ctrl-C"],
)
def test_a_process_that_a_handler_forked_can_be_ended_and_its_consumer_goes_on(
    service, stream, notes, eventually, work
):
    process = service(work)
    child = child_of(process)
    Producer(stream).send_many([SLOW, *REST])
    eventually(lambda: stream.backlog().done, 20)
    assert notes().count("done slow") == 1
    assert notes().count("began slow") == 1
    assert child_of(process) == child
    stop(process)


@pytest.mark.row(66)
def test_a_copy_that_comes_back_from_its_handler_says_nothing_of_the_original(service, stream, notes, eventually):
    """The copy returns at once, and the process that forked it is killed while its handler runs."""
    process = service("os.path.exists('forked') or os.mkdir('forked') or os.fork() and time.sleep(600)")
    child = child_of(process)
    Producer(stream).send_many([SLOW])
    eventually(lambda: "done slow" in notes() and all(copy.status() == "zombie" for copy in child.children()), 20)
    child.kill()
    eventually(lambda: stream.backlog().done, 20)
    assert notes().count("began slow") == 2


# Stops ----------------------------------------------------------------------------------------------------


@pytest.mark.row(67)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_all_processes_at_once_and_again_to_the_child_cuts_nothing(
    service, stream, pending, tmp_path, notes, eventually, end
):
    """As a service manager does that signals a whole group."""
    process = service("while not os.path.exists('go'): time.sleep(0.01)")
    Producer(stream).send_many([SLOW])
    eventually(lambda: "began slow" in notes())
    child = child_of(process)
    process.send_signal(end)
    for _ in range(3):
        child.send_signal(end)
        time.sleep(0.05)  # each one alone
    (tmp_path / "go").touch()
    err = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert "Left at once" not in err
    assert notes().count("done slow") == 1
    assert pending() == {}


@pytest.mark.row(90)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("number", "processes"), [("SIGUSR1", 0), ("SIGUSR1", 1), ("SIGTERM", 1)])
def test_a_handler_that_runs_an_event_loop_with_a_signal_of_its_own_does_not_make_the_service_deaf(
    start, stream, client, settings, tmp_path, number, end, processes
):
    """When the loop ends, asyncio takes the file away that signals are told to, and sets the signal's own action."""
    (tmp_path / "shop.py").write_text(EVENT_LOOP.format(number=number))
    Producer(stream).send_many(islice(random_orders(1), 300))
    process = start("consume", "--processes", processes, "--handler", "shop:handle")
    for _ in range(3):
        assert process.stdout.readline()
    process.send_signal(end)
    done = 3 + len(process.communicate(timeout=20)[0].splitlines())
    assert process.returncode == 0
    assert 3 <= done < 20
    assert client.xpending(settings.stream, settings.group)["pending"] == stream.backlog().waiting
    assert stream.backlog().lag + stream.backlog().waiting == 300 - done


@pytest.mark.row(90)
@pytest.mark.parametrize("first", ["supervisor", "child"])
def test_a_signal_to_all_processes_that_ends_one_of_them_is_no_order_s_failure(
    service, environ, stream, pending, notes, eventually, first
):
    """The handler has set what SIGTERM does in its process: it ends it."""
    environ["ORDERSTREAM_MAX_ATTEMPTS"] = "1"
    process = service("signal.signal(signal.SIGTERM, signal.SIG_DFL); note('deaf', order); time.sleep(600)")
    Producer(stream).send_many([SLOW])
    eventually(lambda: "deaf slow" in notes())
    child = child_of(process)
    both = [process, child] if first == "supervisor" else [child, process]
    for each in both:
        each.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert stream.backlog().dead_lettered == 0
    assert [row[::2] for row in pending().values()] == [(UNOWNED, 0)]


@pytest.mark.row(91)
def test_a_process_that_cannot_reach_redis_any_more_although_its_supervisor_can_is_replaced(
    start, environ, stream, client, tmp_path, eventually
):
    """Its handler has opened every file that it may. Then the link breaks once."""
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "1000", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "5000"}
    (tmp_path / "shop.py").write_text(LEAKS)
    process = start("consume", "--name", "till", "--handler", "shop:handle", through=("-c", FEW_FILES))
    Producer(stream).send(SLOW)
    assert process.stdout.readline() == "slow\n"
    eventually(lambda: stream.backlog().done)
    before = child_of(process).pid
    client.client_kill_filter(_type="normal", skipme=True)
    Producer(stream).send_many(REST)
    eventually(lambda: stream.backlog().done, 30)
    assert child_of(process).pid != before
    err = stop(process)
    assert err.count("till cannot reach Redis, although its supervisor can\n") == 1
    assert err.count("waiting for Redis (") == 1


@pytest.mark.row(91)
def test_a_process_whose_link_broke_may_then_take_a_long_order(start, environ, stream, client, tmp_path, eventually):
    """Longer than the supervisor's patience with a process that is cut off."""
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_MAX_ATTEMPTS": "1"}
    slow = "import time\ndef handle(order):\n    time.sleep(order.amount)\n    print(order.id)\n"
    (tmp_path / "shop.py").write_text(slow)
    process = start("consume", "--name", "till", "--handler", "shop:handle")
    Producer(stream).send(Order("short", "tea", 1))
    assert process.stdout.readline() == "short\n"
    eventually(lambda: stream.backlog().done)
    eventually(lambda: any("b" in each["flags"] for each in client.client_list()))  # it waits in a read, which breaks
    client.client_kill_filter(_type="normal", skipme=True)
    Producer(stream).send(Order("long", "tea", 8))
    eventually(lambda: stream.backlog().length == 2 and stream.backlog().done, 30)
    err = stop(process)
    assert "waiting for Redis" in err
    assert "cannot reach" not in err
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)


@pytest.mark.row(96)
@pytest.mark.parametrize("processes", [0, 1])
def test_an_order_that_closes_the_files_of_its_process_costs_no_other_order_anything(
    start, environ, stream, notes, tmp_path, eventually, processes
):
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_MAX_ATTEMPTS": "1"}
    (tmp_path / "shop.py").write_text(SHOP.format(slow="os.closerange(3, 256)"))
    process = start("consume", "--processes", processes, "--name", "till", "--handler", "shop:handle")
    Producer(stream).send_many([SLOW, *REST])
    if not processes:  # nobody replaces it
        assert process.wait(20) == 1
        assert process.stderr.read().endswith("A handler has closed the files of its process.\n")
        process = start("consume", "--name", "till", "--handler", "shop:handle")
    eventually(lambda: {f"done {order.id}" for order in REST} <= set(notes()), 20)
    eventually(lambda: stream.backlog().done, 20)
    assert stream.backlog().dead_lettered == 0
    assert all(notes().count(f"began {order.id}") == 1 for order in REST)
    assert ("A handler has closed the files of its process.\n" in stop(process)) == bool(processes)


@pytest.mark.row(97)
@pytest.mark.parametrize("processes", [0, 1])
def test_a_process_with_more_than_a_thousand_files_hears_a_stop(start, stream, tmp_path, processes):
    (tmp_path / "shop.py").write_text(
        "import os\nfiles = [os.open(os.devnull, 0) for _ in range(1_100)]\ndef handle(order):\n    print(order.id)\n"
    )
    many = FEW_FILES.replace("(200, 4096)", "(2000, 4096)")
    process = start("consume", "--processes", processes, "--handler", "shop:handle", through=("-c", many))
    Producer(stream).send(SLOW)
    assert process.stdout.readline() == "slow\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Left at once" not in err


@pytest.mark.row(98)
def test_a_process_that_hangs_although_no_handler_runs_is_replaced(service, environ, stream, notes, eventually):
    """The handler has left a thread behind that holds the interpreter."""
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "2000"}
    holding = "lambda: (note('holds', order), ctypes.PyDLL(None).sleep(600))"
    process = service(f"threading.Timer(1, {holding}).start()")
    Producer(stream).send(SLOW)
    eventually(lambda: {"done slow", "holds slow"} <= set(notes()), 20)
    Producer(stream).send_many(REST)
    eventually(lambda: {f"done {order.id}" for order in REST} <= set(notes()), 60)
    assert "till has not gone on for 25.6 s\n" in stop(process)
    assert stream.backlog().dead_lettered == 0


@pytest.mark.row(98)
def test_a_process_that_hangs_while_it_imports_the_handler_is_replaced(start, environ, stream, tmp_path):
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "2000"}
    once = "import os, time\nif not os.path.exists('tried'):\n    open('tried', 'w').close()\n    time.sleep(600)\n"
    (tmp_path / "shop.py").write_text(f"{once}def handle(order):\n    print(order.id)\n")
    process = start("consume", "--name", "till", "--handler", "shop:handle")
    Producer(stream).send(SLOW)
    assert process.stdout.readline() == "slow\n"
    assert "till has not gone on for " in stop(process)


@pytest.mark.row(99)
@pytest.mark.parametrize("processes", [0, 1])
def test_a_pipe_of_messages_that_nobody_reads_keeps_nothing_from_its_end(
    start, environ, stream, tmp_path, eventually, processes
):
    """The handler fills it. What hangs is ended at its timeout, and a stop within the grace time."""
    environ |= {"ORDERSTREAM_GRACE_S": "2", "ORDERSTREAM_MAX_ATTEMPTS": "1"}
    environ |= {"ORDERSTREAM_CLAIM_IDLE_MS": "500", "ORDERSTREAM_HANDLER_TIMEOUT_MS": "1000"} if processes else {}
    fill = "while True:\n        os.write(2, bytes(200_000))\n"
    (tmp_path / "shop.py").write_text(f"import os\ndef handle(order):\n    print(order.id, flush=True)\n    {fill}")
    process = start("consume", "--processes", processes, "--name", "till", "--handler", "shop:handle")
    Producer(stream).send(SLOW)
    assert process.stdout.readline() == "slow\n"
    if processes:
        eventually(lambda: stream.backlog().dead_lettered, 20)
        assert reasons(stream) == ["HandlerTimeout: handler ran longer than 1 s"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == (0 if processes else 1)


@pytest.mark.row(100)
def test_an_order_that_the_grace_time_cuts_says_so(service, environ, stream, notes, eventually):
    environ |= {"ORDERSTREAM_GRACE_S": "0.5", "ORDERSTREAM_MAX_ATTEMPTS": "1"}
    process = service("time.sleep(600)")
    Producer(stream).send(SLOW)
    eventually(lambda: "began slow" in notes())
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert "If an order was in hand, this attempt counts, and the order is tried again.\n" in err
    assert reasons(stream) == ["ProcessDied: it was stopped before its handler ended"]


@pytest.mark.row(67)
def test_a_hangup_after_another_signal_does_not_cut_the_order_in_hand(service, stream, tmp_path, notes, eventually):
    """As when systemd sends both, or a terminal sends two."""
    process = service("while not os.path.exists('go'): time.sleep(0.01)")
    Producer(stream).send_many([SLOW])
    eventually(lambda: "began slow" in notes())
    for end in (signal.SIGHUP, signal.SIGHUP):
        process.send_signal(end)
        time.sleep(0.1)  # each one alone
    (tmp_path / "go").touch()
    assert process.wait(20) == 0
    assert notes().count("done slow") == 1


@pytest.mark.row(67)
@pytest.mark.parametrize("processes", [0, 1])
def test_under_nohup_a_hangup_is_ignored(start, stream, processes):
    process = start("consume", "--processes", processes, through=("-c", NOHUP))
    Producer(stream).send(Order("o-1", "figs", 1))
    assert process.stdout.readline() == "o-1    1 figs\n"
    process.send_signal(signal.SIGHUP)
    Producer(stream).send(Order("o-2", "tea", 1))
    assert process.stdout.readline() == "o-2    1 tea\n"
    stop(process)


@pytest.mark.row(68)
@pytest.mark.parametrize("processes", [0, 1])
def test_sigterm_while_redis_hangs_ends_with_0_within_the_grace_time(start, environ, own_server, own_stream, processes):
    environ["ORDERSTREAM_GRACE_S"] = "1"
    process = start("consume", "--redis", own_server.url, "--processes", processes)
    Producer(own_stream).send(Order("o-1", "figs", 1))
    assert process.stdout.readline()
    os.kill(own_server.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 1 + 2 + 2  # what is left is settled for 2 s at most; and a busy machine
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)
    assert "Left at once" not in process.stderr.read()


@pytest.mark.row(68)
def test_a_second_signal_cuts_a_long_grace_time_short(service, environ, stream, notes, eventually):
    environ["ORDERSTREAM_GRACE_S"] = "86400"
    process = service("time.sleep(600)")
    Producer(stream).send_many([SLOW])
    eventually(lambda: "began slow" in notes())
    process.send_signal(signal.SIGTERM)
    while not process.stderr.readline().startswith("Finishing"):
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    assert "Traceback" not in process.stderr.read()
