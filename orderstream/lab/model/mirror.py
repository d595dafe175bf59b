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
    from orderstream.lab.model.play import At, Play

NAME = re.compile(r"\b([ab])(\d*)(?=-1-0{16})")  # a consumer's, wherever it stands
BITS = 24  # numbers below 16 million


class Mirror:
    """The keys of the states of *play*."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._two = play.scope.consumers == 2
        self._numbers: dict[str, int] = {}
        self._worlds: list[tuple[int, int]] = []
        self._nodes: dict[Node | None, int] = {None: 0}

    def key(self, at: At, last: bool = True) -> int:
        """Return a number that is the same for two states that are alike. *last*: who went last counts."""
        world, mirrored = self._world(at.world)
        nodes = [self._node(node) for node in at.nodes]
        slot, thread = at.last if last and at.last else (-1, 0)
        who = 2 * slot + thread + 2
        if not self._two:
            return _packed([at.world, at.book, who, *nodes])
        other = 2 * (1 - slot) + thread + 2 if slot in (0, 1) else who
        first, second, *more = nodes
        return min(
            _packed([world, at.book, who, first, second, *more]),
            _packed([mirrored, at.book, other, second, first, *more]),
        )

    def _world(self, number: int) -> tuple[int, int]:
        states = self._play.world.states
        while len(self._worlds) <= number:
            state = states[len(self._worlds)]
            self._worlds.append((self._number(_text(state, "a", "b")), self._number(_text(state, "b", "a"))))
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


def _text(state: State, first: str, second: str) -> str:
    """Return *state* in words, with the consumers of the letters a and b under other names."""
    exchanged = {"a": first, "b": second}

    def rename(text: str) -> str:
        return NAME.sub(lambda name: exchanged[name[1]] + name[2], text)

    consumers = sorted(rename(name.decode()) for name in state.consumers)
    return f"{rename(repr(replace(state, consumers=())))} {consumers}"


def _packed(numbers: list[int]) -> int:
    packed = 0
    for number in numbers:
        packed = packed << BITS | number
    return packed
