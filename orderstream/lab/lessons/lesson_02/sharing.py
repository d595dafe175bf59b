"""
The moving picture of lesson 02: a group shares the work, and COUNT decides how many orders a consumer holds.

A consumer asks with ``XREADGROUP … COUNT n`` for orders that were not delivered yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from orderstream.lab.lessons import group_panel, pace
from orderstream.lab.lessons.group_panel import GROUP, GroupPanel, holds
from orderstream.lab.pictures.sampler import Note
from orderstream.lab.workers.process import Process

COUNTS = (1, 2, 5, 10, 20, 50, 100)


class Member(group_panel.Member):
    """
    A consumer of the group, written with redis-py alone.

    Attributes:
        count: How many orders it asks for. It may be changed at any time, and is used from the next XREADGROUP on.
        asking: The COUNT of the XREADGROUP that waits now; 0 while it works on orders.
    """

    def __init__(self, name: str, stream: str, work_ms: float, counting: threading.Lock) -> None:
        super().__init__(name, stream, work_ms, counting)
        self.count, self.asking = 1, 0

    def _read_on(self) -> None:
        self.asking = self.count
        try:
            reply = self._client.xreadgroup(GROUP, self.name, {self._stream: ">"}, count=self.asking, block=200)
        finally:
            self.asking = 0
        for _, entries in reply:
            for entry_id, _ in entries:
                if not self._work():
                    return  # the rest stays pending under its name
                with self._counting:
                    self.handled += self._client.xack(self._stream, GROUP, entry_id)


@dataclass(frozen=True)
class Moment(group_panel.Moment):
    """
    One look of the panel.

    Attributes:
        handled: Consumer -> orders that it has handled and acked.
    """

    handled: dict[str, int]


class Panel(GroupPanel):
    """
    A stream whose orders are shared by the consumers of one group.

        producer = lab.processes.producer(rate_per_s=5, stream="busy")
        panel = lab.sharing.Panel(producer, ann=20, bob=20)
        panel                                                 # the last line of a cell shows it
        panel.count.value = 100
        panel.rush()                                          # 100 orders at once
        panel.until(lambda now: now.new == 0)             # in a later cell
        panel.picture("What happened, in a sentence.")

    Args:
        producer: Its rate gets a slider. The group is made anew on its stream.
        consumers: Name -> milliseconds that it takes for one order. Each gets a slider for that, and a button that ends
            it while it holds orders.

    Attributes:
        count: The slider for COUNT, the same for all consumers.
    """

    readers: Mapping[str, Member]

    def __init__(self, producer: Process, **consumers: float) -> None:
        self.count = widgets.SelectionSlider(options=COUNTS, value=1, description="COUNT", **pace.SLIDER)
        self.count.observe(self._set_count, "value")
        rush = widgets.Button(description="100 orders at once", icon="bolt", layout={"width": "auto"})
        rush.on_click(lambda _: self.say_if_wrong(self.rush))
        row = widgets.HBox([self.count, rush], layout={"flex_flow": "row wrap"})
        super().__init__(producer, Member, consumers, row)

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: new orders, and how many {names} hold and have handled; sliders for orders per second, "
            "COUNT and each consumer's time per order; buttons for 100 orders at once, and for a consumer to vanish. "
            "It moves when the notebook runs."
        )

    def rush(self, orders: int = 100) -> None:
        """Add so many orders at once, when no consumer waits any more with an older COUNT. None can read in between."""
        while any(member.asking not in (0, member.count) for member in self.readers.values()):
            time.sleep(0.01)  # an XREADGROUP blocks for 200 ms at most
        with self._client.pipeline(transaction=True) as pipe:
            for _ in range(orders):
                pipe.xadd(self._stream, {"item": "tea"})
            pipe.execute()

    def _set_count(self, change: dict[str, int]) -> None:
        self.note(f"COUNT {change['new']}")
        for member in self.readers.values():
            member.count = change["new"]

    def _button(self, reader: Member) -> widgets.Button:
        gone = widgets.Button(description=f"{reader.name} vanishes", icon="times", button_style="danger")

        def vanish(_: widgets.Button) -> None:
            reader.stop()
            gone.layout.display = "none"  # a red button invites to press it, and there is nobody left
            self.note(f"{reader.name} vanishes")

        gone.on_click(vanish)
        return gone

    def _moment(self, t_s: float, new: int, held: dict[str, int]) -> Moment:
        return Moment(t_s, new, held, {name: member.handled for name, member in self.readers.items()})

    def _draw(self, moments: Sequence[Any], seconds: float | None) -> bytes:
        return draw(moments, seconds, list(self.notes))


def draw(moments: Sequence[Moment], seconds: float | None = None, notes: Sequence[Note] = ()) -> bytes:
    """Return a PNG: what is new and what each consumer holds, beside what each has handled; see ``pace.draw``."""
    parts = {"New orders, and orders that each holds": holds, "Orders that each has handled": _handled}
    return pace.draw(parts, moments, seconds, "steps-post", notes)


def _handled(moment: Moment) -> dict[str, int]:
    return {"all": sum(moment.handled.values()), **moment.handled}
