"""
Look at all that can happen in a scope, the short ways first: so the first broken promise has the shortest schedule.

A state that was seen with at least as much left to go wrong is not looked at again. That is sound: whatever can follow
could follow then, because Redis' state, the likeness of each process and the ledger of each order decide what can. And
the judge is no milder: the fewer faults there were, the more he expects.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from orderstream.lab.model.mirror import Mirror
from orderstream.lab.model.play import At, Left, Move, Play

MOST_STEPS = 600  # of a walk to rest
TELL_EVERY_S = 2.0
REST = "|"
"""In a schedule: from here on nothing goes wrong any more, and everybody goes on in turn."""

STUCK = "nothing stays pending for ever"


@dataclass
class Broken:
    """A promise that was broken, and the schedule that breaks it."""

    promise: str
    schedule: list[str]

    @property
    def choices(self) -> int:
        """How many choices it takes. If something stays for ever, what comes then is no choice."""
        for_ever = self.promise.startswith(STUCK)
        return self.schedule.index(REST) if for_ever else len(self.schedule) - self.schedule.count(REST)


@dataclass
class Covered:
    """How far a search has come."""

    scope: str
    states: int = 0
    moves: int = 0
    depth: int = 0
    waiting: int = 0
    seconds: float = 0.0
    nodes: int = 0
    processes: int = 0
    worlds: int = 0
    asked: int = 0
    exhausted: bool = False
    interrupted: bool = False
    broken: list[Broken] = field(default_factory=list)

    def __str__(self) -> str:
        how = "exhausted" if self.exhausted else "interrupted" if self.interrupted else "ended early"
        return (
            f"{how}: {self.states:,} states, {self.moves:,} moves, {self.depth} choices deep, {self.seconds:.1f} s; "
            f"{self.nodes:,} places in programs ({self.processes:,} processes started), "
            f"{self.worlds:,} states of Redis (asked {self.asked:,} times)"
        )


def _silent(covered: Covered) -> None:
    pass


class Search:
    """
    Args:
        play: What can happen.
        tell: Called now and then with what is covered.
        rest: Whether to look for the way to rest from each state.
    """

    def __init__(self, play: Play, tell: Callable[[Covered], object] = _silent, rest: bool = True) -> None:
        self.play = play
        self._rest = rest
        self.covered = Covered(str(play.scope))
        self._tell = tell
        self._mirror = Mirror(play)
        self._came: list[tuple[int, str]] = []  # for each state the number of the one before, and the choice
        self._seen: dict[int, Left | tuple[Left, ...]] = {}
        self._rests: set[int] = set()

    def run(self, find: int = 1, most: int | None = None) -> Covered:
        """Look until all was seen, *find* promises are broken, *most* states were seen, or it is interrupted."""
        self._run(find, most)
        self._count()
        return self.covered

    def interrupt(self, *_: object) -> None:
        """Let it end soon. A signal may call this: no process is in the middle of a step then."""
        self.covered.interrupted = True

    def _run(self, find: int, most: int | None) -> None:
        began, covered = time.monotonic(), self.covered
        told = began
        self._came.append((-1, ""))
        layer = [(0, self.play.begin())]
        while layer:
            next_layer: list[tuple[int, At]] = []
            for n, (number, at) in enumerate(layer):
                covered.waiting = len(layer) - n + len(next_layer)
                stuck = self._stuck(at) if self._rest else None
                if stuck:
                    covered.broken.append(Broken(stuck.promise, self._way(number) + stuck.schedule))
                for move in () if stuck else self.play.moves(at):
                    covered.moves += 1
                    if move.broken:
                        covered.broken.append(Broken(move.broken, [*self._way(number), move.choice]))
                    elif self._is_new(move):
                        next_layer.append((len(self._came), move.at))
                        self._came.append((number, sys.intern(move.choice)))
                covered.states += 1
                now = time.monotonic()
                covered.seconds = now - began
                if now - told > TELL_EVERY_S:
                    told = now
                    self._count()
                    self._tell(covered)
                if covered.interrupted or len(covered.broken) >= find or (most and covered.states >= most):
                    return
            covered.depth += bool(next_layer)
            layer = next_layer
        covered.exhausted = True

    def _count(self) -> None:
        covered, play = self.covered, self.play
        covered.nodes, covered.processes = len(play.cast.nodes), play.cast.started
        covered.worlds, covered.asked = len(play.world.states), play.world.asked

    def _is_new(self, move: Move) -> bool:
        key, left = self._mirror.key(move.at), move.at.left
        seen = self._seen.get(key, ())
        if seen == left:
            return False
        others = (seen,) if isinstance(seen, Left) else seen
        if any(other.covers(left) for other in others):
            return False
        kept = [other for other in others if not left.covers(other)]
        self._seen[key] = (*kept, left) if kept else left
        return True

    def _way(self, number: int) -> list[str]:
        way: list[str] = []
        while number:
            number, choice = self._came[number]
            way.insert(0, choice)
        return way

    # The way to rest ------------------------------------------------------------------------------------

    def _stuck(self, at: At) -> Broken | None:
        """Go on fairly and without faults until nothing is left to do. Return what breaks on that way, or None."""
        play, states = self.play, self.play.world.states
        steps: list[str] = [REST]
        passed: list[int] = []
        turns: set[int] = set()
        asleep = -1  # the state of Redis when time passed last

        def go(moves: Iterable[Move | None]) -> str:
            nonlocal at
            for move in filter(None, moves):
                at = move.at
                steps.append(move.choice)
                if move.broken:
                    return move.broken
            return ""

        broken = go(play.mended(at))
        while at.late and not broken:
            broken = go(islice(play.arrivals(at), 1))
        for _ in range(MOST_STEPS):
            key = self._mirror.key(at, last=False) << 8 | play.spent(at)
            if broken or key in self._rests:
                break
            if play.at_rest(at):
                broken = play.judge.rest(states[at.world], play.books.pages[at.book])
                break
            passed.append(key)
            if key in turns:
                if asleep == at.world:
                    broken = f"{STUCK}: {', '.join(states[at.world].undelivered + states[at.world].waiting)} does"
                    break
                asleep, turns = at.world, set()
                broken = go(play.time(at, at.left)) or go(play.beats(at))
            turns.add(key)
            for slot in range(len(at.nodes)):
                for thread in (0, 1):
                    broken = broken or go([play.fair(at, slot, thread)])
        else:
            broken = f"there is a way to rest: none in {MOST_STEPS} rounds"
        if broken:
            return Broken(broken, steps)
        self._rests.update(passed)
        return None


def ways(play: Play, choices: int) -> int:
    """Return how many schedules of so many choices there are. A search need not go them all."""
    here = Counter({play.begin(): 1})
    for _ in range(choices):
        there: Counter[At] = Counter()
        for at, number in here.items():
            for move in play.moves(at):
                there[move.at] += number
        here = there
    return here.total()
