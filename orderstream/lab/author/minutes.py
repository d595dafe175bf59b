"""
How long a lesson takes, in minutes: reading and exercises apart, such as "40 + 25 minutes".

    python -m orderstream.lab.author.minutes              measure the lessons, and write the minutes where they stand
    python -m orderstream.lab.author.minutes --explain    print what each section takes, and write nothing

They stand in the first cell of each lesson, and in three maps: the README, lesson 00 and the instructor guide. A map
also names the **core track**: what to do of a lesson if you have four hours for the course.

What a learner does is counted, and each count is multiplied by an assumption below. Nobody was timed. So the sum is
rounded to five minutes, and more precise it is not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parents[3]

WORDS_PER_MINUTE = 160
"""Adults read plain English prose at about 240. Here a sentence names commands and sends the eye to an output, and for
many readers English is the second language."""

LINES_PER_MINUTE = 15
"""Of code or of a drawing: 4 s. Most lines repeat a form that was seen before; the others take longer."""

OUTPUT_LINES_PER_MINUTE = 30
"""Half the time of a line of code: you look for one number, and know which."""

PICTURE_MINUTES = 0.5
"""Axes, legend, the sentence below."""

RUN_MINUTES = 0.1
"""To press Shift+Enter and wait. Few cells run for longer than 6 s, most for less than one."""

PREDICTION_MINUTES = 0.75
"""To imagine what happens, and choose."""

PLAY_MINUTES = 5.0
"""For a live panel: two questions, each changes a slider or kills somebody, and waits for the curve to follow."""

EXERCISE_MINUTES = 4.0
"""To understand the task, run the check two or three times, and compare with the solution; the writing comes on top."""

WRITING_MINUTES_PER_LINE = 1.0
"""For each line of the shortest solution: yours is longer, and one of its lines is wrong at first."""

QUIZ_MINUTES = 2.5
"""For a question of the self-quiz: it asks for an experiment of three or four lines."""

EXERCISES = ("Exercises", "Self-quiz")
"""The sections whose minutes stand behind the plus."""


class Core(NamedTuple):
    """What the core track takes of a lesson: all but these sections, and one exercise instead of all."""

    without: tuple[str, ...]
    exercise: str


CORE = {
    "00": Core((), "00.2"),
    "01": Core(("Experiment 2", "Break it", "Play"), "01.2"),
    "02": Core(("Experiment 3", "Play"), "02.2"),
    "03": Core(("Experiment 2", "Play"), "03.3"),
    "04": Core(("Experiment 2", "Experiment 5", "Play"), "04.2"),
    "05": Core(("Experiment 4", "Experiment 5", "Play"), "05.2"),
    "06": Core(("Experiment 2", "Experiment 3", "Play"), "06.1"),
}
"""Lesson -> what it gives to the core track: how orders are shared, lost, found again, and handled once."""

CORE_MINUTES = 240
"""What the core track may take."""

HEADER = re.compile(r"\*\*(?:\d+ \+ )?\d+ minutes\*\*(?: \([^)]*\))?")
"""What stands in the first cell of a lesson."""


class Part(NamedTuple):
    """A piece of a lesson: the section it stands in, the exercise it belongs to (or ""), and its minutes."""

    section: str
    exercise: str
    minutes: float


class Lesson:
    """
    A lesson, measured.

    Args:
        path: Its notebook.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, path.name[:2]
        self.parts = list(parts(nbformat.read(path, 4)))
        self.core = CORE.get(self.number)

    def minutes(self, *sections: str, exercises: tuple[str, ...] = ()) -> float:
        """
        Return what some sections take, and some exercises.

        Args:
            sections: The beginning of each heading, such as ``"Experiment 2"``.
            exercises: The numbers, such as ``"04.2"``.

        Raises:
            ValueError: The lesson has no such section, or no such exercise.
        """
        there = {part.section for part in self.parts}
        for wanted in sections:
            if not any(section.startswith(wanted) for section in there):
                raise ValueError(f"lesson {self.number} has no section {wanted!r}")
        if missing := set(exercises) - {part.exercise for part in self.parts}:
            raise ValueError(f"lesson {self.number} has no exercise {min(missing)!r}")
        return sum(
            part.minutes
            for part in self.parts
            if (part.exercise in exercises if part.exercise else part.section.startswith(sections))
        )

    @property
    def reading(self) -> float:
        """What it takes to read, predict, run and play."""
        return sum(part.minutes for part in self.parts if part.section not in EXERCISES)

    @property
    def exercises(self) -> float:
        """What all exercises and the self-quiz take."""
        return sum(part.minutes for part in self.parts if part.section in EXERCISES)

    @property
    def on_core_track(self) -> float:
        """What the core track takes of this lesson; 0 if it takes nothing."""
        if self.core is None:
            return 0
        return self.reading - self.minutes(*self.core.without) + self.minutes(exercises=(self.core.exercise,))

    def header(self) -> str:
        """Return what its first cell says: the minutes, and its place in the course."""
        said = f"**{rounded(self.reading)} + {rounded(self.exercises)} minutes**"
        if self.core is None:
            return f"{said} (depth)"
        less = f", without {_listed(self.core.without)}" if self.core.without else ""
        return f"{said} (core track: {rounded(self.on_core_track)} with exercise {self.core.exercise}{less})"


def lessons() -> list[Lesson]:
    """Return all lessons, in their order."""
    return [Lesson(path) for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]


def rounded(minutes: float) -> int:
    """Return minutes as a lesson says them: a multiple of five."""
    return 5 * round(minutes / 5)


