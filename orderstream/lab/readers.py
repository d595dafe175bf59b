"""
One log and several readers, each with a place of its own: the moving picture of lesson 01.

A reader is a thread that asks with XREAD for what comes after the last id it has seen. Redis keeps nothing about it,
so it may be slow, stop, or go back to the start, and neither the log nor another reader notices.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import redis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from orderstream.lab import charts, server
from orderstream.lab.processes import Process

EVERY_S = 0.3  # a picture drawn anew takes about 0.05 s of a core
GAP = 0.14  # between two labels, of the height of the axes
SECONDS = 30  # the right edge of the moving picture is now
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linewidth": 2},
    {"color": "#D55E00", "linewidth": 2, "linestyle": (0, (5, 1.5))},
    {"color": "#007A5A", "linewidth": 2, "linestyle": (0, (1.2, 1.2))},
)
LOG_LOOK: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 6, "solid_capstyle": "butt"}


class Reader(threading.Thread):
    """
    Read a stream from its start, one entry after the other, until stopped.

    Args:
        name: What the picture calls it.
        stream: Key of the stream.
        work_ms: Milliseconds for one entry. It may be changed at any time.

    Attributes:
        last_id: The id of the entry it read last. This is all that makes it a reader.
        read: How many entries it has read since it began, or since it went back.
    """

    def __init__(self, name: str, stream: str, work_ms: float) -> None:
        super().__init__(name=name, daemon=True)
        self.work_ms = work_ms
        self.last_id, self.read = "0", 0
        self._stream = stream
        self._client = server.open_client(os.environ["REDIS_URL"])
        self._place = threading.Lock()
        self._stopping = threading.Event()

    def back_to_start(self) -> None:
        """Read everything again."""
        with self._place:
            self.last_id, self.read = "0", 0

    def stop(self) -> None:
        """End after the entry in hand."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read_on()
            except redis.RedisError:
                self._stopping.wait(EVERY_S)  # the panel says what is wrong; we ask again
        self._client.close()

    def _read_on(self) -> None:
        place = self.last_id
        for _, entries in self._client.xread({self._stream: place}, count=20, block=200):
            for entry_id, _ in entries:
                if self._stopping.wait(self.work_ms / 1000):
                    return
                with self._place:
                    if self.last_id != place:
                        return  # it was sent back to the start meanwhile
                    self.last_id = place = entry_id
                    self.read += 1


@dataclass(frozen=True)
class Moment:
    """What the panel saw: seconds since it began, entries in the log, and how many of them each reader has read."""

    t_s: float
    length: int
    read: dict[str, int]


