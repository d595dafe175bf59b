"""``consume``: real supervisors, real children, and what happens when either of them is killed."""

import logging
import os
import pty
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import psutil
import pytest

from orderstream import DeadLetterQueue, Order, Producer, random_orders
from orderstream.cli import supervisor
from orderstream.cli.supervisor import DONE, Last, Supervisor
from tests.process import Process
from tests.redis.conftest import end_all

pytestmark = pytest.mark.any_server("processes and signals; their consumers are tested on each server")

ROOT = Path(__file__).parents[2]
FIGS = Order("o-1", "figs", 3)
# Ctrl-C reaches only whoever the terminal controls.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "orderstream", *sys.argv[1:]])
"""
# It says which signals its process gets, and works until there is a file named "go". An alarm of its own ticks.
SLOW_SHOP = r"""
import os, signal, time

def say(*words):
    os.write(1, f"{' '.join(words)}\n".encode())

def count(signum, frame):
    say("told", signal.Signals(signum).name)

def handle(order):
    for each in signal.SIGINT, signal.SIGTERM:
        signal.signal(each, count)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    say("begin", order.id)
    while not os.path.exists("go"):
        time.sleep(0.01)
    signal.setitimer(signal.ITIMER_REAL, 0)
    say("end", order.id)
"""


@pytest.fixture
def environ(environ):
    return {**environ, "ORDERSTREAM_GRACE_S": "30"}  # a busy machine must not end a test's patience


@pytest.fixture
def start(environ, tmp_path):
    """Start ``orderstream consume`` in the background. Nothing that comes of it outlives the test, or a minute."""
    started = []

    def start(*args, through=("-m", "orderstream"), **more):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command = [sys.executable, *through, "consume", *map(str, args)]
        process = Process(command, env=environ, cwd=tmp_path, text=True, **{**streams, **more})
        started.append(process)
        return process

    watchdog = threading.Timer(60, end_all, [environ])  # whoever reads their output waits no longer
    watchdog.start()
    yield start
    watchdog.cancel()
    watchdog.join()
    end_all(environ)
    for process in started:
        process.wait()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


@pytest.fixture
def run(start):
    """Run it to its end: (exit code, stdout, stderr)."""

    def run(*args):
        process = start(*args)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run


@pytest.fixture
def slow_shop(tmp_path):
    """``slow_shop()`` ends its orders."""
    (tmp_path / "shop.py").write_text(SLOW_SHOP)
    return (tmp_path / "go").touch


@pytest.fixture
def at_work(start, stream, slow_shop):
    """Start it on *count* orders, one for each child, and wait until all are in hand."""

    def at_work(count=2, *args, to=stream, **more):
        Producer(to).send_many(islice(random_orders(1), count))
        options = ["--processes", count, "--handler", "shop:handle", "--redis", to.settings.redis_url]
        process = start(*options, *(args or ["--name", "till"]), **more)
        read(process, "begin", count)
        return process

    return at_work


def read(process, word, count):
    """Read stdout until so many lines begin with *word*; return all lines read."""
    lines = []
    while sum(line.startswith(word) for line in lines) < count:
        lines.append(process.stdout.readline())
        assert lines[-1], f"{lines}, {process.stderr.read()}"
    return lines


def children(process):
    """The running children: {name: process}."""
    found = {}
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            command = child.cmdline()
            found |= {part.removeprefix("--name="): child for part in command if part.startswith("--name=")}
    return found


def wait_for_line(process, pattern):
    """Read stderr until a line matches, and return the match."""
    for line in process.stderr:
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"no {pattern!r}")


# Start and end -------------------------------------------------------------------------------------------


def test_children_have_numbered_names_and_sessions_of_their_own(at_work, stream, slow_shop, settings):
    process = at_work(3)
    ours = children(process)
    assert sorted(ours) == [consumer.name for consumer in stream.backlog().consumers] == ["till-1", "till-2", "till-3"]
    assert all(os.getsid(child.pid) == child.pid for child in ours.values())
    process.send_signal(signal.SIGTERM)
    first, second = process.stderr.readline(), process.stderr.readline()
    slow_shop()
    _, err = process.communicate()
    assert process.returncode == 0
    *own, last = err.splitlines()
    assert first == f"till-1 to till-3 handle {settings.stream} for {settings.group}.\n"
    assert second == "Finishing what is in hand; Ctrl-C again leaves at once.\n"
    assert [re.sub(r" in .*", "", line) for line in sorted(own)] == [f"till-{n}: Handled 1 order" for n in (1, 2, 3)]
    assert last == "All 3 processes have ended."
    assert stream.backlog().consumers == ()


def test_without_a_name_all_children_share_a_new_one(at_work, stream):
    at_work(2, "--work-ms", 0)
    bases, numbers = zip(*(consumer.name.rsplit("-", 1) for consumer in stream.backlog().consumers), strict=True)
    assert len(set(bases)) == 1
    assert numbers == ("1", "2")


def test_one_process_is_a_child_of_exactly_that_name(start, stream):
    Producer(stream).send(FIGS)
    process = start("--name", "till")
    assert process.stdout.readline() == "o-1    3 figs\n"
    assert list(children(process)) == ["till"]
    assert [consumer.name for consumer in stream.backlog().consumers] == ["till"]


def test_with_no_process_of_its_own_it_works_in_this_one(start, stream, tmp_path):
    """So a handler can ask the person who started it."""
    (tmp_path / "shop.py").write_text("def handle(order):\n    print(order.item, 'for', input())\n")
    Producer(stream).send(FIGS)
    process = start("--processes", 0, "--name", "till", "--handler", "shop:handle", stdin=subprocess.PIPE)
    process.stdin.write("Ann\n")
    process.stdin.close()
    assert process.stdout.readline() == "figs for Ann\n"
    assert psutil.Process(process.pid).children() == []
    assert [consumer.name for consumer in stream.backlog().consumers] == ["till"]


def test_the_supervisor_imports_no_handler(run, stream, tmp_path):
    """A module may open a port, or need much memory: once is enough."""
    (tmp_path / "shop.py").write_text("print('imported')\ndef handle(order): pass\n")
    assert run("--handler", "shop:handle", "--until-idle", 0)[:2] == (0, "imported\n")


@pytest.mark.parametrize("option", ["--lifeline", "--ledger"])
@pytest.mark.parametrize("number", ["-1", "77", "99999999999999999999", "x"])
def test_a_number_that_no_supervisor_gave_is_one_line(run, option, number):
    code, out, err = run(option, number)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"Error: [^\n]+only a supervisor gives it[^\n]+\n", err)


def test_until_idle_ends_all_and_every_order_is_a_line(run, environ, stream):
    """Also where Python writes every piece at once, lines of several processes do not mix."""
    environ["PYTHONUNBUFFERED"] = "1"
    orders = list(islice(random_orders(1), 1000))
    Producer(stream).send_many(orders)
    code, out, err = run("--processes", 3, "--until-idle", 0.2)
    assert code == 0, err
    assert sorted(out.splitlines()) == sorted(f"{order.id}  {order.amount:>3} {order.item}" for order in orders)
    assert sum(int(count.replace(",", "")) for count in re.findall(r": Handled ([\d,]+) order", err)) == 1000
    assert err.endswith("All 3 processes have ended.\n")
    assert (stream.backlog().done, stream.backlog().consumers) == (True, ())


def test_an_output_that_nobody_reads_ends_all(start, stream):
    """Given ``orderstream consume --processes 2 | head -1``."""
    process = start("--processes", 2)
    Producer(stream).send(FIGS)
    assert process.stdout.readline() == "o-1    3 figs\n"
    process.stdout.close()
    Producer(stream).send_many(islice(random_orders(1), 10))
    err = process.stderr.read()
    assert process.wait(10) == 0, err
    assert "Traceback" not in err
    assert "started again" not in err
    left = stream.backlog()
    assert (left.done, left.dead_lettered) == (False, 0)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--handler", "nix:handle"], 2, "No module named 'nix'"),
        (["--redis", "redis://127.0.0.1:1"], 1, "no Redis answers at 127.0.0.1:1"),
        (["--redis", "redis://nobody:S3cret@{}"], 1, "does not take this user and password"),
    ],
    ids=["handler", "no redis", "password"],
)
def test_what_would_stop_every_child_is_said_once(run, settings, args, code, says):
    where = settings.redis_url.removeprefix("redis://")
    exit_code, out, err = run("--processes", 4, *(arg.format(where) for arg in args))
    assert (exit_code, out) == (code, "")
    assert re.fullmatch(r"Error: [^\n]+\n", err), err
    assert says in err
    assert "S3cret" not in err


def test_a_password_reaches_the_children_and_is_on_no_command_line(at_work, client, settings, environ):
    """The options of a process can be read by everybody on the machine."""
    name = f"guest-{settings.stream}"
    client.acl_setuser(name, enabled=True, passwords=["+S3cret"], commands=["+@all"], keys=["*"], reset=True)
    url = environ.pop("REDIS_URL").replace("://", f"://{name}:S3cret@")
    process = at_work(2, "--redis", url)
    commands = [" ".join(child.cmdline()) for child in children(process).values()]
    assert len(commands) == 2
    process.send_signal(signal.SIGTERM)
    assert wait_for_line(process, "^Finishing what is in hand")
    process.send_signal(signal.SIGTERM)
    assert "S3cret" not in "".join([*commands, *process.communicate()])
    client.acl_deluser(name)


def test_a_file_beside_the_handler_is_not_taken_for_a_library(start, tmp_path, stream):
    """As in one process, where the folder is looked at only for the handler."""
    (tmp_path / "queue.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "shop.py").write_text("def handle(order):\n    print(order.item)\n")
    Producer(stream).send(FIGS)
    script = str(Path(sys.executable).with_name("orderstream"))
    process = start("--processes", 2, "--handler", "shop:handle", "--until-idle", 0, through=(script,))
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "figs\n"), err


# Told to stop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["Ctrl-C in the terminal", "SIGTERM"])
def test_each_child_is_told_by_its_lifeline_and_finishes_its_order(at_work, stream, slow_shop, how):
    """Given three children with an order in hand, no signal reaches any of them."""
    more = {}
    if how != "SIGTERM":
        ours, theirs = pty.openpty()
        more = {"through": ("-c", ON_A_TERMINAL), "stdin": theirs, "stderr": theirs, "start_new_session": True}
    process = at_work(3, **more)
    said = b""
    if how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
        assert wait_for_line(process, "^Finishing what is in hand")
    else:
        os.write(ours, b"\x03")
        while b"Finishing what is in hand" not in said:
            said += os.read(ours, 65536)
    slow_shop()
    lines = []
    while how != "SIGTERM" and process.poll() is None:  # whoever ends waits until the terminal has taken it all
        if select.select([ours], [], [], 0.05)[0]:
            said += os.read(ours, 65536)
    lines += process.communicate()[0].splitlines(keepends=True)
    assert process.returncode == 0
    assert not any(line.startswith("told") for line in lines)
    assert sum(line.startswith("end") for line in lines) == 3
    assert stream.backlog().done
    if how != "SIGTERM":
        assert said.count(b"Finishing what is in hand") == 1
        os.close(ours)
        os.close(theirs)


def test_a_second_signal_leaves_at_once_and_no_child_behind(at_work, pending):
    process = at_work()
    ours = list(children(process).values())
    process.send_signal(signal.SIGINT)
    assert wait_for_line(process, "^Finishing what is in hand")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 1
    assert psutil.wait_procs(ours, 10)[1] == []
    out, err = process.communicate()
    assert "told" not in out
    assert err.endswith("Left at once. If an order was in hand, this attempt counts, and the order is tried again.\n")
    assert len(pending()) == 2


def test_a_child_that_takes_too_long_leaves_by_itself_and_is_told_of(at_work, environ, pending):
    environ["ORDERSTREAM_GRACE_S"] = "0.2"
    process = at_work()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.count("Left at once. ") == 2
    assert err.endswith("Error: 2 of 2 processes failed; each has said why\n")
    assert len(pending()) == 2


def test_a_child_that_cannot_leave_is_killed_after_the_grace_time(at_work, environ):
    environ["ORDERSTREAM_GRACE_S"] = "0.2"
    process = at_work()
    ours = children(process)
    ours["till-1"].suspend()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 1
    assert psutil.wait_procs(ours.values(), 10)[1] == []


# A child ends --------------------------------------------------------------------------------------------


def test_a_killed_child_is_replaced_and_its_order_handled(at_work, stream, slow_shop, eventually):
    process = at_work()
    before = children(process)
    before["till-1"].kill()
    line = r"^till-1 was ended by signal 9 \(Killed.*\); it is started again in 0\.1 s$"
    assert wait_for_line(process, line)
    eventually(lambda: {"till-1", "till-2"} == children(process).keys(), 20)
    assert children(process)["till-1"].pid != before["till-1"].pid
    assert children(process)["till-2"].pid == before["till-2"].pid
    slow_shop()
    eventually(lambda: stream.backlog().done, 20)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert {f"end {order.id}" for order in islice(random_orders(1), 2)} <= set(out.splitlines())


LEAVE = {
    "sys.exit(0)": "SystemExit: 0",
    "raise KeyboardInterrupt": "KeyboardInterrupt: ",
    "raise GeneratorExit": "GeneratorExit: ",
    "asyncio.run(cancelled())": "CancelledError: ",
    "os._exit(0)": "ProcessDied: its process exited with 0",
    "os._exit(1)": "ProcessDied: its process exited with 1",
    "os.abort()": "ProcessDied: its process was ended by signal 6 (Aborted)",
    "os.kill(os.getpid(), 9)": "ProcessDied: its process was ended by signal 9 (Killed)",
}
LEAVING_SHOP = """
import asyncio, os, sys

