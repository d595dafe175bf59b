"""
Sentences that a real server has disproved do not come back, in no lesson and on no page beside them.

Each stands with what is true instead. The tests that prove it are in ``tests/redis/test_facts.py`` and
``tests/lab/test_own_server.py``, or it is a cell of the lesson.
"""

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import rules

FOLDER = Path(__file__).parents[2] / "notebooks"
DISPROVED = {
    r"\b(group|it) (hands|gives)( out)? each (order|entry) (out )?\W*once": "only a new one; an order can come again",
    r"\bwithin a group each order once": "each new one to one consumer; an order can come again",
    r"\bRedis that is full refuses\b": "with maxmemory and noeviction only; allkeys-lru takes the stream away",
    r"\b[Ii]ds [^.]*never used again": "they are, once the key was deleted",
    r"\bnothing can overtake\b": "a step that fails and comes again later is overtaken",
}
PAGES = {
    path.name: " ".join(text for _, text in rules.prose(nbformat.read(path, 4)))
    if path.suffix == ".ipynb"
    else path.read_text("utf-8")
    for path in [*sorted(FOLDER.glob("*.ipynb")), *sorted(FOLDER.glob("*.md")), FOLDER.parent / "README.md"]
}


@pytest.mark.parametrize("name", PAGES)
def test_no_page_says_what_a_server_has_disproved(name):
    found = {true for pattern, true in DISPROVED.items() if re.search(pattern, " ".join(PAGES[name].split()))}
    assert not found


@pytest.mark.parametrize(
    "said",
    [
        "A group hands out each entry **once**: the work is shared",
        "A **group** hands out each order once. The stream keeps it.".replace("**", ""),
        "2. Within a group each order once, across groups each order again.".replace("Within", "within"),
        "A Redis that is full refuses new orders and says so.",
        "Ids only grow and are never used again.",
        "How the two orders mix is open; within each, nothing can overtake.",
    ],
)
def test_what_was_disproved_is_recognized(said):
    assert any(re.search(pattern, said) for pattern in DISPROVED)


@pytest.mark.parametrize("name", [name for name in PAGES if name.endswith(".ipynb")])
def test_a_cell_that_tells_of_timeouts_and_retries_of_redis_py_names_its_version(name):
    """8 waits 5 s and repeats ten times; 5 to 7 wait for as long as nothing comes, and repeat 0 to 3 times."""
    for cell, text in rules.prose(nbformat.read(FOLDER / name, 4)):
        told = re.search(r"socket timeout|about a minute|ten times|three times, quietly", text)
        if "redis-py" in text and told:
            assert re.search(r"redis-py \d|depends on its version", text), cell["id"]
