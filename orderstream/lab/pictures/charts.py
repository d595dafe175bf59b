"""
Still pictures drawn from samples: throughput, pending and retries over time, or other columns that you ask for.

A column looks the same in every picture, still or moving: throughput is a line, pending an area, retries are dots. So
they differ in black and white, too. The colours are close to those of Okabe and Ito, which most colour-blind people can
tell apart.
"""

from __future__ import annotations

import base64
import io
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from orderstream.lab.pictures import lane_chart, lanes
from orderstream.lab.pictures import waterfall as viewer
from orderstream.lab.pictures.sampler import Note, Sample, Sampler, summary

if TYPE_CHECKING:
    from orderstream.lab.workers.tell import Span

DRAWING = threading.RLock()
"""Held while matplotlib draws: if two threads draw at once, its font code crashes."""
WIDTH, HEIGHT = 10.8, 2.6  # inches at 100 dots: fits beside JupyterLab's file browser at 1280 pixels
TOGETHER = 0.03  # notes that are so close, as a part of the panel's width, have one line: two texts would overlap


@dataclass(frozen=True)
class Line:
    """
    What one panel shows: a column of the samples, its title, what it counts, and the look of its line.

    ``beside`` is a second column to compare it with, dashed in the same panel.
    """

    column: str
    title: str
    counts: str
    colour: str
    style: Any = "-"
    width: float = 2.0
    filled: bool = False
    beside: str | None = None


DOTS, DASHES, DASH_DOTS = (0, (1.2, 1.2)), (0, (5, 1.5)), (0, (5, 1.5, 1.2, 1.5))
LINES = {
    f"{line.column}/{line.beside}" if line.beside else line.column: line
    for line in (
        Line("throughput", "Throughput", "orders handled per second", "#0072B2"),
        Line("pending", "Pending", "delivered, not yet acknowledged", "#C25100", width=1.2, filled=True),
        Line("retries", "Retries", "handler runs failed per second", "#007A5A", DOTS),
        Line("length", "Length", "entries in the stream", "#595959", width=3.0),
        Line("memory", "Memory", "kB that the stream takes", "#8A3A6B", DASHES),
        Line("undelivered", "Waiting", "in the stream, given to nobody yet", "#8A3A6B", DASH_DOTS),
        Line("lag", "Lag", "not yet delivered", "#0072B2", DASHES),
        Line("backlog", "Backlog", "in the stream, not handled", "#0072B2", DASHES),
        Line("dead_lettered", "Dead letters", "orders put aside", "#000000", width=1.2, filled=True),
        Line("oldest_new_s", "Oldest new", "seconds since it was added", "#8A3A6B", width=3.0),
        Line("throughput", "Throughput", "handled per second; dashed: ordered", "#0072B2", beside="ordered"),
    )
}
SHOWN = ("throughput", "pending", "retries")
HOLDERS = (("#0072B2", "-"), ("#C25100", DASHES), ("#007A5A", DOTS), ("#8A3A6B", DASH_DOTS))
"""The colours and styles of the consumers in ``holdings``, in turn."""
PARTS = (("#0072B2", ""), ("#E69F00", "//"), ("#007A5A", ".."), ("#999999", "xx"))
"""The colours and hatches of the parts of a bar in ``stacks``, in turn."""


@dataclass(frozen=True, repr=False)
class Picture:
    """
    A PNG and the sentence that says what it shows. As the last line of a cell it shows both.

    The sentence is the picture's alt text, and it is also printed, because JupyterLab 4.6 has no alt text for outputs.
    """

    sentence: str
    png: bytes = field(compare=False)

    def __repr__(self) -> str:
        return self.sentence

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": "<picture>"}
        display(data, raw=True, metadata={"image/png": {"alt": self.sentence}})
        print(self.sentence)


def timeline(
    samples: Sampler | Sequence[Sample], sentence: str | None = None, show: Sequence[str] = SHOWN
) -> Picture:
    """
    Draw some columns of the samples over time, side by side.

    Args:
        samples: A sampler, or samples of one. What a sampler has noted is drawn, too.
        sentence: Says what the picture shows. None: ``summary`` says it in general terms.
        show: Which columns of ``LINES``: two or three, or an even number of them in two rows.
    """
    taken = list(samples.samples if isinstance(samples, Sampler) else samples)
    lines = chosen(show)
    figure, axes = panels(lines)
    seconds = [sample.t_s for sample in taken]
    for ax, line in zip(axes, lines, strict=True):
        values = columns(taken, line)
        ax.set_xlim(0, max([1.0, *seconds]))
        ax.set_ylim(*limits([each for column in values for each in column]))
        ax.set_xlabel("seconds")
        Curve(ax, line).show(seconds, *values)
        if isinstance(samples, Sampler):
            Notes(ax).show(list(samples.notes))
    return Picture(sentence or summary(taken), png(figure))


