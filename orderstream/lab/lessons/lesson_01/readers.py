"""
The moving picture of lesson 01: one log and several readers, each with a place of its own.

A reader is a thread that asks with XREAD for the entries after the last id that it has seen. Redis stores nothing about
it. So it may be slow, stop, or go back to the start, and neither the log nor another reader notices.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ipywidgets as widgets

from orderstream.lab.lessons import pace
from orderstream.lab.workers.process import Process


class Reader(pace.Reader):
    """
    Read a stream from its start, one entry after the other, until it is stopped.

    Attributes:
        last_id: The id of the entry that it read last. A reader needs nothing else to go on.
        read: How many entries it has read since it began, or since it went back.
    """

    def __init__(self, name: str, stream: str, work_ms: float) -> None:
        super().__init__(name, stream, work_ms)
        self.last_id, self.read = "0", 0
        self._place = threading.Lock()

    def back_to_start(self) -> None:
        """Read everything again."""
        with self._place:
            self.last_id, self.read = "0", 0

    def _read_on(self) -> None:
        place = self.last_id
        for _, entries in self._client.xread({self._stream: place}, count=20, block=200):
            for entry_id, _ in entries:
                if not self._work():
                    return
                with self._place:
                    if self.last_id != place:
                        return  # it was sent back to the start meanwhile
                    self.last_id = place = entry_id
                    self.read += 1


@dataclass(frozen=True)
class Moment:
    """One look of the panel: seconds since it began, entries in the log, and how many of them each reader has read."""

    t_s: float
    length: int
    read: dict[str, int]


class Panel(pace.Panel):
    """
    A log that grows while readers follow it, each at its own pace.

        producer = lab.processes.producer(rate_per_s=20, stream="busy")
        panel = lab.readers.Panel(producer, ann=5, bob=25)
        panel                                                 # the last line of a cell shows it
        panel.until(lambda now: now.length >= 50)             # in a later cell
        panel.picture("What happened, in a sentence.")

    Args:
        producer: Its rate gets a slider. The readers follow its stream.
        readers: Name -> milliseconds that it takes for one order. Each gets a slider for that, and a button that sends
            it back to the start.
    """

    readers: Mapping[str, Reader]

    def __init__(self, producer: Process, **readers: float) -> None:
        self._stream = producer.settings.get("stream", "orders")
        super().__init__(producer, [Reader(name, self._stream, work_ms) for name, work_ms in readers.items()])

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: the length of the log, and how far {names} have read; sliders for orders per second and for "
            "each reader's time per order; buttons that send a reader back to 0. It moves when the notebook runs."
        )

    def send_back(self, name: str) -> None:
        """Let a reader read everything again. The picture shows it at 0: at the next look it would be far on."""
        self._keep()
        self.readers[name].back_to_start()
        self._keep()

    def _button(self, reader: Reader) -> widgets.Button:
        back = widgets.Button(description=f"{reader.name}: back to 0", icon="fast-backward")
        back.on_click(lambda _: self.say_if_wrong(lambda: self.send_back(reader.name)))
        return back

    def _look(self, t_s: float) -> Moment:
        read = {name: reader.read for name, reader in self.readers.items()}  # read before the length, so never above it
        return Moment(t_s, self._client.xlen(self._stream), read)

    def _draw(self, moments: Sequence[Moment], seconds: float | None) -> bytes:
        return draw(moments, seconds)


def draw(moments: Sequence[Moment], seconds: float | None = None) -> bytes:
    """Return a PNG of the log's length and every reader's place in it, over time; see ``pace.draw``."""
    title = "Orders in the log, and how many of them each reader has read"
    return pace.draw({title: lambda moment: {"log": moment.length, **moment.read}}, moments, seconds)
