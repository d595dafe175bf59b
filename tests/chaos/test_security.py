"""Entries, errors and addresses that somebody made on purpose to do harm, and secrets that must not get out."""

import ast
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback
from hashlib import sha1
from itertools import islice
from pathlib import Path

import pytest
import redis

from orderstream import (
    Consumer,
    DeadLetterQueue,
    Order,
    OrderStream,
    Producer,
    Reject,
    Settings,
    connect,
    random_orders,
)
from orderstream.connection import open_client
from orderstream.entries import METADATA
from orderstream.errors import OrderError, OrderStreamError
from orderstream.order import MAX_BYTES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orderstream"
ORDERS = list(islice(random_orders(1), 3))
SECRET = "S3cret"
HIGHEST = "18446744073709551615-18446744073709551615"


@pytest.fixture
def survivors(stream, client, settings):
    """
    ``survivors(fields)``: put an entry between two orders and let a consumer have them.
    Returns the orders that were handled, and the fields of the dead letters, the metadata left out.
    """

    def survivors(fields):
        stream.add([ORDERS[0].to_fields(), fields, ORDERS[1].to_fields()])
        handled = []
        Consumer(stream, handled.append).drain()
        return handled, [letter[: -2 * len(METADATA)] for _, letter in stream.dead_letters("-", 10)]

    return survivors


# What an entry may hold


@pytest.mark.row(37)
@pytest.mark.parametrize(
    "fields",
    [
        [b"data", b'{"id":"\xff","item":"b","amount":1}'],
        [b"\xff\xfe", b"\x80"],
        [b"data", b""],
        [b"", b""],
        [b"data\x00", b"\x00"],
        [b"data\r\n", b"\r\n+OK\r\n$-1\r\n"],
        [b"data", b"\x00" * 9],
        [b"data", b"1", b"data", b"2", b"data", b"2"],
    ],
    ids=["bad UTF-8", "no text", "empty value", "empty name", "NUL", "CRLF", "zeros", "one name three times"],
)
def test_what_is_no_text_is_dead_lettered_byte_by_byte_and_its_neighbours_are_handled(survivors, stream, fields):
    assert survivors(fields) == (ORDERS[:2], [fields])
    assert len(DeadLetterQueue(stream).list()) == 1


@pytest.mark.row(41)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_opened(survivors, tmp_path, protocol):
    """Opening this one would write a file."""
    trap = tmp_path / "opened"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trap,)

    fields = [b"data", pickle.dumps(Trap(), protocol)]
    assert survivors(fields) == (ORDERS[:2], [fields])
    assert not trap.exists()


@pytest.mark.row(41)
def test_nothing_that_runs_what_it_reads_is_imported_by_the_package():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "cPickle", "_pickle", "dill", "marshal", "shelve"} & set(names), path


@pytest.mark.row(42)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 500_000,
        b'{"id":"a","item":"b","amount":1,"x":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"id":"a","item":"b","amount":' + b"9" * 500_000 + b"}",
        b'{"id":"a","item":"b","amount":1e400}',
        b'{"id":"a","item":"b","amount":18446744073709551616}',
    ],
    ids=["open brackets", "deep", "half a million digits", "infinite", "2^64"],
)
def test_json_that_is_made_to_hurt_is_dead_lettered(survivors, data):
    assert survivors([b"data", data]) == (ORDERS[:2], [[b"data", data]])


@pytest.mark.row(40)
@pytest.mark.parametrize(
    "fields",
    [
        [b"dlq-error", b"mine", b"dlq-stream", b"mine"],
        [b"x", b"1", *(part for name in METADATA for part in (name.encode(), b"1"))],
        [b"dlq-packed", b"junk", b"x", b"1"],
        [b"x", b"1", b"dlq-packed", b"\xdd\xff\xff\xff\xff"],
    ],
    ids=["two of them", "all of them", "packed", "packed behind"],
)
def test_fields_named_like_ours_come_back_as_they_were(survivors, stream, client, settings, fields):
    """What we add comes last, and is told from them by its place."""
    assert survivors(fields) == (ORDERS[:2], [fields])
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.fields == dict(zip(fields[::2], fields[1::2], strict=True))
    assert letter.reason.startswith("DecodeError")
    (new,) = DeadLetterQueue(stream).redrive(letter.id)
    ((_, again),) = client.xrange(settings.stream, new, new)
    assert again == letter.fields


