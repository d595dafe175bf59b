"""
The processes of a play, as functions: a place in its program and an input give the next place.

A place is a `Node`. To find what comes after it, a process is brought there once, by the inputs that first led there,
and let go. Two ways that lead to the same likeness are one node from then on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from orderstream.lab.model.gate import Input, Process, Stop
from orderstream.lab.model.likeness import likeness
from orderstream.lab.model.programs import Program

KEPT = 300  # processes that wait at their node, so that they need not be brought there again


class Node:
    """
    Where a process can be.

    Attributes:
        name: The process.
        known_as: The name that its consumer has in Redis.
        alike: The likeness of the process; None if nothing is merged.
        first, second: Where its threads wait. There may be no second one.
        answered: Thread and state of Redis -> the node after its replies, and the next state of Redis.
    """

    def __init__(self, number: int, process: Process, alike: Hashable, way: tuple[Node, Input] | None) -> None:
        self.number = number
        self.alike = alike
        self.name = process.name
        self.known_as = process.known_as.encode()
        self.first: Stop
        self.second: Stop | None
        self.first, self.second = process.stops
        self.way = way
        self.next: dict[Input, Node] = {}
        self.answered: dict[tuple[int, int], tuple[Node, int]] = {}

    def inputs(self) -> Iterator[Input]:
        """Yield the inputs that first led here."""
        if self.way:
            before, input = self.way
            yield from before.inputs()
            yield input


class Cast:
    """
    All processes.

    Args:
        program: Returns what runs in the process of a name.
        merge: False: two ways never lead to the same node.

    Attributes:
        nodes: All nodes.
        started: How many processes were started.
    """

    def __init__(self, program: Callable[[str], Program], merge: bool = True) -> None:
        self.nodes: list[Node] = []
        self.started = 0
        self._program = program
        self._merge = merge
        self._roots: dict[str, Node] = {}
        self._by_likeness: dict[Hashable, Node] = {}
        self._waiting: OrderedDict[Node, Process] = OrderedDict()

    def root(self, name: str) -> Node:
        """Return where the process *name* begins."""
        if name not in self._roots:
            self._roots[name] = self._node(self._start(name), None)
        return self._roots[name]

    def after(self, node: Node, input: Input) -> Node:
        """Return the node to which *input* leads."""
        if input not in node.next:
            process = self._waiting.pop(node, None) or self._bring_to(node)
            process.go(input)
            node.next[input] = self._node(process, (node, input))
        return node.next[input]

    def close(self) -> None:
        """End every process."""
        while self._waiting:
            self._waiting.popitem()[1].die()

    def _bring_to(self, node: Node) -> Process:
        process = self._start(node.name)
        for input in node.inputs():
            process.go(input)
        return process

    def _start(self, name: str) -> Process:
        self.started += 1
        return Process(name, self._program(name))

    def _node(self, process: Process, way: tuple[Node, Input] | None) -> Node:
        alike = likeness(process) if self._merge else None
        key: Hashable = (process.name, alike) if self._merge else len(self.nodes)
        node = self._by_likeness.get(key)
        if node is None:
            node = self._by_likeness[key] = Node(len(self.nodes), process, alike, way)
            self.nodes.append(node)
        if node in self._waiting or node.first.kind == "ended":
            process.die()
        else:
            self._waiting[node] = process
            if len(self._waiting) > KEPT:
                self._waiting.popitem(last=False)[1].die()
        return node