def _listed(sections: tuple[str, ...]) -> str:
    """Return ``experiments 2, 5 and *Play*`` for the beginnings of headings."""
    numbers = [section.removeprefix("Experiment ") for section in sections if section.startswith("Experiment ")]
    names = [*numbers, *(f"*{section}*" for section in sections if not section.startswith("Experiment "))]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"experiment{'s' * (len(numbers) > 1)} {listed}" if numbers else listed


def parts(book: Any) -> Iterator[Part]:
    """Yield the parts of a lesson in their order. What stands above the first heading of level 2 has section ``""``."""
    section = ""
    for cell in book.cells:
        if cell.cell_type == "code":
            number = re.search(r'^lab\.check\("([\d.]+)"', cell.source, re.M)
            yield Part(section, number[1] if number else "", EXERCISE_MINUTES if number else _code(cell))
            continue
        source = HEADER.sub("", re.sub(r"^```mermaid.*?^```", "", cell.source, flags=re.M | re.S))
        blocks = re.split(r"^(?=## )", source, flags=re.M)
        for block in blocks:
            if heading := re.match(r"## (.+)", block):
                section = heading[1]
            yield from _text(section, block)


def _text(section: str, block: str) -> Iterator[Part]:
    """Yield a part for each exercise that this text belongs to: the task above its cell, the solution below."""
    for text in re.split(r"^(?=### \d\d\.\d|\*\*\d\d\.\d\*\*|<details><summary>Solution )", block, flags=re.M):
        number = re.match(r"(?:### |\*\*|<details><summary>Solution )(\d\d\.\d)", text)
        written = number is not None and text.startswith("<details>")
        lines = sum(_filled(code) for code in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S))
        words = [word for word in re.sub(r"^```.*?^```|</?\w+>", "", text, flags=re.M | re.S).split() if _is_word(word)]
        minutes = len(words) / WORDS_PER_MINUTE
        minutes += (lines - 1) * WRITING_MINUTES_PER_LINE if written else lines / LINES_PER_MINUTE
        if section == EXERCISES[1]:
            minutes += QUIZ_MINUTES * len(re.findall(r"^\d+\. ", text, re.M))
        yield Part(section, number[1] if number else "", minutes)


def _code(cell: Any) -> float:
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    minutes: float = RUN_MINUTES + _filled(cell.source) / LINES_PER_MINUTE + PICTURE_MINUTES * len(pictures)
    minutes += sum(map(_filled, texts)) / OUTPUT_LINES_PER_MINUTE
    minutes += PLAY_MINUTES * sum(text.startswith("Live panel: ") for text in texts)
    if cell.source.startswith("lab.predict("):
        minutes += PREDICTION_MINUTES
    return minutes


def _filled(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def _is_word(text: str) -> bool:
    return re.search(r"\w", text) is not None


def with_minutes(page: str, measured: list[Lesson]) -> str:
    """Return a page with true minutes in each table whose last columns are "minutes" and "core track"."""
    cells = {lesson.number: _cells([lesson]) for lesson in measured} | {"together": _cells(measured)}

    def row(line: re.Match[str]) -> str:
        number = re.search(r"\b\d\d\b|together", line[1])
        return f"{line[1]} | {cells[number[0]]} |" if number else line[0]

    def table(found: re.Match[str]) -> str:
        return found[1] + re.sub(r"^(\|.*?)(?: \| [^|\n]*){2} \|$", row, found[2], flags=re.M)

    return re.sub(r"^(\|.*\| minutes \| core track \|\n\|[-|]+\n)((?:\|.*\n)+)", table, page, flags=re.M)


def _cells(measured: list[Lesson]) -> str:
    reading, exercises, core = (
        sum(rounded(minutes) for minutes in column)
        for column in zip(*((each.reading, each.exercises, each.on_core_track) for each in measured), strict=True)
    )
    return f"{reading} + {exercises} | {core or '–'}"


def write(measured: list[Lesson]) -> Iterator[Path]:
    """Write the minutes into the lessons and the maps. Yields each file that changed."""
    for lesson in measured:
        book = nbformat.read(lesson.path, 4)
        book.cells[0].source = HEADER.sub(lesson.header(), book.cells[0].source, count=1)
        for cell in book.cells:
            if cell.id == "map":
                cell.source = with_minutes(cell.source, measured)
        yield from _changed(lesson.path, nbformat.writes(book).rstrip("\n") + "\n")
    for path in (ROOT / "README.md", ROOT / "notebooks" / "instructor_guide.md"):
        yield from _changed(path, with_minutes(path.read_text("utf-8"), measured))


def _changed(path: Path, text: str) -> Iterator[Path]:
    if text != path.read_text("utf-8"):
        path.write_text(text, "utf-8")
        yield path


def explain(lesson: Lesson) -> str:
    """Return a line for each section of a lesson, and one for each exercise."""
    found: dict[str, float] = {}
    for part in lesson.parts:
        name = part.exercise or part.section or "(title)"
        found[name] = found.get(name, 0) + part.minutes
    lines = [f"  {minutes:5.1f}  {name}" for name, minutes in found.items()]
    return "\n".join([f"{lesson.path.name}: {lesson.header()}", *lines])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.author.minutes", description=write.__doc__)
    parser.add_argument("--explain", action="store_true", help="print what each section takes, and write nothing")
    measured = lessons()
    if parser.parse_args(argv).explain:
        print("\n".join(map(explain, measured)))
        return 0
    for path in write(measured):
        print(path.relative_to(ROOT))
    sums = zip(*((each.reading, each.exercises, each.on_core_track) for each in measured), strict=True)
    reading, exercises, core = (round(sum(column)) for column in sums)
    print(f"reading {reading}, exercises {exercises}, core track {core} of at most {CORE_MINUTES} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
