"""The command line as people use it: real processes, a real Redis, and sometimes a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
import redis

from orderstream import Consumer, DeadLetterQueue, Order, Producer, Reject, random_orders
from orderstream.entries import METADATA

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "": "--version",
    "produce": "--count --rate --batch --seed --otlp",
    "consume": "--name --handler --work-ms --processes --concurrency --until-idle --otlp",
    "status": "--watch --json",
    "dlq": "",
    "dlq list": "--count --after --json",
    "dlq show": "--json",
    "dlq redrive": "--all --otlp",
    "dlq purge": "--all --yes",
    "trim": "--json",
    "doctor": "--json",
}
EVERY = "--redis --embedded --stream --group --help".split()  # of each command on a stream
OTHERS = {"server": "--port --dir --help", "lab": "--fresh --redis --help"}
FIGS = Order("o-1", "figs", 3)
# Ctrl-C reaches only whoever the terminal controls.
ON_A_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("orderstream", run_name="__main__")
"""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, start, *args):
        self._ours, theirs = pty.openpty()
        weakref.finalize(self, os.close, self._ours)
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self._process = start(*args, through=("-c", ON_A_TERMINAL), start_new_session=True, **streams)
        os.close(theirs)
        self.seen = ""

    def read(self, pattern):
        """Wait until *pattern* was written, and return all that was."""
        deadline = time.monotonic() + 10
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.seen!r}"
            self._read_some()
        return self.seen

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def end(self, timeout_s=10.0):
        """Wait for the end of the command, and return its exit code; None if it does not come."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < deadline:
            self._read_some()  # whoever ends waits until the terminal has taken what was written
        return self._process.returncode

    def _read_some(self):
        with suppress(OSError):  # nobody has the other end any more
            if select.select([self._ours], [], [], 0.05)[0]:
                self.seen += os.read(self._ours, 65536).decode()


@pytest.fixture
def bury(stream):
    """Let orders end in the dead-letter queue. Returns their ids there."""

    def refuse(order):
        raise Reject(f"no {order.item} left")

    def bury(*orders):
        Producer(stream).send_many(orders)
        Consumer(stream, refuse).drain()
        return [letter.id for letter in DeadLetterQueue(stream).list()]

    return bury


def write_shop(tmp_path, code):
    """A module in the folder the commands run in."""
    (tmp_path / "shop.py").write_text(code)


def ending(code, out, err):
    """The one line a command that failed leaves behind."""
    assert out == ""
    assert re.fullmatch(r"Error: [^\n]+\n", err), err
    return code, err


# Help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_and_its_default(run, command):
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    for option in [*COMMANDS[command].split(), *EVERY]:
        assert re.search(rf"^  (-h, )?{option}\b", out, re.M), option
    assert "localhost:6379" in out
    assert "else orders" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_every_option_there_is_stands_in_the_list_above(run):
    """Whoever adds an option describes it here, too."""
    on_streams = {command: {*options.split(), *EVERY} for command, options in COMMANDS.items()}
    for command, options in (on_streams | {command: {*all.split()} for command, all in OTHERS.items()}).items():
        listed = set(re.findall(r"^  (?:-h, )?(--[\w-]+)", run(*command.split(), "--help")[1], re.M))
        assert listed == options


def test_the_script_and_the_module_are_alike(run, environ):
    script = Path(sys.executable).with_name("orderstream")
    assert run("--help")[1] == subprocess.check_output([script, "--help"], env=environ, text=True)
    assert run("--version")[1] == subprocess.check_output([script, "--version"], env=environ, text=True)


def test_help_does_not_wait_for_rich(environ):
    """Drawing is loaded when there is something to draw."""
    code = "import sys, orderstream.cli.main; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)


# produce --------------------------------------------------------------------------------------------------


def test_produce_count_sends_so_many_and_says_so_in_one_line(run, client, settings):
    code, out, err = run("produce", "--count", 1234, "--batch", 100)
    assert (code, out) == (0, "")
    assert re.fullmatch(r"Sent 1,234 orders in [\d.]+ s, [\d,]+ per second\.\n", err)
    assert client.xlen(settings.stream) == 1234


def test_produce_with_a_seed_sends_the_orders_of_that_seed(run, client, settings):
    run("produce", "--count", 5, "--seed", 7)
    sent = [fields[b"data"] for _, fields in client.xrange(settings.stream)]
    assert sent == [order.to_fields()[1] for order in islice(random_orders(7), 5)]


def test_produce_keeps_to_its_rate(run, client, settings):
    assert run("produce", "--count", 30, "--rate", 100)[0] == 0
    entries = client.xrange(settings.stream)
    first, last = (int(entries[place][0].split(b"-")[0]) for place in (0, -1))
    assert len(entries) == 30
    assert 145 <= last - first <= 1000  # 29 gaps of 10 ms; the first may be late, and then the others catch up


def test_produce_without_a_count_prints_each_order_until_it_is_told_to_stop(start, client, settings):
    process = start("produce", "--rate", 200)
    lines = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGTERM)
    lines += process.stdout  # not communicate(): it does not know of lines that readline() has read ahead
    err = process.stderr.read()
    assert process.wait(10) == 0
    assert re.search(rf"^Sent {len(lines):,} orders in ", err, re.M)
    assert [line.split()[0].encode() for line in lines] == [id for id, _ in client.xrange(settings.stream)]
    assert re.fullmatch(r"\d+-\d+  o-[0-9a-f]{16} {2,4}\d+ [a-z]+\n", lines[0])


def test_produce_shows_progress_on_a_terminal(start):
    terminal = Terminal(start, "produce", "--count", 1500, "--rate", 1000)
    terminal.read(r"\d+/1500")
    terminal.read(r"━")
    terminal.read(r"\d per second")
    terminal.read(r"Sent 1,500 orders")
    assert terminal.end() == 0


def test_produce_says_which_orders_may_be_in_the_stream(start, link, client, settings):
    """A reply was lost: the orders are not sent again, and the others are."""
    process = start("produce", "--redis", link.url, "--count", 60, "--rate", 100, "--batch", 1)
    while not client.xlen(settings.stream):
        time.sleep(0.02)
    link.lose_reply("XADD")
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert re.search(r"^Warning: 0 orders are in the stream, 1 may be \(first: 'o-", err, re.M)
    assert re.search(r"^Sent 59 orders", err, re.M)
    assert "whether 1 more order is in the stream" in err.splitlines()[-1]
    assert client.xlen(settings.stream) in (59, 60)


def test_produce_waits_out_an_outage(start, own_server, settings, eventually):
    """The server is gone for a moment, and every order arrives once all the same."""
    process = start("produce", "--redis", own_server.url, "--count", 60, "--rate", 60, "--batch", 1)
    client = redis.Redis.from_url(own_server.url)
    eventually(lambda: client.xlen(settings.stream) > 3)
    own_server.kill()
    assert re.match("Waiting for Redis .*|Warning: ", process.stderr.readline())
    own_server.start()
    _, err = process.communicate(timeout=20)
    sent = int(re.search(r"^Sent (\d+) orders", err, re.M)[1])
    entries = [fields[b"data"] for _, fields in client.xrange(settings.stream)]
    assert len(set(entries)) == len(entries)
    assert sent in (59, 60)  # one may have been under way
    assert len(entries) in (sent, sent + 1)
    client.close()


# consume --------------------------------------------------------------------------------------------------


@pytest.mark.row(43)
def test_consume_prints_a_line_for_each_order_and_acks_it(run, stream, client, settings):
    Producer(stream).send_many([FIGS, Order("a\nb", "tea\x1b[2J", 1)])
    code, out, err = run("consume", "--until-idle", 0, "--name", "till-1")
    assert code == 0
    assert out.splitlines() == ["o-1    3 figs", r"a\nb    1 tea\x1b[2J"]  # nothing a terminal would obey
    assert err.splitlines()[0] == f"till-1 handles {settings.stream} for {settings.group}."
    assert re.fullmatch(r"Handled 2 orders in [\d.]+ s, [\d,]+ per second\.", err.splitlines()[-1])
    assert stream.backlog().done
    assert client.xinfo_consumers(settings.stream, settings.group) == []


def test_consume_until_idle_waits_for_what_comes_meanwhile(start, stream):
    """It ends only after a quiet time of the length it was given."""
    process = start("consume", "--until-idle", 0.4)
    handled = 0
    for order in islice(random_orders(1), 4):
        Producer(stream).send(order)
        handled += bool(process.stdout.readline())  # it is still there, and prints at once
        time.sleep(0.1)
    sent_last = time.monotonic() - 0.1
    assert process.wait(10) == 0
    assert handled == 4
    assert time.monotonic() - sent_last >= 0.4


def test_the_rate_of_consume_until_idle_leaves_the_idle_time_out(run, stream):
    """Who waits a second to see that nothing comes has not worked slower by it."""
    Producer(stream).send_many(islice(random_orders(1), 20))
    began = time.monotonic()
    _, _, err = run("consume", "--until-idle", 1)
    took_s = float(re.search(r"Handled 20 orders in ([\d.]+) s,", err)[1])
    assert took_s <= time.monotonic() - began - 1


def test_consume_calls_your_function_from_the_current_folder(run, stream, tmp_path):
    write_shop(tmp_path, "def handle(order):\n    print(order.amount, order.item)\n")
    Producer(stream).send(FIGS)
    assert run("consume", "--handler", "shop:handle", "--until-idle", 0)[:2] == (0, "3 figs\n")


def test_consume_retries_and_then_dead_letters_what_your_function_refuses(run, stream, tmp_path):
    write_shop(tmp_path, "def handle(order):\n    raise ValueError('no ' + order.item)\n")
    Producer(stream).send(FIGS)
    code, out, err = run("consume", "--handler", "shop:handle", "--until-idle", 0.1)
    assert (code, out) == (0, "")
    assert "failed at attempt 2" in err
    (letter,) = DeadLetterQueue(stream).list()
    assert (letter.reason, letter.deliveries) == ("ValueError: no figs", 3)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nix:handle", "No module named 'nix'"),
        ("shop:nix", "module 'shop' has no attribute 'nix'"),
        ("shop", "no MODULE:FUNCTION"),
        (":handle", "no MODULE:FUNCTION"),
        ("shop:number", "is not a function"),
        ("broken:handle", "ZeroDivisionError: division by zero"),
    ],
)
def test_consume_says_what_is_wrong_with_a_handler(run, tmp_path, place, says):
    write_shop(tmp_path, "number = 3\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    code, err = ending(*run("consume", "--handler", place, "--until-idle", 0))
    assert code == 2
    assert says in err


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_consume_refuses_a_handler_that_would_not_run(run, tmp_path, processes):
    write_shop(tmp_path, "def handle(order): yield\n")
    code, err = ending(*run("consume", "--handler", "shop:handle", "--processes", processes))
    assert code == 1
    assert "is a generator function" in err


def test_consume_acks_nothing_that_did_not_run(run, stream, tmp_path):
    write_shop(tmp_path, "async def later(order): pass\ndef handle(order): return later(order)\n")
    Producer(stream).send(FIGS)
    assert run("consume", "--handler", "shop:handle", "--until-idle", 0.1)[0] == 0
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason.startswith("TypeError: the handler returned a coroutine")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_consume_finishes_the_order_in_hand_and_gives_the_others_back(start, stream, client, settings, tmp_path, how):
    """Given an order half done and more behind it, a signal ends the process cleanly."""
    write_shop(
        tmp_path,
        "import time\ndef handle(order):\n    print('begin', flush=True)\n    time.sleep(0.2)\n    print('end')\n",
    )
    Producer(stream).send_many(islice(random_orders(1), 20))
    process = start("consume", "--handler", "shop:handle")
    assert process.stdout.readline() == "begin\n"
    process.send_signal(how)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "end\n"
    assert re.search(r"^Handled 1 order in ", err, re.M)
    assert "Traceback" not in err
    left = stream.backlog()
    assert left.pending == 0 or all(row["times_delivered"] == 0 for row in _pending(client, settings))
    assert len(list(_unhandled(client, settings))) == 19


def _pending(client, settings):
    return client.xpending_range(settings.stream, settings.group, "-", "+", 100)


def _unhandled(client, settings):
    """Ids that are undelivered or pending."""
    yield from (row["message_id"] for row in _pending(client, settings))
    (group,) = client.xinfo_groups(settings.stream)
    yield from (id for id, _ in client.xrange(settings.stream, b"(" + group["last-delivered-id"]))


@pytest.mark.parametrize(
    "code", ["time.sleep(30)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"], ids=["sleeping", "busy in C"]
)
@pytest.mark.parametrize("twice", [True, False], ids=["second signal", "end of the grace time"])
def test_consume_leaves_at_once_when_it_must(start, stream, client, environ, settings, tmp_path, code, twice):
    """The handler hangs: at a second signal, or after the grace time, the process goes and the order stays."""
    environ["ORDERSTREAM_GRACE_S"] = "30" if twice else "0.1"
    write_shop(tmp_path, f"import hashlib, time\ndef handle(order):\n    print('begin', flush=True)\n    {code}\n")
    Producer(stream).send(FIGS)
    process = start("consume", "--handler", "shop:handle")
    assert process.stdout.readline() == "begin\n"
    process.send_signal(signal.SIGTERM)
    while not process.stderr.readline().startswith("Finishing"):
        pass
    if twice:
        process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 1
    assert process.stderr.readline().startswith("Left at once.")
    assert len(_pending(client, settings)) == 1


def test_consume_waits_out_an_outage(start, own_server, own_stream, eventually):
    process = start("consume", "--redis", own_server.url, "--until-idle", 0.2, "--name", "till-1")
    Producer(own_stream).send(FIGS)
    assert process.stdout.readline() == "o-1    3 figs\n"
    own_server.kill()
    own_server.start()
    Producer(own_stream).send(Order("o-2", "tea", 1))
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "o-2    1 tea\n"), err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_order_that_nobody_can_read_any_more_is_not_consumed(start, environ, stream, client, settings, unbuffered):
    """Given ``orderstream consume | head -1``, what comes after that line stays for others."""
    environ["PYTHONUNBUFFERED"] = unbuffered
    process = start("consume")
    Producer(stream).send(FIGS)
    assert process.stdout.readline() == "o-1    3 figs\n"
    process.stdout.close()
    Producer(stream).send_many(islice(random_orders(1), 10))
    err = process.stderr.read()
    assert process.wait(10) == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert len(list(_unhandled(client, settings))) == 10
    assert stream.backlog().dead_lettered == 0


# status ---------------------------------------------------------------------------------------------------


def test_status_of_nothing_is_nothing_and_no_error(run, settings):
    code, out, err = run("status", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "stream": settings.stream,
        "group": settings.group,
        "dlq": settings.dlq,
        "length": 0,
        "lag": 0,
        "pending": 0,
        "oldest_undelivered_s": None,
        "oldest_pending_s": None,
        "dead_lettered": 0,
        "consumers": [],
        "waiting": 0,
        "stuck": [],
    }


def test_status_says_what_is_left_and_who_has_it(run, stream, client, settings, bury, server_version):
    bury(FIGS)
    Producer(stream).send_many(islice(random_orders(1), 5))
    client.xreadgroup(settings.group, "till-7", {settings.stream: ">"}, count=2)
    state = json.loads(run("status", "--json")[1])
    assert state["length"] == 6
    assert state["lag"] == (3 if server_version >= (7,) else None)
    assert state["pending"] == 2
    assert 0 <= state["oldest_undelivered_s"] < 60
    assert 0 <= state["oldest_pending_s"] < 60
    assert state["dead_lettered"] == 1
    (holder,) = [consumer for consumer in state["consumers"] if consumer["pending"]]
    assert (holder["name"], holder["pending"], sorted(holder)) == ("till-7", 2, ["idle_ms", "name", "pending"])

    lines = run("status")[1].splitlines()
    assert lines[0].split() == ["stream", settings.stream, "group", settings.group]
    assert re.match(r"pending +2 +oldest \d+ ", lines[3])
    assert any(re.match(r"till-7 +2 +\d+ m?s$", line) for line in lines)


def test_a_lag_that_redis_does_not_know_is_said_to_be_unknown(run, stream, client, settings):
    """After a deletion ahead of the group it is unknown on every version. It is never shown as 0."""
    ids = Producer(stream).send_many(islice(random_orders(1), 5))
    stream.create_group()
    client.xreadgroup(settings.group, "till-7", {settings.stream: ">"}, count=1)
    client.xdel(settings.stream, ids[3])
    assert json.loads(run("status", "--json")[1])["lag"] is None
    assert re.search(r"^lag +unknown +oldest ", run("status")[1], re.M)


@pytest.mark.row(87)
def test_status_names_who_holds_what_nobody_touches(run, stream, make_due):
    first, _ = Producer(stream).send_many(islice(random_orders(1), 2))
    stream.create_group()
    stream.read_new("till-7", 2, None)
    assert "stuck" not in run("status")[1]
    make_due(first)  # for an hour
    assert json.loads(run("status", "--json")[1])["stuck"] == [{"consumer": "till-7", "count": 1, "oldest": first}]
    headings, row = (line.split() for line in run("status")[1].splitlines()[-2:])
    assert (headings, row) == (["stuck", "entries", "oldest"], ["till-7", "1", first])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_status_watch_goes_on_until_it_is_told_to_stop(start, stream, how):
    process = start("status", "--watch", "--json")
    assert json.loads(process.stdout.readline())["length"] == 0
    Producer(stream).send(FIGS)
    assert json.loads(process.stdout.readline())["length"] == 1
    process.send_signal(how)
    assert {json.loads(line)["length"] for line in process.stdout} <= {1}  # it may have looked once more
    assert (process.wait(10), process.stderr.read().strip()) == (0, "")


def test_status_watch_draws_over_itself_on_a_terminal(start, stream):
    terminal = Terminal(start, "status", "--watch")
    terminal.read(r"entries +.*0")
    Producer(stream).send(FIGS)
    assert "\x1b[1A" in terminal.read(r"entries +.*1")  # the cursor went up
    terminal.type("\x03")  # Ctrl-C
    terminal.read(r"\x1b\[\?25h")  # and there is a cursor again
    assert terminal.end() == 0


def test_status_watch_waits_out_an_outage(start, own_server):
    process = start("status", "--watch", "--json", "--redis", own_server.url)
    assert process.stdout.readline()
    own_server.kill()
    assert re.match("Waiting for Redis .*", process.stderr.readline())
    own_server.start()
    assert json.loads(process.stdout.readline())["length"] == 0


# dlq ------------------------------------------------------------------------------------------------------


def test_dlq_list_and_show_say_what_failed_and_why(run, bury, settings):
    (id,) = bury(FIGS)
    code, out, err = run("dlq", "list")
    assert (code, err) == (0, f"1 of 1 dead letter in {settings.dlq}.\n")
    headings, row = (re.split(" {2,}", line) for line in out.splitlines())
    assert headings == ["id", "order id", "deliveries", "when", "reason"]
    assert row == [id, "o-1", "1", row[3], "no figs left"]
    assert re.fullmatch(r"\d+ m?s ago", row[3])
    shown = run("dlq", "show", id)[1]
    assert re.search(r"^reason +no figs left$", shown, re.M)
    assert re.search(r'^data +{"id":"o-1","item":"figs","amount":3}$', shown, re.M)


def test_dlq_json_has_all_there_is_and_no_byte_spoils_it(run, stream, client, settings):
    """Bytes that are no text are shown as escapes; an entry that is no order has no order id."""
    source = client.xadd(settings.stream, {"data": b"\xffno order", "x": "é"}).decode()
    Consumer(stream, print).drain()
    (about,) = json.loads(run("dlq", "list", "--json")[1])
    assert json.loads(run("dlq", "show", about["id"], "--json")[1]) == about
    assert about.pop("reason").startswith("DecodeError: ")
    assert 0 <= time.time() * 1000 - about.pop("at_ms") < 60_000
    assert about == {
        "id": about["id"],
        "order_id": None,
        "deliveries": 1,
        "group": settings.group,
        "source_id": source,
        "fields": {"data": "\\xffno order", "x": "é"},
    }


def test_dlq_list_is_drawn_on_a_terminal(start, bury):
    (id,) = bury(FIGS)
    terminal = Terminal(start, "dlq", "list")
    assert id in terminal.read("1 of 1 dead letter")
    assert "──" in terminal.read("no figs left")
    assert terminal.end() == 0


def test_dlq_list_says_how_many_more_there_are(run, bury):
    bury(*islice(random_orders(1), 3))
    _, out, err = run("dlq", "list", "--count", 2)
    assert len(out.splitlines()) == 3
    assert err.startswith("2 of 3 ")
    last = out.splitlines()[-1].split()[0]
    assert f"The next page: orderstream dlq list --after {last}\n" in err


def test_dlq_list_goes_on_behind_the_last_one(run, bury):
    bury(*islice(random_orders(1), 3))
    ids = [about["id"] for about in json.loads(run("dlq", "list", "--json")[1])]
    _, out, _ = run("dlq", "list", "--json", "--after", ids[1])
    assert [about["id"] for about in json.loads(out)] == ids[2:]
    assert run("dlq", "list", "--after", "x")[0] == 2


def test_dlq_redrive_puts_back_what_it_was_asked_for(run, bury, stream):
    first, second, third = bury(*islice(random_orders(1), 3))
    assert run("dlq", "redrive", first, third) == (0, "Redriven 2 dead letters.\n", "")
    assert [letter.id for letter in DeadLetterQueue(stream).list()] == [second]
    code, out, err = run("dlq", "redrive", first, second)
    assert (code, out) == (1, "Redriven 1 dead letter.\n")
    assert err == f"{first}: not in {stream.settings.dlq}\nError: not done for 1 dead letter; the lines above say why\n"
    assert stream.backlog().length == 6


@pytest.mark.row(84)
def test_dlq_redrive_answers_once_for_each_id(run, bury):
    (id,) = bury(FIGS)
    assert run("dlq", "redrive", id, id) == (0, "Redriven 1 dead letter.\n", "")


@pytest.mark.row(84)
@pytest.mark.parametrize("which", ["--all", "each by its id"])
def test_dlq_redrive_goes_past_what_cannot_be_put_back_and_says_why_it_stays(run, bury, stream, client, which):
    dlq = stream.settings.dlq
    bury(FIGS)
    about = dict.fromkeys(METADATA, 1)
    empty = client.xadd(dlq, about).decode()
    full = client.xadd(dlq, dict.fromkeys(range(4_100), "") | about).decode()
    client.xadd(dlq, {"data": FIGS.to_fields()[1]} | about | {"dlq-at": ""})
    bury(Order("o-2", "tea", 1))
    ids = ["--all"] if which == "--all" else [letter.id for letter in DeadLetterQueue(stream)]
    code, out, err = run("dlq", "redrive", *ids)
    assert (code, out) == (1, "Redriven 3 dead letters.\n")
    first, second, last = err.splitlines()
    assert first.startswith(f"{empty}: has no fields to put back: ")
    assert second.startswith(f"{full}: has 4100 fields, and a script can add 3990 at most; ")
    assert last == "Error: not done for 2 dead letters; the lines above say why"
    assert [letter.id for letter in DeadLetterQueue(stream)] == [empty, full]


@pytest.mark.row(84)
def test_a_dead_letter_of_another_program_is_listed_and_shown(run, client, settings):
    """Whatever it says about the time."""
    for at in ("", "9" * 15, "9" * 5_000):
        id = client.xadd(settings.dlq, {"data": "x"} | dict.fromkeys(METADATA, 1) | {"dlq-at": at}).decode()
        assert run("dlq", "show", id)[0] == 0
    code, out, _ = run("dlq", "list")
    assert (code, len(out.splitlines())) == (0, 4)


def test_dlq_redrive_says_how_many_went_before_redis_refused(run, bury, client, settings):
    """Not one dead letter cannot go, but none can: this is one error, and no line for each."""
    bury(FIGS, Order("o-2", "tea", 1))
    client.rename(settings.stream, f"{settings.stream}-old")
    client.set(settings.stream, "not a stream")
    code, out, err = run("dlq", "redrive", *[id.decode() for id, _ in client.xrange(settings.dlq)])
    assert (code, out) == (1, "Redriven 0 dead letters.\n")
    assert err.startswith("Error: Redis: ")
    assert err.count("\n") == 1


def test_dlq_redrive_all_and_purge_all_empty_it(run, bury, stream):
    bury(*islice(random_orders(1), 150))
    assert run("dlq", "redrive", "--all") == (0, "Redriven 150 dead letters.\n", "")
    assert stream.backlog().length == 300
    bury(FIGS)
    assert run("dlq", "purge", "--all") == (0, "Purged 151 dead letters.\n", "")
    assert run("dlq", "list") == (0, "", f"0 of 0 dead letters in {stream.settings.dlq}.\n")


def test_dlq_purge_deletes_what_it_was_asked_for(run, bury, stream):
    first, second = bury(*islice(random_orders(1), 2))
    assert run("dlq", "purge", first) == (0, "Purged 1 dead letter.\n", "")
    assert [letter.id for letter in DeadLetterQueue(stream).list()] == [second]


@pytest.mark.parametrize(("answer", "left"), [("n\r", 1), ("y\r", 0)], ids=["no", "yes"])
def test_dlq_purge_all_asks_on_a_terminal(start, bury, stream, answer, left):
    bury(FIGS)
    terminal = Terminal(start, "dlq", "purge", "--all")
    terminal.read(rf"Delete 1 dead letter in {stream.settings.dlq} for good\? \[y/N\]: ")
    terminal.type(answer)
    assert terminal.end() == 0
    assert stream.backlog().dead_lettered == left


def test_ctrl_c_is_a_no_to_the_question(start, bury, stream):
    """If need be a second one: Python's input() misses one in the very moment it begins to wait."""
    bury(FIGS)
    terminal = Terminal(start, "dlq", "purge", "--all")
    terminal.read("for good")
    terminal.type("\x03")
    if terminal.end(timeout_s=1) is None:
        terminal.type("\x03")
    assert terminal.end() == 0
    assert stream.backlog().dead_lettered == 1


