"""
What happened in one level, and the judge: it looks at each order, and knows only what must hold.

    run.verdict              # None, or the broken invariant and the first order that broke it
    run.story("o-3")         # what happened to this order, line by line
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orderstream.entries import UNOWNED
from orderstream.lab.lessons.lesson_12.levels import MALFORMED, MAX_ATTEMPTS, Level
from orderstream.lab.pictures import lanes

if TYPE_CHECKING:
    from orderstream.lab.pictures.charts import Picture

PASSED_MS = 90_000  # between two lives; a consumer claims what was idle for 60 s
NOBODY = " " * 9  # in place of a name, in a line of a story that has none
LINES = 24  # of a longer story, the first and the last lines are shown

INVARIANTS = {
    "no loss": ("an order is handled, or a dead letter, or still pending", "03, 04"),
    "one effect": ("a customer is charged once for an order, however often it comes", "06"),
    "in work": ("an order that somebody works on is left alone", "04"),
    "acked": ("what a consumer has handled, it acks before it rests", "03"),
    "attempts": (f"a handler sees an order at most {MAX_ATTEMPTS} times", "05"),
    "three tries": (f"an order gets {MAX_ATTEMPTS} attempts before it becomes a dead letter", "05"),
    "poison alone": ("a dead letter is a bad order: its batch-mates do not follow it", "05"),
    "one dead letter": ("a bad order becomes one dead letter, with its fields as they were", "05, 06"),
    "no detour": ("while nothing goes wrong, an order is handled once", "02"),
    "nothing left": ("at the end nothing is undelivered, and nothing pending", "04, 07"),
}
"""Invariant -> what must hold, and the lessons that show why."""


@dataclass(frozen=True)
class Event:
    """
    Something that happened: when, in whose life, what, and to which orders.

    What workers tell is ``new``, ``claimed``, ``asked``, ``acked``, ``began``, ``failed``, ``handled``, ``busy`` and
    ``ended``. The game adds ``time``, ``deleted``, ``mended``, ``killed``, ``dead``, and at the end of a life ``held``
    for what it had and never began, and ``unacked`` for what it handled and left pending, although it lived on.
    """

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
        dead: The orders in the dead-letter stream; an entry without the fields of any order counts as ``"?"``.
        deleted: The orders whose entries somebody deleted: nobody can handle them any more.
    """

    level: Level
    items: dict[str, str]
    entries: dict[str, list[str]]
    events: list[Event] = field(default_factory=list)
    pending: dict[str, tuple[str, int]] = field(default_factory=dict)
    undelivered: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
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

    def attempts(self, order: str) -> int:
        """
        Count the attempts to handle *order*: runs of its handler, and processes that ended with it in hand, not begun.

        Redis' delivery count is not asked: a consumer can raise it without an attempt, for example by reading from 0.
        """
        return len(self.of(order, "began", "held"))

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

    @property
    def is_hopeless(self) -> bool:
        """Whether an invariant is broken that no later life can mend, and that many would only break again."""
        return any(_unacked(self, order) or _too_often(self, order) for order in self.items)

    def way(self, order: str) -> Iterator[Event]:
        """Yield what happened to *order*, the ends of processes that had it in hand, and the times that passed."""
        holder = ""
        for event in self.events:
            if order in event.orders:
                holder = "" if event.what in ("acked", "dead") else event.who
                yield event
            elif event.what in ("time", "mended") or (event.what in ("killed", "raised") and event.who == holder):
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
        if order in self.deleted and not ends:
            return "deleted, and pending no more"
        return ", ".join(ends) or ("handled and acked" if handled else "acked, and never handled")

    def marks(self, order: str) -> list[lanes.Mark]:
        """Return the deliveries of *order* and how each ended, for the swim lanes. They show the 90 seconds, too."""
        found = [lanes.Mark(0, lanes.STREAM, order, "sent")]
        passed_s, delivery, in_hand = 0.0, 0, False
        way = list(self.way(order))
        for number, event in enumerate(way):
            lane, t_s = lanes.DEAD if event.what == "dead" else event.who, event.t - self.events[0].t + passed_s
            match event.what:
                case "time":
                    passed_s += PASSED_MS / 1000
                case "new" | "claimed" as kind:
                    delivery, in_hand = 1 if kind == "new" else delivery + 1, True
                    found.append(lanes.Mark(t_s, lane, order, kind, delivery, _begins(event, way[number + 1 :])))
                case "dead" | "failed" | "acked" | "killed" as kind if in_hand or kind in ("dead", "acked"):
                    in_hand = False
                    found.append(lanes.Mark(t_s, lane, order, kind))
        return found

    def picture(self, order: str) -> Picture:
        """Draw the swim lanes of *order*."""
        from orderstream.lab.pictures import charts

        sentence = f"Level {self.level.number}, the way of {order}. At last: {self.ending(order)}."
        return charts.swim_lanes(self.marks(order), sentence)


