"""Lesson 09: does anybody catch up, and is anybody dead?"""

from collections.abc import Iterator
from contextlib import contextmanager

from orderstream.entries import UNOWNED
from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness

KEY, GROUP = "check", "kitchen"
IDLE_MS = 60_000
BUSY = 120  # orders that ann has in hand; more than a page
STUCK = 120  # orders that emil died with; more than a page
PATIENCE = 300  # commands after which an answer is ended


@exercise(
    "09.1",
    "What does a backlog do between two bursts, if somebody catches up? And if nobody does?",
    "min() of the earlier half, and min() of the later one. None is no number: leave it out first.",
    "known = [count for count in backlog if count is not None]; compare min(known[middle:]) with min(known[:middle])",
)
def keeps_up(answer):
    cases: list[tuple[list[int | None], bool, str]] = [
        ([0, 1, 0, 2, 0, 1], True, "nearly everything is handled at once"),
        ([5, 9, 14, 20, 24, 31], False, "it grows, and has no end"),
        ([0, 2, 0, 0, 1, 40], True, "a burst has just come; that alone is no reason for an alarm"),
        ([900, 700, 450, 300, 200, 120], True, "a high backlog that shrinks is being caught up"),
        ([60, 5, 10, 45, 15, 20, 25, 30], False, "it begins with a burst, and then even the valleys rise"),
        ([4, 24, 8, 28, 12, 32, 16, 36], False, "bursts come and go, and each valley is higher than the last"),
        ([10, None, 20, 25, None, 40], False, "unknown is not 0: what is known grows"),
        ([None, None, None], True, "nothing is known, so nothing is known to grow"),
        ([7, 7, 7, 7], True, "it is never empty, and does not grow"),
        ([100, 101, 102, 103, 104, 105, 106, 107], False, "it grows, slowly, and has no end"),
        ([*[0, 40] * 8, *[50, 60] * 8], False, "it was caught up with, and is not any more"),
    ]
    for backlog, right, why in cases:
        got = answer(list(backlog))
        said = "keep up" if right else "do not keep up"
        assert got == right, f"consumers {said} when the backlog is {_listed(backlog)}: {why}. You say {got!r}"


def _listed(backlog: list[int | None]) -> str:
    return ", ".join("?" if count is None else str(count) for count in backlog)


@contextmanager
def a_day_at_work(*more: tuple[str, int, int]) -> Iterator[Witness]:
    """
    Make a stream with pending orders. *more* are consumers behind these: name, number of orders, their idle time.

    Ann is busy, and sends heartbeats for the orders in her hand. Bob asks for new orders, but has forgotten one. Carl
    holds nothing. Dora's order waits for its retry. Emil is dead, and what he holds stands before what bob holds.
    """
    server.current().fresh(KEY)
    try:
        r = server.current().client
        for n in range(1, BUSY + STUCK + 3 + sum(count for _, count, _ in more)):
            r.xadd(KEY, {"data": f"o-{n}"}, id=f"1-{n}")  # all in one millisecond
        r.xgroup_create(KEY, GROUP, id="0")
        for name, count, idle_ms in (
            ("ann", BUSY, 0),
            ("emil", STUCK, 90_000),
            ("bob", 1, 3 * IDLE_MS),
            ("dora", 1, IDLE_MS - 20_000),
            *more,
        ):
            [[_, entries]] = r.xreadgroup(GROUP, name, {KEY: ">"}, count=count)
            r.xclaim(KEY, GROUP, name, 0, [entry_id for entry_id, _ in entries], idle=idle_ms, justid=True)
        r.xgroup_createconsumer(KEY, GROUP, "carl")
        with Witness(KEY, GROUP, PATIENCE) as witness:
            yield witness
    finally:
        server.current().fresh(KEY)


@exercise(
    "09.2",
    "Which of the two times tells of the order, and not of the consumer: that of XPENDING, or that of XINFO CONSUMERS?",
    "XPENDING key group IDLE idle_ms - + count lists only what is idle for so long. The next page begins at '(' and "
    "the last id.",
    "while page := r.xpending_range(key, group, start, '+', 100, idle=idle_ms): collect the consumers, set start to "
    "'(' and the last message_id",
)
def stuck(answer):
    with a_day_at_work() as witness:
        got = answer(witness.client, KEY, GROUP, IDLE_MS)
        trace = witness.trace()
        assert isinstance(got, list), f"a list of names, not {got!r}{trace}"
        assert "ann" not in got, f"a busy consumer is no alarm: ann renews the {BUSY} orders she has in hand{trace}"
        assert "dora" not in got, f"a retry that is not due yet is no alarm: dora's order waits for its time{trace}"
        assert "carl" not in got, f"who holds nothing is no alarm, and carl does not{trace}"
        assert "emil" in got, f"nobody has worked on emil's orders for 90 s, and you say nothing of him{trace}"
        told = "bob asked for new orders a moment ago, but nobody has worked on the one he holds for 180 s"
        assert "bob" in got, f"the order's idle time counts: {told}{trace}"
        assert got == ["bob", "emil"], f"each name once, in alphabetical order, not {got!r}{trace}"
        got = answer(witness.client, KEY, GROUP, 2 * IDLE_MS)
        assert got == ["bob"], f"the limit is given: only bob's order is idle for 120 s, and you name {got!r}"
    with a_day_at_work(("fred", 1, 0), ("fred", 1, 90_000), (UNOWNED, 1, 90_000)) as witness:
        got = answer(witness.client, KEY, GROUP, IDLE_MS)
        trace = witness.trace()
        assert "fred" in got, f"each order has its own idle time: fred renews one, the other is stuck{trace}"
        assert UNOWNED in got, f"{UNOWNED} holds an order whose next try is overdue, and you do not say so{trace}"
        assert got == [UNOWNED, "bob", "emil", "fred"], f"each name once, in alphabetical order, not {got!r}{trace}"
    with a_day_at_work(("fred", 1_000, 90_000), ("gina", 1, 90_000)) as witness:
        got = answer(witness.client, KEY, GROUP, IDLE_MS)
        told = f"gina's stuck order stands behind 1000 others, and you name {got!r}{witness.trace()}"
        assert "gina" in got, f"everybody who holds a stuck order is named: {told}"
    with a_day_at_work() as witness:
        server.current().client.xack(KEY, GROUP, *(f"1-{n}" for n in range(BUSY + 1, BUSY + STUCK + 3)))
        got = answer(witness.client, KEY, GROUP, IDLE_MS)
        assert got == [], f"nothing is stuck, ann is busy with all that is pending: you name {got!r}{witness.trace()}"
