"""
Play the levels of chaos for a consumer class.

    run = chaos.play(MyConsumer, level=4)            # real processes, one life after the other
    run.verdict                                      # None, or the broken invariant and the first order that broke it
    chaos.challenge(MyConsumer)                      # all levels, up to the first that breaks the class

A seed decides the schedule. A schedule names orders and points, and no times: "the process that handles o-4 dies after
the effect". A life is a process under a name of its own. It ends when it is killed, when its class raises, or when
there is nothing to do. Then the lab lets 90 seconds pass without waiting, by XCLAIM … IDLE 90000. While a process
lives, no time passes, however slow the machine is: so no verdict depends on its speed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from orderstream.entries import UNOWNED
from orderstream.lab import server
from orderstream.lab.lessons.lesson_12.learner import GROUP, MADE_TO_FAIL, Worker, source_of
from orderstream.lab.lessons.lesson_12.levels import DLQ, KEY, LEVELS, MAX_ATTEMPTS, Level, fields_of, runs_of
from orderstream.lab.lessons.lesson_12.run import INVARIANTS, PASSED_MS, Event, Run, Verdict
from orderstream.lab.workers.lossy_link import LossyLink

__all__ = ["INVARIANTS", "LEVELS", "Level", "Run", "Verdict", "challenge", "play"]

SEED = 2
NAMES = ("ann", "bob", "carl", "dora", "emil")
MOST_LIVES, MOST_EVENTS = 20, 1_500
SILENT_S, SILENT_STARTS = 5.0, 150  # so long may a turn be silent: seconds, and then starts of Python, see `_Silence`
MOST_FAILED = 2 * MAX_ATTEMPTS  # lives in a row that an error of the class ended: it may give up by the delivery count
BEAT_S = 5.0
BEAT_AGO_MS = 30_000  # so long ago did Yan say last that he works on it
OLDER = {"data": "an older dead letter"}
FORGIVEN = ("ConnectionError", "TimeoutError", f"RuntimeError: {MADE_TO_FAIL}")  # a life may end with these
REFUSED = "WRONGTYPE"

STAND_STILL = """
for _, held in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)) do
  local id, owner, idle = held[1], held[2], held[3]
  if owner ~= '' and idle < 60000 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], owner, 0, id, 'IDLE', 0, 'JUSTID')
  end