def _begins(delivery: Event, later: list[Event]) -> bool:
    """Return whether a handler run began with this delivery, before anything else happened to the order."""
    for event in later:
        if event.what in ("new", "claimed", "killed", "dead", "acked"):
            return False
        if event.what == "began" and event.who == delivery.who:
            return True
    return False


# The invariants: each looks at one order, and returns what is wrong with it -------------------------------------


def _lost(run: Run, order: str) -> str:
    return f"{order} was acked, and nobody handled it" if _vanished(run, order) and "?" not in run.dead else ""


def _vanished(run: Run, order: str) -> bool:
    return not (run.of(order, "handled") or order in run.dead or order in run.deleted or run.open(order))


def _not_once(run: Run, order: str) -> str:
    keys, handled = sorted(run.charged(order)), run.of(order, "handled")
    if handled and not keys:
        return f"{order} was not charged: its key {handled[0].key} had been another order's"
    return f"{order} was charged {len(keys)} times, under the keys {', '.join(keys)}" if len(keys) > 1 else ""


def _stolen(run: Run, order: str) -> str:
    """Another consumer was given the order, or acked it, between the beginning and the end of a busy handler."""
    for busy in run.of(order, "busy"):
        later = [event for event in run.of(order) if event.t > busy.t]
        end = next((event.t for event in later if event.who == busy.who), float("inf"))
        for event in later:
            if event.t < end and event.what == "acked":
                return f"{event.who} acked {order} while {busy.who}, alive, was working on it"
            if event.t < end and event.what in ("claimed", "began"):
                return f"{event.who} took {order} while {busy.who}, alive, was working on it"
    return ""


def _unacked(run: Run, order: str) -> str:
    unacked = run.of(order, "unacked")
    return f"{order} was handled by {unacked[0].who}, who then rested, and it is still pending" if unacked else ""


def _too_often(run: Run, order: str) -> str:
    runs, most = len(run.of(order, "began")), MAX_ATTEMPTS * len(run.entries[order])
    return f"{order} was handed to a handler {runs} times" if runs > most else ""


def _too_early(run: Run, order: str) -> str:
    attempts, no_order = run.attempts(order), run.items[order] in MALFORMED
    if order not in run.dead or no_order or attempts >= MAX_ATTEMPTS:
        return ""
    return f"{order} became a dead letter after {attempts} of {MAX_ATTEMPTS} attempts"


def _innocent(run: Run, order: str) -> str:
    if order not in run.dead or run.items[order] in run.level.bad or run.of(order, "failed"):
        return ""
    return f"{order} is a dead letter, and no handler run of it failed"


def _dead_letters(run: Run, order: str) -> str:
    if _vanished(run, order):
        return f"{order} has a dead letter without its fields"
    copies = run.dead.count(order)
    return f"{order} has {copies} dead letters" if copies > len(run.entries[order]) else ""


def _detour(run: Run, order: str) -> str:
    runs = len(run.of(order, "began"))
    return f"{order} was handed to a handler {runs} times" if runs > 1 and run.level.number == 1 else ""


def _left(run: Run, order: str) -> str:
    for entry in run.open(order):
        owner, count = run.pending.get(entry, (None, 0))
        held = f"is still {_whose(owner)}, delivery {count}" if owner else "was never read"
        held = f"was deleted, {held}" if order in run.deleted else held
        asked = "nobody acks it or moves it" if count > 1 else "nobody asks for it any more"
        return f"{entry} ({order}) {held}, and {asked}"
    return ""


_FINDINGS: dict[str, Callable[[Run, str], str]] = {
    "no loss": _lost,
    "one effect": _not_once,
    "in work": _stolen,
    "acked": _unacked,
    "attempts": _too_often,
    "three tries": _too_early,
    "poison alone": _innocent,
    "one dead letter": _dead_letters,
    "no detour": _detour,
    "nothing left": _left,
}


def _whose(owner: str) -> str:
    return "nobody's" if owner == UNOWNED else f"{owner}'s"
