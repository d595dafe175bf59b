"""
Merge the scoreboards of a class: which beliefs did they hold, and how many?

    python -m orderstream.lab.tutor.classroom FILE… --out class.png

FILE is a file that `lab.scoreboard()` saved, or a folder: then all JSON files in it are read. A file that cannot be
read, or that is no scoreboard, is left out, and a line says so. In Python::

    from orderstream.lab.tutor.classroom import merge

    merge("handed-in")
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orderstream.lab.pictures.state import State, Table
from orderstream.lab.tutor.scoreboard import File, counted

if TYPE_CHECKING:
    from orderstream.lab.pictures.charts import Picture

BARS = 25
"""The most beliefs in the picture, those that most learners held. The table has all of them."""


def merge(*sources: str | Path) -> Classroom:
    """
    Read the scoreboards of a class.

    Args:
        sources: Files, and folders of files.

    Returns:
        What they say together. ``left_out`` has a line for each file that is not among them.
    """
    files, left_out = [], []
    for path in _files(sources):
        try:
            files.append(msgspec.json.decode(path.read_bytes(), type=File))
        except OSError as exc:
            left_out.append(f"left out: {path}: {exc.strerror}")
        except msgspec.DecodeError as exc:
            left_out.append(f"left out: {path}: not a scoreboard ({exc})")
    return Classroom(files, left_out)


def _files(sources: tuple[str | Path, ...]) -> Iterator[Path]:
    for source in map(Path, sources):
        yield from sorted(source.glob("*.json")) if source.is_dir() else [source]


class Belief(msgspec.Struct, frozen=True):
    """A wrong belief, the predictions that can reveal it, how many learners held it, and how many were always right."""

    text: str
    asked: list[str]
    held: int
    right: int


class Classroom:
    """The scoreboards of a class. It counts, and its only names are those that learners gave."""

    def __init__(self, files: list[File], left_out: list[str]) -> None:
        self.files, self.left_out = files, left_out

    def beliefs(self) -> list[Belief]:
        """Return every belief that at least one learner held, the most held one first."""
        asked: dict[str, set[str]] = {}
        held: dict[str, int] = {}
        right: dict[str, int] = {}
        for file in self.files:
            answers = [answer for answer in file.answers if answer.right is not None]
            for answer in answers:
                for text in {*answer.beliefs, *answer.shown}:
                    asked.setdefault(text, set()).add(answer.id)
            for text in {text for answer in answers for text in answer.shown}:
                held[text] = held.get(text, 0) + 1
            for text in {text for answer in answers for text in answer.beliefs}:
                if all(answer.right_at_first for answer in answers if text in answer.beliefs):
                    right[text] = right.get(text, 0) + 1
        found = [Belief(text, sorted(asked[text]), held[text], right.get(text, 0)) for text in held]
        return sorted(found, key=lambda belief: (-belief.held, belief.asked, belief.text))

    def summary(self) -> str:
        """Say how many scoreboards were read, and whose."""
        names = sorted(file.name for file in self.files if file.name)
        nameless = len(self.files) - len(names)
        who = [*names, *([f"{nameless} without a name"] if nameless else [])]
        return f"{counted(len(self.files), 'scoreboard')} ({', '.join(who)})"

    def picture(self) -> Picture:
        """Draw a bar for each belief: how many held it, and how many had it right at once."""
        from orderstream.lab.pictures import charts

        found = self.beliefs()
        rows = {
            label(belief): {"held it": belief.held, "had it right": belief.right} for belief in found[:BARS]
        }
        sentence = f"{self.summary()}: {counted(len(found), 'wrong belief')}."
        if len(found) > BARS:
            sentence += f" Drawn are the {BARS} most held, {len(found) - BARS} are not."
        return charts.stacks(rows, "learners", sentence)

    def table(self) -> State:
        """Return a row for each belief."""
        rows = [(each.text, " ".join(each.asked), str(each.held), str(each.right)) for each in self.beliefs()]
        columns = ("they believed", "in", "held it", "had it right")
        return State([Table(self.summary(), columns, rows, "no wrong belief")])

    def __repr__(self) -> str:
        return "\n".join([repr(self.table()) if self.files else "No scoreboard to merge.", *self.left_out])

    def _ipython_display_(self) -> None:
        print(self)
        if self.beliefs():
            self.picture()._ipython_display_()


def label(belief: Belief) -> str:
    """Return the text beside a bar. Without the backslash, matplotlib takes text between two dollars for a formula."""
    return f"{belief.text} ({' '.join(belief.asked)})".replace("$", r"\$")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.tutor.classroom", description=merge.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what lab.scoreboard() saved, or a folder of them")
    parser.add_argument("--out", type=Path, metavar="PNG", help="where the picture goes")
    given = parser.parse_args(argv)
    room = merge(*given.files)
    for line in room.left_out:
        print(line, file=sys.stderr)
    room.left_out.clear()
    print(room)
    if given.out and room.beliefs():
        given.out.write_bytes(room.picture().png)
    return 0 if room.files else 1


if __name__ == "__main__":
    sys.exit(main())
