"""The notebooks keep the rules of their form, and every rule can be broken."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import from_dict

from orderstream import lab
from orderstream.lab.lessons.questions import questions
from tests.notebooks import rules, sample
from tests.notebooks.sample import code, markdown, picture, printed

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_rules(path):
    """A learner meets the same form in every lesson, on GitHub and in JupyterLab."""
    assert rules.broken(nbformat.read(path, 4), path.parent) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_has_all_its_parts(path):
    """Predictions, exercises, a moving picture and one that stands still, in half an hour's worth of words."""
    book = nbformat.read(path, 4)
    outputs = [output for cell in rules.code(book) for output in cell.outputs]
    assert len(list(rules.calls(book, "predict"))) >= 3
    assert len(list(rules.calls(book, "check"))) >= 2
    assert [said for said in map(rules.text_of, outputs) if said.startswith("Live panel: ")]
    assert [output for output in outputs if rules.text_of(output) == "<picture>"]
    assert rules.words(book) <= 1_600


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_shows_no_answer_before_it_is_given(path):
    """A cell names its question; what it stores is the question. No option is marked, here or below the experiment."""
    book = nbformat.read(path, 4)
    asked = {number: cell for cell, number in rules.calls(book, "predict")}
    assert list(asked) == list(questions(path.stem[:2]))
    for number, cell in asked.items():
        assert cell.source == f'lab.predict("{number}")'
        assert [rules.text_of(output) for output in cell.outputs] == [repr(lab.predict(number))]
    for cell, number in rules.calls(book, "reveal"):
        assert re.fullmatch(rf"{number} observed: .+", rules.text_of(cell.outputs[-1]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_ends_with_its_line_of_the_scoreboard(path):
    """What is stored is that of somebody who has not begun."""
    last = nbformat.read(path, 4).cells[-1]
    lesson = path.stem[:2]
    assert last.source == f'lab.score("{lesson}")'
    said = f"Lesson {lesson}: you have predicted none of its {len(questions(lesson))} questions yet.\n"
    assert [rules.text_of(output) for output in last.outputs] == [said]


def lesson(**changes):
    """Return the sample's cells; a change replaces the cell of that name, or stands before the wrap-up."""
    cells = [
        markdown("title", sample.TITLE),
        markdown("objectives", sample.OBJECTIVES),
        code("predict", sample.PREDICT, sample.result("Predict 01a: How many?")),
        code("run", sample.RUN, printed("ran\n")),
        code("reveal", sample.REVEAL, sample.result("01a observed: 1")),
        code("exercise", sample.EXERCISE, sample.result(sample.TODO), tags=["exercise"]),
        markdown("solution", sample.SOLUTION),
        markdown("wrap-up", sample.WRAP_UP),
    ]
    names = [cell["id"] for cell in cells]
    for name, cell in changes.items():
        if name in names:
            cells[names.index(name)] = cell
        else:
            cells.insert(-1, cell)
    book = sample.notebook(*cells)
    for count, cell in enumerate(rules.code(book), 1):
        cell.execution_count = count
    return book


def test_the_sample_keeps_every_rule(tmp_path):
    """What the other tests break is whole."""
    assert rules.broken(lesson(), tmp_path) == []


def ignored(name, **metadata):
    return code(name, "1", tags=["nbval-ignore-output"], **metadata)


BROKEN = {
    "one_h1_in_the_first_cell": lesson(more=markdown("more", "# Another title")),
    "headings_never_jump": lesson(more=markdown("more", "## Two\n\n#### Four")),
    "the_first_cell_says_how_long_it_takes": lesson(title=markdown("title", "# 01 · A sample")),
    "objectives_are_mirrored_in_the_wrap_up": lesson(objectives=markdown("o", "## Objectives\n\n- one\n- two")),
    "images_have_alt_text": lesson(more=markdown("more", '![](#Objectives) <img src="#Objectives">')),
    "pictures_are_followed_by_a_sentence": lesson(more=code("more", "1", picture()), solution=code("end", "2")),
    "cells_are_short": lesson(more=code("more", "x = 1\n" * 21)),
    "lines_of_code_need_no_scrollbar": lesson(more=code("more", f"x = '{'x' * 88}'")),
    "nobody_waits_for_a_guess": lesson(more=code("more", "time.sleep(0.5)")),
    "ids_are_unique_and_readable": lesson(more=markdown("0badcafe", "Made up by Jupyter.")),
    "outputs_are_canonical": lesson(more=code("more", "1", printed("see /tmp/orderstream-x/log\n"))),
    "tags_are_known": lesson(more=code("more", "1", tags=["excercise"])),
    "few_outputs_are_ignored_each_with_a_reason": lesson(more=ignored("live")),
    "gates_and_tags_agree": lesson(more=code("more", 'if lab.needs("8.4"):\n    1', tags=["redis>=8.2"])),
    "links_lead_somewhere": lesson(more=markdown("more", "[next](02_missing.ipynb) and [up](#Nowhere)")),
    "every_prediction_is_revealed_once_and_later": lesson(reveal=code("reveal", 'lab.reveal("01b", 1)')),
    "what_explains_an_experiment_is_folded": lesson(more=markdown("more", "*Explain.* One.")),
    "every_wrong_option_is_a_belief": lesson(
        predict=code("p", sample.PREDICT.replace('("none", "reading removes")', '"none"'))
    ),
    "predictions_and_verdicts_are_the_last_line_of_their_cell": lesson(
        reveal=code("reveal", 'lab.reveal("01a", 1)\nprint("after")')
    ),
    "exercises_and_checks_agree": lesson(
        exercise=code("exercise", sample.EXERCISE, sample.result("✓ 99.1: correct"), tags=["exercise"])
    ),
}

unrun = lesson()
unrun.cells[3].execution_count = None
BROKEN["everything_was_run_in_order"] = unrun


@pytest.mark.parametrize("check", rules.RULES, ids=lambda check: check.__name__)
def test_a_rule_can_be_broken(check, tmp_path):
    """A rule that nothing breaks would hold nothing up, and every breach is told apart from the others."""
    book = BROKEN[check.__name__]
    assert list(check(book, tmp_path)) != []
    assert {line.partition(":")[0] for line in rules.broken(book, tmp_path)} == {check.__name__}


MORE_BREACHES = [
    ("few_outputs", lesson(more=ignored("a", reason="live"), other=ignored("b", reason="live")), "2 of 6"),
    ("few_outputs", lesson(more=code("more", "# NBVAL_IGNORE_OUTPUT\n1")), "with a tag"),
    ("gates", lesson(more=code("more", "1", tags=["redis>=8.4"])), "must agree"),
    ("gates", lesson(more=code("more", 'x = 1\nif lab.needs("8.4"):\n    x', tags=["redis>=8.4"])), "must agree"),
    ("cells", lesson(more=code("more", "\n".join(["x = 1"] * 20)), predict=code("p", "1\n" * 9),
                     run=code("q", "1\n" * 9)), "median"),
    ("outputs", lesson(more=code("more", "1", from_dict(
        {"output_type": "display_data", "metadata": {}, "data": {rules.WIDGET_VIEW: {}}}))), "widget"),
    ("outputs", lesson(more=code("more", "1", collapsed=True)), "metadata"),
    ("every_prediction", lesson(predict=code("p", sample.REVEAL), reveal=code("q", sample.PREDICT)), "behind"),
    ("nobody", lesson(more=code("more", "sleep(pause)")), "pause"),
    ("lines", lesson(more=markdown("more", "```text\n" + "─" * 89 + "\n```")), "89 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "book", "words"), MORE_BREACHES)
def test_a_rule_sees_its_other_breaches(name, book, words, tmp_path):
    """A rule with two sides is broken from both."""
    complaints = [line for line in rules.broken(book, tmp_path) if line.startswith(name)]
    assert any(words in line for line in complaints), complaints


def test_a_sentence_may_stand_in_the_cell_or_behind_it(tmp_path):
    """A chart prints its sentence, or the Markdown cell below says it."""
    spoken = code("more", "1", picture(), printed("Two consumers share the work.\n"))
    assert rules.broken(lesson(more=spoken), tmp_path) == []
    written = {"more": code("more", "1", picture()), "below": markdown("below", "Two consumers share the work.")}
    assert rules.broken(lesson(**written), tmp_path) == []


def test_short_pauses_and_code_blocks_are_no_breach(tmp_path):
    """A poll of 0.05 s is fine, and a comment in a printed block is no heading."""
    poll = code("more", "while not done():\n    time.sleep(0.05)")
    assert rules.broken(lesson(more=poll), tmp_path) == []
    block = markdown("more", "```bash\n# not a heading ![](x)\n```")
    assert rules.broken(lesson(more=block), tmp_path) == []