@pytest.mark.row(40)
@pytest.mark.parametrize("value", [b"junk", b"", b"\xdd\xff\xff\xff\xff", b"\x91\x01", b"\x91\xc0"])
def test_an_entry_that_looks_packed_and_is_not_hides_no_other(survivors, stream, value):
    """Nobody can tell that we did not pack it. It is listed, and so are the others."""
    survivors([b"dlq-packed", value])
    stream.add([[b"no", b"order"]])
    Consumer(stream, print).drain()
    first, second = DeadLetterQueue(stream).list()
    assert second.fields == {b"no": b"order"}
    assert first.reason.startswith("DecodeError")
    assert DeadLetterQueue(stream).purge(first.id) == 1


@pytest.mark.row(46)
@pytest.mark.parametrize(
    "traceparent",
    [
        b"x" * 5_000,
        b"",
        b"\xff\x00\r\n",
        b"00-00000000000000000000000000000000-0000000000000000-01",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ],
    ids=["5 kB", "empty", "no text", "zeros", "unknown version", "sampled"],
)
def test_no_traceparent_keeps_an_order_from_being_handled(stream, traceparent):
    stream.add([[b"traceparent", traceparent, b"tracestate", traceparent, *ORDERS[0].to_fields()]])
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == ORDERS[:1]
    assert (stream.backlog().done, stream.backlog().dead_lettered) == (True, 0)


@pytest.mark.row(47)
@pytest.mark.parametrize("dedupe", [None, "till-1"])
def test_an_entry_holds_the_order_and_nothing_else_of_its_producer(stream, client, settings, monkeypatch, dedupe):
    """OpenTelemetry would take the context from the environment, too."""
    monkeypatch.setenv("BAGGAGE", f"user={SECRET}")
    Producer(stream, dedupe=dedupe).send(ORDERS[0])
    ((_, fields),) = client.xrange(settings.stream)
    assert set(fields) <= {b"data", b"traceparent", b"tracestate"}
    assert SECRET.encode() not in b"".join(fields.values())


# What is too large


@pytest.mark.row(39)
def test_an_order_that_is_too_long_is_refused_before_it_travels(stream):
    with pytest.raises(OrderError, match="characters"):
        Producer(stream).send(Order("a", "x" * MAX_BYTES, 1))
    assert stream.backlog().length == 0


@pytest.mark.row(39)
def test_a_payload_that_is_too_long_is_dead_lettered_whole(survivors, stream):
    fields = [b"data", b'{"id":"a","item":"b","amount":1,"x":"' + b"x" * MAX_BYTES + b'"}']
    assert survivors(fields) == (ORDERS[:2], [fields])
    assert "1,000,000 is the most" in DeadLetterQueue(stream).list()[0].reason


CONSUME = """
import re, resource, sys
from pathlib import Path
from orderstream import Consumer, connect

def most_memory_mb():
    if sys.platform == "linux":  # where getrusage counts what the process was before exec, too
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024

stream = connect()
before = most_memory_mb()
Consumer(stream, print).drain(60)
stream.close()
print(most_memory_mb() - before)
"""