end
"""
"""What is not yet idle for 60 s is idle for 0 s. A script: no claim can come between the look and the change."""


def challenge(answer: type, say: Callable[[str], object] = print, seed: int = SEED) -> tuple[int, Run]:
    """
    Play the levels, up to the first that breaks *answer*.

    Args:
        answer: A consumer class, see `learner`.
        say: Called with a line for each level as soon as it is over.
        seed: Another seed hits other orders.

    Returns:
        The score, which is how many levels it survived, and its last run.
    """
    for level in LEVELS:
        run = play(answer, level.number, seed)
        verdict = run.verdict
        say(f"level {level.number}  {'✗' if verdict else '✓'}  {level.title}")
        if verdict:
            return level.number - 1, run
    return len(LEVELS), run


def play(answer: type, level: int, seed: int = SEED) -> Run:
    """
    Run one level with *answer*, and return what happened.

    Raises:
        AssertionError: Its code is broken: it ended with an error of its own and got no further, or it did not end.
    """
    game = _Game(source_of(answer), LEVELS[level - 1], seed)
    with game.stream():
        return game.play()


class _Silence:
    """
    How long a worker has said nothing.

    Seconds alone say little: on a machine with a hundred busy processes, a start of Python takes half a minute. So
    when the seconds are over, the judge starts Python again and again. Each start gets as much of the processors as
    the worker does, so a worker that is only slow would have been done long before.
    """

    def __init__(self) -> None:
        self.broken()

    def broken(self) -> None:
        """The worker has said something."""
        self._since, self._starts = time.monotonic(), 0

    def is_final(self) -> bool:
        if time.monotonic() > self._since + SILENT_S:
            subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
            self._starts += 1
        return self._starts >= SILENT_STARTS


class _Game:
    """One level while it runs. Each life adds to its ``run``."""

    def __init__(self, source: str, level: Level, seed: int) -> None:
        chance = random.Random(f"{level.number} {seed}")
        every = [f"o-{n}" for n in range(1, level.orders + 1)]
        self.gina: list[str] = []  # what she has in hand
        self.slow, orders = every[: level.slow], every[level.slow :]
        middle = orders[1 : len(orders) // 2 + 1]  # orders before and behind may suffer with it
        bad = chance.sample(middle, k=len(level.bad))
        deleted = chance.sample([order for order in orders[: level.held] if order not in bad], k=level.deleted)
        left = [order for order in orders if order not in (*bad, *deleted)]
        others = chance.sample(left, k=len(level.fates))
        hit = dict(zip(level.bad + level.fates, bad + others, strict=True))
        self.fates = {hit[fate]: runs_of(fate) for fate in level.fates if fate != "twice"}
        items = dict.fromkeys(every, "tea") | {hit[item]: item for item in level.bad}
        entries: dict[str, list[str]] = {order: [] for order in every}
        queue = every + [hit[fate] for fate in level.fates if fate == "twice"]
        for n, order in enumerate(queue, 1):
            entries[order].append(f"{n}-0")
        self.source = source
        self.run = Run(level, items, entries, deleted=deleted)
        self.orders = {entry: order for order, ids in entries.items() for entry in ids}
        self.fields = {order: fields_of(order, item) for order, item in items.items()}
        self.client = server.current().client
        self.refusing, self.refused = level.refuses, False
        self.rival = level.rival
        self.error = ""  # of its own, with which the last life ended

    @contextmanager
    def stream(self) -> Iterator[None]:
        server.current().fresh(KEY, DLQ)
        try:
            adding = self.client.pipeline(transaction=False)
            for entry, order in sorted(self.orders.items(), key=lambda each: int(each[0][:-2])):
                again = {"sent": "again"} if entry != self.run.entries[order][0] else {}
                adding.xadd(KEY, self.fields[order] | again, id=entry)
            for n in range(self.run.level.letters):
                adding.xadd(DLQ, OLDER, id=f"{1_000 + n}-0")
            adding.execute()
            self.client.xgroup_create(KEY, GROUP, id="0")
            if self.refusing:
                self.client.set(DLQ, "this is no stream")
            self._read("yan", self.slow)
            self._note("yan", "busy", self.slow, "is slow, and alive")
            held = [*self.run.items][len(self.slow) :][: self.run.level.held]
            self._read("zoe", held)
            if held:
                self._note("zoe", "held", held)
                self._note("zoe", "killed", [], "is killed")
            yield
        finally:
            server.current().fresh(KEY, DLQ)

    def _read(self, name: str, orders: list[str]) -> None:
        if orders:
            self.client.xreadgroup(GROUP, name, {KEY: ">"}, count=len(orders))
            self._note(name, "new", orders, f"XREADGROUP COUNT {len(orders)} >")

    def play(self) -> Run:
        with LossyLink() as self.link:
            for word in self.run.level.lost:
                self.link.lose_reply(word)
            before, failed_in_a_row = self._look(), 0
            for _ in range(MOST_LIVES):
                if self.run.pending:
                    self._ninety_seconds_pass()
                self._delete()
                open_before = self._open()
                idle = self._live() and self._look() == before
                before = self._look()
                failed_in_a_row = failed_in_a_row + 1 if self.error and self._open() == open_before else 0
                mended = self._mend(idle)
                stuck = (idle and not mended) or failed_in_a_row > MOST_FAILED
                if stuck or self.run.is_hopeless or not self._is_waiting():
                    break
        self._living_are_done()
        self.run.events.sort(key=lambda event: event.t)
        assert not (self.error and self.run.verdict), f"your class raised {self.error}"
        self._others_keep_theirs()
        return self.run

    def _others_keep_theirs(self) -> None:
        """Fail if the class removed what is not its own: entries of the stream, or older dead letters."""
        there = {entry for entry, _ in self.client.xrange(KEY)}
        gone = [
            entry for entry, order in self.orders.items() if entry not in there and order not in self.run.deleted
        ]
        assert not gone, f"other groups read this stream: {gone[0]} is gone from it, for all of them"
        before, now = self.run.level.letters, len(self._letters()) - len(self.run.dead)
        assert now == before, f"a dead letter is kept: {before} older ones were in {DLQ}, and now {now}"

    # One life -------------------------------------------------------------------------------------------

    def _live(self) -> bool:
        """Run one process, from its start to its end. Return True if it handled nothing."""
        name, self.error = self._new_name(), ""
        worker = Worker(self.source, name, KEY, self.link.url, self.fates, rival=self.rival)
        begun_at, open_before = len(self.run.events), self._open()
        silence, beaten = _Silence(), time.monotonic()
        try:
            alive, events = True, 0
            while alive:
                alive = worker.alive  # before the events are read, so that its last ones are not missed
                for told in worker.events():
                    events += 1
                    self._take(worker, told)
                    silence.broken()
                assert events < MOST_EVENTS, f"a turn that finds nothing to do returns 0: {name} never stopped asking"
                assert not silence.is_final(), f"a turn comes to its end: step() of {name} never returned"
                if time.monotonic() > beaten + BEAT_S:
                    self.client.eval(STAND_STILL, 1, KEY, GROUP)
                    beaten = time.monotonic()
                time.sleep(0.002)
        finally:
            code = worker.kill()
        mine = [event for event in self.run.events[begun_at:] if event.who == name]
        self._look()
        self._rest(name, mine, open_before)
        if code < 0:
            self._note(name, "killed", [], "is killed")
        return not any(event.what == "began" for event in mine)

    def _rest(self, name: str, mine: list[Event], open_before: dict[str, list[str]]) -> None:
        """Note what the life of *name* left behind: what it never began, and what it forgot to ack."""

        def orders(what: str) -> set[str]:
            return {order for event in mine if event.what == what for order in event.orders}

        held = {self.orders[entry] for entry, (owner, _) in self.run.pending.items() if owner == name}
        self._note(name, "held", held - orders("began"))
        if any(event.what == "ended" for event in mine):
            left = held & orders("handled")
            self._note(name, "unacked", {order for order in left if self.run.open(order) == open_before[order]})

    def _new_name(self) -> str:
        """Return a name that no life had before: the orders of a dead process stay under its own name."""
        again, person = divmod(self.run.lives, len(NAMES))
        self.run.lives += 1
        return NAMES[person] + f"-{again + 1}" * (again > 0)

    def _take(self, worker: Worker, told: dict[str, Any]) -> None:
        """Note an event of a worker. If its handler is busy, let another one live, then let the handler go on."""
        what, name = told["event"], worker.name
        if what == "misused":
            raise AssertionError(told["text"])
        if what == "raised":
            refused = self.run.level.refuses and REFUSED in told["error"]
            forgiven = refused or told["error"].startswith(FORGIVEN)
            self.error = "" if forgiven else f"{told['error']}, at: {told['line']}"
        self.refused |= REFUSED in told.get("error", "")
        ids = [*told.get("ids", ()), told.get("id")]
        orders = frozenset({self.orders.get(each, each) for each in ids} & self.run.items.keys())
        if what == "rival":
            self.rival, self.gina = False, [*orders]
            what, name = "busy", "gina"
        self.run.events.append(Event(told["t"], name, what, orders, told.get("text", ""), told.get("key", "")))
        if name == "gina":
            return
        if what in ("dies", "busy", "failed") and self.fates.get(told["id"]):
            self.fates[told["id"]].pop(0)
        if what == "busy":
            self._live()  # another process, meanwhile
            worker.go_on()

    def _note(self, who: str, what: str, orders: Iterable[str], text: str = "", key: str = "") -> None:
        self.run.events.append(Event(time.time(), who, what, frozenset(orders), text, key))

    # Between two lives ----------------------------------------------------------------------------------

    def _ninety_seconds_pass(self) -> None:
        """Time passes for what is pending, but not for Yan's orders: he says of each that he works on it."""
        self._note("", "time", [], "90 seconds pass")
        passing = self.client.pipeline(transaction=False)
        for each in self._pending_range():
            entry, owner = each["message_id"], each["consumer"] or UNOWNED
            slow = self.orders[entry] in self.slow + self.gina
            if slow or each["time_since_delivered"] < PASSED_MS:
                passing.xclaim(KEY, GROUP, owner, 0, [entry], idle=BEAT_AGO_MS if slow else PASSED_MS, justid=True)
        passing.execute()

    def _delete(self) -> None:
        """Delete what this level deletes. Not before time has passed: an XCLAIM would notice, and forget it."""
        for order in self.run.deleted:
            if self.client.xdel(KEY, *self.run.entries[order]):
                self._note("admin", "deleted", [order], f"XDEL {self.run.entries[order][0]} → 1")

    def _mend(self, idle: bool) -> bool:
        """
        Let the dead-letter key be a stream, once it has refused a dead letter. Return True if it was mended now.

        A class may hide the refusal. Then this is the time when a bad order should have been moved for long.
        """
        late = any(count > MAX_ATTEMPTS for _, count in self.run.pending.values())
        if not self.refusing or not (self.refused or late or idle):
            return False
        self.refusing = False
        if self.client.type(DLQ) == "string":  # a class may have mended it by itself
            self.client.delete(DLQ)
        self._note("", "mended", [], "the dead-letter key is a stream again")
        return True

    def _is_waiting(self) -> bool:
        """Return whether something is undelivered, or pending for somebody else than Yan and Gina."""
        pending = {self.orders[entry] for entry in self.run.pending}
        return bool(self.run.undelivered or pending - {*self.slow, *self.gina})

    def _living_are_done(self) -> None:
        for name, orders in ("yan", self.slow), ("gina", self.gina):
            for order in orders:
                self._note(name, "handled", [order], f"handler charges {order}, key {order}", order)
        if done := self.slow + self.gina:
            self.client.xack(KEY, GROUP, *(entry for order in done for entry in self.run.entries[order]))
            self._look()

    # What Redis knows -----------------------------------------------------------------------------------

    def _pending_range(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.xpending_range(KEY, GROUP, "-", "+", 10_000)
        return found

    def _open(self) -> dict[str, list[str]]:
        return {order: self.run.open(order) for order in self.run.items}

    def _look(self) -> Any:
        """Update the run from Redis. Return the parts that a life may change."""
        run, before = self.run, self._open()
        run.pending = {
            each["message_id"]: (each["consumer"] or UNOWNED, each["times_delivered"]) for each in self._pending_range()
        }
        [group] = self.client.xinfo_groups(KEY)
        run.undelivered = [entry for entry, _ in self.client.xrange(KEY, f"({group['last-delivered-id']}")]
        run.dead = [self._order_of(fields) for _, fields in self._letters() if fields != OLDER]
        for order, entries in before.items():
            if entries and not run.open(order):
                self._settled(order, "dead" if order in run.dead else "acked")
        return run.pending, run.undelivered, run.dead

    def _letters(self) -> list[tuple[str, dict[str, str]]]:
        found: list[tuple[str, dict[str, str]]]
        found = self.client.xrange(DLQ) if self.client.type(DLQ) == "stream" else []
        return found

    def _order_of(self, dead: dict[str, str]) -> str:
        """Return the order whose fields, as they were, are in a dead letter."""
        return next((order for order, fields in self.fields.items() if fields.items() <= dead.items()), "?")

    def _settled(self, order: str, what: str) -> None:
        """Note which event settled *order*. If no XACK was seen, it is the last command that named the order."""
        if self.run.of(order, what):
            return
        events = self.run.events
        last = max(n for n, event in enumerate(events) if order in event.orders)
        if events[last].what in ("asked", "acked"):
            events[last] = replace(events[last], what=what)
        else:  # the package's consumer has a client of its own, whose commands are not recorded
            events.append(replace(events[last], what=what, text=""))
