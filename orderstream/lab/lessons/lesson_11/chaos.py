"""
Five levels of chaos for a consumer class, and a judge that knows only the invariants.

    run = chaos.play(MyConsumer, level=4)            # real processes, one life after the other
    run.verdict                                      # None, or the broken invariant and the first order that broke it
    chaos.challenge(MyConsumer)                      # all levels, up to the first that breaks the class

A seed decides the schedule. A schedule names orders and points, and no times: "the process that handles o-4 dies after
the effect". A life is a process under a name of its own. It ends when it is killed, when its class raises, or when
there is nothing to do. Then the lab lets 90 seconds pass without waiting, by XCLAIM … IDLE 90000.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orderstream.entries import UNOWNED
from orderstream.lab import server
from orderstream.lab.lessons.lesson_11.learner import GROUP, MADE_TO_FAIL, Worker, source_of
from orderstream.lab.pictures import lanes
from orderstream.lab.workers.lossy_link import LossyLink

if TYPE_CHECKING:
    from orderstream.lab.pictures.charts import Picture

KEY, DLQ = "chaos", "chaos-dlq"
MAX_ATTEMPTS = 3
SEED = 2
PASSED_MS = 90_000  # between two lives; a consumer claims what was idle for 60 s
NAMES = ("ann", "bob", "carl", "dora", "emil")
MOST_LIVES, MOST_EVENTS, STUCK_S = 20, 500, 10.0
FORGIVEN = ("ConnectionError", "TimeoutError", f"RuntimeError: {MADE_TO_FAIL}")  # a life may end with these
NOBODY = " " * 9  # in place of a name, in a line of a story that has none
LINES = 24  # of a longer story, the first and the last lines are shown


@dataclass(frozen=True)
class Level:
    """
    The faults of one level. A seed decides which orders they hit.

    Attributes:
        orders: How many orders there are.
        held: How many of them are pending when the first process starts: Zoe read them, and died.
        fates: Each fate hits one order, once: the point where its process dies; ``"busy"``, a slow handler; or
            ``"twice"``, the order is in two entries, because the reply to an XADD was lost.
        bad: The items of its bad orders. ``"poison"`` kills its process each time, ``"failing"`` raises each time.
        lost: Words of commands. The first reply to each of these commands is lost.
    """

    number: int
    title: str
    orders: int
    held: int = 0
    fates: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


LEVELS = (
    Level(1, "a quiet day", 6),
    Level(2, "a crash before the effect", 6, fates=("before effect", "busy")),
    Level(3, "a kill between effect and ack", 7, fates=("after effect", "twice")),
    Level(4, "poison, and an order that always fails", 8, held=8, bad=("poison", "failing")),
    Level(
        5,
        "everything, and lost replies",
        12,
        held=6,
        fates=("before effect", "busy", "after effect", "twice"),
        bad=("poison", "failing"),
        lost=("XREADGROUP", DLQ),
    ),
)

INVARIANTS = {
    "no loss": ("an order is handled, or a dead letter, or still pending", "03, 04"),
    "one effect": ("a customer is charged once for an order, however often it comes", "06"),
    "in work": ("an order that somebody works on is left alone", "04"),
    "attempts": (f"a handler sees an order at most {MAX_ATTEMPTS} times", "05"),
    "poison alone": ("a dead letter is a bad order: its batch-mates do not follow it", "05"),
    "one dead letter": ("a bad order becomes one dead letter, with its fields as they were", "05, 06"),
    "no detour": ("while nothing goes wrong, an order is handled once", "02"),
    "nothing left": ("at the end nothing is undelivered, and nothing pending", "04, 07"),
}
"""Invariant -> what must hold, and the lessons that show why."""


@dataclass(frozen=True)
class Event:
    """Something that happened: when, in whose life, what, and to which orders."""

    t: float
    who: str
    what: str
    orders: frozenset[str]
    text: str = ""
    key: str = ""


@dataclass(frozen=True)
class Verdict:
    """A broken invariant, the first order for which it is broken, and what happened to this order."""

    invariant: str
    order: str
    finding: str

    def __str__(self) -> str:
        return f"{INVARIANTS[self.invariant][0]}. {self.finding}"


@dataclass
class Run:
    """
    All that is known of one level when it is over.

    Attributes:
        items: Order id -> its item, which says whether the order is bad.
        entries: Order id -> the ids of its entries.
        events: What happened, oldest first.
        pending: Entry id -> who holds it, ``UNOWNED`` for nobody, and its delivery count.
        undelivered: Ids of entries that no consumer has read.
        dead: The order ids in the dead-letter stream; an entry without one counts as ``"?"``.
    """

    level: Level
    items: dict[str, str]
    entries: dict[str, list[str]]
    events: list[Event] = field(default_factory=list)
    pending: dict[str, tuple[str, int]] = field(default_factory=dict)
    undelivered: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    lives: int = 0

    def of(self, order: str, *what: str) -> list[Event]:
        return [event for event in self.events if order in event.orders and (not what or event.what in what)]

    def charged(self, order: str) -> set[str]:
        """Return the keys under which this order's customer was charged. A key that was used before charges nobody."""
        first: dict[str, frozenset[str]] = {}
        for event in self.events:
            if event.what == "handled":
                first.setdefault(event.key, event.orders)
        return {key for key, orders in first.items() if order in orders}

    def open(self, order: str) -> list[str]:
        """Return the entries of this order that are pending or undelivered."""
        return [entry for entry in self.entries[order] if entry in self.pending or entry in self.undelivered]

    @property
    def verdict(self) -> Verdict | None:
        """The first broken invariant; None if all hold."""
        for invariant, finding in _FINDINGS.items():
            for order in self.items:
                if found := finding(self, order):
                    return Verdict(invariant, order, found)
        return None

    def way(self, order: str) -> Iterator[Event]:
        """Yield what happened to *order*, the ends of processes that had it in hand, and the times that passed."""
        holder = ""
        for event in self.events:
            if order in event.orders:
                holder = "" if event.what in ("acked", "dead") else event.who
                yield event
            elif event.what == "time" or (event.what in ("killed", "raised") and event.who == holder):
                yield event

    def story(self, order: str) -> str:
        """Tell what happened to *order*, line by line."""
        lines: list[str] = []
        for event in filter(lambda event: event.text, self.way(order)):
            if event.who or (lines and lines[-1] != NOBODY + event.text):  # no two lines about time in a row
                lines.append(f"{event.who:<9}{event.text}")
        if lines and lines[-1].startswith(NOBODY):
            lines.pop()
        if len(lines) > LINES:
            lines = [*lines[: LINES // 2], f"… {len(lines) - LINES} more", *lines[-LINES // 2 :]]
        title = f"{order} is {' and '.join(self.entries[order])}, item {self.items[order]}"
        return "\n".join(f"    {line}" for line in [title, *lines, f"{'at last':<9}{self.ending(order)}"])

    def ending(self, order: str) -> str:
        """Say in a few words what became of *order*."""
        charged, copies, handled = len(self.charged(order)), self.dead.count(order), bool(self.of(order, "handled"))
        ends = [f"charged {charged} times"] * (charged > 1) + ["not charged"] * (handled and not charged)
        ends += ["a dead letter" if copies == 1 else f"{copies} dead letters"] * (copies > 0)
        for entry in self.open(order):
            owner, count = self.pending.get(entry, (None, 0))
            ends.append(f"{entry} is {_whose(owner)}, delivery {count}" if owner else f"{entry} is undelivered")
        return ", ".join(ends) or ("handled and acked" if handled else "acked, and never handled")

    def marks(self, order: str) -> list[lanes.Mark]:
        """Return the deliveries of *order* and how each ended, for the swim lanes. They show the 90 seconds, too."""
        found = [lanes.Mark(0, lanes.STREAM, order, "sent")]
        passed_s, delivery, in_hand = 0.0, 0, False
        for event in self.way(order):
            lane, t_s = lanes.DEAD if event.what == "dead" else event.who, event.t - self.events[0].t + passed_s
            match event.what:
                case "time":
                    passed_s += PASSED_MS / 1000
                case "new" | "claimed" as kind:
                    delivery, in_hand = 1 if kind == "new" else delivery + 1, True
                    found.append(lanes.Mark(t_s, lane, order, kind, delivery))
                case "dead" | "failed" | "acked" | "killed" as kind if in_hand or kind == "dead":
                    in_hand = False
                    found.append(lanes.Mark(t_s, lane, order, kind))
        return found

    def picture(self, order: str) -> Picture:
        """Draw the swim lanes of *order*."""
        from orderstream.lab.pictures import charts

        sentence = f"Level {self.level.number}, the way of {order}. At last: {self.ending(order)}."
        return charts.swim_lanes(self.marks(order), sentence)


# The invariants: each looks at one order, and returns what is wrong with it -------------------------------------


def _lost(run: Run, order: str) -> str:
    return f"{order} was acked, and nobody handled it" if _vanished(run, order) and "?" not in run.dead else ""


def _vanished(run: Run, order: str) -> bool:
    return not (run.of(order, "handled") or run.dead.count(order) or run.open(order))


def _not_once(run: Run, order: str) -> str:
    keys, handled = sorted(run.charged(order)), run.of(order, "handled")
    if handled and not keys:
        return f"{order} was not charged: its key {handled[0].key} had been another order's"
    return f"{order} was charged {len(keys)} times, under the keys {', '.join(keys)}" if len(keys) > 1 else ""


def _stolen(run: Run, order: str) -> str:
    """Another consumer was given the order between the beginning and the end of a busy handler."""
    for busy in run.of(order, "busy"):
        later = [event for event in run.of(order) if event.t > busy.t]
        end = next((event.t for event in later if event.who == busy.who), float("inf"))
        for event in later:
            if event.t < end and event.what in ("claimed", "began"):
                return f"{event.who} took {order} while {busy.who}, alive, was working on it"
    return ""


def _too_often(run: Run, order: str) -> str:
    runs, most = len(run.of(order, "began")), MAX_ATTEMPTS * len(run.entries[order])
    return f"{order} was handed to a handler {runs} times" if runs > most else ""


def _innocent(run: Run, order: str) -> str:
    if order not in run.dead or run.items[order] in run.level.bad:
        return ""
    return f"{order} is a dead letter, and no handler run of it failed"


def _dead_letters(run: Run, order: str) -> str:
    if _vanished(run, order):
        return f"{order} has a dead letter without its field data"
    copies = run.dead.count(order)
    return f"{order} has {copies} dead letters" if copies > len(run.entries[order]) else ""


def _detour(run: Run, order: str) -> str:
    runs = len(run.of(order, "began"))
    return f"{order} was handed to a handler {runs} times" if runs > 1 and run.level.number == 1 else ""


def _left(run: Run, order: str) -> str:
    for entry in run.open(order):
        owner, count = run.pending.get(entry, (None, 0))
        held = f"is still {_whose(owner)}, delivery {count}" if owner else "was never read"
        return f"{entry} ({order}) {held}, and nobody asks for it any more"
    return ""


_FINDINGS: dict[str, Callable[[Run, str], str]] = {
    "no loss": _lost,
    "one effect": _not_once,
    "in work": _stolen,
    "attempts": _too_often,
    "poison alone": _innocent,
    "one dead letter": _dead_letters,
    "no detour": _detour,
    "nothing left": _left,
}


# A run ------------------------------------------------------------------------------------------------------


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
        AssertionError: Its code is broken: it raised an error of its own, or did not end.
    """
    game = _Game(source_of(answer), LEVELS[level - 1], seed)
    with game.stream():
        return game.play()


class _Game:
    """One level while it runs. Each life adds to its ``run``."""

    def __init__(self, source: str, level: Level, seed: int) -> None:
        chance = random.Random(f"{level.number} {seed}")
        orders = [f"o-{n}" for n in range(1, level.orders + 1)]
        middle = orders[1 : len(orders) // 2 + 1]  # orders before and behind may suffer with it
        bad = chance.sample(middle, k=len(level.bad))
        others = chance.sample([order for order in orders if order not in bad], k=len(level.fates))
        hit = dict(zip(level.bad + level.fates, bad + others, strict=True))
        self.fates = {hit[fate]: fate for fate in level.fates if fate != "twice"}
        items = dict.fromkeys(orders, "tea") | {hit[item]: item for item in level.bad}
        entries: dict[str, list[str]] = {order: [] for order in orders}
        queue = orders + [hit[fate] for fate in level.fates if fate == "twice"]
        for n, order in enumerate(queue, 1):
            entries[order].append(f"{n}-0")
        self.source = source
        self.run = Run(level, items, entries)
        self.orders = {entry: order for order, ids in entries.items() for entry in ids}
        self.client = server.current().client

    @contextmanager
    def stream(self) -> Iterator[None]:
        server.current().fresh(KEY, DLQ)
        try:
            for entry in sorted(self.orders, key=lambda entry: int(entry[:-2])):
                order = self.orders[entry]
                data = {"id": order, "item": self.run.items[order], "amount": 1}
                self.client.xadd(KEY, {"data": json.dumps(data)}, id=entry)
            self.client.xgroup_create(KEY, GROUP, id="0")
            if self.run.level.held:
                self.client.xreadgroup(GROUP, "zoe", {KEY: ">"}, count=self.run.level.held)
                held = frozenset([*self.run.items][: self.run.level.held])
                self._note("zoe", "new", held, f"XREADGROUP COUNT {self.run.level.held} >")
                self._note("zoe", "killed", frozenset(), "is killed")
            yield
        finally:
            server.current().fresh(KEY, DLQ)

    def play(self) -> Run:
        with LossyLink() as self.link:
            for word in self.run.level.lost:
                self.link.lose_reply(word)
            before = self._look()
            for _ in range(MOST_LIVES):
                if self.run.pending:
                    self._ninety_seconds_pass()
                idle = self._live() and self._look() == before
                before = self._look()
                if idle or not (self.run.pending or self.run.undelivered):
                    break
        self.run.events.sort(key=lambda event: event.t)
        return self.run

    def _live(self) -> bool:
        """Run one process, from its start to its end. Return True if it handled nothing."""
        name = self._new_name()
        worker = Worker(self.source, name, KEY, self.link.url, self.fates)
        events, since, idle = 0, time.monotonic(), True
        try:
            alive = True
            while alive:
                alive = worker.alive  # before the events are read, so that its last ones are not missed
                for told in worker.events():
                    events, since = events + 1, time.monotonic()
                    idle = idle and told["event"] != "began"
                    self._take(worker, told)
                assert events < MOST_EVENTS, f"a turn that finds nothing to do returns 0: {name} never stopped asking"
                assert time.monotonic() < since + STUCK_S, f"a turn comes to its end: step() of {name} never returned"
                time.sleep(0.002)
        finally:
            code = worker.kill()
        if code < 0:
            self._note(name, "killed", frozenset(), "is killed")
        return idle

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
        if what == "raised" and not told["error"].startswith(FORGIVEN):
            raise AssertionError(f"your class raised {told['error']}, at: {told['line']}")
        ids = [*told.get("ids", ()), told.get("id")]
        orders = frozenset({self.orders.get(each, each) for each in ids} & self.run.items.keys())
        self.run.events.append(Event(told["t"], name, what, orders, told.get("text", ""), told.get("key", "")))
        if what in ("dies", "busy"):
            self.fates.pop(told["id"], None)  # perhaps it is gone already: two lives may have handled a stolen order
        if what == "busy":
            self._live()  # another process, meanwhile
            worker.go_on()

    def _note(self, who: str, what: str, orders: frozenset[str], text: str) -> None:
        self.run.events.append(Event(time.time(), who, what, orders, text))

    def _ninety_seconds_pass(self) -> None:
        self._note("", "time", frozenset(), "90 seconds pass")
        for entry, (owner, _) in self._pending().items():
            self.client.xclaim(KEY, GROUP, owner, 0, [entry], idle=PASSED_MS, justid=True)

    def _pending(self) -> dict[str, tuple[str, int]]:
        found = self.client.xpending_range(KEY, GROUP, "-", "+", 1_000)
        return {each["message_id"]: (each["consumer"] or UNOWNED, each["times_delivered"]) for each in found}

    def _look(self) -> Any:
        """Update the run from Redis. Return the parts that a life may change."""
        run = self.run
        before = {order for order in run.items if run.open(order)}
        run.pending = self._pending()
        [group] = self.client.xinfo_groups(KEY)
        run.undelivered = [entry for entry, _ in self.client.xrange(KEY, f"({group['last-delivered-id']}")]
        run.dead = [_order_of(fields) for _, fields in self.client.xrange(DLQ)]
        for order in before:
            if not run.open(order):
                self._settled(order, "dead" if order in run.dead else "acked")
        return run.pending, run.undelivered, run.dead

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


def _whose(owner: str) -> str:
    return "nobody's" if owner == UNOWNED else f"{owner}'s"


def _order_of(fields: dict[str, str]) -> str:
    try:
        return str(json.loads(fields["data"])["id"])
    except (KeyError, ValueError, TypeError):
        return "?"
