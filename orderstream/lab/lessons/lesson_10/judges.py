"""Lesson 10: what newer commands do, written for every version."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from orderstream.lab import server
from orderstream.lab.lessons.overdue import GROUP, KEY, LONG_AGO, MINUTE, PATIENCE, pending, shift
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Died, Witness

TEA = {"item": "tea"}
COMMANDS = ("XACK", "XINFO", "XPENDING", "XDEL", "XACKDEL", "XDELEX")


@exercise(
    "10.1",
    "Which command tells how often an entry was delivered, and can it show you overdue entries only?",
    "XPENDING with IDLE, XCLAIM with the same min-idle, and XREADGROUP if nothing was overdue.",
    "for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=min_idle_ms): claim due['message_id'] with "
    "min_idle_ms; if that returned an entry, return it with due['times_delivered']; after the loop read > with count=1",
)
def take(answer):
    def ask(witness: Witness) -> Any:
        return answer(witness.client, KEY, "bob", MINUTE)

    client = server.current().client
    with shift({"ann": (2, LONG_AGO)}) as witness:
        client.xclaim(KEY, GROUP, "ann", 0, ["1-0", "2-0"], idle=LONG_AGO, retrycount=4, justid=True)
        client.xadd(KEY, TEA, id="3-0")
        _got(ask(witness), ("1-0", TEA, 4), "overdue comes before new, the oldest first", witness)
        mine = [entry_id for entry_id, (owner, _) in pending().items() if owner == "bob"]
        assert mine == ["1-0"], f"one order at a time: bob holds {', '.join(mine) or 'none'}{witness.trace()}"
        count = pending()["1-0"][1]
        assert count == 5, f"a claim is a delivery: 1-0 came 4 times, and now the count says {count}{witness.trace()}"
        told = f"1-0 is bob's, and overdue, so others take it at once{witness.trace()}"
        assert "1-0" not in pending(MINUTE), f"a claim starts the clock anew: {told}"
    with shift({"carl": (150, 0), "ann": (1, LONG_AGO)}) as witness:
        _got(ask(witness), ("151-0", TEA, 1), "no overdue order is missed, and carl's 150 are in work", witness)
        _carl_keeps([f"{n}-0" for n in range(1, 151)], witness)
    with shift({"bob": (1, LONG_AGO)}) as witness:
        told = "1-0 is overdue, and bob's own: an earlier process of this name died with it"
        _got(ask(witness), ("1-0", TEA, 1), told, witness)
    with shift({"carl": (1_100, 0), "ann": (1, LONG_AGO)}) as witness:
        _got(ask(witness), ("1101-0", TEA, 1), "no overdue order is missed, and carl's 1100 are in work", witness)
    with shift({"carl": (2, 0)}) as witness:
        for entry_id in ("3-0", "4-0"):
            client.xadd(KEY, TEA, id=entry_id)
        _got(ask(witness), ("3-0", TEA, 0), "nothing is overdue, so take the new one", witness)
        _carl_keeps(["1-0", "2-0"], witness)
        mine = [entry_id for entry_id, (owner, _) in pending().items() if owner == "bob"]
        assert mine == ["3-0"], (
            f"one order at a time, also of the new ones: bob holds {', '.join(mine) or 'none'}{witness.trace()}"
        )
        _got(ask(witness), ("4-0", TEA, 0), "nothing is overdue, so take the new one", witness)
        _got(ask(witness), None, "nothing is overdue, and nothing is new", witness)
    with shift({"ann": (2, LONG_AGO)}) as witness:
        client.xdel(KEY, "1-0")
        _got(ask(witness), ("2-0", TEA, 1), "1-0 was deleted, so the oldest overdue order is 2-0", witness)
    with shift({"ann": (1, LONG_AGO)}) as witness:
        claims = _rival(witness)
        got = ask(witness)
        if claims:
            _got(got, None, "carl claimed 1-0 before you did", witness)
            _carl_keeps(["1-0"], witness)
    with shift({"ann": (1, LONG_AGO)}) as witness:
        client.xadd(KEY, TEA, id="2-0")
        got = answer(witness.client, KEY, "dora", 2 * LONG_AGO)
        _got(got, ("2-0", TEA, 0), "the limit is given, and 1-0 is not idle for 180 s", witness)
        owner = pending()["2-0"][0]
        assert owner == "dora", f"the order goes to the one who asks: dora asked, now it is {owner}'s{witness.trace()}"


def _got(got: Any, wanted: tuple[str, dict[str, str], int] | None, rule: str, witness: Witness) -> None:
    assert got == wanted, f"{rule}: return {wanted}, not {got!r}{witness.trace()}"


def _carl_keeps(ids: list[str], witness: Witness) -> None:
    now = pending()
    for entry_id in ids:
        owner = now.get(entry_id, ("nobody", 0))[0]
        told = f"carl works on {entry_id}, now it is {owner}'s{witness.trace(entry_id)}"
        assert owner == "carl", f"an order in work is left alone: {told}"


def _rival(witness: Witness) -> list[str]:
    """Let carl claim 1-0 right after the answer has looked with XPENDING; return what he claimed."""
    claims: list[str] = []

    def claim() -> None:
        claims.extend(server.current().client.xclaim(KEY, GROUP, "carl", MINUTE, ["1-0"]))
        witness.note("carl", "claims 1-0 and begins" if claims else "is too late for 1-0")

    witness.freeze_after("XPENDING", claim)
    return claims


@contextmanager
def shop(*ids: str) -> Iterator[Witness]:
    """Make a stream with these entries and three groups. The group kitchen was given all entries, the others none."""
    client = server.current().client
    server.current().fresh(KEY)
    try:
        for entry_id in ids:
            client.xadd(KEY, TEA, id=entry_id)
        for group in ("kitchen", "books", "screen"):
            client.xgroup_create(KEY, group, id="0")
        client.xreadgroup("kitchen", "ann", {KEY: ">"})
        with Witness(KEY, "", PATIENCE) as witness:
            yield witness
    finally:
        server.current().fresh(KEY)


@exercise(
    "10.2",
    "What do you know of a group whose last delivered id is smaller than the entry's? And if it is not smaller?",
    "XACK, then for each group of XINFO GROUPS its last-delivered-id and XPENDING with the entry's id, then XDEL.",
    "XACK; for each group: return False if its last-delivered-id is smaller (compare as two numbers), or if "
    "r.xpending_range(key, name, entry_id, entry_id, 1) is not empty; at the end return r.xdel(key, entry_id) == 1",
)
def settle(answer):
    client = server.current().client
    with shop("1-0") as witness:
        steps = ("kitchen", False, "books and screen have not read it"), ("books", False, "screen has not read it")
        for group, wanted, why in (*steps, ("screen", True, "every group has acked it")):
            if group != "kitchen":
                client.xreadgroup(group, "dora", {KEY: ">"})
            _settled(answer, witness, group, "1-0", wanted, why)
    with shop("1-0") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"})
        client.xack(KEY, "screen", "1-0")
        _settled(answer, witness, "kitchen", "1-0", False, "dora of the books has it in her hands")
        _settled(answer, witness, "books", "1-0", True, "every group has acked it")
    with shop("9-0", "10-0") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"}, count=1)
            client.xack(KEY, group, "9-0")
        _settled(answer, witness, "kitchen", "10-0", False, "the books were given 9-0, and 10-0 comes after it")
    with shop("1-0", "2-0") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"})
            client.xack(KEY, group, "1-0")
        _settled(answer, witness, "kitchen", "1-0", True, "every group has acked it, and 2-0 is another entry")
    with shop("1-0", "2-0") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"})
            client.xack(KEY, group, "2-0")
        _settled(answer, witness, "kitchen", "2-0", True, "every group has acked it, and 1-0 is another entry")
    with shop("5-9", "5-10") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"}, count=1)
            client.xack(KEY, group, "5-9")
        _settled(answer, witness, "kitchen", "5-10", False, "the books were given 5-9, and 5-10 comes after it")
    with shop("1-0", "2-0") as witness:
        for group in ("books", "screen"):
            client.xreadgroup(group, "dora", {KEY: ">"}, count=1)
            client.xack(KEY, group, "1-0")
        _settled(answer, witness, "kitchen", "1-0", True, "every group has acked it, and 2-0 is new to the books")
        got = answer(witness.client, KEY, "kitchen", "1-0")
        told = f"1-0 was deleted before, and you returned {got!r}{witness.trace()}"
        assert got is False, f"return whether you did: {told}"
    for word in COMMANDS:
        with shop("1-0") as witness:

            def read(witness: Witness = witness) -> None:
                client.xreadgroup("books", "dora", {KEY: ">"})
                witness.note("dora", "of the books reads 1-0")

            client.xreadgroup("screen", "dora", {KEY: ">"})
            client.xack(KEY, "screen", "1-0")
            witness.freeze_after(word, read)
            got = answer(witness.client, KEY, "kitchen", "1-0")
            there = bool(client.xrange(KEY, "1-0", "1-0"))
            told = f"1-0 was new to the books, then dora of the books had it in hand, and it is gone{witness.trace()}"
            assert there, f"nothing is deleted that a group still needs: {told}"
            assert got is False, f"return False while the books need 1-0; you returned {got!r}{witness.trace()}"
    for word in COMMANDS:
        with shop("1-0") as witness:
            for group in ("books", "screen"):
                client.xreadgroup(group, "dora", {KEY: ">"})
                client.xack(KEY, group, "1-0")
            witness.die_after(word)
            with suppress(Died):
                answer(witness.client, KEY, "kitchen", "1-0")
            _no_ghost(witness)
    for word in COMMANDS:
        with shop("1-0") as witness:

            def settle_too(witness: Witness = witness) -> None:
                with Witness(KEY, "", PATIENCE) as books:
                    answer(books.client, KEY, "books", "1-0")
                witness.note("the books", "settle 1-0, too")

            for group in ("books", "screen"):
                client.xreadgroup(group, "dora", {KEY: ">"})
            client.xack(KEY, "screen", "1-0")
            witness.freeze_after(word, settle_too)
            answer(witness.client, KEY, "kitchen", "1-0")
            there = bool(client.xrange(KEY, "1-0", "1-0"))
            acked = not client.xpending_range(KEY, "books", "1-0", "1-0", 1)
            told = f"every group has acked 1-0, two of them at once, and it is still there{witness.trace()}"
            assert not (there and acked), f"what nobody needs is deleted: {told}"


def _settled(answer: Any, witness: Witness, group: str, entry_id: str, wanted: bool, why: str) -> None:
    client = server.current().client
    others = [other for other, _ in client.xrange(KEY) if other != entry_id]
    got = answer(witness.client, KEY, group, entry_id)
    trace = witness.trace()
    there = bool(client.xrange(KEY, entry_id, entry_id))
    gone = f"nothing is deleted that a group still needs: {entry_id} is gone, and {why}{trace}"
    assert there or wanted, gone
    assert not there or not wanted, f"what nobody needs is deleted: {why}, and {entry_id} is still there{trace}"
    stay = [other for other, _ in client.xrange(KEY) if other != entry_id]
    assert stay == others, f"one entry is settled, {entry_id}: with it went {set(others) - set(stay)}{trace}"
    held = client.xpending_range(KEY, group, entry_id, entry_id, 1)
    assert not held, f"the group is done with it: {entry_id} is still pending in {group}{trace}"
    assert got is wanted, f"return {wanted} when {group} settles {entry_id}, for {why}; you returned {got!r}{trace}"


def _no_ghost(witness: Witness) -> None:
    client = server.current().client
    there = bool(client.xrange(KEY, "1-0", "1-0"))
    for group in ("kitchen", "books", "screen"):
        held = client.xpending_range(KEY, group, "1-0", "1-0", 1)
        told = f"1-0 was deleted, and {group} still holds it{witness.trace()}"
        assert there or not held, f"what is pending is in the stream: {told}"
