"""Lesson 02: begin a group at the right place, see who hoards, and read one order at a time."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Died, Witness

KEY, GROUP = "check", "order_group"
PATIENCE = 60  # commands after which an answer is ended; 5 orders need 11


@contextmanager
def orders(count: int) -> Iterator[Any]:
    """Make a stream with the entries 1-0, 2-0, … of the orders o-1, o-2, …, and remove it when the judge is done."""
    server.current().fresh(KEY)
    try:
        client = server.current().client
        for n in range(1, count + 1):
            client.xadd(KEY, {"order": f"o-{n}"}, id=f"{n}-0")
        yield client
    finally:
        server.current().fresh(KEY)


@exercise(
    "02.1",
    "Three things may be there already, or not: the stream, old orders in it, the group. What does each need?",
    "XGROUP CREATE takes the id 0 and MKSTREAM. An error that says BUSYGROUP is fine; others are not.",
    "try: r.xgroup_create(key, group, id='0', mkstream=True); except redis.ResponseError as error: "
    "if the text of the error does not begin with BUSYGROUP, raise it again",
)
def ensure_group(answer):
    with orders(0) as client:
        try:
            answer(KEY, GROUP)
        except redis.ResponseError as error:
            raise AssertionError(f"a group may come before the first order; without a stream: {error}") from None
        assert client.exists(KEY), "there is no group after your function ran on a stream that was not there yet"
    with orders(3) as client:
        answer(KEY, GROUP)
        begins = {group["name"]: group["last-delivered-id"] for group in client.xinfo_groups(KEY)}
        assert GROUP in begins, f"after your function ran, there is no group {GROUP}"
        got = ids(client.xreadgroup(GROUP, "ann", {KEY: ">"}, count=2))
        assert got, (
            "orders from before the group are handled, too: 1-0 to 3-0 were there first, and ann was given nothing"
            "\n    XADD         1-0, 2-0, 3-0\n    your group   begins behind "
            f"{begins[GROUP]}\n    XREADGROUP > → nothing"
        )
        try:
            answer(KEY, GROUP)
        except redis.ResponseError as error:
            raise AssertionError(f"the group may exist already: the second call raised {error}") from None
        held = client.xpending(KEY, GROUP)["pending"]
        assert held == 2, f"a second call changes nothing: ann held 1-0 and 2-0 before it, and {held} orders after it"
        got = ids(client.xreadgroup(GROUP, "bob", {KEY: ">"}))
        assert got == ["3-0"], f"a second call changes nothing: 3-0 alone was left to hand out, and bob was given {got}"
    with orders(0) as client:
        client.set(KEY, "not a stream")
        try:
            answer(KEY, GROUP)
        except redis.ResponseError:
            return
        raise AssertionError("a real error is heard: the key holds a string, and your function kept quiet about it")


@exercise(
    "02.2",
    "Ann holds 20 orders. Is that bad if all others have work, too? When is it?",
    "Each item of the XINFO CONSUMERS reply has a name and a number pending. Look for a 0 first.",
    "idle = any(c['pending'] == 0 for c in reply); return the names with more than 1 pending if idle, else []",
)
def hoarders(answer):
    cases: list[tuple[dict[str, int], list[str], str]] = [
        ({"ann": 20, "bob": 0}, ["ann"], "ann holds 20 while bob has nothing to do"),
        ({"ann": 5, "bob": 4}, [], "everybody has work"),
        ({"ann": 1, "bob": 0}, [], "ann holds only the order she works on"),
        ({"ann": 20}, [], "nobody is idle: ann is alone"),
        ({"ann": 7, "bob": 0, "carl": 2, "dora": 1}, ["ann", "carl"], "bob could work on what ann and carl keep"),
        ({}, [], "there are no consumers"),
    ]
    for held, expected, why in cases:
        reply = [{"name": name, "pending": n, "idle": 12, "inactive": 12} for name, n in held.items()]
        got = answer(reply)
        assert isinstance(got, list), f"return a list of names, not {got!r}"
        assert sorted(got) == expected, f"{held or 'no consumers'}: {why}, so expected {expected}, got {got}"


class Patient(Witness):
    """A witness that ends an answer which never stops asking."""

    def asked(self) -> None:
        super().asked()
        if len(self.calls) > PATIENCE:
            raise Died("it asks on and on")


@exercise(
    "02.3",
    "How many orders may be in your hands when you ask for the next one, and how do you get there?",
    "XREADGROUP with > and COUNT 1, then the handler, then XACK; an empty reply ends the loop.",
    "while reply := client.xreadgroup(group, name, {key: '>'}, count=1): for each (entry_id, fields) in reply[0][1]: "
    "handle(fields['order']), then client.xack(key, group, entry_id)",
)
def work_off(answer):
    _all_is_done(answer)
    _a_failure_stays_pending(answer)


def _all_is_done(answer: Any) -> None:
    with orders(5) as client, Patient(KEY) as witness:
        client.xgroup_create(KEY, GROUP, id="0")
        done = _run(answer, witness)
        for n in range(1, 6):
            times, story = done.count(f"o-{n}"), witness.trace(f"{n}-0", f"o-{n}") or witness.trace()
            assert times == 1, f"each order is handled once: o-{n} was handled {times} times{story}"
        left = client.xpending(KEY, GROUP)["min"]
        assert not left, f"a handled order is acked: {left} is still pending{witness.trace(left, order_of(left))}"
        _holds_one_at_a_time(witness)


def _a_failure_stays_pending(answer: Any) -> None:
    with orders(3) as client, Patient(KEY) as witness:
        client.xgroup_create(KEY, GROUP, id="0")
        with suppress(RuntimeError):
            _run(answer, witness, fail={"o-2"})


def _run(answer: Any, witness: Witness, fail: Collection[str] = ()) -> list[str]:
    """Let the answer work, and return the handled orders, in order. Fail if one was acked before it was handled."""
    done: list[tuple[str, int]] = []
    handler = witness.handler(fail, lambda order_id: done.append((order_id, len(witness.calls))))
    witness.client.connection_pool.connection_kwargs["socket_timeout"] = 2  # BLOCK 0 must not hang the cell
    try:
        answer(witness.client, KEY, GROUP, "ann", handler)
    except Died:
        raise AssertionError(
            f"the loop ends when nothing is left: it asked more than {PATIENCE} times for 5 orders{witness.trace()}"
        ) from None
    finally:
        _acked_after_its_handler(witness, done)
    assert witness.calls, "use the client that your function was given: it never asked Redis for anything"
    return [order_id for order_id, _ in done]


def _acked_after_its_handler(witness: Witness, done: list[tuple[str, int]]) -> None:
    for at, (words, _) in enumerate(witness.calls):
        for entry_id in words[3:] if words[0] == "XACK" else ():
            order = order_of(entry_id)
            finished = any(order_id == order and before <= at for order_id, before in done)
            assert finished, (
                f"an acked order was handled: {entry_id} was acked before the handler of {order} had finished"
                f"{witness.trace(entry_id, order)}"
            )


def _holds_one_at_a_time(witness: Witness) -> None:
    held: set[str] = set()
    for words, reply in witness.calls:
        if words[0] == "XREADGROUP" and words[-1] == ">":
            held |= set(ids(reply or []))
            story = [word for entry_id in sorted(held)[:2] for word in (entry_id, order_of(entry_id))]
            assert len(held) <= 1, (
                f"hold one order at a time: now ann has {', '.join(sorted(held))}, and nobody can help her"
                f"{witness.trace(*story)}"
            )
        elif words[0] == "XACK":
            held -= set(words[3:])


def order_of(entry_id: str) -> str:
    return f"o-{entry_id.partition('-')[0]}"


def ids(reply: Any) -> list[str]:
    return [entry_id for _, entries in reply for entry_id, _ in entries]
