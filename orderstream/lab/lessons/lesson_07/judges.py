"""Lesson 07: enough consumers, few round trips, and an honest answer to "is everything done?"."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness

KEY, GROUP = "check", "kitchen"
PATIENCE = 300  # commands after which an answer is ended


@contextmanager
def witness() -> Iterator[Witness]:
    """Yield a witness, whose client records every command. The stream is removed before and after."""
    server.current().fresh(KEY)
    try:
        with Witness(KEY, GROUP, PATIENCE) as watching:
            yield watching
    finally:
        server.current().fresh(KEY)


@exercise(
    "07.1",
    "40 orders per second, 60 ms each: how many are in somebody's hands at once, on average?",
    "Little's law: rate × time. Divide by 0.8, and think about which way to round.",
    "return max(1, math.ceil(rate_per_s * work_ms / 1000 / 0.8))",
)
def enough(answer):
    cases = [(40, 60, 3), (40, 40, 2), (100, 8, 1), (10, 1_000, 13), (0, 60, 1), (1, 1, 1)]
    for rate_per_s, work_ms, right in (*cases, (0.5, 3_000, 2), (1_000, 100, 125)):
        got, case = answer(rate_per_s, work_ms), f"{rate_per_s} orders per second, {work_ms} ms each"
        assert isinstance(got, int), f"consumers are whole: {case} gave {got!r}"
        busy = rate_per_s * work_ms / 1000
        assert got >= max(1, busy), f"the backlog must not grow: {case} keep {busy:g} consumers busy, you said {got}"
        assert got * 0.8 >= busy, f"a fifth of their time stays free: {case}, {got} would be busy {busy / got:.0%}"
        assert got == right, f"no more than needed: {case} need {right}, not {got}"


@exercise(
    "07.2",
    "How many replies can be on their way at once?",
    "r.pipeline(transaction=False) collects commands; execute() sends them together and returns their replies.",
    "while batch := list(islice(bodies, size)): fill one pipeline with an xadd for each body, ids += pipe.execute()",
)
def batches(answer):
    _sends(answer, 7, 3, iter)
    _sends(answer, 6, 3, iter)
    _sends(answer, 7, 2, list)
    _sends(answer, 0, 3, iter)
    _to_a_stream_in_use(answer)
    _one_batch_in_memory(answer)


def _sends(answer: Any, many: int, size: int, form: Callable[[list[Any]], Iterable[Any]]) -> None:
    """Let the answer send *many* bodies. They are in a list, or come one by one."""
    with witness() as watching:
        bodies = [{"data": f"o-{n}"} for n in range(1, many + 1)]
        got = answer(watching.client, KEY, form(bodies), size)
        trips = watching.round_trips
        there = server.current().client.xrange(KEY)
        sent = [fields["data"] for _, fields in there]
        for order_id in (body["data"] for body in bodies):
            trace = watching.trace(order_id)
            assert order_id in sent, f"no order is lost: {order_id} of o-1 to o-{many} is not in the stream{trace}"
            assert sent.count(order_id) == 1, f"each order once: {order_id} is in the stream twice{trace}"
        assert sent == [body["data"] for body in bodies], f"orders stay in order: they arrived as {', '.join(sent)}"
        assert got == [entry_id for entry_id, _ in there], f"return the ids of all {many}, in order, not {got!r}"
        needed = -(-many // size)
        told = f"{many} orders by {size} need {needed} round trips, you made {trips}{watching.trace()}"
        assert trips == needed, f"one round trip for each batch: {told}"


def _to_a_stream_in_use(answer: Any) -> None:
    with witness() as watching:
        first = server.current().client.xadd(KEY, {"data": "o-1"})
        bodies = [{"data": f"o-{n}", "traceparent": f"00-{n:032x}-{n:016x}-01"} for n in (2, 3, 4)]
        got = answer(watching.client, KEY, iter(bodies), 2)
        there = server.current().client.xrange(KEY, f"({first}")
        told = f"{bodies[0]} became {there[0][1] if there else 'nothing'}{watching.trace('o-2')}"
        assert [fields for _, fields in there] == bodies, f"a body is sent as it is: {told}"
        assert got == [entry_id for entry_id, _ in there], f"return the ids of the bodies sent, not {got!r}"


def _one_batch_in_memory(answer: Any) -> None:
    with witness() as watching:
        taken = 0

        def endless() -> Iterator[dict[str, str]]:
            nonlocal taken
            while taken < 10:
                sent = server.current().client.xlen(KEY)
                assert taken - sent < 3, (
                    f"never more than one batch is in memory: by 3, {taken + 1} bodies were taken, "
                    f"and {sent} of them sent{watching.trace()}"
                )
                taken += 1
                yield {"data": f"o-{taken}"}

        answer(watching.client, KEY, endless(), 3)


@exercise(
    "07.3",
    "Lag may be unknown. Which id does XINFO GROUPS always tell?",
    "XINFO GROUPS has last-delivered-id and pending; XRANGE from '(' and that id finds what comes behind it.",
    "not r.xrange(key, f'({last}', count=1) and pending == 0, of the group with the right name",
)
def done(answer):
    every = ["8-0", "9-0", "10-0"]
    cases = {
        "no order ever came": ([], [], [], None, True),
        "o-10 was not handed out": (every, every[:2], every[:2], None, False),
        "o-9 was handed out and not acked": (every, every, ["8-0", "10-0"], None, False),
        "all were handed out and acked": (every, every, every, None, True),
        "all were handed out and acked, and then o-9 was deleted": (every, every, every, "9-0", True),
        "all were handed out and acked, and then o-10 was deleted": (every, every, every, "10-0", True),
        "o-8 and o-9 were handed out and acked, and o-10 was deleted before": (
            every,
            every[:2],
            every[:2],
            "10-0",
            True,
        ),
    }
    for case, (added, given, acked, deleted, right) in cases.items():
        with witness() as watching:
            r = watching.client
            for group in ("another group", GROUP):
                r.xgroup_create(KEY, group, "0", mkstream=True)
            for entry_id in added:
                r.xadd(KEY, {"data": f"o-{entry_id.partition('-')[0]}"}, id=entry_id)
            if given:
                r.xreadgroup(GROUP, "ann", {KEY: ">"}, count=len(given))
                r.xack(KEY, GROUP, *acked)
            if deleted:
                r.xdel(KEY, deleted)
            before = _state()
            got = answer(r, KEY, GROUP)
            now, looked = _state(), "looking changes nothing"
            assert now[0] == before[0], f"{looked}: the group stood at {before[0]}, now at {now[0]}{watching.trace()}"
            assert now == before, f"{looked}: {before[1]} were pending, now {now[1]}{watching.trace()}"
            wrong = "something is left" if right else "all is done"
            assert got == right, f"{case}: you say that {wrong}{watching.trace()}"
    _in_one_millisecond(answer)
    _held_and_deleted(answer)
    for name in dict.fromkeys(watching.commands()):
        _read_after(name, answer)


def _in_one_millisecond(answer: Any) -> None:
    with witness() as watching:
        r = server.current().client
        r.xgroup_create(KEY, GROUP, "0", mkstream=True)
        for entry_id in ("10-0", "10-1"):
            r.xadd(KEY, {"data": entry_id}, id=entry_id)
        r.xreadgroup(GROUP, "ann", {KEY: ">"}, count=1)
        r.xack(KEY, GROUP, "10-0")
        got = answer(watching.client, KEY, GROUP)
        assert not got, f"10-0 is done, and 10-1 was not handed out: you say that all is done{watching.trace()}"


def _held_and_deleted(answer: Any) -> None:
    with witness() as watching:
        r = server.current().client
        r.xgroup_create(KEY, GROUP, "0", mkstream=True)
        r.xadd(KEY, {"data": "o-8"}, id="8-0")
        r.xreadgroup(GROUP, "ann", {KEY: ">"})
        r.xdel(KEY, "8-0")
        got = answer(watching.client, KEY, GROUP)
        assert not got, f"o-8 was deleted, and is pending all the same: you say that all is done{watching.trace()}"


def _read_after(name: str, answer: Any) -> None:
    """Freeze the answer after its first *name*. Meanwhile bob reads 9-0, which was new: all was done at no time."""
    with witness() as watching:
        r = server.current().client
        r.xgroup_create(KEY, GROUP, "0", mkstream=True)
        for entry_id in ("8-0", "9-0"):
            r.xadd(KEY, {"data": entry_id}, id=entry_id)
        r.xreadgroup(GROUP, "ann", {KEY: ">"}, count=1)
        r.xack(KEY, GROUP, "8-0")

        def read() -> None:
            r.xreadgroup(GROUP, "bob", {KEY: ">"})
            watching.note("bob", "reads 9-0")

        watching.freeze_after(name, read)
        got = answer(watching.client, KEY, GROUP)
        assert not got, f"9-0 was new, then bob had it in hand: you say that all is done{watching.trace()}"


def _state() -> tuple[str, list[tuple[str, str, int]]]:
    """Return the last id that the group was given, and id, owner and delivery count of what is pending."""
    client = server.current().client
    [here] = [each for each in client.xinfo_groups(KEY) if each["name"] == GROUP]
    held = client.xpending_range(KEY, GROUP, "-", "+", 9)
    return here["last-delivered-id"], [(e["message_id"], e["consumer"], e["times_delivered"]) for e in held]
