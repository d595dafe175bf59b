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
