"""The minutes that lessons and maps state are those that were measured, and the core track fits into four hours."""

import re
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from orderstream.lab.author import minutes
from orderstream.lab.author.minutes import CORE, CORE_MINUTES, Lesson
from tests.notebooks import sample
from tests.notebooks.sample import code, markdown, picture, printed, result

LESSONS = minutes.lessons()
FIRST = LESSONS[0].path


def names(lesson):
    return lesson.number


@pytest.mark.parametrize("lesson", LESSONS, ids=names)
def test_a_lesson_states_what_was_measured(lesson):
    """To correct it: python -m orderstream.lab.author.minutes"""
    head = nbformat.read(lesson.path, 4).cells[0].source
    assert minutes.HEADER.search(head)[0] == lesson.header()


@pytest.mark.parametrize("path", [minutes.ROOT / "README.md", FIRST.parent / "instructor_guide.md", FIRST], ids=str)
def test_a_map_states_what_was_measured(path):
    """To correct it: the same."""
    page = path.read_text("utf-8")
    if path == FIRST:
        [page] = [cell.source for cell in nbformat.read(path, 4).cells if cell.id == "map"]
    assert len(re.findall(r"\| \d+ \+ \d+ \| (?:\d+|–) \|$", page, re.M)) >= len(LESSONS)
    assert minutes.with_minutes(page, LESSONS) == page


def test_the_core_track_fits_into_four_hours():
    """If a lesson grows, something else leaves the track: minutes.CORE."""
    core = [lesson for lesson in LESSONS if lesson.core]
    assert {lesson.number for lesson in core} == set(CORE)
    assert sum(lesson.on_core_track for lesson in core) <= CORE_MINUTES
    assert sum(minutes.rounded(lesson.on_core_track) for lesson in core) <= CORE_MINUTES


@pytest.mark.any_server("which cells need each other is the same on each server")
@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if lesson.core], ids=names)
def test_the_core_track_runs_without_the_rest(lesson, monkeypatch, tmp_path):
    """Who leaves out an experiment meets no name that it should have made."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(minutes.ROOT))
    book, section, kept = nbformat.read(lesson.path, 4), "", []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            section = [section, *re.findall(r"^## (.+)", cell.source, re.M)][-1]
        elif not section.startswith(lesson.core.without) or lesson.core.without == ():
            exercise = re.search(r'^lab\.check\("([\d.]+)"', cell.source, re.M)
            kept += [cell] if exercise is None or exercise[1] == lesson.core.exercise else []
    book.cells = kept
    where = {"metadata": {"path": str(lesson.path.parent)}}
    NotebookClient(book, timeout=90, extra_arguments=["--log-level=ERROR"], resources=where).execute()


# How it is measured ----------------------------------------------------------------------------------------


def measured(tmp_path, *cells):
    """Return (reading, exercises) of a lesson that has these cells."""
    path = tmp_path / "99_a_sample.ipynb"
    nbformat.write(sample.notebook(markdown("title", sample.TITLE), *cells), path)
    lesson = Lesson(path)
    return round(lesson.reading, 2), round(lesson.exercises, 2)


WORDS = " ".join(["word"] * minutes.WORDS_PER_MINUTE)
LINES = "\n".join(["x = 1"] * minutes.LINES_PER_MINUTE)
SOLUTION = f"<details><summary>Solution 99.1</summary>\n\n```python\ndef double(n):\n{LINES}\n```\n\n</details>"
RUN = minutes.RUN_MINUTES


@pytest.mark.parametrize(
    ("cells", "reading", "exercises"),
    [
        ([markdown("a", WORDS)], 1, 0),
        ([markdown("a", f"```text\n{LINES}\n```")], 1, 0),
        ([markdown("a", f"```mermaid\n{LINES}\n```")], 0, 0),
        ([code("a", LINES)], 1 + RUN, 0),
        ([code("a", "", printed("0\n" * minutes.OUTPUT_LINES_PER_MINUTE))], 1 + RUN, 0),
        ([code("a", "", picture(""))], minutes.PICTURE_MINUTES + RUN, 0),
        ([code("a", 'lab.predict("99a")')], minutes.PREDICTION_MINUTES + 1 / 15 + RUN, 0),
        ([code("a", "", result("Live panel: rate 20"))], minutes.PLAY_MINUTES + 1 / 30 + RUN, 0),
        ([markdown("a", f"## Exercises\n\n{WORDS}")], 0, 1),
        ([markdown("h", "## Exercises"), code("a", sample.EXERCISE)], 0, minutes.EXERCISE_MINUTES),
        ([markdown("h", f"## Exercises\n\n{SOLUTION}")], 0, 15 * minutes.WRITING_MINUTES_PER_LINE),
        ([markdown("h", "## Self-quiz\n\n1. .\n2. .")], 0, 2 * minutes.QUIZ_MINUTES),
        ([markdown("h", f"## Self-quiz\n\n{WORDS}\n\n## The map\n\n{WORDS}")], 1, 1),
    ],
)
def test_each_thing_that_a_learner_does_has_its_minutes(tmp_path, cells, reading, exercises):
    empty = measured(tmp_path)
    found = measured(tmp_path, *cells)
    assert found[0] - empty[0] == pytest.approx(reading, abs=0.03)
    assert found[1] - empty[1] == pytest.approx(exercises, abs=0.03)


def test_a_section_or_an_exercise_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"lesson 00 has no section 'Experiment 9'"):
        LESSONS[0].minutes("Experiment 9")
    with pytest.raises(ValueError, match=r"lesson 00 has no exercise '00\.9'"):
        LESSONS[0].minutes(exercises=("00.9",))


def test_what_is_wrong_is_written_once(tmp_path, monkeypatch, capsys):
    """In a copy: a lesson with another word count, and a map with other minutes."""
    shutil.copytree(minutes.ROOT / "notebooks", tmp_path / "notebooks")
    readme = re.sub(r"\| \d+ \+ \d+ \|", "| 1 + 1 |", (minutes.ROOT / "README.md").read_text("utf-8"))
    (tmp_path / "README.md").write_text(readme)
    book = nbformat.read(tmp_path / "notebooks" / FIRST.name, 4)
    book.cells[0].source = book.cells[0].source.replace(LESSONS[0].header(), "**30 minutes**")
    nbformat.write(book, tmp_path / "notebooks" / FIRST.name)
    monkeypatch.setattr(minutes, "ROOT", tmp_path)
    list(minutes.write(minutes.lessons()))
    for path in (f"notebooks/{FIRST.name}", "README.md"):
        assert LESSONS[0].header().removesuffix(")")[2:9] in (tmp_path / path).read_text("utf-8")
    assert list(minutes.write(minutes.lessons())) == []


def test_an_author_can_ask_why(capsys):
    """It writes nothing."""
    assert minutes.main(["--explain"]) == 0
    said = capsys.readouterr().out
    assert f"{FIRST.name}: {LESSONS[0].header()}\n" in said
    assert re.search(r"^ +\d+\.\d  Experiment 1: ", said, re.M)
