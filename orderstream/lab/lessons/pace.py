"""
Threads that read one stream, each at its own pace, and a moving picture of it.

This is the common part of the panels of lessons 01, 02 and 10. In lesson 01 readers follow a log; in the others a group
shares the work, see `group_panel`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import redis
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from orderstream.lab import patience
from orderstream.lab.pictures import charts
from orderstream.lab.pictures.live import WIDE
from orderstream.lab.pictures.sampler import Note
from orderstream.lab.server.client import open_client
from orderstream.lab.workers.process import Process

EVERY_S = 0.3  # between two pictures: each is drawn anew, which takes time of the kernel
GAP = 0.14  # between two labels, as a part of the height of the axes
SECONDS = 30  # the moving picture shows so much time; its right edge is now
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linewidth": 2},
    {"color": "#D55E00", "linewidth": 2, "linestyle": (0, (5, 1.5))},
    {"color": "#007A5A", "linewidth": 2, "linestyle": (0, (1.2, 1.2))},
)
SLIDER: dict[str, Any] = {"style": {"description_width": "10em"}, "layout": {"width": "28em"}}
FIRST_LOOK: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 6, "solid_capstyle": "butt"}


class Reader(threading.Thread, ABC):
    """
    Read a stream until it is stopped. A subclass says how it reads.

    Args:
        name: Its name in the picture.
        stream: Key of the stream.
        work_ms: Milliseconds for one entry. It may be changed at any time.
    """

    def __init__(self, name: str, stream: str, work_ms: float) -> None:
        super().__init__(name=name, daemon=True)
        self.work_ms = work_ms
        self._stream = stream
        self._client = open_client(os.environ["REDIS_URL"])
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End without finishing the entry in hand."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read_on()
            except redis.RedisError:
                self._stopping.wait(EVERY_S)  # the panel says what is wrong; this thread tries again
        self._client.close()

    @abstractmethod
    def _read_on(self) -> None:
        """Read once, and work on the entries that came. Return early when stopped."""

    def _work(self) -> bool:
        """Wait for the time that one entry takes. False: it was stopped meanwhile."""
        return not self._stopping.wait(self.work_ms / 1000)


class Panel(ABC):
    """
    The moving picture of a producer and some readers, with a row of controls for each.

    Args:
        producer: Its rate gets a slider.
        readers: The panel starts them. Each gets a slider for its time per order, and a button.
        more: Controls of the subclass, above those of the readers.

    Attributes:
        readers: Name -> reader.
        moments: What the panel saw so far, oldest first. Each has ``t_s``, seconds since the panel began.
        notes: What was done meanwhile, see ``note``.
    """

    _shown: Panel | None = None

    def __init__(self, producer: Process, readers: Sequence[Reader], *more: widgets.Widget) -> None:
        if Panel._shown:
            Panel._shown.stop()  # the cell of the old panel was run again
        Panel._shown = self
        self.producer = producer
        self.readers: Mapping[str, Reader] = {reader.name: reader for reader in readers}
        self.moments: deque[Any] = deque(maxlen=4_000)
        self.notes: list[Note] = []
        self.chart = widgets.Image(format="png", layout={**WIDE, "max_width": f"{charts.WIDTH * 100:.0f}px"})
        self.rate = slider("Orders per second", producer.knobs["rate_per_s"], 100)
        self.rate.observe(lambda change: self.say_if_wrong(self.producer.set, rate_per_s=change["new"]), "value")
        self._problem, self._outage = widgets.HTML(), widgets.HTML()
        rows = [self.chart, self.rate, *more, *map(self._controls, readers), self._problem, self._outage]
        self._box = widgets.VBox(rows)
        self._client = open_client(os.environ["REDIS_URL"])
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._keeping = threading.Lock()
        self._prepare()
        self._keep()
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        for thread in (*readers, self._thread):
            thread.start()
        atexit.register(self.stop)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = self._box._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self)}

    def until(self, condition: Callable[[Any], bool], timeout_s: float = 20, *, then_s: float = 0) -> Any:
        """
        Wait until *condition* holds for a moment that is newer than this call, and return that moment.

        Args:
            condition: What to wait for.
            timeout_s: How long at most.
            then_s: Seconds to go on after that, so that a picture shows what came next.

        Raises:
            TimeoutError: It did not hold within *timeout_s* seconds, or longer on a busy machine.
        """
        limit_s = patience.stretched(timeout_s)
        asked = time.monotonic()  # an older moment may not show yet what the caller has just done
        while self.moments[-1].t_s <= asked - self._began or not condition(self.moments[-1]):
            if time.monotonic() > asked + limit_s:
                raise TimeoutError(f"it did not happen within {limit_s:.3g} s; the panel last saw {self.moments[-1]}")
            time.sleep(0.02)
        found = self.moments[-1]
        while self.moments[-1].t_s < found.t_s + then_s and not self._stopping.is_set():
            time.sleep(0.02)
        return found

    def picture(self, sentence: str) -> charts.Picture:
        """Return everything the panel saw as a still picture above *sentence*."""
        return charts.Picture(sentence, self._draw(list(self.moments), None))

    def note(self, what: str) -> None:
        """Note that this was done now: a vertical line in the picture."""
        self.notes.append(Note(time.monotonic() - self._began, what))

    def say_if_wrong(self, action: Callable[..., object], **values: float) -> None:
        """Call *action*. If it raises, show the error below the controls: a slider or a button has no caller."""
        try:
            action(**values)
        except Exception as error:  # noqa: BLE001
            self._problem.value = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Stop the producer, the readers and the picture. The last picture stays."""
        self._stopping.set()
        for reader in self.readers.values():
            reader.stop()
        for thread in (*self.readers.values(), self._thread):
            thread.join(timeout=5)
        self.producer.stop()
        atexit.unregister(self.stop)

    # For subclasses to define -----------------------------------------------------------------------------

    def _prepare(self) -> None:  # noqa: B027 - readers of a log need nothing
        """Make what the readers need in Redis. The readers of the panel before have ended."""

    @abstractmethod
    def _button(self, reader: Any) -> widgets.Button:
        """Return the button of a reader."""

    @abstractmethod
    def _look(self, t_s: float) -> Any:
        """Return what there is to see now, *t_s* seconds after the panel began."""

    @abstractmethod
    def _draw(self, moments: Sequence[Any], seconds: float | None) -> bytes:
        """Return a PNG of the *moments*: of the last *seconds*, or of all of them."""

    # ------------------------------------------------------------------------------------------------------

    def _controls(self, reader: Any) -> widgets.HBox:
        work = slider(f"{reader.name}: ms per order", reader.work_ms, 200)
        work.observe(lambda change: setattr(reader, "work_ms", change["new"]), "value")
        return widgets.HBox([work, self._button(reader)], layout={"flex_flow": "row wrap"})

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self._keep()
                self._outage.value = ""
            except redis.RedisError as error:
                self._outage.value = f"Redis does not answer: {error}"
        self._client.close()

    def _keep(self) -> None:
        """Look now. The panel's thread does so all the time; a subclass may want a look in between."""
        with self._keeping:
            self.moments.append(self._look(time.monotonic() - self._began))
            self.chart.value = self._draw(list(self.moments), SECONDS)