@pytest.mark.row(39)
def test_entries_of_many_megabytes_are_held_one_at_a_time(stream, client, settings):
    """With BATCH=1 a consumer needs the memory of one entry and its copies on the way, not that of all."""
    mb, entries = 16, 16
    for _ in range(entries):
        stream.add([[b"data", b"x" * mb * 1024 * 1024]])
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": settings.redis_url,
        "ORDERSTREAM_STREAM": settings.stream,
        "ORDERSTREAM_GROUP": settings.group,
        "ORDERSTREAM_BATCH": "1",
    }
    said = subprocess.run([sys.executable, "-c", CONSUME], env=environ, capture_output=True, text=True, check=True)
    assert client.xlen(settings.dlq) == entries
    client.delete(settings.stream, settings.dlq)
    assert mb <= float(said.stdout) < mb * entries / 2


# What is said


@pytest.mark.row(43)
def test_nobody_forges_a_line_of_the_log_or_of_the_terminal(stream, settings, caplog, tmp_path):
    """An error may quote the order, and an order may hold anything."""
    forged = "\x1b[2J\r\nWARNING all is well\u2028\u202e\x00"
    attack = Order(forged + "x" * 1_000, forged, 1)

    def fail(order):
        raise ValueError(order.id)

    Producer(stream).send(attack)
    with caplog.at_level(logging.DEBUG):
        Consumer(stream, fail, name="me").drain()
    (letter,) = DeadLetterQueue(stream).list()
    assert letter.reason.isprintable()
    assert len(letter.reason) == 200
    assert letter.reason.startswith(r"ValueError: \x1b[2J\r\nWARNING all is well\u2028\u202e\x00")
    assert all(record.getMessage().isprintable() for record in caplog.records)
    environ = os.environ | {"REDIS_URL": settings.redis_url, "ORDERSTREAM_STREAM": settings.stream}
    for command in (["dlq", "list"], ["dlq", "show", letter.id], ["dlq", "list", "--json"]):
        said = subprocess.run(
            [sys.executable, "-m", "orderstream", *command], env=environ, capture_output=True, text=True, check=True
        )
        assert "well" in said.stdout
        assert all(line.isprintable() for line in (said.stdout + said.stderr).split("\n"))


@pytest.mark.row(44)
def test_a_password_is_in_nothing_that_is_said(redis_server, caplog, client):
    """Objects, what they raise and what that prints, and what is logged at any level."""
    wrong = Settings(redis_url=redis_server.replace("://", f"://user:{SECRET}@"))
    gone = Settings(redis_url=f"redis://user:{SECRET}@127.0.0.1:1")
    odd = Settings(redis_url=f"redis://user:{SECRET}@127.0.0.1:1?colour={SECRET}")
    said = []
    with caplog.at_level(logging.DEBUG), open_client(gone) as lonely:
        stream = OrderStream(lonely, gone)
        objects = [wrong, gone, stream, Consumer(stream, print), Producer(stream), DeadLetterQueue(stream)]
        for act in (
            lambda: connect(wrong),
            lambda: connect(gone),
            lambda: connect(odd),
            lambda: Settings(redis_url=f"http://user:{SECRET}@host"),
            lambda: Settings.from_env({"REDIS_ADDR": f"user:{SECRET}@host"}),
            lambda: Producer(stream).send(ORDERS[0]),
            lambda: DeadLetterQueue(stream).list(),
            lambda: Consumer(stream, print).drain(0.1),
        ):
            with pytest.raises((redis.RedisError, OrderStreamError)) as caught:
                act()
            said += [repr(caught.value), *traceback.format_exception(caught.value)]
    said += [f"{thing!r} {thing}" for thing in objects] + [record.getMessage() for record in caplog.records]
    assert SECRET not in "".join(said)


@pytest.mark.row(44)
@pytest.mark.parametrize("command", ["--help", "produce --help", "produce --count 1", "consume", "status", "dlq list"])
def test_a_password_is_in_no_output_of_a_command(command):
    environ = os.environ | {"REDIS_URL": f"redis://user:{SECRET}@127.0.0.1:1"}
    said = subprocess.run([sys.executable, "-m", "orderstream", *command.split()], env=environ, capture_output=True)
    assert said.returncode == (0 if "--help" in command else 1)
    assert SECRET.encode() not in said.stdout + said.stderr
    assert b"Traceback" not in said.stderr


