"""Lesson 04: find a dead consumer's orders, take them over, and delete nobody who holds one."""

from contextlib import suppress
from functools import partial
from typing import Any

from orderstream.lab import server
from orderstream.lab.lessons.overdue import KEY, LONG_AGO, MINUTE, State, pending
from orderstream.lab.lessons.overdue import shift as shift_of_a_group
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Died, Witness

GROUP = "kitchen"  # not the group of the lesson: an answer works on the one that it is given
shift = partial(shift_of_a_group, group=GROUP)


@exercise(
    "04.1",
    "Which command tells about pending entries without delivering them to anybody?",
    "XPENDING with a range takes IDLE: in redis-py, xpending_range(…, idle=…).",
    "entries = r.xpending_range(key, group, '-', '+', 100, idle=…); return the 'message_id' of each",
)
def overdue(answer):
    for idle in (
        {"ann": (2, LONG_AGO), "carl": (2, 0)},
        {"ann": (12, LONG_AGO), "emil": (8, LONG_AGO), "carl": (2, 0)},
        {"carl": (150, 0), "ann": (2, LONG_AGO)},
        {"carl": (1_100, 0), "ann": (2, LONG_AGO)},
        {"emil": (70, LONG_AGO), "ann": (70, LONG_AGO)},
    ):
        with shift(idle) as witness:
            before, late = pending(), list(pending(MINUTE))
            got = answer(witness.client, KEY, GROUP, MINUTE)
            _unmoved(before, late, witness)
            assert isinstance(got, list), f"return a list of ids, not {got!r}"
            wrong = [each for each in got if not isinstance(each, str)]
            assert not wrong, f"return ids such as '1-0', not {wrong[0]!r}"
            busy = [each for each in got if before.get(each, ("?",))[0] == "carl"]
            assert not busy, f"in work is not overdue: {busy[0]} was given to carl a moment ago{witness.trace(*busy)}"
            first = late[:100]
            missing = [each for each in first if each not in got]
            found = f"{len(first) - len(missing)} of {len(first)} found"
            assert not missing, f"every overdue order is named: {missing[0]} is missing, {found}{witness.trace()}"
            assert len(got) <= 100, f"the first 100 at most: {len(late)} are overdue, and you name {len(got)}"
            assert got == first, f"each overdue order once, oldest first: expected {first}, got {got}"
    with shift({"ann": (3, LONG_AGO)}) as witness:
        server.current().client.xdel(KEY, "2-0")
        got = answer(witness.client, KEY, GROUP, MINUTE)
        told = "a deleted order is pending until somebody acks it, and 2-0 is overdue"
        assert got == ["1-0", "2-0", "3-0"], f"{told}: you name {got!r}{witness.trace()}"
        held = list(pending())
        assert held == got, f"looking changes nothing: pending were {got}, and now {held}{witness.trace()}"
    with shift({"ann": (2, LONG_AGO)}) as witness:
        got = answer(witness.client, KEY, GROUP, 2 * LONG_AGO)
        assert got == [], f"the limit is given: nothing is idle for 180 s, and you name {got!r}{witness.trace()}"


def _unmoved(before: State, late: list[str], witness: Witness) -> None:
    rule, now, still_late = "looking changes nothing", pending(), pending(MINUTE)
    for entry_id, (owner, count) in before.items():
        told = witness.trace(entry_id)
        assert entry_id in now, f"{rule}: {entry_id} is not pending any more{told}"
        holder, counted = now[entry_id]
        assert holder == owner, f"{rule}: {entry_id} was {owner}'s, now it is {holder}'s{told}"
        assert counted == count, f"{rule}: the delivery count of {entry_id} was {count}, now it is {counted}{told}"
        still = entry_id not in late or entry_id in still_late
        assert still, f"{rule}: {entry_id} was idle for 90 s, now its clock is back at 0{told}"


