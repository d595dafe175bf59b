"""The table at the top of stream.py is true: each row is driven on a real Redis, and nothing else changes an entry."""

import re
from itertools import product
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from orderstream import DeadLetterQueue, Order, OrderStream
from orderstream import stream as stream_module
from orderstream.entries import UNOWNED, Entry
from orderstream.scripts import CLAIM, DEAD, LEASE, REDRIVE, TRIM

CLAIM_IDLE_MS, DELAY_MS = 30_000, 5_000  # of the stream ``patient``; of a retry and a defer here
SLACK_MS = 4_000  # between two looks at an idle clock
FIELDS = Order("o-1", "tea", 1).to_fields()


class Row(NamedTuple):
    """A line of the table."""

    state: str
    operation: str
    by: str
    then: str
    attempt: str
    idle_ms: str
    done_with: str


TABLE = [
    Row(*cells)
    for line in stream_module.__doc__.splitlines()
    if len(cells := re.split(r" {2,}", line.strip())) == len(Row._fields) and cells[0] != "an entry is"
]
ROWS = {(row.state, row.operation): row for row in TABLE}
ROWS |= {("suspect", row.operation): row for row in TABLE if row.state == "pending"}


class Entries:
    """An order in any state: "a" holds it at attempt 2, if anybody does."""

    def __init__(self, stream, client, pending, make_due):
        self.stream, self.client, self.pending, self.make_due = stream, client, pending, make_due
        stream.create_group()

    def undelivered(self):
        (id,) = self.stream.add([FIELDS])
        return Entry(id.decode(), FIELDS, 1)

    def pending_for(self, idle_ms):
        self.undelivered()
        (entry,) = self.stream.read_new("a", 1, None)
        self.make_due(entry.id)
        entry = self.stream.claim("a", "-", 16).entry
        self.make_due(entry.id, idle_ms=idle_ms)
        return entry

    def waiting(self):
        entry = self.pending_for(0)
        assert self.stream.retry("a", entry, DELAY_MS)
        return entry

    def deleted(self):
        entry = self.pending_for(2 * CLAIM_IDLE_MS)
        self.client.xdel(self.stream.settings.stream, entry.id)
        return entry

    def acked(self):
        entry = self.pending_for(0)
        self.stream.ack([entry.id])
        return entry

    def dead_letter(self):
        entry = self.pending_for(0)
        id = self.stream.dead_letter("a", entry, "no")
        self.stream.trim()  # nothing of it is left but the letter
        return replace(entry, id=id)

    def gone(self):
        entry = self.dead_letter()
        self.stream.purge([entry.id])
        return entry

    def look(self, entry):
        """Return (state, holder, attempt, idle_ms) of the order, wherever it is now."""
        settings = self.stream.settings
        letters = list(DeadLetterQueue(self.stream))
        group = self.client.xinfo_groups(settings.stream)[0]
        ids = [id.decode() for id, _ in self.client.xrange(settings.stream)]
        held = self.pending()
        if any(entry.id in (letter.id, letter.source_id) for letter in letters):
            return "dead letter", None, None, None
        if self.client.xrange(settings.stream, b"(" + group["last-delivered-id"], "+"):
            return "undelivered", None, None, None
        if held:
            ((id, (holder, idle_ms, attempt)),) = held.items()
            pending = "waiting" if holder == UNOWNED else "pending"
            state = "suspect" if idle_ms >= CLAIM_IDLE_MS else pending
            return state if id in ids else "deleted", holder, attempt, idle_ms
        return "acked" if ids else "gone", None, None, None