def holdings(samples: Sampler | Sequence[Sample], sentence: str) -> Picture:
    """
    Draw how many pending entries each consumer holds, over time: a line for each, with its name.

    Args:
        samples: A sampler, or samples of one.
        sentence: What the picture shows.
    """
    taken = list(samples.samples if isinstance(samples, Sampler) else samples)
    names = list(dict.fromkeys(name for sample in taken for name in sample.held))
    held = {name: [sample.held.get(name, 0) for sample in taken] for name in names}
    seconds = [sample.t_s for sample in taken]
    figure, [ax] = panels([Line("held", "Held by each consumer", "delivered, not yet acknowledged", "#333333")])
    ax.set_xlim(0, max([1.0, *seconds]))
    ax.set_ylim(*limits([most for values in held.values() for most in values]))
    ax.set_xlabel("seconds")
    for name, (colour, style) in zip(names, cycle(HOLDERS), strict=False):
        ax.plot(seconds, held[name], color=colour, linestyle=style, linewidth=2.2, drawstyle="steps-post")
        peak = max(held[name])
        at = seconds[held[name].index(peak)]  # the name stands where its line is highest: other lines are rarely there
        ax.annotate(name, (at, peak), xytext=(4, 4), textcoords="offset points", color=colour, fontweight="bold")
    return Picture(sentence, png(figure))


def stacks(rows: Mapping[str, Mapping[str, float]], counts: str, sentence: str) -> Picture:
    """
    Draw a horizontal bar for each row, made of its parts.

    Args:
        rows: Text beside a bar -> part -> length of the part. All rows have the same parts.
        counts: What the length counts, with its unit.
        sentence: What the picture shows.
    """
    figure, [ax] = panels([Line("", "", counts, "#333333")])
    figure.set_size_inches(WIDTH, max(HEIGHT, 0.9 + 0.3 * len(rows)))  # many bars are not thinner than a few
    parts = list(next(iter(rows.values())))
    ends = [0.0] * len(rows)
    for part, (colour, hatch) in zip(parts, cycle(PARTS), strict=False):
        widths = [row[part] for row in rows.values()]
        ax.barh(list(rows), widths, left=ends, height=0.6, color=colour, hatch=hatch, edgecolor="white", label=part)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(ends))
    ax.locator_params(axis="x", integer=all(end == int(end) for end in ends))  # no 0.2 learners
    for at, end in enumerate(ends):
        ax.text(end, at, f" {end:,.0f}" if end >= 100 else f" {end:.3g}", va="center", fontsize=9)
    if len(parts) > 1:
        ax.legend(frameon=False, fontsize=9, ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 0.98))
    return Picture(sentence, png(figure))


def swim_lanes(
    marks: Sequence[lanes.Mark], sentence: str | None = None, time: lane_chart.Time = "stretched"
) -> Picture:
    """
    Draw what happened to each order: a lane for each consumer, time to the right, a mark for each event.

    A thick bar is work on an order, a thin line is an order that waits. If there are more orders than a reader can
    follow, those with the most marks are drawn, and the picture says so.

    Args:
        marks: From ``lanes.marks(spans)``.
        sentence: Says what the picture shows. None: ``lanes.sentence`` says it order by order.
        time: ``"stretched"``: short times are drawn longer, so that no mark hides the next one. ``"even"``: a second
            is as long as any other, for a picture in which the waiting is what counts.
    """
    drawn = lanes.eventful(marks)
    left_out = len({mark.order for mark in marks} - {mark.order for mark in drawn})
    with DRAWING:  # the text in the legend needs fonts when it is made, not only when it is drawn
        figure = lane_chart.draw(drawn, left_out, time)
    return Picture(sentence or lanes.sentence(drawn), png(figure))


def waterfall(spans: Sequence[Span], sentence: str | None = None) -> Picture:
    """
    Draw the spans of a trace as a trace viewer does: a row for each span that has ended, children below their parent.

    Args:
        spans: From ``recorder.spans()``: those of one trace.
        sentence: Says what the picture shows. None: ``waterfall.sentence`` names the spans.
    """
    with DRAWING:
        figure = viewer.draw(spans)
    return Picture(sentence or viewer.sentence(spans), png(figure))


def chosen(show: Sequence[str]) -> list[Line]:
    """Return the lines of these columns; ``ValueError`` names those there are."""
    if unknown := [column for column in show if column not in LINES]:
        raise ValueError(f"no picture of {', '.join(unknown)}; there are {', '.join(LINES)}")
    return [LINES[column] for column in show]


