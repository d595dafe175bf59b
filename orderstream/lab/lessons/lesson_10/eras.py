"""
The moving picture of lesson 10: a group recovers by the commands of one era of Redis or another.

A consumer takes one order at a time. The notebook defines functions that take an order, and the learner chooses one.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets as widgets
import redis

from orderstream.lab.lessons import group_panel, pace
from orderstream.lab.lessons.group_panel import GROUP, GroupPanel
from orderstream.lab.pictures.wire import wire
from orderstream.lab.workers.process import Process

CLAIM_IDLE_MS = 1_500
HELD = 20
IDLE_S = 0.1  # between two tries to take an order when there is none

Take = Callable[[redis.Redis, str, str, int], tuple[str, Any] | None]
"""Takes an order. Client, stream, consumer's name, ``claim_idle_ms`` -> (id, fields); None if there is no order."""


class Member(group_panel.Member):
    """
    A consumer of the group that takes one order at a time.

    Args:
        take: Takes an order. It may be changed at any time.

    Attributes:
        spent: How many round trips it needed for the orders that it has handled.
        problem: The error of Redis if the last try to take an order was refused; otherwise empty.
    """

    def __init__(self, name: str, stream: str, work_ms: float, counting: threading.Lock, *, take: Take) -> None:
        super().__init__(name, stream, work_ms, counting)
        self.take = take
        self.spent = 0
        self.problem = ""
        self._line = wire(self._client, shown=0)

    def run(self) -> None:
        with self._line:
            super().run()

    def _read_on(self) -> None:
        before = self._line.round_trips
        try:
            order = self.take(self._client, self._stream, self.name, CLAIM_IDLE_MS)
            self.problem = ""
        except redis.ResponseError as error:
            self.problem, order = str(error), None
        if order is None:
            self._stopping.wait(IDLE_S)
        elif self._work():
            with self._counting:
                self.handled += self._client.xack(self._stream, GROUP, order[0])
                self.spent += self._line.round_trips - before


@dataclass(frozen=True)
class Moment(group_panel.Moment):
    """
    One look of the panel.

    Attributes:
        handled: Orders handled and acked.
        spent: Round trips for these orders.
    """

    handled: int
    spent: int


class Panel(GroupPanel):
    """
    A group whose consumers can die with orders in hand, and a choice of commands by which the others recover them.

        producer = lab.processes.producer(rate_per_s=10, stream="busy")
        panel = lab.eras.Panel(producer, {"only new": new, "XAUTOCLAIM": next_6_2}, ann=20, bob=20)
        panel                                                 # the last line of a cell shows it
        panel.era.value = "XAUTOCLAIM"
        panel.crash("ann")
        panel.until(lambda now: now.held["ann"] == 0)         # in a later cell
        panel.picture("What happened, in a sentence.")

    Args:
        producer: Its rate gets a slider. The group is made anew on its stream.
        eras: Name -> function that takes an order. The first one is used at first.
        consumers: Name -> milliseconds that it takes for one order. Each gets a slider for that, and a button to crash.

    Attributes:
        era: The choice among *eras*.
    """

    readers: Mapping[str, Member]

    def __init__(self, producer: Process, eras: Mapping[str, Take], **consumers: float) -> None:
        self._eras = dict(eras)
        self._before = 0, 0  # the totals when this era was chosen
        first, *_ = self._eras
        self.era = widgets.Dropdown(options=list(self._eras), value=first, description="Takes orders by", **pace.SLIDER)
        self.era.observe(self._choose, "value")
        self._cost = widgets.HTML()
        self._crashes: dict[str, widgets.Button] = {}
        super().__init__(producer, partial(Member, take=self._eras[first]), consumers, self.era, self._cost)

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: new orders, and how many {names} hold; a choice of how orders are taken; sliders for orders "
            "per second and each consumer's time per order; buttons for a consumer to crash. It moves when the "
            "notebook runs."
        )

    def crash(self, name: str) -> None:
        """End the consumer *name* without a clean-up, with ``HELD`` orders in its hands."""
        member = self.readers[name]
        self._crashes[name].layout.display = "none"  # a red button invites to press it, and there is nobody left
        self.note(f"{name} crashes")
        member.stop()
        member.join(timeout=5)
        in_hand = len(self._client.xpending_range(self._stream, GROUP, "-", "+", HELD, consumername=name))
        if in_hand == HELD:
            return  # it is dead already
        with self._client.pipeline(transaction=True) as pipe:
            for _ in range(HELD):
                pipe.xadd(self._stream, {"item": "tea"})
            pipe.xreadgroup(GROUP, name, {self._stream: ">"}, count=HELD - in_hand).execute()

    def _choose(self, change: dict[str, str]) -> None:
        with self._counting:
            self._before = self._totals()
        self.note(change["new"])
        for member in self.readers.values():
            member.take = self._eras[change["new"]]

    def _button(self, reader: Member) -> widgets.Button:
        button = widgets.Button(description=f"{reader.name} crashes", icon="bolt", button_style="danger")
        button.on_click(lambda _: self.say_if_wrong(lambda: self.crash(reader.name)))
        self._crashes[reader.name] = button
        return button

    def _totals(self) -> tuple[int, int]:
        members = self.readers.values()
        return sum(member.handled for member in members), sum(member.spent for member in members)

    def _moment(self, t_s: float, new: int, held: dict[str, int]) -> Moment:
        handled, spent = self._totals()
        since, used = handled - self._before[0], spent - self._before[1]
        problem = html.escape(next((member.problem for member in self.readers.values() if member.problem), ""))
        each = f"{used / since:.1f}" if since else "–"
        self._cost.value = f"Refused: {problem}" if problem else f"Round trips per order, since you chose: {each}"
        return Moment(t_s, new, held, handled, spent)
