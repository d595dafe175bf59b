"""
The levels of the capstone: which faults meet the orders of each. A seed decides which orders they hit.

Each level adds one thing to those before it; the last one has most of them at once, and lost replies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

KEY, DLQ = "chaos", "chaos-dlq"
MAX_ATTEMPTS = 3
NO_DATA, TORN_DATA = "no data", "torn data"
SHOP = {"shop": "north"}
"""A field that every entry has, and no handler needs."""
MALFORMED = (NO_DATA, TORN_DATA)
"""Items of orders that no handler can be given: the entry has no field ``data``, or its JSON ends too early."""


@dataclass(frozen=True)
class Level:
    """
    The faults of one level.

    Attributes:
        orders: How many orders there are.
        slow: How many of them, the first, are pending for Yan. He is alive, slow, and done when the game is over.
        held: How many behind them are pending when the first process starts: Zoe read them, and died.
        deleted: How many of those that Zoe read are deleted from the stream before the first process starts.
        fates: Each fate hits one order, once: the point where its process dies; ``"busy"``, a slow handler;
            ``"fails twice"``, its first two runs raise; or ``"twice"``, the order is in two entries, because the reply
            to an XADD was lost.
        bad: The items of its bad orders. ``"poison"`` kills its process each time, ``"failing"`` raises each time, and
            those of ``MALFORMED`` are no orders.
        refuses: Whether the dead-letter key is no stream until it has refused a dead letter.
        lost: Words of commands. The first reply to each of these commands is lost.
        rival: Whether Gina, alive, claims the first suspect that a process has seen with XPENDING, before it does.
        letters: How many older dead letters there are, with ids above those of the orders.
    """

    number: int
    title: str
    orders: int
    slow: int = 0
    held: int = 0
    deleted: int = 0
    fates: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    refuses: bool = False
    lost: tuple[str, ...] = ()
    rival: bool = False
    letters: int = 0


LEVELS = (
    Level(1, "a quiet day", 6),
    Level(2, "a crash before the effect", 6, fates=("before effect", "busy")),
    Level(3, "a kill between effect and ack", 7, fates=("after effect", "twice")),
    Level(4, "poison, and an order that always fails", 8, held=8, bad=("poison", "failing"), letters=100),
    Level(5, "trouble that passes", 6, fates=("fails twice",), bad=("failing",), refuses=True),
    Level(6, "more pending than one page", 116, slow=110, held=3, rival=True),
    Level(7, "entries that hold no order, or are gone", 8, held=4, deleted=2, bad=MALFORMED),
    Level(
        8,
        "nearly all at once, and lost replies",
        12,
        held=6,
        deleted=1,
        fates=("before effect", "busy", "after effect", "twice"),
        bad=("poison", "failing", NO_DATA),
        lost=("XREADGROUP", DLQ),
    ),
)


def fields_of(order: str, item: str) -> dict[str, str]:
    """Return the fields of the entry that holds *order*."""
    if item == NO_DATA:
        return {"note": f"{order} was here", **SHOP}
    data = json.dumps({"id": order, "item": item, "amount": 1})
    return {"data": data[: data.index(', "item"')] if item == TORN_DATA else data, **SHOP}


def runs_of(fate: str) -> list[str]:
    """Return what happens in the first runs of an order that *fate* hits, one after the other."""
    return ["raises", "raises"] if fate == "fails twice" else [fate]
