"""
A group that recovers by the commands of one era or another: the moving picture of lesson 10.

A consumer is a thread that takes one order at a time, handles it and acks it. *How* it takes one is a function of the
lesson, and the learner chooses which.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import redis

from orderstream.lab import pace
from orderstream.lab.processes import Process
from orderstream.lab.sharing import GROUP
from orderstream.lab.wire import wire

CLAIM_IDLE_MS = 1_500
HELD = 20
IDLE_S = 0.1  # between two questions when there is nothing to do

Take = Callable[[redis.Redis, str, str, int], tuple[str, Any] | None]
"""Client, key, own name, ``claim_idle_ms`` -> the next order as (id, fields); None: there is none."""


class Member(pace.Reader):
    """
    A consumer of the group that takes one order at a time, until stopped.

    Args:
        name: Its name in the group.
        stream: Key of the stream.
        work_ms: Milliseconds for one order. It may be changed at any time.
        take: How it takes an order. It may be changed at any time.
        counting: Held while an ack is sent and counted, so that whoever holds it sees both or neither.

    Attributes:
        handled: How many orders it has handled and acked.
        spent: How many round trips these took.
        problem: What Redis said when it refused to let it take one.
    """

    def __init__(self, name: str, stream: str, work_ms: float, take: Take, counting: threading.Lock) -> None:
        super().__init__(name, stream, work_ms)
        self.take = take
        self.handled = self.spent = 0
        self.problem = ""
        self._counting = counting
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
class Moment:
    """
    What the panel saw.

    Attributes:
        t_s: Seconds since the panel began.
        new: Orders that were not delivered to anybody yet.
        held: Consumer -> orders it was given and has not acked.
        handled: Orders handled and acked.
        spent: Round trips these took.
    """

    t_s: float
    new: int
    held: dict[str, int]
    handled: int
    spent: int


class Panel(pace.Panel):
    """
    A group whose consumers can die with orders in hand, and a choice of how the others recover them.

        producer = lab.processes.producer(rate_per_s=10, stream="busy")
        panel = lab.eras.Panel(producer, {"only new": new, "XAUTOCLAIM": next_6_2}, ann=20, bob=20)
        panel                                                 # the last line of a cell shows it
        panel.era.value = "XAUTOCLAIM"
        panel.crash("ann")
        panel.until(lambda now: now.held["ann"] == 0)         # in a later cell
        panel.picture("What happened, in a sentence.")

    Args:
        producer: Its rate gets a slider. The group is made anew on its stream.
        eras: Name -> how consumers take an order. They begin with the first.
        consumers: Name -> milliseconds it takes for one order. Each gets a slider for that, and a button to crash.

    Attributes:
        era: The choice among *eras*.
    """

    def __init__(self, producer: Process, eras: Mapping[str, Take], **consumers: float) -> None:
        self._stream = producer.settings.get("stream", "orders")
        self._counting = threading.Lock()
        self._eras = dict(eras)
        self._before = 0, 0  # the totals when this era was chosen
        first, *_ = self._eras
        look = {"style": {"description_width": "10em"}, "layout": {"width": "28em"}}
        self.era = widgets.Dropdown(options=list(self._eras), value=first, description="Takes orders by", **look)
        self.era.observe(self._choose, "value")
        self._cost = widgets.HTML()
        members = [
            Member(name, self._stream, work_ms, self._eras[first], self._counting)
            for name, work_ms in consumers.items()
        ]
        super().__init__(producer, members, self.era, self._cost)

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: new orders, and how many {names} hold; a choice of how orders are taken; sliders for orders "
            "per second and each consumer's time per order; buttons for a consumer to crash. It moves when the "
            "notebook runs."
        )

    def crash(self, name: str) -> None:
        """Let the consumer *name* end without a word, with 20 orders in its hands."""
        member = self.readers[name]
        member.stop()
        member.join(timeout=5)
        in_hand = len(self._client.xpending_range(self._stream, GROUP, "-", "+", HELD, consumername=name))
        if in_hand == HELD:
            return  # it is dead already
        with self._client.pipeline(transaction=True) as pipe:
            for _ in range(HELD):
                pipe.xadd(self._stream, {"item": "tea"})
            pipe.xreadgroup(GROUP, name, {self._stream: ">"}, count=HELD - in_hand).execute()

    def _prepare(self) -> None:
        with self._client.pipeline(transaction=False) as pipe:  # an old group knows what this panel has not counted
            pipe.xgroup_create(self._stream, GROUP, id="0", mkstream=True).xgroup_destroy(self._stream, GROUP)
            pipe.xgroup_create(self._stream, GROUP, id="0")
            pipe.execute(raise_on_error=False)

    def _choose(self, change: dict[str, str]) -> None:
        with self._counting:
            self._before = self._totals()
        for member in self.readers.values():
            member.take = self._eras[change["new"]]

    def _button(self, reader: Member) -> widgets.Button:
        button = widgets.Button(description=f"{reader.name} crashes", icon="bolt", button_style="danger")

        def crash(_: widgets.Button) -> None:
            button.disabled = True
            self.say_if_wrong(lambda: self.crash(reader.name))

        button.on_click(crash)
        return button

    def _totals(self) -> tuple[int, int]:
        members = self.readers.values()
        return sum(member.handled for member in members), sum(member.spent for member in members)

    def _look(self, t_s: float) -> Moment:
        with self._counting, self._client.pipeline(transaction=True) as pipe:  # the three at the same moment
            length, pending = pipe.xlen(self._stream).xpending(self._stream, GROUP).execute()
            handled, spent = self._totals()
            since, used = handled - self._before[0], spent - self._before[1]
        problem = html.escape(next((member.problem for member in self.readers.values() if member.problem), ""))
        each = f"{used / since:.1f}" if since else "–"
        self._cost.value = f"Redis answers: {problem}" if problem else f"Round trips per order, since you chose: {each}"
        held = dict.fromkeys(self.readers, 0) | {one["name"]: one["pending"] for one in pending["consumers"]}
        return Moment(t_s, length - pending["pending"] - handled, held, handled, spent)

    def _draw(self, moments: Sequence[Moment], seconds: float | None) -> bytes:
        return draw(moments, seconds)


def draw(moments: Sequence[Moment], seconds: float | None = None) -> bytes:
    """Return a PNG of the new orders and of what each consumer holds, over time; see ``pace.draw``."""
    title = "New orders, and orders that each consumer holds"
    return pace.draw(title, moments, lambda moment: {"new": moment.new, **moment.held}, seconds, "steps-post")