def test_dlq_purge_all_does_not_ask_who_said_yes(start, bury):
    bury(FIGS)
    terminal = Terminal(start, "dlq", "purge", "--all", "--yes")
    terminal.read("Purged 1 dead letter.")
    assert terminal.end() == 0


# Which stream ---------------------------------------------------------------------------------------------


def test_options_override_the_environment_before_and_after_the_command(run, environ, redis_server, settings):
    environ.update(REDIS_URL="redis://127.0.0.1:1", ORDERSTREAM_GROUP="unused")
    before = ["--redis", redis_server, "--stream", f"{settings.stream}-2", "--group", "g"]
    expected = {"stream": f"{settings.stream}-2", "group": "g", "dlq": f"{settings.stream}-2-dlq"}
    for args in (
        [*before, "status", "--json"],
        ["status", *before, "--json"],
        ["--stream", "overridden", "status", *before, "--json"],
    ):
        assert json.loads(run(*args)[1]).items() >= expected.items()
    for args in ([*before, "dlq", "list"], ["dlq", *before, "list"], ["dlq", "list", *before]):
        assert run(*args)[2] == f"0 of 0 dead letters in {settings.stream}-2-dlq.\n"


def test_a_dead_letter_queue_that_was_named_keeps_its_name(run, environ):
    environ["ORDERSTREAM_DLQ"] = "graveyard"
    assert json.loads(run("status", "--stream", "other", "--json")[1])["dlq"] == "graveyard"