STATES = {
    "undelivered": Entries.undelivered,
    "pending": lambda entries: entries.pending_for(CLAIM_IDLE_MS // 3),
    "waiting": Entries.waiting,
    "suspect": lambda entries: entries.pending_for(2 * CLAIM_IDLE_MS),
    "deleted": Entries.deleted,
    "acked": Entries.acked,
    "dead letter": Entries.dead_letter,
    "gone": Entries.gone,
}
OPERATIONS = {
    "read_new": lambda stream, who, entry: stream.read_new(who, 10, None),
    "claim": lambda stream, who, entry: stream.claim(who, "-", 16),
    "heartbeat": lambda stream, who, entry: stream.heartbeat(who, [entry]),
    "retry": lambda stream, who, entry: stream.retry(who, entry, DELAY_MS),
    "defer": lambda stream, who, entry: stream.defer(who, entry, DELAY_MS),
    "release": lambda stream, who, entry: stream.release(who, [entry]),
    "dead_letter": lambda stream, who, entry: stream.dead_letter(who, entry, "no"),
    "ack": lambda stream, who, entry: stream.ack([entry.id]),
    "trim": lambda stream, who, entry: stream.trim(),
    "redrive": lambda stream, who, entry: stream.redrive(entry.id, entry.fields),
    "purge": lambda stream, who, entry: stream.purge([entry.id]),
    # What the table does not have: they are no operations on entries.
    "create_group": lambda stream, who, entry: stream.create_group(),
    "leave": lambda stream, who, entry: stream.leave(who),
    "reap": lambda stream, who, entry: stream.reap(0),
    "dead_letters": lambda stream, who, entry: stream.dead_letters("-", 10),
    "backlog": lambda stream, who, entry: stream.backlog(),
}
ACTORS = {
    "holder": lambda entry: ("a", entry),
    "another consumer": lambda entry: ("b", entry),
    "the holder at an older attempt": lambda entry: ("a", replace(entry, attempt=entry.attempt - 1)),
}
SCRIPTS = {CLAIM.sha: "claim", LEASE.sha: "lease", DEAD.sha: "dead", REDRIVE.sha: "redrive", TRIM.sha: "trim"}
ADDS = {"add", "add_once"}  # they make an entry: there is none before
MOVES_THE_CLOCK = {"heartbeat", "retry", "defer", "release"}


@pytest.fixture
def entries(patient, client, pending, make_due):
    return Entries(patient, client, pending, make_due)


def sent_by(stream):
    """Keep the commands that *stream* sends from now on: scripts by their file, all others by their name."""
    exchange, sent = stream._exchange, []

    def keep(commands):
        for name, *words in commands:
            sent.append(f"lua/{SCRIPTS.get(words[0])}.lua" if name == "EVALSHA" else name)
        return exchange(commands)

    stream._exchange = keep
    return sent


@pytest.mark.parametrize(("state", "operation"), list(product(STATES, OPERATIONS)))
@pytest.mark.parametrize("actor", ACTORS)
def test_an_operation_does_what_the_table_says_and_nothing_else(entries, server_version, state, operation, actor):
    entry = STATES[state](entries)
    before = entries.look(entry)
    assert before[0] == state
    who, as_known = ACTORS[actor](entry)
    sent = sent_by(entries.stream)
    OPERATIONS[operation](entries.stream, who, as_known)
    now = entries.look(entry)

    if state == "deleted" and operation in MOVES_THE_CLOCK and actor == "holder":
        assert now[0] == ("gone" if server_version >= (7, 0) else "deleted")
        return
    row = ROWS.get((state, operation))
    if row is None or (row.by == "holder" and actor != "holder"):
        assert now[:3] == before[:3]
        assert before[3] is None or before[3] <= now[3] < before[3] + SLACK_MS
        return
    assert row.done_with in sent
    assert now[0] == row.then
    if row.idle_ms == "-":
        return
    attempts = {"1": 1, "same": entry.attempt, "+ 1": entry.attempt + 1, "- 1": entry.attempt - 1}
    assert now[2] == attempts[row.attempt]
    handed_over = row.then == "waiting" or row.operation == "release"
    assert now[1] == (UNOWNED if handed_over else "a" if row.by == "holder" else who)
    due_ms = {"claim_idle_ms": CLAIM_IDLE_MS, "claim_idle_ms - delay_ms": CLAIM_IDLE_MS - DELAY_MS, "0": 0}
    assert due_ms[row.idle_ms] <= now[3] < due_ms[row.idle_ms] + SLACK_MS


def test_the_table_names_every_operation_on_an_entry():
    """A method that is added to the stream gets its rows, or a line above that says why it needs none."""
    methods = {name for name, value in vars(OrderStream).items() if callable(value) and not name.startswith("_")}
    assert methods == set(OPERATIONS) | ADDS | {"close", "hand_over"}  # retry, defer and release are this
    assert {row.operation for row in TABLE} <= set(OPERATIONS)
    assert {row.state for row in TABLE} | {row.then for row in TABLE} == set(STATES)
