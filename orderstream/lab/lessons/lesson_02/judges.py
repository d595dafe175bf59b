"""Lesson 02: begin a group at the right place, see who hoards, and read one order at a time."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness, ids_in

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
    _before_the_first_order(answer)
    _old_orders_and_a_second_call(answer)
    for name in dict.fromkeys(_commands(answer)):
        _another_program_starts_after(name, answer)
    _a_real_error(answer)
    _no_permission(answer)


def _before_the_first_order(answer: Any) -> None:
    with orders(0) as client, Witness(KEY, "kitchen", PATIENCE) as witness:
        try:
            answer(witness.client, KEY, "kitchen")
        except redis.ResponseError as error:
            raise AssertionError(f"a group may come before the first order; without a stream: {error}") from None
        assert client.exists(KEY), "there is no group after your function ran on a stream that was not there yet"
        groups = [group["name"] for group in client.xinfo_groups(KEY)]
        assert "kitchen" in groups, f"the group is the one that was asked for: kitchen, and not {', '.join(groups)}"
        length = client.xlen(KEY)
        assert not length, f"no order came yet, and now one is in the stream: it would be handled{witness.trace()}"


def _old_orders_and_a_second_call(answer: Any) -> None:
    with orders(3) as client, Witness(KEY, GROUP, PATIENCE) as witness:
        client.xgroup_create(KEY, "books", id="$")
        answer(witness.client, KEY, GROUP)
        begins = {group["name"]: group["last-delivered-id"] for group in client.xinfo_groups(KEY)}
        assert GROUP in begins, f"after your function ran, there is no group {GROUP}, only {', '.join(begins)}"
        assert "books" in begins, f"the stream has other groups: books is gone{witness.trace()}"
        got = ids(client.xreadgroup(GROUP, "ann", {KEY: ">"}, count=2))
        assert got, (
            "orders from before the group are handled, too: 1-0 to 3-0 were there first, and ann was given nothing"
            "\n    XADD         1-0, 2-0, 3-0\n    your group   begins behind "
            f"{begins[GROUP]}\n    XREADGROUP > → nothing"
        )
        try:
            answer(witness.client, KEY, GROUP)
        except redis.ResponseError as error:
            raise AssertionError(f"the group may exist already: the second call raised {error}") from None
        held = client.xpending(KEY, GROUP)["pending"]
        assert held == 2, f"a second call changes nothing: ann held 1-0 and 2-0 before it, and {held} orders after it"
        got = ids(client.xreadgroup(GROUP, "bob", {KEY: ">"}))
        assert got == ["3-0"], f"a second call changes nothing: 3-0 alone was left to hand out, and bob was given {got}"
        client.xack(KEY, GROUP, "1-0", "2-0", "3-0")
        answer(witness.client, KEY, GROUP)
        got = ids(client.xreadgroup(GROUP, "bob", {KEY: ">"}))
        assert not got, f"a third call changes nothing: 1-0 to 3-0 are done, and bob is given {got}{witness.trace()}"


def _commands(answer: Any) -> list[str]:
    with orders(1), Witness(KEY, GROUP, PATIENCE) as witness:
        answer(witness.client, KEY, GROUP)
        assert witness.calls, "use the r that your function gets: it never asked Redis for anything"
        return witness.commands()


def _another_program_starts_after(name: str, answer: Any) -> None:
    """Freeze the answer after its first *name*. Another program then makes the group, and bob reads from it."""
    with orders(1) as client, Witness(KEY, GROUP, PATIENCE) as witness:

        def other() -> None:
            with suppress(redis.ResponseError):
                client.xgroup_create(KEY, GROUP, id="0")
                witness.note("meanwhile", "another program makes the group")
            client.xreadgroup(GROUP, "bob", {KEY: ">"})
            witness.note("meanwhile", "bob reads 1-0")

        witness.freeze_after(name, other)
        race = "two programs may start at once"
        try:
            answer(witness.client, KEY, GROUP)
        except redis.ResponseError as error:
            raise AssertionError(
                f"{race}: the other came between two of your commands, and yours raised {str(error).partition(' ')[0]}"
                f"{witness.trace()}"
            ) from None
        held = [each["message_id"] for each in client.xpending_range(KEY, GROUP, "-", "+", 9)]
        assert held == ["1-0"], f"{race}: bob had read 1-0, and now holds nothing{witness.trace()}"


def _a_real_error(answer: Any) -> None:
    with orders(0) as client, Witness(KEY, GROUP, PATIENCE) as witness:
        client.set(KEY, "not a stream")
        try:
            answer(witness.client, KEY, GROUP)
        except redis.ResponseError:
            return
        raise AssertionError("a real error is heard: the key holds a string, and your function kept quiet about it")


def _no_permission(answer: Any) -> None:
    with orders(1), Witness(KEY, GROUP, PATIENCE) as witness:
        really, refused = witness.client.execute_command, []

        def execute(*words: Any, **options: Any) -> Any:
            if str(words[0]).upper().startswith("XGROUP"):
                refused.append(words[0])
                raise redis.exceptions.NoPermissionError("this user has no permissions to run the 'xgroup' command")
            return really(*words, **options)

        witness.client.execute_command = execute
        with suppress(redis.ResponseError):
            answer(witness.client, KEY, GROUP)
            told = "Redis did not allow the XGROUP, and your function kept quiet about it"
            assert not refused, f"a real error is heard: {told}"


@exercise(
    "02.2",
    "Ann holds 20 orders. Is that bad if all others have work, too? When is it?",
    "Each item of the XINFO CONSUMERS reply has a name and a number pending. Look for a 0 first.",
    "idle = any(c['pending'] == 0 for c in reply); return the names with more than 1 pending if idle, else []",
)
def hoarders(answer):
    cases: list[tuple[dict[str, int], list[str], str]] = [
        ({"ann": 20, "bob": 0}, ["ann"], "ann holds 20 while bob has nothing to do"),
        ({"ann": 5, "bob": 1}, [], "everybody has work"),
        ({"ann": 1, "bob": 0}, [], "ann holds only the order she works on"),
        ({"ann": 20}, [], "nobody is idle: ann is alone"),
        ({"bob": 0, "ann": 7, "dora": 1, "carl": 2}, ["ann", "carl"], "bob could work on what ann and carl keep"),
        ({"ann": 3, "bob": 0, "carl": 0}, ["ann"], "bob and carl have nothing, and ann is one consumer"),
        ({}, [], "there are no consumers"),
    ]
    for held, expected, why in cases:
        reply = [{"name": name, "pending": n, "idle": 12, "inactive": 12} for name, n in held.items()]
        got = answer(reply)
        assert isinstance(got, list), f"return a list of names, not {got!r}"
        assert sorted(got) == expected, f"{held or 'no consumers'}: {why}, so expected {expected}, got {got}"


class Watching(Witness):
    """
    A witness that looks at ann's pending orders after each of her reads.

    Attributes:
        read: For each XREADGROUP that gave her something: the ids that it gave, and all that were pending then.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(KEY, GROUP, PATIENCE)
        self.read: list[tuple[list[str], list[str]]] = []
        self._ours = client

    def answered(self, words: tuple[str, ...], reply: Any) -> None:
        super().answered(words, reply)
        if words[0] == "XREADGROUP" and (given := ids_in(reply)):
            pending = self._ours.xpending_range(KEY, GROUP, "-", "+", PATIENCE)
            self.read.append((given, [each["message_id"] for each in pending]))


