"""The glossary has every word that a lesson defines, and leads to the lesson that explains it."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import rules

FOLDER = Path(__file__).parents[2] / "notebooks"
PROSE = {
    path.name: "\n\n".join(
        re.sub(r"<details>.*?</details>", "", text, flags=re.S) for _, text in rules.prose(nbformat.read(path, 4))
    )
    for path in sorted(FOLDER.glob("*.ipynb"))
}
GLOSSARY = (FOLDER / "glossary.md").read_text("utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \| \[(\d\d)\]\((\S+)\) \|$", GLOSSARY, re.M)

DEFINED = re.compile(r"(?:\b(?:an?|is|called|of|this)|:) \*\*([\w'-]+(?:\s[\w'-]+){0,2})\*\*", re.I)
"""How a lesson defines a word: "that is **fan-out**", "a number called **lag**". More than three are a sentence."""

EMPHASIS = {"whole node", "new entry id", "one", "lost"}
"""What stands like that and is no term."""


def forms(word):
    """Return a pattern for the word, its plural and its past."""
    stem = re.escape(word).replace(r"\ ", r"\s+")
    stem = f"{stem[:-1]}(y|ies)" if word.endswith("y") else f"{stem}(s|es|d|ed|med)?"
    return rf"(?<![\w-]){stem}(?![\w-])"


def is_there(word):
    return any(re.fullmatch(forms(term), " ".join(word.lower().split()), re.I) for term, *_ in ROWS)


def test_the_glossary_is_in_order_and_each_word_has_a_line_or_two():
    words = [word.lower() for word, *_ in ROWS]
    assert words == sorted(set(words))
    assert len(ROWS) >= 40
    assert [word for word, meaning, *_ in ROWS if not 20 < len(meaning) < 200] == []


@pytest.mark.parametrize(("word", "meaning", "number", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_a_word_leads_to_the_lesson_that_explains_it(word, meaning, number, name):
    """It stands there, and no earlier lesson has it in bold."""
    assert name.startswith(number)
    assert re.search(forms(word), PROSE[name], re.I)
    bold = [lesson for lesson, text in PROSE.items() if re.search(rf"\*\*{forms(word)}\*\*", text, re.I)]
    assert not bold or bold[0] >= name


@pytest.mark.parametrize("name", PROSE)
def test_every_word_that_a_lesson_defines_is_in_the_glossary(name):
    words = {" ".join(word.split()).lower() for word in DEFINED.findall(PROSE[name])}
    assert {word for word in words - EMPHASIS if not is_there(word)} == set()


def test_the_rule_sees_a_definition():
    text = "This is called **lag**, and a **round\ntrip**. Do it **at once**."
    assert DEFINED.findall(text) == ["lag", "round\ntrip"]
    assert not is_there("a word nobody explains")
    assert is_there("Entries")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_the_links_of_the_papers_beside_the_lessons_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        assert re.match(r"[a-z]+:", target) or (FOLDER / target).exists(), target
