"""The instructor guide says what the notebooks say: times, predictions, wrong answers and the belief behind each."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from orderstream.lab.lessons.questions import questions
from tests.notebooks import rules

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "notebooks" / "instructor_guide.md").read_text("utf-8")
BOOKS = {path.name: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def section(title):
    """Return the guide's text between this heading and the next of its level."""
    return re.split(r"^## ", GUIDE, flags=re.M)[[*re.findall(r"^## (.+)$", GUIDE, re.M)].index(title) + 1]


def rows(text):
    """Return the cells of every line of a table, without its head."""
    lines = [line.strip("|").split(" | ") for line in re.findall(r"^\|.*\|$", text, re.M)]
    return [[cell.strip() for cell in line] for line in lines if not set(line[0]) <= set("-|")][1:]


def predictions(book):
    """Yield (id, options) of each prediction, in the order of the notebook."""
    for _, number in rules.calls(book, "predict"):
        yield number, questions(number[:2])[number][1]


def shown(option):
    """Return a wrong option as the guide has it: JupyterLab takes what stands between two dollars for a formula."""
    return tuple(text.replace("$", "`$`") for text in option)


def title(book):
    return book.cells[0].source.splitlines()[0].removeprefix("# ")


ASKED = {number: name for name, book in BOOKS.items() for number, _ in predictions(book)}


def test_no_two_exercises_and_no_two_predictions_have_the_same_number():
    for name in ("check", "predict"):
        numbers = [number for book in BOOKS.values() for _, number in rules.calls(book, name)]
        assert len(set(numbers)) == len(numbers)


def test_the_table_of_times_counts_predictions_and_exercises():
    """tests/notebooks/test_minutes.py looks at its minutes."""
    lessons = [
        [f"[{title(book)}]({name})", *(str(len(list(rules.calls(book, what)))) for what in ("predict", "check"))]
        for name, book in BOOKS.items()
    ]
    together = ["together", *(str(sum(int(lesson[column]) for lesson in lessons)) for column in (1, 2))]
    assert [line[:3] for line in rows(section("Times"))] == [*lessons, together]


@pytest.mark.parametrize(("path", "limit"), [("45 minutes: one crash, three beliefs", 45), ("Half a day", 240)])
def test_a_path_fits_its_time_and_names_predictions_that_are_there(path, limit):
    lines = rows(section(path))
    assert limit - 30 <= sum(int(minutes) for minutes, *_ in lines) <= limit
    for _, what, numbers in lines:
        for number in numbers.split():
            assert f"]({ASKED[number]})" in what


def test_every_wrong_answer_has_its_belief_and_a_question_for_the_class():
    """A lesson that changes its options changes this table; what is missing is printed, to be pasted."""
    wanted = {
        (number, *wrong): f"| {number} | {wrong[0]} | {wrong[1]} | – |"
        for book in BOOKS.values()
        for number, options in predictions(book)
        for wrong in (shown(option) for option in options.values() if isinstance(option, tuple))
    }
    written = {tuple(line[:3]): line[3] for line in rows(section("What the class will believe")) if len(line) == 4}
    written.pop(("id", "a wrong answer", "belief"), None)
    missing = [line for key, line in wanted.items() if key not in written]
    assert not missing, "\n" + "\n".join(missing)
    assert set(written) - set(wanted) == set(), "the notebooks do not have these any more"
    asked = {number for (number, *_), question in written.items() if question != "–"}
    assert asked == set(ASKED), "one of its wrong answers has the question"


def test_the_line_that_checks_a_machine_runs(tmp_path):
    [code] = re.findall(r'\.venv/bin/python -c "(.+?)"', GUIDE)
    here = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "REDIS_ADDR")}
    here |= {"PYTHONPATH": str(ROOT), "ORDERSTREAM_LAB_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "Every lesson will run here."
    assert "*Every lesson will run here.*" in GUIDE