@exercise(
    "02.3",
    "How many orders may be in your hands when you ask for the next one, and how do you get there?",
    "XREADGROUP with > and COUNT 1, then the handler, then XACK; an empty reply ends the loop.",
    "while reply := client.xreadgroup(group, name, {key: '>'}, count=1): for each (entry_id, fields) in reply[0][1]: "
    "handle(fields['order']), then client.xack(key, group, entry_id)",
)
def work_off(answer):
    _all_is_done(answer)
    _one_more_comes(answer)
    _a_failure_stays_pending(answer)
    _others_keep_theirs(answer)


def _all_is_done(answer: Any) -> None:
    with orders(5) as client, Watching(client) as witness:
        client.xgroup_create(KEY, GROUP, id="0")
        done = _run(answer, witness)
        for n in range(1, 6):
            times, story = done.count(f"o-{n}"), witness.trace(f"{n}-0", f"o-{n}") or witness.trace()
            assert times == 1, f"each order is handled once: o-{n} was handled {times} times{story}"
        _what_is_read_is_pending(witness)
        left = client.xpending(KEY, GROUP)["min"]
        assert not left, f"a handled order is acked: {left} is still pending{witness.trace(left, order_of(left))}"
        _holds_one_at_a_time(witness)
        stays = f"other groups read this stream: {5 - client.xlen(KEY)} of 5 orders are gone from it{witness.trace()}"
        assert client.xlen(KEY) == 5, stays


