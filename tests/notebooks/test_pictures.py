"""A stored picture shows what its sentence says: a recovery is not a vertical line at the right edge."""

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import rules

FOLDER = Path(__file__).parents[2] / "notebooks"
RECOVERIES = [("09", "burst-run"), ("10", "still"), ("12", "still")]
"""The cell in which a stream recovers, before a picture is drawn of it."""


@pytest.mark.parametrize(("lesson", "name"), RECOVERIES)
def test_a_picture_of_a_recovery_goes_on_for_two_seconds(lesson, name):
    [path] = FOLDER.glob(f"{lesson}_*.ipynb")
    [cell] = [cell for cell in rules.code(nbformat.read(path, 4)) if cell["id"] == name]
    waits = re.findall(r"\.until\((.+)\)$", cell.source, re.M)
    assert re.search(r"\b(pending|held\[.+\]) == 0\b.*, then_s=2$", waits[-1])


@pytest.mark.parametrize("lesson", ["08", "09", "10", "12"])
def test_a_number_is_printed_and_not_a_true(lesson):
    """A learner who reads "True" has to trust the sentence that was compared; a number can be compared by the eye."""
    [path] = FOLDER.glob(f"{lesson}_*.ipynb")
    cells = rules.code(nbformat.read(path, 4))
    said = {cell["id"]: "".join(map(rules.text_of, cell.outputs)) for cell in cells}
    assert [name for name, text in said.items() if re.search(r"\b(True|False)\b", text)] == []