def draw(
    parts: Mapping[str, Callable[[Any], dict[str, int]]],
    moments: Sequence[Any],
    seconds: float | None = None,
    drawstyle: str = "default",
    notes: Sequence[Note] = (),
) -> bytes:
    """
    Return a PNG with a labelled line for each of some numbers, over time.

    Args:
        parts: Title -> a function that returns name -> number for a moment. The parts stand side by side. In each, the
            line of the first name is broad and lies below the others.
        moments: What was seen, oldest first, at least one.
        seconds: Draw only these last seconds, counted back from now. None: draw everything, counted from the start.
        drawstyle: As in matplotlib: ``steps-post`` for numbers that jump.
        notes: What was done meanwhile.
    """
    now = moments[-1].t_s
    since = now - seconds if seconds else 0.0
    shown = [moment for moment in moments if moment.t_s >= since - 1]
    t = [moment.t_s - (now if seconds else 0) for moment in shown]
    figure = Figure(figsize=(charts.WIDTH, charts.HEIGHT), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    step = 0.95 / len(parts)
    for number, (title, numbers) in enumerate(parts.items()):
        # fixed, because matplotlib's own layout is slow; the labels and the next numbers need what is left
        ax = figure.add_axes((0.05 + number * step, 0.2, step - 0.11, 0.66))
        ax.set_xlim(*((-seconds, 0) if seconds else (0, max(1.0, now))))
        ax.set_title(title, loc="left", fontsize=11)
        ax.set_xlabel("seconds ago" if seconds else "seconds")
        ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        charts.Notes(ax).show(notes, now if seconds else 0)
        _draw_lines(ax, t, [numbers(moment) for moment in shown], drawstyle)
    return charts.png(figure)


def _draw_lines(ax: Axes, t: Sequence[float], rows: Sequence[dict[str, int]], drawstyle: str) -> None:
    first, *_ = rows[-1]
    looks = zip(rows[-1], (FIRST_LOOK, *LOOKS), strict=False)
    lines = {name: ([row.get(name, 0) for row in rows], look) for name, look in looks}
    ax.set_ylim(*charts.limits([value for values, _ in lines.values() for value in values]))
    ax.locator_params(axis="y", integer=True)
    low, high = ax.get_ylim()
    above, label_at = len(lines), -1.0
    for name, (values, look) in sorted(lines.items(), key=lambda line: (line[1][0][-1], line[0] == first)):
        ax.plot(t, values, zorder=1 if name == first else 2, drawstyle=drawstyle, **look)
        above -= 1  # a label stands beside its line; it must not cover another or leave the picture
        label_at = min(max((values[-1] - low) / (high - low), label_at + GAP), 1 - above * GAP)
        colour = "#595959" if name == first else look["color"]
        ax.text(1.01, label_at, f"{name} {values[-1]}", transform=ax.transAxes, va="center", color=colour,
                fontsize=12, fontweight="bold")  # fmt: skip


def slider(label: str, value: float, high: int) -> widgets.IntSlider:
    """Return a slider from 0 to *high*."""
    return widgets.IntSlider(round(value), 0, high, step=5, description=label, **SLIDER)
