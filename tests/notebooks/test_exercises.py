"""
Every exercise of every notebook: its printed solution passes, and known wrong answers fail with the right words.

That the untouched one says "not attempted yet" is in the committed output, which a rule looks at and nbval compares.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks import rules, sample
from tests.notebooks.sample import code, markdown
from tests.notebooks.wrong_answers import WRONG_ANSWERS

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
REASONS = 3
"""An exercise has wrong answers that fail for so many different reasons, or more."""
SOLUTION = re.compile(r"<summary>Solution (\S+)</summary>\s*```python\n(.*?)```", re.S)


def complaints(book, wrong_answers, folder, log, monkeypatch):
    """Solve *book*, then answer wrongly what *wrong_answers* lists; return a line for each surprise."""
    solutions = {
        found[1]: found[2]
        for cell in book.cells
        if cell.cell_type == "markdown"
        for found in SOLUTION.finditer(cell.source)
    }
    exercises = {number: cell for cell, number in rules.calls(book, "check")}
    lines = [f"{number}: no printed solution" for number in exercises.keys() - solutions.keys()]
    lines += [f"{number}: a solution without an exercise" for number in solutions.keys() - exercises.keys()]
    lines += [f"{number}: no wrong answer is listed" for number in exercises if not wrong_answers.get(number)]
    if lines or not exercises:
        return lines
    expected = []
    for number, cell in exercises.items():
        check = cell.source.splitlines()[-1]
        cell.source = f"{solutions[number]}\n{check}"
        expected.append((number, "pass", "correct"))
    for number, cell in exercises.items():
        check = cell.source.splitlines()[-1]
        for answer, words in wrong_answers[number]:
            book.cells.append(nbformat.v4.new_code_cell(f"{answer}\n{check}"))
            expected.append((number, "fail", words))
        book.cells.append(nbformat.v4.new_code_cell(solutions[number]))  # a later exercise may build on it
    monkeypatch.setenv("ORDERSTREAM_CHECK_LOG", str(log))
    NotebookClient(
        book,
        timeout=60,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    verdicts = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    lines = [
        f"{number}: expected {state} and {words!r}, got {verdict}"
        for verdict, (number, state, words) in zip(verdicts, expected, strict=True)
        if (verdict["id"], verdict["state"]) != (number, state) or words not in verdict["message"]
    ]
    for number in exercises:
        failed = [
            (words, verdict["message"])
            for verdict, (answered, state, words) in zip(verdicts, expected, strict=True)
            if (answered, state) == (number, "fail")
        ]
        if not lines and (found := reasons(failed)) < REASONS:
            lines.append(f"{number}: the wrong answers fail for {found} different reasons, not for {REASONS}")
    return lines


def reasons(failed):
    """Count the reasons in *failed*, pairs (words, message): words that no message of another reason contains."""
    return len({words for words, _ in failed if all(words not in said for other, said in failed if other != words)})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_tell_right_from_wrong(path, tmp_path, monkeypatch, lab_home):
    """The printed solution passes, and each known wrong answer hears which of three or more invariants it broke."""
    log = tmp_path / "checks"
    assert complaints(nbformat.read(path, 4), WRONG_ANSWERS, path.parent, log, monkeypatch) == []


def test_every_wrong_answer_belongs_to_an_exercise():
    """A list for an exercise that was renamed would prove nothing."""
    exercises = {number for path in NOTEBOOKS for _, number in rules.calls(nbformat.read(path, 4), "check")}
    assert set(WRONG_ANSWERS) <= exercises


@pytest.fixture
def lab_home(tmp_path, monkeypatch):
    """No earlier answers, and the package of this checkout in the kernels."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def exercise(solution=sample.SOLUTION):
    return sample.notebook(
        code("set-up", sample.SET_UP),
        code("judges", sample.JUDGES),
        code("exercise", sample.EXERCISE, tags=["exercise"]),
        markdown("solution", solution),
    )


THREE_WRONG = [
    ("double = lambda n: n", "twice 3 is 6, not 3"),
    ("double = lambda n: n * n", "not 9"),
    ("double = lambda m: n", "NameError"),
]
OTHER_WORDS = [("double = lambda n: n", "another invariant")]
NOT_WRONG = [("double = lambda n: n + n", "twice 3")]


@pytest.mark.parametrize(
    ("solution", "wrong", "found"),
    [
        (sample.SOLUTION, THREE_WRONG, []),
        (
            sample.SOLUTION,
            [*THREE_WRONG[:2], ("double = lambda n: n - n", "twice 3 is 6")],
            ["99.1: the wrong answers fail for 2 different reasons, not for 3"],
        ),
        (
            sample.SOLUTION.replace("2 * n", "3 * n"),
            [*NOT_WRONG, *OTHER_WORDS],
            ["expected pass and 'correct'", "expected fail and 'twice 3'", "expected fail and 'another invariant'"],
        ),
        (sample.SOLUTION, [], ["no wrong answer is listed"]),
        (
            sample.SOLUTION.replace("99.1", "99.2"),
            OTHER_WORDS,
            ["99.1: no printed solution", "99.2: a solution without an exercise"],
        ),
    ],
)
def test_the_proof_sees_what_is_wrong(solution, wrong, found, tmp_path, monkeypatch, lab_home):
    """A false solution, a wrong answer that passes, other words, a missing one: each is noticed."""
    lines = complaints(exercise(solution), {"99.1": wrong}, tmp_path, tmp_path / "checks", monkeypatch)
    assert [words in line for words, line in zip(found, lines, strict=True)] == [True] * len(found), lines
