"""What lessons 04 to 07 say stands beside what shows it. Each line here was once missing, or false."""

import re
from pathlib import Path

import nbformat
import pytest

from orderstream.lab.lessons.questions import questions

pytestmark = pytest.mark.any_server("the text of notebooks; no Redis is asked")

BOOKS = {
    path.name[:2]: {cell["id"]: cell for cell in nbformat.read(path, 4).cells}
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("0[4567]_*.ipynb"))
}


def place(lesson, cell):
    return list(BOOKS[lesson]).index(cell)


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_when_ann_died_is_asked_before_the_skull_shows_it_and_its_silence_is_not_shortened():
    assert place("04", "break-picture") < place("04", "break-when") < place("04", "break-lanes")
    assert 'time="even"' in BOOKS["04"]["break-lanes"].source


def test_pending_stands_still_for_long_enough_to_be_seen():
    [limit_ms] = re.findall(r'"claim_idle_ms": ([\d_]+)', BOOKS["04"]["panel"].source)
    assert int(limit_ms) >= 5_000


def test_seven_lines_of_lua_and_the_trap_stand_before_the_first_script():
    book = BOOKS["05"]
    assert place("05", "script-h") < place("05", "lua") < place("05", "script")
    [primer] = re.findall(r"```text\n(.+?)\n```", book["script-h"].source, re.S)
    assert len(primer.splitlines()) == 7
    words = ("KEYS[1]", "ARGV[2]", "texts", "~=", "unpack", "nil", "1 is the first")
    assert [word for word in words if word not in primer] == []
    assert "it is 3: None" in printed(book["lua"])


def test_nothing_is_called_all_or_nothing_unless_it_is_a_wrong_belief():
    """A script and a MULTI both keep what ran before their error: lesson 05 shows it of each, lesson 06 once more."""
    for lesson, book in BOOKS.items():
        for name, cell in book.items():
            text = re.sub(r"\*Wrong beliefs.*", "", cell.source, flags=re.S).replace("not all or nothing", "")
            assert not re.search("all or nothing|both, or neither", text), (lesson, name)
    assert "XADD first, pending: 1" in printed(BOOKS["05"]["script-run"])
    assert "XACK first, pending: 0" in printed(BOOKS["05"]["script-run"])
    assert "DECRBY refused, and o-2 marked: True" in printed(BOOKS["06"]["once-run"])


def test_setid_is_among_the_looks_of_lesson_04_and_lesson_05_asks_seven_questions():
    assert list(questions("05")) == [f"05{letter}" for letter in "abcdefg"]
    assert "xgroup_setid" in BOOKS["04"]["look-setid"].source


def test_a_claim_about_retries_or_timeouts_names_the_redis_py():
    for name, cell in BOOKS["06"].items():
        if re.search(r"tries again by itself|10 retries|ten times|`redis\.Redis\(\)` ", cell.source):
            assert "redis-py 8" in cell.source or "redis-py 6" in cell.source, name
    assert "redis-py 8" in printed(BOOKS["06"]["error-run"])


def test_the_range_of_the_rate_s_slider_holds_what_a_consumer_can_do():
    [rates] = re.findall(r"^RATES = (.+)$", BOOKS["07"]["little-start"].source, re.M)
    assert "100_000" in rates
    assert "rates=RATES" in BOOKS["07"]["little-start"].source


def test_what_is_stored_of_a_measurement_is_what_the_text_says_of_it():
    """A refresh on a busy machine can store the opposite, and the comparison with that would pass."""
    for name in ("batch-sweep", "where-run", "where-package"):
        assert "True" in printed(BOOKS["07"][name])
        assert "False" not in printed(BOOKS["07"][name])