@pytest.mark.row(45)
def test_what_an_order_holds_is_in_no_log(stream, caplog):
    """Whatever becomes of it. Only the entry id is said, also where the text of an error quotes the order."""
    orders = [Order(f"{SECRET}-{n}", f"{SECRET} tea", 1) for n in range(3)]
    handlers = {orders[0].id: ValueError, orders[1].id: Reject, orders[2].id: lambda text: None}

    def handle(order):
        if error := handlers[order.id](order.item):
            raise error

    stream.add([[b"data", SECRET.encode(), SECRET.encode(), b"1"]])
    Producer(stream).send_many(orders)
    with caplog.at_level(logging.INFO):
        Consumer(stream, handle, name="me").drain()
    assert stream.backlog().dead_lettered == 3
    assert "dead-lettered" in caplog.text
    assert SECRET not in caplog.text


# What the server may be made to do


@pytest.mark.row(51)
def test_after_an_entry_with_the_highest_id_the_producer_is_told_and_the_rest_goes_on(stream, client, settings):
    """The stream takes no more, for ever. What is in it is handled."""
    Producer(stream).send(ORDERS[0])
    client.xadd(settings.stream, dict([ORDERS[1].to_fields()]), id=HIGHEST)
    with pytest.raises(redis.ResponseError, match=r"exhausted|smaller"):
        Producer(stream).send(ORDERS[2])
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == ORDERS[:2]


@pytest.mark.row(51)
def test_an_entry_with_the_highest_id_is_claimed_and_dead_lettered_like_any_other(
    stream, client, settings, make_due, pending
):
    """Nothing comes after it: a walk over the pending entries ends there, and so does the list of dead letters."""
    client.xadd(settings.stream, dict([ORDERS[0].to_fields()]), id=HIGHEST)
    client.xadd(settings.dlq, {"from": "somebody else"}, id=HIGHEST)
    stream.create_group()
    stream.read_new("dead", 1, None)
    make_due(*pending())
    handled = []
    Consumer(stream, handled.append).drain()
    assert handled == ORDERS[:1]
    assert [letter.fields for letter in DeadLetterQueue(stream)] == [{b"from": b"somebody else"}]


@pytest.mark.row(52)
def test_no_script_is_built_from_strings():
    """Whoever can choose a piece of a script can run anything. Scripts are files, and all else is KEYS and ARGV."""
    for path in [path for path in PACKAGE.rglob("*.py") if PACKAGE / "lab" not in path.parents]:
        code = path.read_text()
        assert not re.search(r"\b(eval|eval_ro|register_script|script_load|fcall|function_load)\(", code), path
        assert not re.search(r"[\"'](EVAL|FCALL|FUNCTION)[\"']", code), path
        assert set(re.findall(r"[\"']LOAD[\"'], ([^,)]+)", code)) <= {"ONCE.source", "script.source"}, path
    for path in (PACKAGE / "lua").iterdir():
        code = re.sub(r"--.*", "", path.read_text())
        assert not re.search(r"\b(loadstring|load|dofile|setfenv|rawset|_G)\b", code), path
        for called in re.findall(r"redis\.p?call\(\s*(\S+?)\s*,", code):
            assert re.fullmatch(r"'[A-Z]+'", called), f"{path}: {called}"


@pytest.mark.row(52)
def test_what_is_loaded_are_our_files_byte_by_byte(stream, client, send):
    client.script_flush()
    send(ORDERS[0])
    Consumer(stream, lambda order: 1 / 0).drain()
    known = [client.script_exists(sha)[0] for sha in map(_sha, (PACKAGE / "lua").iterdir())]
    loaded = client.info("memory")["number_of_cached_scripts"]
    assert loaded == sum(known) >= 3


def _sha(path):
    return sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