@exercise(
    "04.2",
    "How many entries does one XAUTOCLAIM with COUNT 1 look at, and what does an empty reply mean?",
    "XAUTOCLAIM with count=1, again from the cursor it returned (start_id=…), until that is '0-0'.",
    "cursor, entries = r.xautoclaim(key, group, me, min_idle_ms, start_id=cursor, count=1)[:2] in a loop; "
    "return the first entry that has an id, None once the cursor is '0-0'",
)
def take_over(answer):
    def ask(witness: Witness) -> Any:
        return answer(witness.client, KEY, GROUP, "bob", MINUTE)

    with shift({"ann": (3, LONG_AGO)}) as witness:
        before = pending()
        _one_entry(ask(witness), before, witness)
    with shift({"carl": (150, 0), "ann": (1, LONG_AGO)}) as witness:
        before = pending()
        got = ask(witness)
        _carl_keeps(150, witness)
        rule = "no overdue order is missed: ann's 151-0 stands behind 150 that are in work"
        assert got is not None, f"{rule}, and you returned None{witness.trace()}"
        _one_entry(got, before, witness)
    with shift({"bob": (1, LONG_AGO)}) as witness:
        got = ask(witness)
        told = "1-0 is overdue, and bob's own: an earlier process of this name died with it"
        assert got == ("1-0", {"item": "tea"}), f"{told}: you returned {got!r}{witness.trace()}"
    with shift({"carl": (2, 0)}) as witness:
        got = ask(witness)
        _carl_keeps(2, witness)
        assert got is None, f"nothing is overdue, so return None, not {got!r}{witness.trace()}"
    with shift({"ann": (1, LONG_AGO)}) as witness:
        claims = _rival(witness)
        got = ask(witness)
        if claims:
            _carl_keeps(1, witness)
            assert got is None, f"carl claimed 1-0 before you did, so return None, not {got!r}{witness.trace('1-0')}"
    with shift({"ann": (1, LONG_AGO)}) as witness:
        answer(witness.client, KEY, GROUP, "bob", 2 * LONG_AGO)
        owner = pending()["1-0"][0]
        assert owner == "ann", f"the limit is given: 1-0 is not idle for 180 s, now it is {owner}'s{witness.trace()}"
        answer(witness.client, KEY, GROUP, "dora", MINUTE)
        owner = pending()["1-0"][0]
        assert owner == "dora", f"the order goes to the one who asks: dora asked, now it is {owner}'s{witness.trace()}"
    with shift({"ann": (2, LONG_AGO)}) as witness:
        server.current().client.xdel(KEY, "1-0")
        got, rule = ask(witness), "no overdue order is missed: 1-0 was deleted, and 2-0 is there"
        assert got == ("2-0", {"item": "tea"}), f"{rule}: you returned {got!r}{witness.trace()}"


def _rival(witness: Witness) -> list[str]:
    """Let carl claim 1-0 right after the answer has seen it with XPENDING; return what he claimed."""
    answered = witness.answered
    claims: list[str] = []

    def and_then(words: tuple[str, ...], reply: Any) -> None:
        answered(words, reply)
        if words[0] == "XPENDING" and "1-0" in str(reply) and not claims:
            claims.extend(server.current().client.xclaim(KEY, GROUP, "carl", MINUTE, ["1-0"]))
            witness.note("carl", "claims 1-0 and begins" if claims else "is too late for 1-0")

    witness.answered = and_then  # type: ignore[method-assign]
    return claims


def _carl_keeps(many: int, witness: Witness) -> None:
    now = pending()
    for entry_id in (f"{n}-0" for n in range(1, many + 1)):
        owner = now.get(entry_id, ("nobody", 0))[0]
        told = f"carl works on {entry_id}, now it is {owner}'s{witness.trace(entry_id)}"
        assert owner == "carl", f"an order in work is left alone: {told}"


def _one_entry(got: Any, before: State, witness: Witness) -> None:
    now = pending()
    gone = [entry_id for entry_id in before if entry_id not in now]
    assert not gone, f"claimed is not handled: {gone[0]} is not pending any more{witness.trace(*gone)}"
    mine = [entry_id for entry_id in before if now[entry_id][0] == "bob"]
    assert mine, f"an overdue order gets a new owner: bob claimed none, and ann still holds them{witness.trace()}"
    told = witness.trace(*mine)
    assert len(mine) == 1, f"one order at a time: {', '.join(mine)} would all go down with bob{told}"
    [entry_id] = mine
    fields = {"item": "tea"}
    assert got == (entry_id, fields), f"bob claimed {entry_id}: return {(entry_id, fields)}, not {got!r}{told}"
    count = now[entry_id][1]
    assert count == 2, f"a claim counts as a delivery: {entry_id} came a second time, the count says {count}{told}"
    young = entry_id not in pending(MINUTE)
    assert young, f"a claim starts the clock anew: {entry_id} is bob's, and overdue, so others take it at once{told}"


