"""Lesson 03: tell what is gone, and trim without losing anything."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness

KEY = "check"
PATIENCE = 300  # commands after which an answer is ended
LAST = "6-0"
"""The last of the six entries with which most judges begin."""


@contextmanager
def watched(ids: Iterable[str], groups: Mapping[str, tuple[int, Iterable[str]]]) -> Iterator[Witness]:
    """
    Make a stream with these entries, yield a witness, and remove the stream when the judge is done.

    Args:
        ids: The entries.
        groups: Name -> how many entries its consumer, bob, was given, and which of them he has acked.
    """
    server.current().fresh(KEY)
    try:
        with Witness(KEY, "order_group", PATIENCE) as witness:
            client = witness.client
            for entry_id in ids:
                client.xadd(KEY, {"item": "tea"}, id=entry_id)
            for name, (given, acked) in groups.items():
                client.xgroup_create(KEY, name, "0")
                if given:
                    client.xreadgroup(name, "bob", {KEY: ">"}, count=given)
                for entry_id in acked:
                    client.xack(KEY, name, entry_id)
            yield witness
    finally:
        server.current().fresh(KEY)


def six() -> list[str]:
    return [f"{n}-0" for n in range(1, 7)]


def place(entry_id: str) -> tuple[int, int]:
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count)


@exercise(
    "03.1",
    "A reply holds (id, fields). What does an entry that was trimmed away have for fields?",
    "XREADGROUP with 0 gives (id, {}) for an entry that is gone; an entry that is there has at least one field.",
    "entries = reply[0][1]; return [(i, f) for i, f in entries if …], [i for i, f in entries if not …]",
)
def sort_out(answer):
    with watched(six(), {}) as w:
        w.client.xadd(KEY, {"note": ""}, id="7-0")
        w.client.xgroup_create(KEY, "order_group", "0")
        w.client.xreadgroup("order_group", "bob", {KEY: ">"})
        w.client.xack(KEY, "order_group", "2-0")
        w.client.xtrim(KEY, maxlen=4, approximate=False)
        w.client.xdel(KEY, "5-0")
        there, gone = _sorted(answer, w)
        for entry_id, how in (("1-0", "XTRIM"), ("3-0", "XTRIM"), ("5-0", "XDEL")):
            story = w.trace(entry_id, how)
            assert not any(entry_id in each for each in there), (
                f"without fields there is no order: {entry_id} is gone, and you hand it on{story}"
            )
            assert entry_id in gone, f"a loss must not be silent: {entry_id} was bob's, and you name it nowhere{story}"
        for entry_id in ("4-0", "6-0", "7-0"):
            assert entry_id not in gone, f"{entry_id} is still there, and you call it gone{w.trace(entry_id)}"
        assert gone == ["1-0", "3-0", "5-0"], f"1-0, 3-0 and 5-0 are gone, and you say {gone!r}"
        assert there == [("4-0", {"item": "tea"}), ("6-0", {"item": "tea"}), ("7-0", {"note": ""})], (
            f"4-0, 6-0 and 7-0 are there and can be handled, as (id, fields); you give {there!r}{w.trace()}"
        )
        w.client.xack(KEY, "order_group", *(entry_id for entry_id in (*six(), "7-0")))
        assert _sorted(answer, w) == ([], []), "nothing is pending any more, so both lists are empty"


def _sorted(answer: Any, w: Witness) -> Any:
    reply = w.client.xreadgroup("order_group", "bob", {KEY: "0"})
    for entry_id, fields in reply[0][1]:
        if not fields:
            w.note("the reply", f"{entry_id} has no fields")
    pair = answer(reply)
    two = isinstance(pair, tuple) and [type(part) for part in pair] == [list, list]
    assert two, f"return two lists, what is there and what is gone, not {pair!r}"
    return pair


@exercise(
    "03.2",
    "Which two kinds of entries does a group still need? Which is the older one? And of all the groups?",
    "XINFO GROUPS gives every group's last-delivered-id and number of pending entries; XPENDING the oldest as 'min'.",
    "for each group take last-delivered-id with 1 added to its second number and, if group['pending'], "
    "r.xpending(key, group['name'])['min']; the answer is the smallest, compared as two numbers: (int, int)",
)
def keep_from(answer):
    _keeps(answer, "3-0", "is pending in books", {"books": (4, ["1-0", "2-0", "4-0"])})
    _keeps(answer, "5-0", "was not read by books", {"books": (4, six()[:4])})
    _keeps(answer, "3-0", "is pending in books", {"kitchen": (6, six()), "books": (4, ["1-0", "2-0", "4-0"])})
    _keeps(answer, "2-0", "was not read by kitchen", {"kitchen": (1, ["1-0"]), "books": (6, ["1-0", "2-0"])})
    _keeps(answer, "1-0", "was not read by books", {"kitchen": (6, six()), "books": (0, [])})
    tens = ["8-0", "9-0", "10-0", "11-0"]
    _keeps(answer, "9-0", "is pending in kitchen", {"kitchen": (4, ["8-0", "10-0"]), "books": (4, tens[:2])}, tens)
    same = ["5-8", "5-9", "5-10"]  # in one millisecond
    _keeps(answer, "5-9", "is pending in kitchen", {"kitchen": (3, ["5-8", "5-10"]), "books": (3, same)}, same)
    _keeps(answer, None, "", {"kitchen": (6, six()), "books": (6, six())})
    with watched(six(), {"books": (4, [])}) as w:
        w.client.xclaim(KEY, "books", "ann", 0, ["3-0"], idle=90_000, justid=True)
        got, trace = _id(answer, w), w.trace("XCLAIM", "GROUPS", "XPENDING")
        assert got <= (1, 0), f"1-0 is pending in books, for bob, and you would keep from {got[0]}-{got[1]} on{trace}"
    with watched(six(), {}) as w:
        assert _id(answer, w) <= (1, 0), "without a group nobody has acknowledged anything: 1-0 must stay"


def _keeps(answer: Any, needed: str | None, why: str, groups: Any, ids: Iterable[str] = ()) -> None:
    """Fail unless the answer keeps *needed*, the oldest entry that must stay. None: all that are there may go."""
    ids = list(ids) or six()
    with watched(ids, groups) as w:
        got = _id(answer, w)
        said = f"{got[0]}-{got[1]}"
        if needed is None:
            trace = w.trace("GROUPS", "XPENDING")
            assert got > place(LAST), f"every group has acknowledged all up to {LAST}, and you keep {said}{trace}"
            assert got <= (6, 1), f"the next order may come as 6-1, unread, and you keep from {said} on{trace}"
            return
        trace = w.trace(needed, "XREADGROUP", "GROUPS", "XPENDING")
        assert got <= place(needed), f"{needed} {why}, and you would keep from {said} on{trace}"
        free = [entry_id for entry_id in ids if got <= place(entry_id) < place(needed)]
        assert not free, f"every group has acknowledged {free[0]}, and you would keep from {said} on{w.trace(free[0])}"


def _id(answer: Any, w: Witness) -> tuple[int, int]:
    got = answer(w.client, KEY)
    an_id = isinstance(got, str) and all(part.isdecimal() for part in got.split("-", 1))
    assert an_id, f"return an id, not {got!r}"
    return place(got if "-" in got else f"{got}-0")


@exercise(
    "03.3",
    "Which stays right while new orders come: how many entries to keep, or from which id on?",
    "XTRIM with MINID keeps everything from an id on. redis-py adds ~ to it unless you say approximate=False.",
    "return r.xtrim(key, minid=keep_from(r, key), …)",
)
def safe_trim(answer):
    behind = {"kitchen": (6, six()), "books": (4, ["1-0", "2-0", "4-0"])}
    with watched(six(), behind) as w:
        removed, left = _trims(answer, w)
        for entry_id, why in [("3-0", "is pending in books"), *((e, "was not read by books") for e in ("5-0", "6-0"))]:
            assert entry_id in left, f"no group loses an order: {entry_id} {why}, and it is gone{_cuts(w, entry_id)}"
        for entry_id in ("1-0", "2-0"):
            assert entry_id not in left, (
                f"what every group has acknowledged may go: {entry_id} is still there{_cuts(w, entry_id)}"
            )
        assert removed == 6 - len(left), f"{6 - len(left)} entries went, and you return {removed!r}{_cuts(w)}"
    with watched(six(), {"kitchen": (6, six()), "books": (0, [])}) as w:
        _, left = _trims(answer, w)
        assert left == six(), f"no group loses an order: books has read nothing yet, and you removed it{_cuts(w)}"
        commands = w.commands()
    for name in dict.fromkeys(commands):
        _one_is_read_after(name, answer)
    with watched(six(), {}) as w:
        _, left = _trims(answer, w)
        assert left == six(), f"without a group nobody has acknowledged anything, and you removed it{_cuts(w)}"
    with watched(six(), {"kitchen": (6, six())}) as w:
        came = _before_the_cut(w, "7-0")
        removed, left = _trims(answer, w)
        assert not came or "7-0" in left, (
            f"no group loses an order: 7-0 came between your look and your cut, and it is gone{_cuts(w, '7-0')}"
        )
        stays = [entry_id for entry_id in six() if entry_id in left]
        assert not stays, f"the only group has acknowledged all six, and {', '.join(stays)} is still there{_cuts(w)}"
        told = "six entries went, while a producer added one" if came else "six entries went"
        assert removed == 6, f"{told}, and you return {removed!r}{_cuts(w, '7-0')}"


def _one_is_read_after(name: str, answer: Any) -> None:
    """Freeze the answer after its first *name*. Meanwhile bob reads 6-0, the only entry that was new."""
    with watched(six(), {"kitchen": (5, six()[:5])}) as w:

        def read() -> None:
            server.current().client.xreadgroup("kitchen", "bob", {KEY: ">"})
            w.note("bob", f"reads {LAST}")

        w.freeze_after(name, read)
        _, left = _trims(answer, w)
        told = f"bob read {LAST} after your {name}, has it in hand, and it is gone"
        assert LAST in left, f"no group loses an order: {told}{_cuts(w, LAST)}"


def _trims(answer: Any, w: Witness) -> tuple[Any, list[str]]:
    """Return what the answer returns, and the entries that it leaves."""
    removed = answer(w.client, KEY)
    return removed, [entry_id for entry_id, _ in server.current().client.xrange(KEY)]


def _cuts(w: Witness, *words: str) -> str:
    """Return the lines about these entries, the answer's questions, and every command that can remove an entry."""
    return w.trace(*words, "GROUPS", "XPENDING", "XTRIM", "XDEL", "XACKDEL", "XDELEX", "DEL")


def _before_the_cut(w: Witness, entry_id: str) -> list[str]:
    """Add an order just before the answer's XTRIM. The returned list then holds its id."""
    came: list[str] = []
    really = w.client.execute_command

    def execute(*words: Any, **options: Any) -> Any:
        if words[0] == "XTRIM" and not came:
            came.append(server.current().client.xadd(KEY, {"item": "tea"}, id=entry_id))
            w.note("a producer", f"adds {entry_id}")
        return really(*words, **options)

    w.client.execute_command = execute
    return came
