"""
What the handlers of all processes note, in files that outlive them.

A note is three numbers: which order, when it began, when it ended. ``handler`` writes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

VARIABLE = "BENCHMARKS_WAITING"  # tells a process what to do, because some contenders start others
NOTE = struct.Struct("=qqq")
MANY = 4_096  # that are read at a time; far more than one process has in flight


class Note(NamedTuple):
    """One order was handled. Times are of the monotonic clock, which all processes of a machine share."""

    order: int
    began_ns: int
    ended_ns: int


class Notes:
    """All notes in *folder*, which has one file for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counted: dict[Path, int] = {}

    def count(self) -> int:
        """Return how many there are. You may ask often: it looks only behind what it saw before."""
        for path in self.folder.iterdir():
            known = self._counted.get(path, 0)
            self._counted[path] = known + sum(1 for _ in takewhile(_written, _from(path, known)))
        return sum(self._counted.values())

    def processes(self) -> int:
        """Return how many have handled an order."""
        self.count()
        return sum(map(bool, self._counted.values()))

    def rate(self) -> float:
        """Return orders per second, from when all processes were at work until the last order that has ended."""
        notes = [list(filter(_written, _from(path, 0))) for path in self.folder.iterdir()]
        began_ns = max(min(note.began_ns for note in some) for some in notes)
        taken = [note for some in notes for note in some if note.began_ns >= began_ns]
        return 1e9 * len(taken) / (max(note.ended_ns for note in taken) - began_ns)

    def read(self) -> list[Note]:
        """Return all of them, in no order. A thread that was killed may have left a gap, and others wrote behind it."""
        return [note for path in self.folder.iterdir() for note in _from(path, 0) if _written(note)]


def _from(path: Path, place: int) -> Iterator[Note]:
    """Yield what stands from *place* on, until there are many places that nobody has written to."""
    with path.open("rb") as file:
        file.seek(place * NOTE.size)
        while any(block := file.read(MANY * NOTE.size)):
            yield from map(Note._make, NOTE.iter_unpack(block[: len(block) // NOTE.size * NOTE.size]))


def _written(note: Note) -> bool:
    return note.ended_ns > 0
