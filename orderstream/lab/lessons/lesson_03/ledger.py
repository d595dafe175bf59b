"""
The moving picture of lesson 03 with a ledger below it: where each order is that was ever sent.

Redis cannot tell how many orders are lost: what was cut away leaves no trace. So the ledger counts what the producer
says that it sent and what the consumers say that they handled, and it looks at what *Trim to 100* takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import msgspec

from orderstream.lab.pictures import live
from orderstream.lab.pictures.sampler import Sample
from orderstream.lab.server.client import open_client
from orderstream.lab.workers.process import Process

GROUP = "order_group"
MANY = 100_000  # entries to look at; the picture is watched for minutes, not for hours
NAMED = 6  # lost orders that are named; the others are counted


@dataclass(frozen=True)
class Cut:
    """An entry that was cut away and not acknowledged: its order, and the consumer that it was given to, if any."""

    order: str
    consumer: str | None

    def __str__(self) -> str:
        return f"{self.order} ({f'was given to {self.consumer}' if self.consumer else 'was new'})"


@dataclass(frozen=True)
class Ledger:
    """
    Where the orders are at one moment. Each is in one place.

    Attributes:
        sent: All of them.
        handled: Those that a handler has finished.
        put_aside: Those in the dead-letter queue.
        lost: Those that were cut away, and that nobody will handle. An order that a living consumer has in hand is not
            lost: it has read what it needs.
    """

    sent: int = 0
    handled: int = 0
    put_aside: int = 0
    lost: tuple[Cut, ...] = ()

    @property
    def waiting(self) -> int:
        """Those that are new or pending."""
        return max(0, self.sent - self.handled - self.put_aside - len(self.lost))

    def html(self) -> str:
        """Return a table, and the names of the orders that were lost last."""
        counts = {
            "sent": self.sent,
            "handled": self.handled,
            "waiting": self.waiting,
            "dead letters": self.put_aside,
            "lost": len(self.lost),
        }
        heads = "".join(f"<th style='padding: 0 1.5em 0 0; text-align: right'>{name}</th>" for name in counts)
        cells = "".join(f"<td style='padding: 0 1.5em 0 0; text-align: right'>{n:,}</td>" for n in counts.values())
        named = ", ".join(map(str, self.lost[: -NAMED - 1 : -1]))
        more = f", and {len(self.lost) - NAMED} more" if len(self.lost) > NAMED else ""
        said = f"Lost, the last one first: {named}{more}." if self.lost else "No order is lost."
        return f"<table><tr>{heads}</tr><tr>{cells}</tr></table><div>{said}</div>"


class Panel(live.Panel):
    """
    The panel of a producer and its consumers, with a ledger of their orders and a button that cuts some away.

        panel = lab.ledger.Panel(producer, consumers)
        panel.trim()                                     # the button *Trim to 100*, pressed by code
        panel.until(lambda now: panel.ledger.lost)

    Args:
        producer: Its stream is empty when the panel begins.
        consumers: As in `live.Panel`.

    Attributes:
        ledger: The newest one.
    """

    def __init__(self, producer: Process, consumers: Sequence[Process]) -> None:
        self._stream = producer.settings.get("stream", "orders")
        self._client = open_client(os.environ["REDIS_URL"])
        self._read_up_to: dict[Process, int] = {}
        self._cut: dict[str, Cut] = {}  # entry id -> what it was
        self._sent, self._handled = 0, set[str]()
        self.ledger = Ledger()
        self._table = widgets.HTML()
        super().__init__(producer, consumers, show=("pending", "length", "memory"))
        chart, *others = self._box.children
        self._box.children = (chart, self._table, *others)
        self.add_button("Trim to 100", self.trim)

    def __repr__(self) -> str:
        return super().__repr__().replace("; sliders", "; a ledger of orders sent, handled, waiting and lost; sliders")

    def trim(self, maxlen: int = 100) -> None:
        """Send XTRIM, and in the same step look at what it takes."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.xrange(self._stream).xinfo_groups(self._stream)
            pipe.xpending_range(self._stream, GROUP, "-", "+", MANY).xtrim(self._stream, maxlen, approximate=False)
            entries, [group], pending, gone = pipe.execute()
        owners = {row["message_id"]: row["consumer"] for row in pending}
        last = place(group["last-delivered-id"])
        for entry_id, fields in entries[:gone]:
            if entry_id in owners or place(entry_id) > last:
                order: str = msgspec.json.decode(fields["data"])["id"]
                self._cut[entry_id] = Cut(order, owners.get(entry_id))

    def _show(self, sample: Sample) -> None:
        super()._show(sample)
        self.ledger = self._count(sample.dead_lettered or 0)
        self._table.value = self.ledger.html()

    def _count(self, put_aside: int) -> Ledger:
        cut = dict(self._cut)  # the button adds to it meanwhile
        pending: Any = self._client.xpending_range(self._stream, GROUP, "-", "+", MANY) if cut else []
        in_hand = {row["message_id"] for row in pending}  # before the events: a consumer tells first, and acks then
        for worker in (self.producer, *list(self.consumers)):
            events, self._read_up_to[worker] = worker.read(self._read_up_to.get(worker, 0))
            for event in events:
                if event["event"] == "sent":
                    self._sent += event["count"]
                elif event["event"] == "handled":
                    self._handled.add(event["id"])
        lost = [each for id, each in cut.items() if id not in in_hand and each.order not in self._handled]
        return Ledger(self._sent, len(self._handled), put_aside, tuple(lost))


def place(entry_id: str) -> tuple[int, int]:
    """Return the two numbers of an id: as texts, 10-0 comes before 9-0."""
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count)