async def cancelled():
    asyncio.current_task().cancel()
    await asyncio.sleep(1)

def handle(order):
    if order.id == "o-1":
        {leave}
    print(order.item)
"""


POISONED_SHOP = """
import atexit, os, sys, threading, time

class Hangs:
    def __del__(self):
        time.sleep(600)

def handle(order):
    if order.id.startswith("poison"):
        {poison}
    print(order.id, flush=True)
"""


@pytest.mark.row(63)
@pytest.mark.parametrize("leave", LEAVE)
def test_an_order_that_ends_its_process_is_dead_lettered_and_the_service_goes_on(
    start, stream, tmp_path, eventually, leave
):
    """Without waiting for claim_idle_ms, and the dead letter says what it did."""
    (tmp_path / "shop.py").write_text(LEAVING_SHOP.format(leave=leave))
    Producer(stream).send(FIGS)
    process = start("--handler", "shop:handle", "--name", "till")
    eventually(lambda: stream.backlog().dead_lettered, 20)
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.reason, letter.deliveries) == (LEAVE[leave], 3)
    Producer(stream).send(Order("o-2", "tea", 1))
    assert process.stdout.readline() == "tea\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.row(63)
def test_a_child_that_was_told_to_stop_alone_is_replaced(at_work, stream, slow_shop, eventually):
    """Somebody sends a single one a SIGTERM, or its handler does."""
    process = at_work()
    before = children(process)["till-1"]
    before.terminate()
    read(process, "told", 1)
    slow_shop()
    assert wait_for_line(process, "^till-1: Handled 1 order")
    assert wait_for_line(process, "^till-1 exited with 0; it is started again in 0.1 s$")
    eventually(lambda: children(process).keys() == {"till-1", "till-2"}, 20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert stream.backlog().done


@pytest.mark.row(63)
def test_an_order_that_ends_its_process_does_not_make_the_next_pause_longer(start, stream, tmp_path, eventually):
    """Three such orders, nine ends: the others would wait for half a minute."""
    (tmp_path / "shop.py").write_text(POISONED_SHOP.format(poison="os._exit(1)"))
    process = start("--handler", "shop:handle", "--name", "till")
    Producer(stream).send_many([Order(f"poison-{n}", "figs", 1) for n in range(3)])
    eventually(lambda: stream.backlog().dead_lettered == 3, 30)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=20)[1]
    assert re.findall(r"again in ([\d.]+) s$", err, re.M) == ["0.1"] * 9


@pytest.mark.row(63)
@pytest.mark.parametrize("code", [2, 170, 171, 172])
def test_the_service_believes_no_exit_code_of_a_handler(start, stream, tmp_path, eventually, code):
    (tmp_path / "shop.py").write_text(POISONED_SHOP.format(poison=f"os._exit({code})"))
    Producer(stream).send_many([Order("poison", "figs", 1), FIGS])
    process = start("--handler", "shop:handle", "--name", "till")
    assert process.stdout.readline() == "o-1\n"
    eventually(lambda: stream.backlog().dead_lettered, 20)
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason == f"ProcessDied: its process exited with {code}"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    "poison",
    [
        "threading.Thread(target=time.sleep, args=(600,)).start()",
        "atexit.register(time.sleep, 600)",
        "threading.hangs = Hangs()",
    ],
    ids=["thread", "atexit", "object"],
)
@pytest.mark.parametrize("idle", [True, False])
def test_what_a_handler_leaves_behind_keeps_no_child_alive(start, stream, tmp_path, eventually, poison, idle):
    (tmp_path / "shop.py").write_text(POISONED_SHOP.format(poison=poison))
    Producer(stream).send(Order("poison", "figs", 1))
    process = start("--handler", "shop:handle", *(["--until-idle", 0] if idle else []))
    assert process.stdout.readline() == "poison\n"
    eventually(lambda: stream.backlog().done, 20)
    if not idle:
        process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_child_that_fails_unexpectedly_says_so_and_is_replaced(start, stream, tmp_path):
    """And what the handler left behind does not keep it alive."""
    broken = "orderstream.cli.consume.pace = None"
    (tmp_path / "shop.py").write_text(
        POISONED_SHOP.format(poison=f"import orderstream.cli.consume; {broken}; atexit.register(time.sleep, 600)")
    )
    Producer(stream).send(Order("poison", "figs", 1))
    process = start("--handler", "shop:handle", "--name", "till", "--until-idle", 0)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" in err
    assert "till exited with 1; it is started again in 0.1 s" in err


@pytest.mark.row(63)
def test_a_child_that_is_told_alone_with_a_long_order_is_replaced(start, environ, stream, tmp_path, eventually):
    environ["ORDERSTREAM_GRACE_S"] = "0.2"
    (tmp_path / "shop.py").write_text(POISONED_SHOP.format(poison="os.killpg(0, 15); time.sleep(600)"))
    Producer(stream).send_many([Order("poison", "figs", 1), FIGS])
    process = start("--handler", "shop:handle", "--name", "till")
    assert process.stdout.readline() == "o-1\n"
    for _ in range(3):
        assert wait_for_line(process, "^till exited with 172; it is started again in 0.1 s$")
    eventually(lambda: stream.backlog().dead_lettered, 20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_the_others_start_when_the_first_one_is_ready(run, stream, tmp_path):
    """One that ends before is replaced first."""
    once = "import os\nif not os.path.exists('tried'):\n    open('tried', 'w').close()\n    os._exit(3)\n"
    (tmp_path / "shop.py").write_text(f"{once}def handle(order): pass\n")
    code, _, err = run("--processes", 2, "--name", "till", "--handler", "shop:handle", "--until-idle", 0.1)
    assert code == 0
    first, second, *_ = err.splitlines()
    assert first == "till-1 exited with 3; it is started again in 0.1 s"
    assert second.startswith("till-1 to till-2 handle ")


def test_one_that_crashes_again_and_again_is_replaced_more_and_more_slowly(start, tmp_path):
    """And a signal ends the waiting."""
    crash = "import os, sys\nif '--name=till-1' in sys.argv:\n    os._exit(3)\ndef handle(order): pass\n"
    (tmp_path / "shop.py").write_text(crash)
    process = start("--processes", 2, "--name", "till", "--handler", "shop:handle")
    said = []
    for _ in range(4):
        match = wait_for_line(process, r"^till-1 exited with 3; it is started again in ([\d.]+) s$")
        said.append((float(match[1]), time.monotonic()))
    assert [pause_s for pause_s, _ in said] == [0.1, 0.2, 0.4, 0.8]
    assert said[-1][1] - said[0][1] > 0.7 * 0.9  # of 0.1 + 0.2 + 0.4 s: a line may be read late
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_replaced_child_waits_out_an_outage(at_work, own_server, own_stream, slow_shop, eventually):
    """Once connected, an outage is waited out: that holds for the whole, not for one process."""
    process = at_work(to=own_stream)
    own_server.kill()
    for child in children(process).values():
        child.kill()
    for _ in range(2):
        assert wait_for_line(process, "^Waiting for Redis .*")
    slow_shop()
    own_server.start()
    assert len(read(process, "end", 2)) == 4  # begun again
    eventually(lambda: own_stream.backlog().done, 20)


# The supervisor is killed --------------------------------------------------------------------------------


def test_children_of_a_killed_supervisor_finish_their_order_and_leave(at_work, stream, slow_shop, tmp_path):
    """Also when a process that the handler started keeps every file open that it could get."""
    (tmp_path / "shop.py").write_text(
        SLOW_SHOP.replace(
            "def handle(order):",
            "def handle(order):\n    import subprocess\n    null = subprocess.DEVNULL\n"
            "    subprocess.Popen(['sleep', '60'], close_fds=False, stdout=null, stderr=null)",
        )
    )
    process = at_work()
    ours = list(children(process).values())
    sleeping = [grandchild for child in ours for grandchild in child.children()]
    assert len(sleeping) == 2
    process.kill()
    for _ in ours:
        assert wait_for_line(process, r"^The supervisor is gone\. Finishing what is in hand\.$")
    slow_shop()
    assert psutil.wait_procs(ours, 20)[1] == []
    assert len(read(process, "end", 2)) == 2  # and were told nothing
    assert (stream.backlog().done, stream.backlog().consumers) == (True, ())
    assert all(grandchild.is_running() for grandchild in sleeping)


def test_children_of_a_killed_supervisor_leave_also_when_nobody_reads_what_they_say(at_work, stream, slow_shop):
    """Given ``orderstream consume --processes 2 2>&1 >orders | logger``, and all of it is killed."""
    process = at_work()
    ours = list(children(process).values())
    process.stderr.close()
    process.kill()
    slow_shop()
    assert psutil.wait_procs(ours, 20)[1] == []
    assert stream.backlog().done


def test_the_end_of_the_supervisor_is_no_second_signal(at_work, stream, slow_shop):
    """Given a supervisor that told its children to stop, and is killed while they finish."""
    process = at_work()
    ours = list(children(process).values())
    process.send_signal(signal.SIGTERM)
    assert wait_for_line(process, "^Finishing what is in hand")
    process.kill()
    process.wait()
    time.sleep(0.2)  # for what must not happen
    slow_shop()
    assert len(read(process, "end", 2)) == 2
    assert psutil.wait_procs(ours, 20)[1] == []
    assert stream.backlog().done


def test_a_child_that_waits_for_redis_leaves_with_its_supervisor(at_work, own_server, own_stream):
    process = at_work(to=own_stream)
    own_server.kill()
    for child in children(process).values():
        child.kill()
    for _ in range(2):
        assert wait_for_line(process, "^Waiting for Redis .*")
    replaced = list(children(process).values())
    assert len(replaced) == 2
    process.kill()
    assert psutil.wait_procs(replaced, 20)[1] == []


# The supervisor alone ------------------------------------------------------------------------------------


WAITS_TO_BE_TOLD = """
import os, sys, time
started, lifeline, _ = sys.argv[1:]
open(started, "w").close()
try:
    os.read(int(lifeline.partition("=")[2]), 1)