# What goes wrong ------------------------------------------------------------------------------------------

NEEDS_REDIS = ["produce", "consume", "status", "dlq list", "dlq show 1-0", "dlq redrive --all", "dlq purge --all"]
NEEDS_REDIS += ["trim", "doctor"]


@pytest.mark.parametrize("command", NEEDS_REDIS)
def test_without_a_redis_every_command_says_so_and_how_to_start_one(run, command):
    code, err = ending(*run(*command.split(), "--redis", "redis://user:S3cret@127.0.0.1:1"))
    assert code == 1
    for words in ("no Redis answers at 127.0.0.1:1 ", "`orderstream server --port 1`", "add --embedded"):
        assert words in err
    assert "S3cret" not in err


@pytest.mark.parametrize(
    ("compose", "named"), [(None, False), ("image: redis:8.10", True), ("image: postgres", False), (b"\xff", False)]
)
def test_docker_is_named_only_where_a_compose_file_would_start_a_redis(run, tmp_path, compose, named):
    if compose:
        (tmp_path / "docker-compose.yml").write_bytes(compose if isinstance(compose, bytes) else compose.encode())
    _, err = ending(*run("status", "--redis", "redis://127.0.0.1:1"))
    assert ("docker compose up -d" in err) is named


@pytest.mark.row(44)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://user:S3cret@no-such-host.invalid:6379", "The name no-such-host.invalid leads nowhere from here"),
        ("redis://user:S3cret@a..b", "The name a..b leads nowhere from here"),
        ("unix://user:S3cret@/no/such/socket", "/no/such/socket (No such file or directory). Start that one"),
        ("redis://user:S3cret@[::1]:1", "no Redis answers at ::1:1"),
        ("redis://user:1234/S3cret@127.0.0.1", "the Redis URL cannot be used"),
        ("redis://user:S3/cret@127.0.0.1", "the Redis URL cannot be used"),
        ("redis://user:S3cret@127.0.0.1:port", "the Redis URL cannot be used"),
        ("redis://user:S3cret@127.0.0.1?colour=red", "the Redis URL cannot be used"),
        ("http://user:S3cret@127.0.0.1", "the Redis URL must begin with redis://"),
    ],
)
def test_a_wrong_address_is_one_line_without_the_password(run, url, says):
    code, err = ending(*run("status", "--redis", url))
    assert code == 1
    assert says in err
    assert not re.search("S3|cret|1234", err)