def _one_more_comes(answer: Any) -> None:
    with orders(3) as client, Watching(client) as witness:
        client.xgroup_create(KEY, GROUP, id="0")

        def then(order_id: str) -> None:
            if order_id == "o-2":
                client.xadd(KEY, {"order": "o-4"}, id="4-0")
                witness.note("meanwhile", "o-4 comes, as 4-0")

        done = _run(answer, witness, name="carl", then=then)
        names = [consumer["name"] for consumer in client.xinfo_consumers(KEY, GROUP)]
        assert names == ["carl"], (
            f"orders go to the one who asks: carl asked, and {', '.join(names)} read{witness.trace()}"
        )
        came = "it goes on while there are new orders: o-4 came while o-2 was handled, and nobody handled it"
        assert "o-4" in done, f"{came}{witness.trace()}"


def _a_failure_stays_pending(answer: Any) -> None:
    with orders(3) as client, Watching(client) as witness:
        client.xgroup_create(KEY, GROUP, id="0")
        with suppress(RuntimeError):
            _run(answer, witness, fail={"o-2"})
        held = [each["message_id"] for each in client.xpending_range(KEY, GROUP, "-", "+", PATIENCE)]
        assert "2-0" in held, f"what failed stays pending: the handler of o-2 raised{witness.trace('2-0', 'o-2')}"


def _others_keep_theirs(answer: Any) -> None:
    with orders(3) as client, Watching(client) as witness:
        client.xgroup_create(KEY, GROUP, id="0")
        client.xreadgroup(GROUP, "bob", {KEY: ">"}, count=1)
        witness.note("bob", "reads 1-0 and begins")
        done = _run(answer, witness)
        held = {each["message_id"]: each["consumer"] for each in client.xpending_range(KEY, GROUP, "-", "+", PATIENCE)}
        works = "what another has in hand is left alone: bob works on 1-0"
        assert held.get("1-0") == "bob", f"{works}, and now it is {held.get('1-0', 'nobody')}'s{witness.trace('1-0')}"
        assert done == ["o-2", "o-3"], f"{works}, o-2 and o-3 are new, and ann handled {done}{witness.trace()}"


def _run(
    answer: Any,
    witness: Watching,
    name: str = "ann",
    fail: Collection[str] = (),
    then: Callable[[str], object] = lambda order_id: None,
) -> list[str]:
    """Let the answer work, and return the handled orders, in order. Fail if one was acked before it was handled."""
    done: list[tuple[str, int]] = []

    def handled(order_id: str) -> None:
        then(order_id)
        done.append((order_id, len(witness.calls)))

    handler = witness.handler(fail, handled)
    try:
        answer(witness.client, KEY, GROUP, name, handler)
    except redis.TimeoutError:
        if "BLOCK" not in witness.calls[-1][0]:
            raise
        raise AssertionError(
            f"when nothing is left, it ends: it waits, and never comes back{witness.trace()}"
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


def _what_is_read_is_pending(witness: Watching) -> None:
    for given, pending in witness.read:
        unknown = [entry_id for entry_id in given if entry_id not in pending]
        assert not unknown, (
            f"what ann has in hand is pending, so that others find it if she dies: Redis keeps no note of {unknown[0]}"
            f"{witness.trace(unknown[0], order_of(unknown[0]))}"
        )


def _holds_one_at_a_time(witness: Watching) -> None:
    for _, held in witness.read:
        story = [word for entry_id in held[:2] for word in (entry_id, order_of(entry_id))]
        assert len(held) <= 1, (
            f"hold one order at a time: now ann has {', '.join(held)}, and nobody can help her{witness.trace(*story)}"
        )


def order_of(entry_id: str) -> str:
    return f"o-{entry_id.partition('-')[0]}"


def ids(reply: Any) -> list[str]:
    return [entry_id for _, entries in reply for entry_id, _ in entries]