class Curve:
    """
    The line of one panel, empty at first.

    Args:
        ax: The panel.
        line: How it looks.
        animated: True: the figure is drawn without this line, and the caller draws ``artists`` on top in each frame.
    """

    def __init__(self, ax: Axes, line: Line, *, animated: bool = False) -> None:
        look: dict[str, Any] = {"color": line.colour, "linestyle": line.style, "linewidth": line.width}
        [self._edge] = ax.plot([], [], drawstyle="steps-post", animated=animated, **look)
        self.artists: list[Artist] = [self._edge]
        self._area, self._beside = None, None
        if line.filled:
            self._area = ax.fill_between([], [], step="post", color=line.colour, alpha=0.3, lw=0, animated=animated)
            self.artists.insert(0, self._area)
        if line.beside:
            behind: dict[str, Any] = {"color": "#333333", "linestyle": DASHES, "linewidth": 1.4, "animated": animated}
            [self._beside] = ax.plot([], [], drawstyle="steps-post", **behind)
            self.artists.append(self._beside)

    def show(self, seconds: Sequence[float], values: Sequence[float], beside: Sequence[float] = ()) -> None:
        """Draw the line through these points, and the one beside it. NaN leaves a gap."""
        self._edge.set_data(seconds, values)
        if self._area:
            self._area.set_data(seconds, values, 0)
        if self._beside:
            self._beside.set_data(seconds, beside)


class Notes:
    """
    Vertical lines in one panel, each with its text: what was done to the stream, and when. None at first.

    Args:
        ax: The panel. Its ends are set already.
        animated: As in ``Curve``. Then only the first panel of a row has the texts: five times a second, a dozen of
            them in each panel would take most of a processor.
    """

    def __init__(self, ax: Axes, *, animated: bool = False) -> None:
        self._ax = ax
        place = ax.get_subplotspec()
        self._named = not animated or place is None or place.is_first_col()
        self._look: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "animated": animated}
        [self._lines] = ax.plot([], [], color="#666666", linewidth=0.9, **self._look)
        self._texts: list[Text] = []
        self.artists: list[Artist] = []

    def show(self, notes: Iterable[Note], now_s: float = 0.0) -> None:
        """Draw the *notes* that are within the panel. Its axis begins to count at *now_s*."""
        begin, end = self._ax.get_xlim()
        within = [(note.t_s - now_s, note) for note in notes if begin <= note.t_s - now_s <= end]
        shown = _texts(within, (end - begin) * TOGETHER)
        self._lines.set_data([x for at, _ in shown for x in (at, at, at)], [0, 1, math.nan] * len(shown))
        place: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "top", "fontsize": 7.5, "color": "#333333"}
        while len(self._texts) < len(shown) and self._named:  # making a text takes as long as drawing it
            self._texts.append(self._ax.text(0, 0.98, "", **place, **self._look))
        for made in self._texts[len(shown) :]:
            made.set_text("")
        for made, (x, text) in zip(self._texts, shown, strict=False):
            made.set_x(x)
            made.set_text(text)
        self.artists = [self._lines, *self._texts[: len(shown)]] if shown else []


def _texts(notes: Iterable[tuple[float, Note]], together: float) -> list[tuple[float, str]]:
    """Return place and text of each note. Notes that are no farther apart than *together* are one."""
    found: list[tuple[float, str]] = []
    for x, note in notes:
        text = note.value or note.what
        if found and x - found[-1][0] <= together:
            x, before = found.pop()
            text = f"{before}, {text}"
        found.append((x, text))
    return found


def panels(lines: Sequence[Line]) -> tuple[Figure, list[Axes]]:
    """
    Make an empty figure with one titled panel for each line. It does not use pyplot, so it is safe in any thread.

    Up to three stand side by side; more are two rows.
    """
    rows = 1 if len(lines) <= 3 else 2
    size = (WIDTH, HEIGHT if rows == 1 else 1.5 * HEIGHT)
    figure = Figure(figsize=size, dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, math.ceil(len(lines) / rows), squeeze=False).flat)
    for ax, line in zip(axes, lines, strict=True):
        ax.set_title(line.title, loc="left", fontsize=11, color=line.colour, fontweight="bold")
        ax.set_title(line.counts, loc="right", fontsize=8.5, color="#444444")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9)
        ax.locator_params(axis="y", integer=True)
    return figure, axes


def columns(samples: Sequence[Sample], line: Line) -> list[list[float]]:
    """Return the values of one line, and of the one beside it. An unknown value is NaN, which leaves a gap."""
    unit = 1000 if line.column == "memory" else 1
    return [
        [math.nan if value is None else value / unit for value in (getattr(sample, name) for sample in samples)]
        for name in (line.column, line.beside)
        if name
    ]


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis. The upper one is a power of two, so that it changes seldom."""
    known = [value for value in values if not math.isnan(value)]
    top = max(4, 2 ** math.ceil(math.log2(max([1, *known]) * 1.1)))
    return -0.02 * top, top  # below 0, so that a line at 0 is not cut


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG. The same figure gives the same bytes."""
    canvas = FigureCanvasAgg(figure)
    with DRAWING:
        canvas.draw()
    return encode(numpy.asarray(canvas.buffer_rgba()))


def encode(pixels: numpy.ndarray) -> bytes:
    """Return RGBA *pixels* as a PNG without a date or a program's name in it."""
    few = Image.fromarray(pixels).convert("RGB").quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "png", compress_level=1)  # with 64 colours it is fast and small, five times a second
    return file.getvalue()
