"""
The cheat sheet is data: every line of its two tables is run on a real Redis, and does what the sheet says.

A server that is older than a line refuses it.
"""

import re
import shlex
from pathlib import Path

import pytest
import redis

from orderstream.software import software_of

SHEET = (Path(__file__).parents[2] / "notebooks" / "cheat_sheet.md").read_text("utf-8")
TABLES = [
    [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    for table in re.findall(r"(?:^\|.*\n)+", SHEET, re.M)
]
(_, *BEFORE, _), *COMMANDS = [[cell.rstrip(" |") for cell in row] for row in TABLES[0]]
SPECIAL = TABLES[1]

IDLE = {0: "0", 55: "55 s", 90: "90 s"}
"""The idle times in seconds that the sheet knows."""


@pytest.fixture
def r(client):
    """A client, with the stream and the group as the sheet's first line has them."""
    client.delete("orders")
    for n in (1, 2, 3):
        client.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    client.xgroup_create("orders", "g", "0")
    client.xreadgroup("g", "ann", {"orders": ">"}, count=2)
    client.xclaim("orders", "g", "ann", 0, ["1-0", "2-0"], idle=90_000, justid=True)
    yield client
    client.delete("orders")


def version(text):
    return tuple(map(int, text.split(".")))


def state(r):
    """Return what the columns of the sheet say: entries, read up to, pending, deliveries and idle clock of 1-0."""
    groups = {group["name"]: group for group in r.xinfo_groups("orders")}
    if b"g" not in groups:
        return [str(r.xlen("orders")), "no group", "0", "–", "–"]
    pending = r.xpending_range("orders", "g", "-", "+", 10)
    owners = [(entry["consumer"] or b"nobody").decode() for entry in pending]
    held = ", ".join(f"{owner} {owners.count(owner)}" for owner in sorted(set(owners))) or "0"
    clocks = ["–", "–"]
    for entry in pending:
        if entry["message_id"] == b"1-0":
            count = entry["times_delivered"]
            clocks = ["2^63−1" if count == 2**63 - 1 else str(count), clock(entry["time_since_delivered"])]
    return [str(r.xlen("orders")), groups[b"g"]["last-delivered-id"].decode(), held, *clocks]


def clock(idle_ms):
    """Return the sheet's words for an idle time; a slow machine may take a while between command and look."""
    return "due" if idle_ms < 0 else next(said for s, said in IDLE.items() if s <= idle_ms / 1000 < s + 30)


def run(r, command):
    """Send a line of the sheet as it stands, and let nobody interpret the reply."""
    connection = r.connection_pool.get_connection()
    try:
        connection.send_command(*shlex.split(command))
        return connection.read_response()
    finally:
        r.connection_pool.release(connection)


@pytest.mark.parametrize("row", COMMANDS, ids=[row[0].split("`")[1] for row in COMMANDS])
def test_a_command_does_what_the_sheet_says(r, row, server_version):
    """Length, last delivered id, pending, deliveries and idle clock, before and after."""
    said, *after, since = row
    assert state(r) == BEFORE
    if server_version < version(since):
        with pytest.raises(redis.ResponseError):
            run(r, said.split("`")[1])
        after = BEFORE
    else:
        run(r, said.split("`")[1])
    assert state(r) == [old if new == "·" else new for old, new in zip(BEFORE, after, strict=True)]


def ids(reply):
    """Return the ids of the entries in a reply of XRANGE, XREAD or XREADGROUP."""
    if reply and isinstance(reply[0][1], list):
        reply = reply[0][1]
    return [entry_id.decode() for entry_id, fields in reply]


def created(r, group, id):
    """Make a group, let an entry come, and return what the group is given."""
    r.xgroup_create("orders", group, id)
    r.xadd("orders", {"item": "rice"}, id="4-0")
    return ids(r.xreadgroup(group, "bob", {"orders": ">"}))


def now_and_after_the_next(r, id):
    """Return what XREAD finds after *id*, and what it finds once an entry more has come."""
    now = ids(r.xread({"orders": id}))
    r.xadd("orders", {"item": "rice"}, id="4-0")
    return [now, ids(r.xread({"orders": id}))]


PROOFS = {
    ("- +", "XRANGE XREVRANGE XPENDING"): lambda r: (
        [ids(r.xrange("orders", "-", "+")), ids(r.xrevrange("orders", "+", "-")), len(pending(r, "-", "+"))]
        == [["1-0", "2-0", "3-0"], ["3-0", "2-0", "1-0"], 2]
    ),
    ("(2-0", "XRANGE XREVRANGE XPENDING XAUTOCLAIM"): lambda r: (
        [ids(r.xrange("orders", "(2-0")), ids(r.xrevrange("orders", "(2-0"))] == [["3-0"], ["1-0"]]
        and [pending(r, "-", "(2-0"), claimed(r, "(1-0")] == [["1-0"], ["2-0"]]
    ),
    ("2", "XRANGE XREVRANGE"): lambda r: (
        r.xadd("orders", {"item": "rice"}, id="3-7")
        and [ids(r.xrange("orders", "2", "3")), ids(r.xrevrange("orders", "3", "2"))]
        == [["2-0", "3-0", "3-7"], ["3-7", "3-0", "2-0"]]
    ),
    ("0", "XREAD"): lambda r: ids(r.xread({"orders": "0"})) == ["1-0", "2-0", "3-0"],
    ("0", "XREADGROUP"): lambda r: (
        [ids(r.xreadgroup("g", name, {"orders": "0"})) for name in ("ann", "bob")] == [["1-0", "2-0"], []]
    ),
    ("0", "XGROUP CREATE"): lambda r: created(r, "h", "0") == ["1-0", "2-0", "3-0", "4-0"],
    ("$", "XREAD"): lambda r: now_and_after_the_next(r, "$") == [[], []],
    ("$", "XGROUP CREATE"): lambda r: created(r, "h", "$") == ["4-0"],
    ("+", "XREAD"): lambda r: now_and_after_the_next(r, "+") == [["3-0"], ["4-0"]],
    (">", "XREADGROUP"): lambda r: [ids(r.xreadgroup("g", "bob", {"orders": ">"})) for ask in "12"] == [["3-0"], []],
    ("*", "XADD"): lambda r: version(r.xadd("orders", {"item": "rice"}).decode().replace("-", ".")) > (3, 0),
    ("2-*", "XADD"): lambda r: r.delete("orders") and [
        r.xadd("orders", {"item": "rice"}, id="2-*") for _ in "12"
    ] == [b"2-0", b"2-1"],
}
"""What stands in the first two columns, and the proof."""


def bodies(r, key):
    return [fields[b"item"].decode() for _, fields in r.xrange(key)]


def after(r, *steps):
    """Begin anew, run the commands, and return what the sheet's columns say."""
    r.delete("orders")
    for n in (1, 2, 3):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    r.xgroup_create("orders", "g", "0")
    r.xreadgroup("g", "ann", {"orders": ">"}, count=2)
    for step in steps:
        run(r, step)
    return state(r)[:1] + state(r)[2:3]


def keeps(r, policy):
    """Return entries and pending after each of the four commands with this word, or without one if it is empty."""
    return [
        after(r, f"XADD orders MAXLEN = 1 {policy} 4-0 item tea"),
        after(r, f"XTRIM orders MAXLEN = 1 {policy}"),
        after(r, f"XDELEX orders {policy} IDS 1 1-0"),
        after(r, f"XACKDEL orders g {policy} IDS 1 1-0"),
    ]


def remembers(r, *between):
    """Add the same order twice under one key, with commands in between. Return how many entries there are."""
    r.delete("orders")
    for command in ("XADD orders IDMP shop o-1 * item tea", *between, "XADD orders IDMP shop o-1 * item rice"):
        run(r, command)
    return r.xlen("orders")


def read(r, options):
    """Three streams of five entries with 1 kB each. Return how many come of each."""
    keys = ["orders", "orders-2", "orders-3"]
    r.delete(*keys)
    for key in keys:
        for n in range(1, 6):
            r.xadd(key, {"data": "x" * 1_000}, id=f"{n}-0")
    reply = run(r, f"XREAD {options} STREAMS {' '.join(keys)} 0 0 0") or []
    pairs = reply.items() if isinstance(reply, dict) else reply
    counts = {key.decode(): len(entries) for key, entries in pairs}
    r.delete(*keys[1:])
    return [counts.get(key, 0) for key in keys]


NOTES = {
    "`TIME` on `XCLAIM` is `IDLE` as a date: milliseconds since 1970.": ("5.0", lambda r: (
        run(r, "XCLAIM orders g ann 0 1-0 TIME 1 JUSTID") == [b"1-0"]
        and r.xpending_range("orders", "g", "1-0", "1-0", 1)[0]["time_since_delivered"] > 10**12
    )),
    "`KEEPREF` on `XADD`, `XTRIM`, `XDELEX` and `XACKDEL` is the default: it asks no group.": ("8.2", lambda r: (
        keeps(r, "KEEPREF") == keeps(r, "") == [["1", "ann 2"], ["1", "ann 2"], ["2", "ann 2"], ["2", "ann 1"]]
    )),
    "`DELREF` takes the id off every pending list, `ACKED` keeps what a group still needs (8.2).": ("8.2", lambda r: (
        keeps(r, "DELREF") == [["1", "0"], ["1", "0"], ["2", "ann 1"], ["2", "ann 1"]]
        and keeps(r, "ACKED") == [["4", "ann 2"], ["3", "ann 2"], ["3", "ann 2"], ["2", "ann 1"]]
    )),
    "`IDMPAUTO` on `XADD` takes the body as the key;": ("8.6", lambda r: (
        [run(r, f"XADD orders IDMPAUTO shop * item {item}") for item in ("figs", "figs", "rice")]
        and bodies(r, "orders")[3:] == ["figs", "rice"]
    )),
    "an `XCFGSET` that changes something forgets every key (8.6).": ("8.6", lambda r: (
        [remembers(r), remembers(r, "XCFGSET orders IDMP-DURATION 300 IDMP-MAXSIZE 1000")] == [1, 2]
    )),
    "`XNACK … RETRYCOUNT 7 FORCE` makes pending what nobody was given;": ("8.8", lambda r: (
        after(r, "XNACK orders g FAIL IDS 1 3-0 RETRYCOUNT 7 FORCE") == ["3", "ann 2, nobody 1"]
        and r.xpending_range("orders", "g", "3-0", "3-0", 1)[0]["times_delivered"] == 7
    )),
    "`XINFO STREAM FULL` has `nacked-count` (8.8).": ("8.8", lambda r: (
        after(r, "XNACK orders g FAIL IDS 1 1-0")
        and next(iter(r.xinfo_stream("orders", full=True)["groups"]))["nacked-count"] == 1
    )),
    "`COUNT` is for each stream, `MAXCOUNT` for the whole reply. `MAXSIZE` limits its bytes; the entry that crosses "
    "it still comes (8.10).": ("8.10", lambda r: (
        [read(r, options) for options in ("COUNT 2", "COUNT 2 MAXCOUNT 4", "MAXCOUNT 4", "MAXSIZE 2500", "MAXSIZE 1")]
        == [[2, 2, 2], [2, 2, 0], [4, 0, 0], [3, 0, 0], [1, 0, 0]]
        and group_reads_one(r)
    )),
}  # fmt: skip
"""A sentence below the tables, the Redis that brought what it says, and the proof."""


def group_reads_one(r):
    """A group's read knows both words, too: of the three entries in the sheet's first line, the third is new."""
    after(r)
    reply = run(r, "XREADGROUP GROUP g bob MAXCOUNT 1 MAXSIZE 1000 STREAMS orders >")
    [(_, entries)] = reply.items() if isinstance(reply, dict) else reply
    return [entry[0] for entry in entries] == [b"3-0"]


@pytest.mark.parametrize("sentence", NOTES)
def test_a_sentence_below_the_tables_is_true(r, sentence, server_version):
    """On a server that knows these words; an older one refuses them."""
    since, proof = NOTES[sentence]
    assert sentence in " ".join(SHEET.split())
    if server_version < version(since):
        with pytest.raises((redis.ResponseError, KeyError)):
            proof(r)
    else:
        assert proof(r)


TAKEN_OVER = {("+", "XREAD")}
"""What came to Redis after 7.2, and then to Valkey. COMMAND INFO does not tell it."""


def pending(r, first, last):
    return [entry["message_id"].decode() for entry in r.xpending_range("orders", "g", first, last, 10)]


def claimed(r, start):
    return [entry_id.decode() for entry_id in r.xautoclaim("orders", "g", "bob", 0, start_id=start, justid=True)]


def key(row):
    return row[0].replace("`", ""), row[1].replace("`", "")


@pytest.mark.parametrize("row", SPECIAL, ids=[" ".join(key(row)) for row in SPECIAL])
def test_a_special_id_means_what_the_sheet_says(r, row, server_version):
    known = software_of(r).name == "Valkey" and key(row) in TAKEN_OVER
    if server_version < version(row[-1]) and not known:
        with pytest.raises(redis.ResponseError):
            PROOFS[key(row)](r)
    else:
        assert PROOFS[key(row)](r)


def test_every_proof_has_its_line():
    assert [key(row) for row in SPECIAL] == list(PROOFS)


def test_the_sheet_has_every_command_of_a_group():
    """And those that change a stream."""
    named = {re.match(r"`(XGROUP \w+|\w+)", row[0])[1] for row in COMMANDS}
    wanted = "XADD XDEL XTRIM XDELEX XACK XACKDEL XNACK XCLAIM XAUTOCLAIM XREAD XREADGROUP XPENDING".split()
    assert named >= {*wanted, "XGROUP SETID", "XGROUP DELCONSUMER", "XGROUP DESTROY"}