@pytest.mark.row(44, 48)
@pytest.mark.parametrize("command", NEEDS_REDIS)
def test_a_wrong_password_is_one_line_without_it(run, redis_server, command):
    url = redis_server.replace("://", "://user:S3cret@")
    code, err = ending(*run(*command.split(), "--redis", url))
    assert code == 1
    assert "does not take this user and password" in err
    assert "S3cret" not in err


@pytest.mark.row(48)
def test_a_missing_permission_ends_consume_with_one_line(run, guest, stream):
    url = guest("+@all", "-xreadgroup").settings.redis_url
    Producer(stream).send(FIGS)
    code, out, err = run("consume", "--redis", url)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"Error: Redis: .*permission.*xreadgroup.*", err.splitlines()[-1])
    assert "Traceback" not in err


def test_a_key_of_another_type_is_one_line(run, client, settings):
    client.set(settings.stream, "not a stream")
    for command in ("produce --count 1", "status", "status --watch"):
        code, err = ending(*run(*command.split()))
        assert code == 1
        assert "wrong kind of value" in err


def test_settings_that_cannot_work_are_one_line(run, environ):
    environ["ORDERSTREAM_BLOCK_MS"] = "0"
    code, err = ending(*run("consume"))
    assert code == 1
    assert "block_ms=0 must be 1 to 2000" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("produce --cound 3", "Did you mean '--count'? See: orderstream produce --help"),
        ("produce --count -1", "-1 is not in the range"),
        ("produce --rate 0", "0.0 is not in the range"),
        ("produce --batch 0", "0 is not in the range"),
        ("nix", "No such command 'nix'. See: orderstream --help"),
        ("dlq redrive", "give the ids, or --all. See: orderstream dlq redrive --help"),
        ("dlq purge 1-0 --all", "give the ids, or --all. See: orderstream dlq purge --help"),
        ("dlq show 17", "'17' is not like 1718000000000-0"),
        ("status --stream=", "it is empty"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(run, args, says):
    code, err = ending(*run(*args.split()))
    assert code == 2
    assert says in err


def test_a_dead_letter_that_is_not_there_is_one_line(run, settings):
    assert ending(*run("dlq", "show", "1-0")) == (1, f"Error: not in {settings.dlq}: 1-0\n")


@pytest.mark.parametrize(
    ("wish", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_a_terminal_gets_colours_unless_it_wants_none(start, environ, wish, coloured):
    environ.pop("NO_COLOR", None)
    environ.update({"TERM": "xterm"} | wish)
    terminal = Terminal(start, "doctor")  # a Redis for tests keeps nothing on disk
    terminal.read("Error: .*orders could be lost: persistence")
    assert terminal.end() == 1
    assert [f"\x1b[31m{red}" in terminal.seen for red in ("✗", "Error: ")] == [coloured, coloured]
    assert ("\x1b" in terminal.seen) is coloured


@pytest.mark.parametrize("command", ["produce --rate 500", "status --watch", "dlq list --json --count 2000"])
def test_a_reader_that_leaves_ends_a_command_quietly(start, bury, command):
    """Given ``orderstream … | head -1``."""
    bury(*islice(random_orders(1), 2000))
    process = start(*command.split())
    assert process.stdout.read(1)
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(10), err) == (0, "")