except OSError:
    time.sleep(60)
"""


class Unwatched:
    """A watcher that does not care."""

    def opens(self, name):
        return os.open(os.devnull, os.O_RDONLY)

    def started(self, name, process):
        self.process = process

    def ready(self, name):
        return True

    def ended(self, name, how, *, stopped):
        return Last()


@pytest.fixture
def pauses(caplog, eventually):
    """Supervise a child that crashes, until it was replaced so often: the pauses in seconds."""

    def pauses(count, command=("sh", "-c", "exit 3")):
        log = lambda: re.findall(r"again in ([\d.]+) s", caplog.text)  # noqa: E731
        ours = Supervisor({"till-1": command}, os.environ, Unwatched())
        with caplog.at_level(logging.WARNING, "orderstream"):
            thread = threading.Thread(target=ours.run)
            thread.start()
            eventually(lambda: len(log()) >= count, 20)
            ours.stop()
            thread.join()
        return [float(pause_s) for pause_s in log()[:count]]

    return pauses


def test_the_pause_has_a_longest_one(pauses, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.03)
    assert pauses(4) == [0.01, 0.02, 0.03, 0.03]


def test_the_pause_is_short_again_after_a_steady_time(pauses, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "STEADY_S", 0.0)
    assert pauses(3) == [0.01, 0.01, 0.01]


def test_a_child_that_could_not_be_started_is_tried_again(pauses, caplog):
    """There may be too many processes at the moment."""
    assert pauses(2, ("/no/such/program",)) == [0.1, 0.2]
    assert "till-1 could not be started (No such file or directory)" in caplog.text


@pytest.mark.parametrize("error", [MemoryError(), ValueError("no ledger")])
def test_a_child_goes_on_being_kept_whatever_its_watcher_raises(pauses, monkeypatch, error):
    def fail(self, name, how, *, stopped):
        raise error

    monkeypatch.setattr(Unwatched, "ended", fail)
    assert pauses(2) == [0.1, 0.2]


def test_a_child_that_may_not_be_killed_is_no_error(monkeypatch):
    """Until the system allows it. The caller tries again."""

    def refuse(group, signum):
        raise PermissionError

    with Process(["sleep", "60"], start_new_session=True) as process:
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", refuse)
            supervisor.kill(process)
        assert process.poll() is None
        supervisor.kill(process)
        assert process.wait(10) == -signal.SIGKILL


def test_a_child_that_ends_when_it_is_told_is_not_said_to_be_replaced(caplog, eventually, tmp_path):
    started = tmp_path / "started"
    ours = Supervisor({"till-1": [sys.executable, "-c", WAITS_TO_BE_TOLD, started]}, os.environ, Unwatched())
    thread = threading.Thread(target=ours.run)
    thread.start()
    eventually(started.exists)
    ours.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert caplog.text == ""


def test_a_child_whose_handler_has_closed_its_lifeline_is_told_by_a_signal(eventually, tmp_path):
    started = tmp_path / "started"
    command = [sys.executable, "-c", f"import os\nos.closerange(3, 64)\n{WAITS_TO_BE_TOLD}", started]
    watcher = Unwatched()
    ours = Supervisor({"till-1": command}, os.environ, watcher)
    thread = threading.Thread(target=ours.run)
    thread.start()
    eventually(started.exists)
    ours.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert watcher.process.returncode == -signal.SIGTERM


def test_a_child_leaves_no_file_open(pauses):
    """Each has a lifeline of its own. Threads of earlier tests may open a file meanwhile, but not each time."""
    more = []
    for _ in range(3):
        before = psutil.Process().num_fds()
        pauses(3)
        more.append(psutil.Process().num_fds() - before)
    assert min(more) <= 3, "its watcher opens one for each"


def test_stop_before_run_starts_nothing(tmp_path):
    ours = Supervisor({secrets.token_hex(2): ["touch", str(tmp_path / "started")]}, os.environ, Unwatched())
    ours.stop()
    assert ours.run() == [DONE]
    assert not (tmp_path / "started").exists()
