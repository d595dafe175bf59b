"""The instructor guide says what the notebooks say: times, predictions, wrong answers and the belief behind each."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from orderstream.lab.author import guide, memory
from orderstream.lab.author.minutes import Lesson
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


@pytest.mark.parametrize(("path", "limit"), [("45 minutes: a consumer dies", 45), ("Half a day", 240)])
def test_a_path_fits_its_time(path, limit):
    assert limit - 5 <= sum(int(minutes) for minutes, *_ in rows(section(path))) <= limit


PARTS = [line for path in ("45 minutes: a consumer dies", "Half a day") for line in rows(section(path))]


@pytest.mark.parametrize(("given", "what", "numbers"), [part for part in PARTS if part[1].startswith("[lesson")])
def test_a_part_of_a_path_has_its_measured_minutes_and_one_for_each_count_of_hands(given, what, numbers):
    """It names the sections of its lesson, all predictions in them, and its exercise."""
    [name] = re.findall(r"\]\((\S+)\)", what)
    sections, exercises = re.findall(r"\*(.+?)\*", what), re.findall(r"exercise (\d\d\.\d)", what)
    needed = Lesson(ROOT / "notebooks" / name).minutes(*sections, exercises=tuple(exercises))
    assert 0 <= int(given) - needed - len(numbers.split()) < 3
    assert numbers.split() == [
        number
        for cell, number in rules.calls(BOOKS[name], "predict")
        if section_of(BOOKS[name], cell).startswith(tuple(sections))
    ]


def section_of(book, wanted):
    """Return the heading of level 2 that stands last above a cell."""
    above = book.cells[: [cell["id"] for cell in book.cells].index(wanted["id"])]
    return [title for cell in above for title in re.findall(r"^## (.+)", cell.source, re.M)][-1]


def test_objectives_and_answers_are_those_of_the_lessons():
    """To correct it: python -m orderstream.lab.author.guide"""
    assert guide.written(GUIDE) == GUIDE
    assert len(rows(section("What each Play and each quiz answers"))) >= 4 * len(BOOKS)


def test_each_lesson_says_what_proves_mastery_by_an_exercise_or_the_missions():
    checked = {number for book in BOOKS.values() for _, number in rules.calls(book, "check")}
    for (_, name), proof in (
        (re.fullmatch(r"\[(\d\d)\]\((\S+)\)", lesson).groups(), proof)
        for lesson, _, proof in rows(section("What they can do afterwards, and how you see it"))
    ):
        named = set(re.findall(r"\d\d\.\d", proof))
        assert named <= checked & {number for _, number in rules.calls(BOOKS[name], "check")}
        assert named or "missions" in proof


def test_outputs_are_cleared_and_what_was_typed_stays(tmp_path):
    """On a copy of a lesson with its results."""
    [command] = re.findall(r"^ *\.venv/bin/(jupyter nbconvert --clear-output .*)$", GUIDE, re.M)
    (tmp_path / "learn").mkdir()
    place = tmp_path / "learn" / "00_start_here.ipynb"
    shutil.copy(ROOT / "notebooks" / place.name, place)
    words = [sys.executable, "-m", *command.replace("learn/*.ipynb", str(place)).split()]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    cells = nbformat.read(place, 4).cells
    assert [cell.source for cell in cells] == [cell.source for cell in BOOKS[place.name].cells]
    assert [output for cell in cells for output in cell.get("outputs", [])] == []


@pytest.mark.any_server("the server of the machine counts, whichever it is")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes share")
def test_a_learner_needs_about_the_memory_that_the_guide_says():
    """In the lesson with the most pictures. A hub's server takes 40 MB more than the JupyterLab of this test."""
    [said] = re.findall(r"^\| together \| (\d+) \|$", GUIDE, re.M)
    assert 0.8 <= (memory.peak_of("09").total_mb + 40) / int(said) <= 1.2


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
