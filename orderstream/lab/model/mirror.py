"""
Two consumers are alike: what can follow when a is here and b is there can follow when b is here and a is there.

So both are one state. Its key is the smaller one of two: as it is, and with the names of a and b exchanged.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from orderstream.lab.model.cast import Node
from orderstream.lab.model.world import State

if TYPE_CHECKING:
    from orderstream.lab.model.play import At, Late, Play

NAME = re.compile(r"\b([ab])(\d*)(?=-1-0{16})")  # a consumer's, wherever it stands
AS_IS, MIRRORED = {"a": "a", "b": "b"}, {"a": "b", "b": "a"}
BITS = 24  # numbers below 16 million


class Mirror:
    """The keys of the states of *play*."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._two = play.scope.consumers == 2
        self._numbers: dict[str, int] = {}
        self._worlds: list[tuple[int, int]] = []
        self._nodes: dict[Node | None, int] = {None: 0}
        self._late: dict[tuple[Late, ...], tuple[int, int]] = {(): (0, 0)}

    def key(self, at: At, last: bool = True) -> int:
        """Return a number that is the same for two states that are alike. *last*: who went last counts."""
        world, mirrored = self._world(at.world)
        nodes = [self._node(node) for node in at.nodes]
        slot, thread = at.last if last and at.last else (-1, 0)
        who = 2 * slot + thread + 2
        if not self._two:
            return _packed([at.world, at.book, who, *nodes, self._under_way(at)[0]])
        other = 2 * (1 - slot) + thread + 2 if slot in (0, 1) else who
        late, late_mirrored = self._under_way(at)
        first, second, *more = nodes
        return min(
            _packed([world, at.book, who, first, second, *more, late]),
            _packed([mirrored, at.book, other, second, first, *more, late_mirrored]),
        )

    def _under_way(self, at: At) -> tuple[int, int]:
        if at.late not in self._late:
            texts = (_exchanged(repr(at.late), names) for names in (AS_IS, MIRRORED))
            first, second = map(self._number, texts)
            self._late[at.late] = first, second
        return self._late[at.late]

    def _world(self, number: int) -> tuple[int, int]:
        states = self._play.world.states
        while len(self._worlds) <= number:
            state = states[len(self._worlds)]
            self._worlds.append((self._number(_text(state, AS_IS)), self._number(_text(state, MIRRORED))))
        return self._worlds[number]

    def _node(self, node: Node | None) -> int:
        number = self._nodes.get(node)
        if number is None:
            assert node
            own = node.name[0]
            name = f"me{node.name[1:]}" if self._two and own in "ab" else node.name
            text = f"{name} {node.number if node.alike is None else _renamed(repr(node.alike), own)}"
            number = self._nodes[node] = self._number(text)
        return number

    def _number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)


def _renamed(text: str, own: str) -> str:
    return NAME.sub(lambda name: ("me" if name[1] == own else "other") + name[2], text)


def _text(state: State, names: dict[str, str]) -> str:
    consumers = sorted(_exchanged(name.decode(), names) for name in state.consumers)
    return f"{_exchanged(repr(replace(state, consumers=())), names)} {consumers}"


def _exchanged(text: str, names: dict[str, str]) -> str:
    return NAME.sub(lambda name: names[name[1]] + name[2], text)


def _packed(numbers: list[int]) -> int:
    packed = 0
    for number in numbers:
        packed = packed << BITS | number
    return packed
