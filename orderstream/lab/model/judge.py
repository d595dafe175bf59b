"""What must hold in every state, at every step, and at rest. Each broken promise is a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orderstream.entries import UNOWNED
from orderstream.lab.model.world import State

NOBODY = UNOWNED.encode()
ALONE = "a poison order takes no neighbour along"


class Ledger(NamedTuple):
    """
    What has become of an order so far, besides what Redis knows.

    Attributes:
        sent: How often it was added to the stream.
        redriven: How often it was put back from the dead letters.
        runs: How many runs of its handler began and count as attempts.
        raised: How many of them raised.
        rejected: Whether one raised ``Reject``.
        frozen: How often time passed while a living consumer had it, so that it may be taken from that one.
        handled: Whether a run came to its end.
    """

    sent: int = 1
    redriven: int = 0
    runs: int = 0
    raised: int = 0
    rejected: bool = False
    frozen: int = 0
    handled: bool = False


Ledgers = tuple[tuple[str, Ledger], ...]


class Judge:
    """
    Args:
        items: Order id -> what is ordered.
        max_attempts: Handler runs that an entry may have.
    """

    def __init__(self, items: Mapping[str, str], max_attempts: int) -> None:
        self._items = items
        self._max_attempts = max_attempts
        self._poisons = sum(item == "poison" for item in items.values())

    def state(self, state: State, ledgers: Ledgers, faults: int) -> str:
        """Say what is broken in *state*, after so many deaths and lost replies; nothing if all is well."""
        sources = [source for _, source in state.letters]
        if len(sources) > len(set(sources)):
            return "no order is twice in the dead letters"
        dead = {order for order, _ in state.letters}
        known = dead.union(state.undelivered, state.waiting)
        for order, ledger in ledgers:
            if ledger.sent and not ledger.handled and order not in known:
                return f"no order is lost: {order} is not handled, not pending, not undelivered and no dead letter"
            if ledger.runs > self._max_attempts * (ledger.sent + ledger.redriven):
                return f"at most {self._max_attempts} handler runs count: {order} had {ledger.runs}"
            if ledger.sent > 1:
                return f"an order is added once: {order} was added {ledger.sent}×"
            spent = faults + self._poisons + ledger.raised + ledger.frozen
            innocent = self._items[order] == "tea" and not ledger.handled and not ledger.rejected
            if innocent and order in dead and spent < self._max_attempts:
                promise = ALONE if self._poisons else "each spent attempt has a cause"
                return f"{promise}: {order} is a dead letter, and {_times(ledger.raised)}"
        return ""

    def step(self, who: bytes, before: State, after: State, ledgers: Ledgers) -> str:
        """Say what *who* did that is not theirs to do; nothing if all is well."""
        handled = {order for order, ledger in ledgers if ledger.handled}
        for was in before.pending:
            now = after.owners.get(was.id)
            if now == was or was.owner == who:
                continue
            order = before.order_of.get(was.id, "?")
            if now is None and order in handled:
                continue
            if now and was.due and now.owner == who and now.deliveries == was.deliveries + 1:
                continue
            whose = "nobody" if was.owner == NOBODY else _short(was.owner)
            did = f"settled {order}" if now is None else f"changed {order}"
            return f"nobody settles what is another's: {_short(who)} {did}, which {whose} has"
        return ""

    def death(self, who: bytes, poison: str, state: State) -> str:
        """Say whom the order *poison* took along when it killed *who*, and it was known to have killed before."""
        hand = {state.order_of.get(each.id, "?"): each for each in state.pending if each.owner == who}
        others = sorted(hand.keys() - {poison})
        if others and poison in hand and hand[poison].deliveries > 1:
            return f"{ALONE}: {', '.join(others)} was in hand when {poison} killed again"
        return ""

    def arrival(self, who: bytes, busy: Sequence[str], before: State, after: State) -> str:
        """Say what a late command of *who* has taken from its own handlers; *busy* are the orders that these have."""
        for was in before.pending:
            order = before.order_of.get(was.id, "?")
            now = after.owners.get(was.id)
            if was.owner == who and order in busy and (now is None or now.owner != who):
                return f"a late command takes nothing from a handler that runs: {_short(who)} had {order}"
        return ""

    def rest(self, state: State, ledgers: Ledgers) -> str:
        """Say what is broken although nothing is left to do."""
        known = {order for order, _ in state.letters}.union(state.waiting)  # only slow orders wait
        for order, ledger in ledgers:
            if ledger.sent and not ledger.handled and order not in known:
                return f"no order is lost: {order}"
        return ""


def _times(raised: int) -> str:
    return "its handler never raised" if not raised else f"its handler raised {raised}×"


def _short(name: bytes) -> str:
    return name.decode().partition("-1-0")[0]


class Books:
    """All ledgers that there were, by number: a small number stands for what has become of every order."""

    def __init__(self, orders: Sequence[str], sent: Sequence[str]) -> None:
        first = (*((order, Ledger()) for order in orders), *((order, Ledger(sent=0)) for order in sent))
        self.pages: list[Ledgers] = [first]
        self._numbers = {first: 0}
        self._noted: dict[tuple[int, str, str], int] = {}

    def note(self, number: int, order: str, what: str) -> int:
        """Return the number of the page on which it also stands that *what* has happened to *order*."""
        noted = self._noted.get((number, order, what))
        if noted is None:
            page = tuple((id, _noted(each, what) if id == order else each) for id, each in self.pages[number])
            noted = self._noted[number, order, what] = self._numbers.setdefault(page, len(self.pages))
            if noted == len(self.pages):
                self.pages.append(page)
        return noted


def _noted(ledger: Ledger, what: str) -> Ledger:
    match what:
        case "begins":
            return ledger._replace(runs=ledger.runs + 1)
        case "returns":
            return ledger._replace(handled=True)
        case "defers":
            return ledger._replace(runs=ledger.runs - 1)
        case "rejects":
            return ledger._replace(rejected=True)
        case "is added":
            return ledger._replace(sent=ledger.sent + 1)
        case "is redriven":
            return ledger._replace(redriven=ledger.redriven + 1)
        case "is overdue":
            return ledger._replace(frozen=ledger.frozen + 1)
    return ledger._replace(raised=ledger.raised + 1)
