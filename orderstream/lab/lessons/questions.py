"""
The predictions of all lessons: ask a question by its number, and say how many were right.

In a lesson, ``lab.predict("04a")`` asks, and its last cell is ``lab.score("04")``. The text of a question, its options
and the beliefs behind the wrong ones are in ``lesson_04/predictions.py``: a notebook does not show which option is
right.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from orderstream.lab.tutor import predict as tutor
from orderstream.lab.tutor.scoreboard import stored_answers

Options = Mapping[Any, str | tuple[str, str]]


def predict(number: str, question: str | None = None, options: Options | None = None) -> tutor.Prediction:
    """
    Ask prediction *number* of a lesson, or a *question* of your own, before the experiment is run.

    Args:
        number: Such as ``"04a"``: the lesson and a letter.
        question: Your own; then *options* are yours, too. See `orderstream.lab.tutor.predict.predict`.
        options: Observed value -> text, or (text, belief) for a wrong one.

    Returns:
        The prediction, to be shown as the result of its cell.

    Raises:
        ValueError: No lesson has this number, or the question has fewer than two options.
    """
    if question is not None:
        return tutor.predict(number, question, options or {})
    asked = questions(_lesson(number))
    if number not in asked:
        known = f"; lesson {_lesson(number)} has {', '.join(asked)}" if asked else ""
        raise ValueError(f"there is no prediction {number}{known}")
    return tutor.predict(number, *asked[number])


def score(lesson: str) -> None:
    """Print how many questions of *lesson*, such as ``"04"``, you predicted, and how many were right at first."""
    asked = questions(lesson)
    answers, _ = stored_answers()
    known = [answer for answer in answers if answer.id in asked and answer.right is not None]
    if not known:
        print(f"Lesson {lesson}: you have predicted none of its {len(asked)} questions yet.")
        return
    right = sum(answer.right_at_first for answer in known)
    print(f"Lesson {lesson}: you have predicted {len(known)} of its {len(asked)} questions, {right} right at first.")


def questions(lesson: str) -> dict[str, tuple[str, Options]]:
    """Return number -> (question, options) for all predictions of *lesson*; empty if there is no such lesson."""
    if not lesson.isdigit():
        return {}
    package = f"orderstream.lab.lessons.lesson_{lesson}"
    try:
        found: dict[str, tuple[str, Options]] = importlib.import_module(f"{package}.predictions").PREDICTIONS
    except ModuleNotFoundError as exc:
        if exc.name != package:
            raise
        return {}
    return found


def _lesson(number: str) -> str:
    return number[:2]
