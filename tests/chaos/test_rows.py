"""Every row has a test."""

import re
from pathlib import Path

from tests.chaos.rows import ROWS

TESTS = Path(__file__).parents[1]
MARK = re.compile(r"mark\.row\(([\d, ]+)\)")


def test_every_row_is_shown_by_a_test():
    shown = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for numbers in MARK.findall(path.read_text())
        for number in numbers.split(",")
    }
    missing = [f"{number} {fault}: {expected}" for number, (fault, expected) in ROWS.items() if number not in shown]
    assert missing == []
    assert shown <= set(ROWS)


def test_the_rows_are_numbered_without_a_gap():
    assert list(ROWS) == list(range(1, 109))
