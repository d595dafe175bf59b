"""
Write into the instructor guide what the lessons say: their objectives, and what each Play and each quiz answers.

    python -m orderstream.lab.author.guide

Two tables of the guide are made from the lessons. In the one of objectives the last column stays: what proves that
somebody has reached them is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from orderstream.lab.edition import author

OBJECTIVES = "| lesson | after it they can | mastered if |\n|---|---|---|\n"
ANSWERS = "| where | they are asked | the answer begins |\n|---|---|---|\n"
SHORT = 30
"""A sentence of fewer characters, such as "No.", needs the next one."""


def objectives(lesson: Path) -> list[str]:
    """Return what stands under the heading "Objectives"."""
    section = _section(_text(lesson), "## Objectives")
    return [_one_line(found) for found in re.findall(r"^- (.+(?:\n  .+)*)", section, re.M)]


def answers(lesson: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (such as ``"04 Play 1"``, the question, the beginning of its answer)."""
    text = _text(lesson)
    for name, heading in (("Play", r"(?:## Play|\*\*Play\.\*\*)"), ("quiz", "## Self-quiz")):
        section = _section(text, heading)
        asked = re.findall(r"^\d+\. (.+(?:\n   .+)*)", re.sub(r"<details>.*?</details>", "", section, flags=re.S), re.M)
        folded = re.findall(r"<details><summary>Answer \d</summary>\n\n(.+?)\n\n", section, re.S)
        for number, (question, answer) in enumerate(zip(asked, folded, strict=True), 1):
            yield f"{lesson.name[:2]} {name} {number}", _one_line(question), _beginning(_one_line(answer))


def written(guide: str) -> str:
    """Return the guide with both tables as the lessons have them."""
    lessons = sorted(author.FOLDER.glob("[0-9][0-9]_*.ipynb"))
    rows = [f"| {' | '.join(line)} |\n" for lesson in lessons for line in answers(lesson)]
    guide = _with_table(guide, ANSWERS, rows)
    found = re.search(re.escape(OBJECTIVES) + r"(?:\|.*\n)*", guide)
    proofs = dict(re.findall(r"^\| \[(\d\d)\]\S+ \| .* \| (.+) \|$", found[0] if found else "", re.M))
    return _with_table(guide, OBJECTIVES, [
        f"| [{number}]({lesson.name}) | {'; '.join(objectives(lesson))} | {proofs.get(number, '–')} |\n"
        for lesson in lessons
        for number in [lesson.name[:2]]
    ])  # fmt: skip


def _with_table(page: str, head: str, rows: list[str]) -> str:
    return re.sub(re.escape(head) + r"(?:\|.*\n)*", lambda found: head + "".join(rows), page)


def _text(lesson: Path) -> str:
    return "\n\n".join(cell.source for cell in nbformat.read(lesson, 4).cells if cell.cell_type == "markdown")


def _section(text: str, heading: str) -> str:
    return re.split(r"^## ", re.split(rf"^{heading}(?!\w)", text, flags=re.M)[1], flags=re.M)[0]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _beginning(answer: str) -> str:
    sentences = re.split(r"(?<=[.!?])(?<!\b[A-Z]\.) (?=[A-Z`*])", answer)
    return sentences[0] if len(sentences[0]) >= SHORT else " ".join(sentences[:2])


def main() -> int:
    path = author.FOLDER / "instructor_guide.md"
    path.write_text(written(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