@exercise(
    "04.3",
    "What does XGROUP DELCONSUMER do with orders that the consumer still holds?",
    "XPENDING for one consumer (consumername=…), XCLAIM what it names, and only then XGROUP DELCONSUMER.",
    "while entries := r.xpending_range(key, group, '-', '+', 100, consumername=dead): r.xclaim(key, group, heir, 0, "
    "[their ids]); then r.xgroup_delconsumer(key, group, dead)",
)
def retire(answer):
    for many in (3, 250):
        with shift({"ann": (many, LONG_AGO), "carl": (2, 0)}) as witness:
            before = pending()
            got = answer(witness.client, KEY, GROUP, "ann", "bob")
            _nothing_lost(before, witness)
            _all_moved(before, witness)
            assert got == many, f"return how many were moved: ann held {many}, you say {got!r}"
    with shift({"ann": (1, LONG_AGO), "emil": (1, LONG_AGO)}) as witness:
        answer(witness.client, KEY, GROUP, "emil", "dora")
        owners = {entry_id: owner for entry_id, (owner, _) in pending().items()}
        told = f"this time emil is dead and dora the heir: now the owners are {owners}"
        assert owners == {"1-0": "ann", "2-0": "dora"}, f"{told}{witness.trace()}"
    for word in ("XPENDING", "XCLAIM", "XAUTOCLAIM", "DELCONSUMER"):
        with shift({"ann": (3, LONG_AGO)}) as witness:
            before = pending()
            witness.die_after(word)
            with suppress(Died):
                answer(witness.client, KEY, GROUP, "ann", "bob")
            _nothing_lost(before, witness)
    with shift({"ann": (3, 0), "carl": (2, 0)}) as witness:
        before = pending()
        answer(witness.client, KEY, GROUP, "ann", "bob")
        _nothing_lost(before, witness, ", read just before it died")
        _all_moved(before, witness)
    with shift({"carl": (2, 0)}) as witness:
        server.current().client.xgroup_createconsumer(KEY, GROUP, "ann")
        server.current().client.xgroup_createconsumer(KEY, GROUP, "dora")
        got = answer(witness.client, KEY, GROUP, "ann", "bob")
        assert got == 0, f"ann held nothing, so 0 were moved, not {got!r}"
        _all_moved(pending(), witness)
        names = [consumer["name"] for consumer in server.current().client.xinfo_consumers(KEY, GROUP)]
        told = f"dora holds nothing, and may read at any time; she is removed{witness.trace('DELCONSUMER')}"
        assert "dora" in names, f"the living stay: {told}"
    with shift({"ann": (1_100, LONG_AGO)}) as witness:
        before = pending()
        got = answer(witness.client, KEY, GROUP, "ann", "bob")
        _nothing_lost(before, witness)
        assert got == 1_100, f"return how many were moved: ann held 1100, you say {got!r}"


def _nothing_lost(before: State, witness: Witness, when: str = "") -> None:
    now = pending()
    lost = [entry_id for entry_id in before if entry_id not in now]
    if lost:
        told = witness.trace(lost[0], "DELCONSUMER")
        raise AssertionError(f"no order is lost: {lost[0]} was {before[lost[0]][0]}'s{when}, now it is nobody's{told}")


def _all_moved(before: State, witness: Witness) -> None:
    now = pending()
    for entry_id, (owner, _) in before.items():
        holder, told = now[entry_id][0], witness.trace(entry_id)
        if owner == "carl":
            assert holder == "carl", f"the living keep their orders: {entry_id} was carl's, now it is {holder}'s{told}"
        else:
            assert holder == "bob", f"the heir gets every order: {entry_id} is {holder}'s, not bob's{told}"
    names = [consumer["name"] for consumer in server.current().client.xinfo_consumers(KEY, GROUP)]
    told = witness.trace("DELCONSUMER")
    assert "ann" not in names, f"the dead consumer goes: ann still stands in the group{told}"
    assert "carl" in names, f"the living stay: carl does not stand in the group any more{told}"
