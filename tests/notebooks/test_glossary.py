"""The glossary is in order, and each word leads to a lesson that has it."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import rules

FOLDER = Path(__file__).parents[2] / "notebooks"
GLOSSARY = (FOLDER / "glossary.md").read_text("utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\*\* \| .+ \| \[(\d\d)\]\((\S+)\) \|$", GLOSSARY, re.M)


def test_the_words_are_in_the_order_of_the_alphabet():
    words = [word.lower() for word, *_ in ROWS]
    assert words == sorted(set(words))
    assert len(words) >= 40


@pytest.mark.parametrize(("word", "number", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_a_word_leads_to_a_lesson_that_has_it(word, number, name):
    """Also as a plural or in the past."""
    stem = re.escape(word).replace(r"\ ", r"\s+")
    form = f"{stem[:-1]}(y|ies)" if word.endswith("y") else f"{stem}(s|es|d|ed|med)?"
    prose = "\n\n".join(text for _, text in rules.prose(nbformat.read(FOLDER / name, 4)))
    prose = rules.CLOSED.sub("", prose)
    assert name.startswith(number)
    assert re.search(rf"(?<![\w-]){form}(?![\w-])", prose, re.I)


EVERYDAY = {"at most once", "log", "nobody", "place", "trace"}
"""Words of the course that have another meaning, too, in which everybody uses them."""
FIRST = sorted(FOLDER.glob("0[0-3]*.ipynb"))


@pytest.mark.parametrize(("word", "number", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_the_first_four_lessons_explain_a_word_where_they_first_use_it(word, number, name):
    """Who begins knows none of them. The title of another lesson may have it, and code, which stands for itself."""
    stem = re.escape(word).replace(r"\ ", r"\s+")
    for path in [path for path in FIRST if path.name[:2] < number and word not in EVERYDAY]:
        for cell, text in rules.prose(nbformat.read(path, 4)):
            said = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "", text)
            found = re.search(rf"(?<![\w-]){stem}(s|es|d|ed|med)?(?![\w-])", said, re.I)
            assert not found, f"{path.name}, {cell['id']}"