class Panel:
    """
    A log that grows while readers follow it, each at its own pace.

        producer = lab.processes.producer(rate_per_s=20, stream="busy")
        panel = lab.readers.Panel(producer, ann=5, bob=25)
        panel                                                 # the last line of a cell shows it
        panel.until(lambda now: now.length >= 50)             # in a later cell
        panel.picture("What happened, in a sentence.")

    Args:
        producer: Its rate gets a slider. The readers follow its stream.
        readers: Name -> milliseconds it takes for one order. Each gets a slider for that, and a button that sends it
            back to the start.

    Attributes:
        readers: Name -> reader.
        moments: What was seen so far, oldest first.
    """

    _shown: Panel | None = None

    def __init__(self, producer: Process, **readers: float) -> None:
        if Panel._shown:
            Panel._shown.stop()  # its cell was run again
        Panel._shown = self
        self.producer, self._stream = producer, producer.settings.get("stream", "orders")
        self.readers = {name: Reader(name, self._stream, work_ms) for name, work_ms in readers.items()}
        self.moments: deque[Moment] = deque(maxlen=4_000)
        self.chart = widgets.Image(format="png", layout={"width": "100%", "max_width": f"{charts.WIDTH * 100:.0f}px"})
        self.rate = _slider("Orders per second", producer.knobs["rate_per_s"], 100)
        self.rate.observe(self._set_rate, "value")
        self._problem, self._outage = widgets.HTML(), widgets.HTML()
        rows = [self.chart, self.rate, *map(self._controls, self.readers.values()), self._problem, self._outage]
        self._box = widgets.VBox(rows)
        self._client = server.open_client(os.environ["REDIS_URL"])
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, name="readers-panel", daemon=True)
        for thread in (*self.readers.values(), self._thread):
            thread.start()
        atexit.register(self.stop)

    def __repr__(self) -> str:
        names = " and ".join(self.readers)
        return (
            f"Live panel: the length of the log, and how far {names} have read; sliders for orders per second and for "
            "each reader's time per order; buttons that send a reader back to 0. It moves when the notebook runs."
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = self._box._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self)}

    def until(self, condition: Callable[[Moment], bool], timeout_s: float = 20) -> Moment:
        """
        Wait until *condition* holds for a moment that is newer than this call, and return that moment.

        Raises:
            TimeoutError: It did not within *timeout_s* seconds.
        """
        asked = time.monotonic()  # what was seen before may not know yet what the caller has just done
        while self.moments[-1].t_s <= asked - self._began or not condition(self.moments[-1]):
            if time.monotonic() > asked + timeout_s:
                raise TimeoutError(f"it did not happen within {timeout_s:g} s; the panel last saw {self.moments[-1]}")
            time.sleep(0.02)
        return self.moments[-1]

    def picture(self, sentence: str) -> charts.Picture:
        """Return everything the panel saw as a still picture above *sentence*."""
        return charts.Picture(sentence, draw(list(self.moments)))

    def stop(self) -> None:
        """Stop the producer, the readers and the picture. What was drawn last stays."""
        self._stopping.set()
        for reader in self.readers.values():
            reader.stop()
        for thread in (*self.readers.values(), self._thread):
            thread.join(timeout=5)
        self.producer.stop()
        atexit.unregister(self.stop)

    def _controls(self, reader: Reader) -> widgets.HBox:
        work = _slider(f"{reader.name}: ms per order", reader.work_ms, 200)
        work.observe(lambda change: setattr(reader, "work_ms", change["new"]), "value")
        back = widgets.Button(description=f"{reader.name}: back to 0", icon="fast-backward")
        back.on_click(lambda _: reader.back_to_start())
        return widgets.HBox([work, back], layout={"flex_flow": "row wrap"})

    def _set_rate(self, change: dict[str, Any]) -> None:
        try:
            self.producer.set(rate_per_s=change["new"])
        except Exception as error:  # noqa: BLE001 - a slider has nobody else to tell
            self._problem.value = f"{type(error).__name__}: {error}"

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self._look()
                self._outage.value = ""
            except redis.RedisError as error:
                self._outage.value = f"Redis does not answer: {error}"
        self._client.close()

    def _look(self) -> None:
        t_s = time.monotonic() - self._began
        read = {name: reader.read for name, reader in self.readers.items()}  # before the length: never more than it
        self.moments.append(Moment(t_s, self._client.xlen(self._stream), read))
        self.chart.value = draw(list(self.moments), SECONDS)


def draw(moments: Sequence[Moment], seconds: float | None = None) -> bytes:
    """
    Return a PNG of the log's length and every reader's place in it, over time.

    Args:
        moments: What was seen, oldest first, at least one.
        seconds: Only these last seconds, counted back from now; None is everything, counted from the start.
    """
    now = moments[-1].t_s
    since = now - seconds if seconds else 0.0
    shown = [moment for moment in moments if moment.t_s >= since - 1]
    t = [moment.t_s - (now if seconds else 0) for moment in shown]
    figure = Figure(figsize=(charts.WIDTH, charts.HEIGHT), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.05, 0.2, 0.86, 0.66))  # fixed: working out a layout takes longer than drawing
    lines = {"log": ([moment.length for moment in shown], LOG_LOOK)}
    for name, look in zip(shown[-1].read, LOOKS, strict=False):
        lines[name] = ([moment.read[name] for moment in shown], look)
    ax.set_xlim(*((-seconds, 0) if seconds else (0, max(1.0, now))))
    ax.set_ylim(*charts.limits(lines["log"][0]))
    low, high = ax.get_ylim()
    above, label_at = len(lines), -1.0
    for name, (values, look) in sorted(lines.items(), key=lambda line: (line[1][0][-1], line[0] == "log")):
        ax.plot(t, values, zorder=1 if name == "log" else 2, **look)
        above -= 1  # each label stands beside its line, none on another, and all within the picture
        label_at = min(max((values[-1] - low) / (high - low), label_at + GAP), 1 - above * GAP)
        colour = "#595959" if name == "log" else look["color"]
        ax.text(1.01, label_at, f"{name} {values[-1]}", transform=ax.transAxes, va="center", color=colour,
                fontsize=12, fontweight="bold")  # fmt: skip
    ax.set_title("Orders in the log, and how many of them each reader has read", loc="left", fontsize=11)
    ax.set_xlabel("seconds ago" if seconds else "seconds")
    ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    return charts.png(figure)


def _slider(label: str, value: float, high: int) -> widgets.IntSlider:
    style, layout = {"description_width": "10em"}, {"width": "28em"}
    return widgets.IntSlider(round(value), 0, high, step=5, description=label, style=style, layout=layout)
