"""Lesson 01: ask the log, and follow it without a gap."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness, ids_in

KEY = "check"
PATIENCE = 300  # commands after which an answer is ended
SPARE = 20  # entries that an answer may read in vain


@contextmanager
def log(*ids: str) -> Iterator[Witness]:
    """Make a stream with these entries, yield a witness, and remove the stream when the judge is done."""
    server.current().fresh(KEY)
    try:
        add(*ids)
        with Witness(KEY, patience=PATIENCE) as witness:
            yield witness
    finally:
        server.current().fresh(KEY)


def add(*ids: str) -> None:
    for entry_id in ids:
        server.current().client.xadd(KEY, fields_of(entry_id), id=entry_id)


def fields_of(entry_id: str) -> dict[str, str]:
    return {"item": "tea", "order": f"o-{entry_id}"}


def numbered(*numbers: int) -> list[str]:
    return [f"{n}-0" for n in numbers]


def ids_of(entries: Any) -> list[str]:
    assert isinstance(entries, list), f"the entries must be a list of (id, fields), not {entries!r}"
    for entry in entries:
        assert _is_pair(entry), f"an entry is a pair (id, fields), not {entry!r}"
        entry_id, fields = entry
        assert fields == fields_of(entry_id), f"an entry comes as it was added, (id, fields), not {entry!r}"
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
    with log("1-0", "2-0", "3-0", "4-0") as witness:
        got = ids_of(answer(witness.client, KEY, 2))
        assert got != ["1-0", "2-0"], "1-0 and 2-0 are the oldest entries, and the newest were asked for"
        assert got != ["4-0", "3-0"], "these are the right two, but the screen shows them in the order they came"
        assert got == ["3-0", "4-0"], f"of 1-0 to 4-0 the newest two are 3-0 and 4-0, in this order, not {_few(got)}"
        got = ids_of(answer(witness.client, KEY, 9))
        assert got == ["1-0", "2-0", "3-0", "4-0"], f"asked for 9 of 4 entries, all 4 are right, not {got}"
    with log(*numbered(*range(1, 100), 101, 102)) as witness:
        got = ids_of(answer(witness.client, KEY, 3))
        came = "101-0 and 102-0 came behind 99-0, and nothing came in between"
        assert got == ["99-0", "101-0", "102-0"], f"{came}: these are the newest three, not {_few(got)}"
        _reads_little(witness, 3)
    with log("1-0", "1-9", "1-10", "2-0") as witness:
        got = ids_of(answer(witness.client, KEY, 3))
        told = "1-9 and 1-10 came in one millisecond, one after the other, and before 2-0"
        assert got == ["1-9", "1-10", "2-0"], f"{told}: you return {_few(got)}"
        witness.freeze_after(witness.commands()[0], lambda: add("3-0"))
        got = ids_of(answer(witness.client, KEY, 3))
        assert len(got) == 3, f"3-0 came while your function was at work, and for n=3 you return {_few(got)}"
    with log() as witness:
        got = ids_of(answer(witness.client, KEY, 3))
        assert got == [], f"no order ever came, so there is none to show, and not {_few(got)}"


def _few(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (f", … {len(ids)} in all" if len(ids) > 5 else "") or "nothing"


def _reads_little(witness: Witness, needed: int) -> None:
    """Fail if the answer made Redis send many more entries than it *needed*."""
    assert witness.calls, "use the r that your function gets: it never asked Redis for anything"
    sent = len(ids_in([reply for _, reply in witness.calls]))
    assert sent <= needed + SPARE, (
        f"a log may be long, so read only what is asked for: Redis sent {sent} entries, and {needed} were needed"
        f"{witness.trace()}"
    )


@exercise(
    "01.2",
    "Your function is called twice, and nothing came in between. Which id must the second call hand back?",
    "XREAD returns [] when there is nothing, else one pair (stream, entries) per stream.",
    "reply = r.xread({key: last_id}); empty: return [], last_id; else return reply[0][1] and the id of its last entry",
)
def read_on(answer):
    came, seen, place = numbered(*range(1, 99)), [], "0"
    with log(*came) as witness:
        for call, added in enumerate(([], [], ["99-0"], ["100-0", "101-0"], ["101-1", "102-3"]), 1):
            if call == 5:
                server.current().client.xdel(KEY, place)  # the bookmark stays good when its entry is gone
            add(*added)
            came += added
            witness.calls.clear()
            try:
                pair = answer(witness.client, KEY, place)
            except redis.TimeoutError:
                if "BLOCK" not in witness.calls[-1][0]:
                    raise
                raise AssertionError(
                    f"nothing new is an answer, too: call {call} waits, and never comes back"
                ) from None
            assert _is_pair(pair), f"return two things, the entries and an id, not {pair!r}"
            entries, place = pair
            seen += ids_of(entries)
            _each_once(seen, came, call, place)
        _reads_little(witness, 1)
        came.append("103-0")
        _one_comes_meanwhile(answer, witness, seen, came, place)
        entries, _ = answer(witness.client, KEY, "0")
        left = [entry_id for entry_id in came if entry_id != "101-0"]  # which was deleted
        told = f"a second reader begins at 0, and all {len(left)} entries are there"
        assert ids_of(entries) == left, f"{told}: you return {_few(ids_of(entries))}{witness.trace()}"


def _one_comes_meanwhile(answer: Any, witness: Witness, seen: list[str], there: list[str], place: str) -> None:
    """Add the last of *there* after the first command of call 6. Call 7 may be the one that returns it."""
    late = there[-1]

    def come() -> None:
        add(late)
        witness.note("a producer", f"adds {late}")

    witness.freeze_after(witness.commands()[0], come)
    for _ in range(2):
        entries, place = answer(witness.client, KEY, place)
        seen += ids_of(entries)
    assert late in seen, (
        f"no entry is lost: {late} came while call 6 was at work, and call 7 missed it{witness.trace()}"
    )
    _each_once(seen, there, 7, place)


def _each_once(seen: list[str], there: list[str], call: int, place: Any) -> None:
    where = f"call {call}"
    twice = [entry_id for entry_id in there if seen.count(entry_id) > 1]
    assert not twice, f"each entry once: {twice[0]} came a second time, in {where}"
    missed = [entry_id for entry_id in there if entry_id not in seen]
    assert not missed, f"no entry is lost: {missed[0]} was in the log, and {where} did not return it"
    assert seen == there, f"entries come in the order of the log, and not as you return them in {where}"
    assert place == there[-1], f"after {there[-1]}, ask after {there[-1]} next time; {where} handed back {place!r}"


@exercise(
    "01.3",
    "What does a bare 3000 mean as the end of a range, and is 3000-0 part of it?",
    "XRANGE takes an end without the id itself when it begins with a parenthesis: (id.",
    "return r.xrange(key, start_ms, …), where the end is '(', then end_ms, then '-0'",
)
def between(answer):
    with log("1000-0", "1999-1", "2000-0", "2000-1", "2999-12345", "3000-0", "3000-7", "4000-0") as witness:
        got = ids_of(answer(witness.client, KEY, 2000, 3000))
        early = [entry_id for entry_id in got if int(entry_id.partition("-")[0]) < 2000]
        assert not early, f"an order is in one report only: {', '.join(early)} belongs to the one before"
        late = [entry_id for entry_id in got if int(entry_id.partition("-")[0]) >= 3000]
        assert not late, f"an order is in one report only: {', '.join(late)} belongs to the next one"
        assert "2000-0" in got, "the start belongs to the report: 2000-0 is missing"
        assert "2999-12345" in got, "all of the last millisecond belongs to the report: 2999-12345 is missing"
        assert got == ["2000-0", "2000-1", "2999-12345"], f"expected 2000-0, 2000-1 and 2999-12345, got {got}"
        got = ids_of(answer(witness.client, KEY, 5000, 6000))
        assert got == [], f"nothing came from 5000 to 6000, so the report is empty, and not {_few(got)}"
        got = ids_of(answer(witness.client, KEY, 0, 1000))
        assert got == [], f"nothing came from 0 to 1000, so the report is empty, and not {_few(got)}"
        busy = numbered(*range(5_000, 5_150))
        add(*busy)
        got = ids_of(answer(witness.client, KEY, 5_000, 6_000))
        assert got == busy, f"every order of that second belongs to the report: 150 came, and you return {_few(got)}"
    with log(*numbered(*range(9_000, 10_500, 10))) as witness:
        got = ids_of(answer(witness.client, KEY, 9_990, 10_010))
        assert got == ["9990-0", "10000-0"], f"from 9990 to 10010 came 9990-0 and 10000-0, you return {_few(got)}"
        _reads_little(witness, 2)
