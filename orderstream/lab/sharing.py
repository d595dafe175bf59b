"""
One group whose consumers share the work: the moving picture of lesson 02.

A consumer is a thread that asks with ``XREADGROUP … COUNT n`` for orders nobody was given yet, handles one after the
other, and acks each. The picture shows what each of them holds, and how many new orders
there are: nobody was given them yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets

from orderstream.lab import pace
from orderstream.lab.processes import Process

GROUP = "order_group"
COUNTS = (1, 2, 5, 10, 20, 50, 100)


class Member(pace.Reader):
    """
    A consumer of the group, written as one would with redis-py alone, until stopped.

    Args:
        name: Its name in the group.
        stream: Key of the stream.
        work_ms: Milliseconds for one order. It may be changed at any time.
        counting: Held while an ack is sent and counted, so that whoever holds it sees both or neither.

    Attributes:
        count: How many orders it asks for. It may be changed at any time, and holds from its next question on.
        asking: The COUNT of the question under way; 0 when it works.
        handled: How many orders it has handled and acked.
    """

    def __init__(self, name: str, stream: str, work_ms: float, counting: threading.Lock) -> None:
        super().__init__(name, stream, work_ms)
        self.count, self.asking, self.handled = 1, 0, 0
        self._counting = counting

    def _read_on(self) -> None:
        self.asking = self.count
        try:
            reply = self._client.xreadgroup(GROUP, self.name, {self._stream: ">"}, count=self.asking, block=200)
        finally:
            self.asking = 0
        for _, entries in reply:
            for entry_id, _ in entries:
                if not self._work():
                    return  # the rest stays pending, in its name
                with self._counting:
                    self.handled += self._client.xack(self._stream, GROUP, entry_id)


@dataclass(frozen=True)
class Moment:
    """
    What the panel saw.

    Attributes:
        t_s: Seconds since the panel began.
        new: Orders that were not delivered to anybody yet.
        held: Consumer -> orders it was given and has not acked.
        handled: Consumer -> orders it has handled and acked.
    """

    t_s: float
    new: int
    held: dict[str, int]
    handled: dict[str, int]


class Panel(pace.Panel):
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
        consumers: Name -> milliseconds it takes for one order. Each gets a slider for that, and a button that lets it
            go without a word.

    Attributes:
        count: The slider of what all consumers ask for, COUNT.
    """

    def __init__(self, producer: Process, **consumers: float) -> None:
        self._stream = producer.settings.get("stream", "orders")
        self._counting = threading.Lock()
        members = [Member(name, self._stream, work_ms, self._counting) for name, work_ms in consumers.items()]
        self.count = widgets.SelectionSlider(options=COUNTS, value=1, description="COUNT", **pace.SLIDER)
        self.count.observe(self._set_count, "value")
        rush = widgets.Button(description="100 orders at once", icon="bolt", layout={"width": "auto"})
        rush.on_click(lambda _: self.say_if_wrong(self.rush))
        super().__init__(producer, members, widgets.HBox([self.count, rush], layout={"flex_flow": "row wrap"}))

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: new orders, and how many {names} hold; sliders for orders per second, COUNT and "
            "each consumer's time per order; buttons for 100 orders at once, and for a consumer to vanish. It moves "
            "when the notebook runs."
        )

    def rush(self, orders: int = 100) -> None:
        """Add so many orders in one moment: nobody can ask in between, and nobody asks with the COUNT of before."""
        while any(member.asking not in (0, member.count) for member in self.readers.values()):
            time.sleep(0.01)  # a question lasts 0.2 s at most
        with self._client.pipeline(transaction=True) as pipe:
            for _ in range(orders):
                pipe.xadd(self._stream, {"item": "tea"})
            pipe.execute()

    def _prepare(self) -> None:
        with self._client.pipeline(transaction=False) as pipe:  # an old group knows what this panel has not counted
            pipe.xgroup_create(self._stream, GROUP, id="0", mkstream=True).xgroup_destroy(self._stream, GROUP)
            pipe.xgroup_create(self._stream, GROUP, id="0")
            pipe.execute(raise_on_error=False)

    def _set_count(self, change: dict[str, int]) -> None:
        for member in self.readers.values():
            member.count = change["new"]

    def _button(self, reader: Member) -> widgets.Button:
        gone = widgets.Button(description=f"{reader.name} vanishes", icon="times", button_style="danger")

        def vanish(_: widgets.Button) -> None:
            reader.stop()
            gone.disabled = True

        gone.on_click(vanish)
        return gone

    def _look(self, t_s: float) -> Moment:
        with self._counting, self._client.pipeline(transaction=True) as pipe:  # the three at the same moment
            length, pending = pipe.xlen(self._stream).xpending(self._stream, GROUP).execute()
            handled = {name: member.handled for name, member in self.readers.items()}
        held = dict.fromkeys(self.readers, 0) | {each["name"]: each["pending"] for each in pending["consumers"]}
        return Moment(t_s, length - pending["pending"] - sum(handled.values()), held, handled)

    def _draw(self, moments: Sequence[Moment], seconds: float | None) -> bytes:
        return draw(moments, seconds)


def draw(moments: Sequence[Moment], seconds: float | None = None) -> bytes:
    """Return a PNG of the new orders and of what each consumer holds, over time; see ``pace.draw``."""
    title = "New orders, and orders that each consumer holds"
    return pace.draw(title, moments, lambda moment: {"new": moment.new, **moment.held}, seconds, "steps-post")
