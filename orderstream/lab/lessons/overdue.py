"""A stream with pending entries of any age, for the judges of lessons 04 and 10."""

from collections.abc import Iterator
from contextlib import contextmanager

from orderstream.lab import server
from orderstream.lab.tutor.witness import Witness

KEY, GROUP = "check", "order_group"
MINUTE, LONG_AGO = 60_000, 90_000  # milliseconds
PATIENCE = 3_000  # commands after which an answer is ended; a right one that takes one order at a time needs 2_200

State = dict[str, tuple[str, int]]
"""Entry id -> its owner and its delivery count."""


@contextmanager
def shift(idle: dict[str, tuple[int, int]], group: str = GROUP) -> Iterator[Witness]:
    """
    Make a stream whose entries are all pending, and yield a witness of what is done with it.

    Args:
        idle: Consumer -> how many entries it is given, and for how many milliseconds these are idle.
        group: The only group of the stream.
    """
    server.current().fresh(KEY)
    client, last = server.current().client, 0
    try:
        client.xgroup_create(KEY, group, id="0", mkstream=True)
        for consumer, (many, ms) in idle.items():
            ids = [f"{last + n}-0" for n in range(1, many + 1)]
            last += many
            adding = client.pipeline(transaction=False)
            for entry_id in ids:
                adding.xadd(KEY, {"item": "tea"}, id=entry_id)
            adding.execute()
            client.xreadgroup(group, consumer, {KEY: ">"}, count=many)
            client.xclaim(KEY, group, consumer, 0, ids, idle=ms, justid=True)
        with Witness(KEY, group, PATIENCE) as witness:
            yield witness
    finally:
        server.current().fresh(KEY)


def pending(min_idle_ms: int = 0) -> State:
    idle = {"idle": min_idle_ms} if min_idle_ms else {}
    client = server.current().client
    [group] = client.xinfo_groups(KEY)
    entries = client.xpending_range(KEY, group["name"], "-", "+", 10_000, **idle)
    return {entry["message_id"]: (entry["consumer"], entry["times_delivered"]) for entry in entries}
