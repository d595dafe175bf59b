"""Lesson 01: ask the log, and follow it without a gap."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise

KEY = "check"


@contextmanager
def log(*ids: str) -> Iterator[Any]:
    """Make a stream with these entries, and remove it when the judge is done."""
    server.current().fresh(KEY)
    try:
        client = server.current().client
        for entry_id in ids:
            client.xadd(KEY, {"item": "tea"}, id=entry_id)
        yield client
    finally:
        server.current().fresh(KEY)


def ids_of(entries: Any) -> list[str]:
    assert isinstance(entries, list), f"the entries must be a list of (id, fields), not {entries!r}"
    for entry in entries:
        assert _is_pair(entry), f"an entry is a pair (id, fields), not {entry!r}"
    return [entry_id for entry_id, _ in entries]


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


@exercise(
    "01.1",
    "At which end of the log are the newest entries, and which command starts there?",
    "XREVRANGE with a COUNT gives the newest, newest first.",
    "return r.xrevrange(key, count=…)[::-1]",
)
def latest(answer):
    with log("1-0", "2-0", "3-0", "4-0"):
        got = ids_of(answer(KEY, 2))
        assert got != ["1-0", "2-0"], "1-0 and 2-0 are the oldest entries, and the newest were asked for"
        assert got != ["4-0", "3-0"], "these are the right two, but the screen shows them in the order they came"
        assert got == ["3-0", "4-0"], f"of 1-0 to 4-0 the newest two are 3-0 and 4-0, in this order, not {got}"
        got = ids_of(answer(KEY, 9))
        assert got == ["1-0", "2-0", "3-0", "4-0"], f"asked for 9 of 4 entries, all 4 are right, not {got}"


@exercise(
    "01.2",
    "Your function is called twice, and nothing came in between. Which id must the second call hand back?",
    "XREAD returns [] when there is nothing, else one pair (stream, entries) per stream.",
    "reply = r.xread({key: last_id}); empty: return [], last_id; else return reply[0][1] and the id of its last entry",
)
def read_on(answer):
    seen: list[str] = []
    with log("1-0", "2-0") as client:
        place = "0"
        for call, added in enumerate([[], [], ["3-0"], ["4-0", "5-0"]], 1):
            for entry_id in added:
                client.xadd(KEY, {"item": "tea"}, id=entry_id)
            pair = answer(KEY, place)
            assert _is_pair(pair), f"return two things, the entries and an id, not {pair!r}"
            entries, place = pair
            seen += ids_of(entries)
            _each_once(seen, client.xlen(KEY), call, place)


def _each_once(seen: list[str], length: int, call: int, place: Any) -> None:
    there = [f"{n}-0" for n in range(1, length + 1)]
    where = f"call {call}"
    twice = [entry_id for entry_id in there if seen.count(entry_id) > 1]
    assert not twice, f"each entry once: {twice[0]} came a second time, in {where}"
    missed = [entry_id for entry_id in there if entry_id not in seen]
    assert not missed, f"no entry is lost: {missed[0]} was in the log, and {where} did not return it"
    assert seen == there, f"entries come in the order of the log: {there}, not {seen}"
    assert place == there[-1], f"after {there[-1]}, ask after {there[-1]} next time; {where} handed back {place!r}"


@exercise(
    "01.3",
    "What does a bare 3000 mean as the end of a range, and is 3000-0 part of it?",
    "XRANGE takes an end without the id itself when it begins with a parenthesis: (id.",
    "return r.xrange(key, start_ms, …), where the end is '(', then end_ms, then '-0'",
)
def between(answer):
    with log("1000-0", "2000-0", "2000-1", "2999-9", "3000-0", "3000-7", "4000-0"):
        got = ids_of(answer(KEY, 2000, 3000))
        late = [entry_id for entry_id in got if int(entry_id.partition("-")[0]) >= 3000]
        assert not late, f"an order is in one report only: {', '.join(late)} belongs to the next one"
        assert "2000-0" in got, "the start belongs to the report: 2000-0 is missing"
        assert got == ["2000-0", "2000-1", "2999-9"], f"expected 2000-0, 2000-1 and 2999-9, got {got}"
        assert ids_of(answer(KEY, 5000, 6000)) == [], "nothing came from 5000 to 6000, so the report is empty"
