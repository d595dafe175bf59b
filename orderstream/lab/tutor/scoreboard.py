"""
Show a learner what they believed before the experiments, and which beliefs an experiment has overturned.

    lab.scoreboard()                    in a notebook: a table and a picture
    print(lab.scoreboard("Ann"))        as text; the saved file now has the name Ann

It reads the stored predictions of `orderstream.lab.tutor.predict` and nothing else. Each of them names the beliefs that
its question could reveal. So the scoreboard needs no notebook. That matters because a kernel knows only the questions
of its own lesson, and `orderstream.lab.tutor.classroom` merges the files of a class where no lesson is open.

The scoreboard is saved as JSON beside the predictions, so that it can be handed in. It has a name if you give one, and
no times and nothing about the machine::

    scoreboard.json   {"file": "orderstream scoreboard", "name": null, "answers": [{"id": "01a", …}, …]}
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from orderstream.lab.pictures.state import State, Table
from orderstream.lab.tutor.predict import home, own

if TYPE_CHECKING:
    from orderstream.lab.pictures.charts import Picture

__all__ = ["Answer", "Scoreboard", "scoreboard"]

FILE = "orderstream scoreboard"
EMPTY = "Scoreboard: nothing predicted yet."
RIGHT, OVERTURNED, WRONG = "right at first", "wrong, then overturned", "wrong"


def scoreboard(name: str | None = None) -> Scoreboard:
    """
    Collect your predictions, save them as one file, and show what they say.

    Args:
        name: The learner's name, if the file should have it.

    Returns:
        The scoreboard, to be shown as the result of its cell; ``path`` is its file.
    """
    board = Scoreboard(name)
    board.answers, board.left_out = stored_answers()
    board.save()
    return board


def stored_answers() -> tuple[list[Answer], list[str]]:
    """Return the stored predictions of this learner, and a line for each file that cannot be read."""
    answers, left_out = [], []
    for path in sorted((home() / "predictions").glob("*.json")):
        try:
            answers.append(msgspec.json.decode(path.read_bytes(), type=Answer))
        except (OSError, msgspec.DecodeError) as exc:
            left_out.append(f"left out: {path.name}: {exc}")
    return answers, left_out


class Answer(msgspec.Struct, frozen=True):
    """A stored prediction: the beliefs that its question may reveal, and those that the answers to it revealed."""

    id: str
    right: bool | None = None
    first: bool | None = None
    belief: str | None = None
    beliefs: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def shown(self) -> list[str]:
        """The beliefs that wrong answers have revealed, in the order of the answers."""
        return list(dict.fromkeys([*self.held, *([self.belief] if self.belief else [])]))

    @property
    def right_at_first(self) -> bool:
        """True if the first answer was right."""
        if self.first is None:  # stored before this was noted
            return self.right is True and not self.shown
        return self.first

    @property
    def lesson(self) -> str:
        """The lesson that asks it, such as ``"01"``."""
        return self.id[:2]


class File(msgspec.Struct, tag_field="file", tag=FILE):
    """The file that is handed in."""

    name: str | None
    answers: list[Answer]


class Scoreboard:
    """The answers of one learner, in the order of the course."""

    def __init__(self, name: str | None = None, answers: Sequence[Answer] = ()) -> None:
        self.name, self.answers, self.left_out = name, list(answers), list[str]()
        self.path = home() / "scoreboard.json"
        self.note = ""

    @property
    def known(self) -> list[Answer]:
        """The answers whose experiment was run."""
        return [answer for answer in self.answers if answer.right is not None]

    def overturned_in(self, belief: str, asked: str) -> str | None:
        """
        Return the prediction that overturned *belief*, which you held at the prediction *asked*; None so far.

        It is the first one with a right answer that could have revealed the belief again: the same one, answered anew,
        or a later one.
        """
        later = [answer.id for answer in self.known if answer.id >= asked and answer.right and belief in answer.beliefs]
        return next(iter(later), None)

    def save(self) -> None:
        """Write ``scoreboard.json`` in one step. If that fails, the scoreboard says so and is shown all the same."""
        if not self.answers:
            return
        draft = self.path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(File(self.name, self.answers)), indent=1))
            draft.replace(self.path)
            self.note = f"Saved: {self.path}"
        except OSError as exc:
            self.note = f"Not saved ({exc.strerror}: {self.path.parent})."

    def picture(self) -> Picture:
        """Draw a bar for each lesson: right at first, wrong and overturned, wrong."""
        from orderstream.lab.pictures import charts

        rows: dict[str, dict[str, float]] = {}
        for answer in self.known:
            row = rows.setdefault(f"lesson {answer.lesson}", dict.fromkeys((RIGHT, OVERTURNED, WRONG), 0))
            if answer.right_at_first:
                row[RIGHT] += 1
            elif any(self.overturned_in(belief, answer.id) for belief in answer.shown):
                row[OVERTURNED] += 1
            else:
                row[WRONG] += 1
        return charts.stacks(rows, "predictions", f"{self.summary()}.")

    def summary(self) -> str:
        """Say how many predictions there are, and how many were right at first."""
        right = sum(answer.right_at_first for answer in self.known)
        return f"{counted(len(self.known), 'prediction')}, {right} right at first"

    def table(self) -> State:
        """Return a row for each belief that a wrong answer has revealed."""
        rows = [
            (belief, answer.id, f"overturned in {there}" if there else "not overturned yet")
            for answer in self.known
            for belief in answer.shown
            for there in [self.overturned_in(belief, answer.id)]
        ]
        caption = f"Scoreboard: {self.summary()}"
        return State([Table(caption, ("you believed", "in", "since then"), rows, "no wrong belief")])

    def __repr__(self) -> str:
        return "\n".join([repr(self.table()) if self.known else EMPTY, *self.left_out])

    def _repr_mimebundle_(self, **kw: Any) -> dict[str, Any]:
        # The text is the same for every learner: what is your own is in the HTML, and there is none without answers.
        text = {"text/plain": EMPTY}
        return {**text, "text/html": own(self._html())} if self.answers or self.left_out else text

    def _html(self) -> str:
        lines = [f"<p>{html.escape(line)}</p>" for line in [*self.left_out, self.note] if line]
        if not self.known:
            return "\n".join([f"<p>{EMPTY}</p>", *lines])
        picture = self.picture()
        png, alt = base64.b64encode(picture.png).decode(), html.escape(picture.sentence)
        shown = f'<img alt="{alt}" style="max-width: 100%" src="data:image/png;base64,{png}">'
        return "\n".join([self.table()._repr_html_(), shown, *lines])


def counted(number: int, what: str) -> str:
    """Return a number and its noun, such as ``"1 prediction"`` or ``"2 predictions"``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
