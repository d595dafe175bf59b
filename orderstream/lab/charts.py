"""
Pictures of what just happened, drawn from samples: throughput, pending and retries over time, or what else you ask for.

Each always looks the same, here and in the moving picture: throughput a line, pending an area, retries dots. So they
differ in black and white as well; the colours are close to Okabe and Ito's, which most colour-blind people can tell
apart.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from orderstream.lab import lanes
from orderstream.lab.sampler import Sample, Sampler, summary

WIDTH, HEIGHT = 10.8, 2.6  # inches at 100 dots: fits beside JupyterLab's file browser at 1280 pixels


@dataclass(frozen=True)
class Line:
    """What is drawn in one panel: a column of the samples, what it is called and counts, and how its line looks."""

    column: str
    title: str
    counts: str
    colour: str
    style: Any = "-"
    width: float = 2.0
    filled: bool = False


DOTS, DASHES = (0, (1.2, 1.2)), (0, (5, 1.5))
LINES = {
    line.column: line
    for line in (
        Line("throughput", "Throughput", "orders handled per second", "#0072B2"),
        Line("pending", "Pending", "delivered, not yet acknowledged", "#C25100", width=1.2, filled=True),
        Line("retries", "Retries", "handler runs failed per second", "#007A5A", DOTS),
        Line("length", "Length", "entries in the stream", "#595959", width=3.0),
        Line("memory", "Memory", "kB that the stream takes", "#8A3A6B", DASHES),
        Line("lag", "Lag", "not yet delivered", "#0072B2", DASHES),
        Line("dead_lettered", "Dead letters", "orders put aside", "#000000", width=1.2, filled=True),
        Line("waiting_s", "Waiting", "seconds of the oldest undelivered", "#8A3A6B", width=3.0),
    )
}
SHOWN = ("throughput", "pending", "retries")
HOLDERS = (("#0072B2", "-"), ("#C25100", DASHES), ("#007A5A", DOTS), ("#8A3A6B", (0, (5, 1.5, 1.2, 1.5))))
"""How the consumers look in ``holdings``, in turn."""
PARTS = (("#0072B2", ""), ("#E69F00", "//"), ("#007A5A", ".."), ("#999999", "xx"))
"""How the parts of a bar look in ``stacks``, in turn."""


@dataclass(frozen=True, repr=False)
class Picture:
    """
    A PNG and the sentence that says what it shows. As the last line of a cell it shows both.

    The sentence is printed, too, and not only the picture's alt text: JupyterLab 4.6 has no alt text for outputs.
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
        samples: A sampler, or samples of one.
        sentence: What the picture shows; None says it in general terms.
        show: Which columns of ``LINES``: two or three, or an even number of them in two rows.
    """
    taken = list(samples.samples if isinstance(samples, Sampler) else samples)
    lines = chosen(show)
    figure, axes = panels(lines)
    seconds = [sample.t_s for sample in taken]
    for ax, line in zip(axes, lines, strict=True):
        values = column(taken, line)
        ax.set_xlim(0, max([1.0, *seconds]))
        ax.set_ylim(*limits(values))
        ax.set_xlabel("seconds")
        Curve(ax, line).show(seconds, values)
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
        at = held[name].index(peak)  # where it is highest, no other line has the same number for long
        beside = {"xytext": (4, 4), "textcoords": "offset points"}
        ax.annotate(name, (seconds[at], peak), color=colour, fontweight="bold", **beside)
    return Picture(sentence, png(figure))


def stacks(rows: Mapping[str, Mapping[str, float]], counts: str, sentence: str) -> Picture:
    """
    Draw a horizontal bar for each row, made of its parts.

    Args:
        rows: What stands beside a bar -> part -> how long the part is. All rows have the same parts.
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
    ax.xaxis.get_major_locator().set_params(integer=all(end == int(end) for end in ends))  # no 0.2 learners
    for at, end in enumerate(ends):
        ax.text(end, at, f" {end:,.0f}" if end >= 100 else f" {end:.3g}", va="center", fontsize=9)
    if len(parts) > 1:
        ax.legend(frameon=False, fontsize=9, ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 0.98))
    return Picture(sentence, png(figure))


@dataclass(frozen=True)
class Shape:
    """How a kind of mark looks: its marker and colour, and what is written in it. A hollow one is white inside."""

    says: str
    marker: Any
    colour: str
    text: str = ""
    size: float = 15.0
    hollow: bool = False


SHAPES: dict[lanes.Kind, Shape] = {
    "sent": Shape("sent", "o", "#595959", size=8, hollow=True),
    "new": Shape("new, 1st delivery", "o", "#0072B2", "1"),
    "claimed": Shape("claimed, nth delivery", "D", "#C25100", "n", 13),
    "acked": Shape("acked", "s", "#007A5A", "✓", 14),
    "failed": Shape("failed", "o", "#000000", "✗", hollow=True),
    "deferred": Shape("deferred", "o", "#595959", "…", hollow=True),
    "released": Shape("given back", "D", "#595959", "‹", 13, hollow=True),
    "killed": Shape("killed", (12, 1, 0), "#000000", "☠", 30),
    "dead": Shape("dead letter", "v", "#000000", "", 15),
    "redriven": Shape("redriven", "^", "#000000", "", 15, hollow=True),
}
DARK, GREY = "#333333", "#777777"
PATHS = ((DARK, "-"), (GREY, DASHES), (DARK, DOTS), (GREY, "-"), (DARK, DASHES), (GREY, DOTS))
"""How the paths of the orders look in ``swim_lanes``, in turn."""
LANE_INCHES, ORDER_INCHES = 0.62, 0.07
WAITING = {lanes.STREAM: "nobody has read it", lanes.PENDING: "nobody works on it", lanes.DEAD: "put aside"}
"""The lanes of no consumer, and what it means to be in one."""


def swim_lanes(marks: Sequence[lanes.Mark], sentence: str | None = None) -> Picture:
    """
    Draw what happened to each order: a lane for each consumer, time to the right, a mark for each event.

    A thick bar is a handler run, a thin line an order that waits. Short times are stretched, the axis says so. With
    more than ``lanes.ORDERS`` orders, those with the most marks are drawn, and the picture says so.

    Args:
        marks: From ``lanes.marks(spans)``.
        sentence: What the picture shows; None tells it order by order.
    """
    drawn = lanes.eventful(marks)
    orders = list(dict.fromkeys(mark.order for mark in drawn))
    rows = _rows(drawn)
    height = 1.05 + (LANE_INCHES + ORDER_INCHES * (len(orders) - 1)) * len(rows)
    figure = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained", facecolor="white")
    ax = figure.subplots()
    at = _Stretched([mark.t_s for mark in drawn])
    _draw_lanes(ax, rows, drawn, at)
    for number, order in enumerate(orders):
        shift = 0.0 if len(orders) == 1 else 0.6 * (number / (len(orders) - 1) - 0.5)
        own = [mark for mark in drawn if mark.order == order]
        _draw_path(ax, own, {lane: row + shift for lane, row in rows.items()}, at, PATHS[number % len(PATHS)])
    left_out = len({mark.order for mark in marks}) - len(orders)
    title = f"the {len(orders)} orders with the most marks; {left_out} more are not drawn" if left_out else ""
    ax.set_title(title, loc="right", fontsize=9, color="#444444")
    _legend(figure, [kind for kind in SHAPES if any(mark.kind == kind for mark in drawn)])
    return Picture(sentence or lanes.sentence(drawn), png(figure))


BEGINS, ENDS = ("new", "claimed"), ("acked", "failed", "deferred", "released", "killed")


def _rows(marks: Sequence[lanes.Mark]) -> dict[str, float]:
    """Return where each lane is, from top to bottom: in the order in which a quiet order comes through them."""
    consumers = dict.fromkeys(mark.lane for mark in marks if mark.lane not in (lanes.STREAM, lanes.DEAD))
    stream = [lanes.STREAM] if any(mark.kind in ("sent", "redriven") for mark in marks) else []
    dead = [lanes.DEAD] if any(mark.lane == lanes.DEAD for mark in marks) else []
    return {lane: float(row) for row, lane in enumerate([*stream, *consumers, lanes.PENDING, *dead])}


class _Stretched:
    """
    Where a time is on the axis, 0 to 1. Half of the axis belongs to the marks, each has as much as the others, so that
    none hides the next; half of it to the time between them, and of a long time only the root.
    """

    def __init__(self, times: Sequence[float]) -> None:
        self.times = sorted({0.0, *times})
        gaps = numpy.sqrt(numpy.diff(self.times))
        widths = 0.5 / max(len(gaps), 1) + 0.5 * gaps / max(gaps.sum(), 1e-9)
        self._places = numpy.concatenate([[0.0], numpy.cumsum(widths)])

    def __call__(self, t_s: float) -> float:
        return float(numpy.interp(t_s, self.times, self._places))

    def ticks(self) -> list[float]:
        """Return a few round times that are not too close to each other."""
        step = 10 ** math.floor(math.log10(max(self.times[-1], 0.01)) - 0.3)
        found = [0.0]
        for number in range(1, math.floor(self.times[-1] / step) + 1):
            if self(number * step) - self(found[-1]) > 0.1:
                found.append(number * step)
        return found


START, END = -0.06, 1.06  # room for the first order's name, and behind the last mark for what goes on


def _draw_lanes(ax: Axes, rows: Mapping[str, float], marks: Sequence[lanes.Mark], at: _Stretched) -> None:
    ax.set_xlim(START, END)
    ax.set_ylim(max(rows.values()) + 0.55, -0.55)
    ax.set_yticks([])
    ax.set_xticks([at(t_s) for t_s in at.ticks()], [f"{t_s:g} s" for t_s in at.ticks()], fontsize=9, color="#444444")
    ax.set_xlabel("time →  (short times are stretched)", fontsize=9, color="#444444")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for lane, row in rows.items():
        ax.text(START - 0.01, row, lane, ha="right", va="bottom" if lane in WAITING else "center", fontsize=11.5)
        if lane in WAITING:
            ax.text(START - 0.01, row + 0.06, WAITING[lane], ha="right", va="top", fontsize=8.5, color="#555555")
            ax.axhspan(row - 0.42, row + 0.42, facecolor="white", edgecolor="#999999", linestyle=DASHES, linewidth=0.8)
            continue
        for begin, end in _alive([mark for mark in marks if mark.lane == lane]):
            left, right = START if begin is None else at(begin), END if end is None else at(end)
            ax.fill_between([left, right], row - 0.42, row + 0.42, color="#E9EEF2", linewidth=0)


def _alive(marks: Sequence[lanes.Mark]) -> list[tuple[float | None, float | None]]:
    """Return from when to when the consumer of these marks lived; None is from the start, or to the end."""
    lives: list[tuple[float | None, float | None]] = []
    began, dead = None, False
    for mark in marks:
        if dead and mark.kind in BEGINS:
            began, dead = mark.t_s, False
        if mark.kind == "killed":
            lives.append((began, mark.t_s))
            dead = True
    return lives if dead else [*lives, (began, None)]


def _draw_path(ax: Axes, marks: Sequence[lanes.Mark], rows: Mapping[str, float], at: _Stretched, look: Any) -> None:
    """Draw the marks of one order, and how it came from each to the next."""
    colour, style = look
    line = {"color": colour, "linestyle": style, "linewidth": 1.6, "zorder": 2}
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        x, y = at(mark.t_s), rows[mark.lane]
        to_x, to_y = (at(after.t_s), rows[after.lane]) if after else (END, None)
        if mark.kind in BEGINS and (after is None or after.lane == mark.lane):
            ax.plot([x, to_x], [y, y], color="#8FB8D6", linewidth=9, solid_capstyle="butt", zorder=1)
        if mark.kind != "acked" or after:
            waits = rows.get(_waits_in(mark, after), y)
            ax.plot([x, x, to_x, to_x], [y, waits, waits, waits if to_y is None else to_y], **line)
        _draw_mark(ax, mark, x, y)
    first = marks[0]
    beside = {"xytext": (-10, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 10}
    ax.annotate(first.order, (at(first.t_s), rows[first.lane]), fontweight="bold", color="#222222", zorder=5, **beside)


def _waits_in(mark: lanes.Mark, after: lanes.Mark | None) -> str:
    """Return the lane in which an order is between two marks."""
    if mark.kind in ("sent", "redriven"):
        return lanes.STREAM
    if mark.kind == "dead" or (after and after.kind == "dead") or (mark.kind in BEGINS and not after):
        return mark.lane
    return mark.lane if after and after.lane == mark.lane and mark.kind in BEGINS else lanes.PENDING


def _draw_mark(ax: Axes, mark: lanes.Mark, x: float, y: float) -> None:
    shape = SHAPES[mark.kind]
    face, ink = ("white", shape.colour) if shape.hollow else (shape.colour, "white")
    look = {"markerfacecolor": face, "markeredgecolor": ink, "markeredgewidth": 1.6 if shape.hollow else 1.0}
    ax.plot([x], [y], marker=shape.marker, markersize=shape.size, zorder=3, **look)
    text, size = str(mark.delivery) if mark.delivery else shape.text, min(0.65 * shape.size, 13)
    place = {"ha": "center", "va": "center_baseline", "zorder": 4}
    ax.text(x, y, text, color=ink, fontsize=size, fontweight="bold", **place)
    if mark.kind == "killed":
        beside = {"xytext": (17, 0), "textcoords": "offset points", "va": "center", "fontsize": 10}
        ax.annotate("killed", (x, y), fontweight="bold", zorder=4, **beside)


def _legend(figure: Figure, kinds: Sequence[lanes.Kind]) -> None:
    handles = []
    for kind in kinds:
        shape = SHAPES[kind]
        look = {"markerfacecolor": "white" if shape.hollow else shape.colour, "markeredgecolor": shape.colour}
        size = min(0.65 * shape.size, 14)
        handles.append(Line2D([], [], linestyle="", marker=shape.marker, markersize=size, label=shape.says, **look))
    look = {"frameon": False, "fontsize": 9, "handletextpad": 0.2}
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), **look)


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
        animated: Leave it out when the figure is drawn; whoever moves it draws ``artists`` on top, in each frame.
    """

    def __init__(self, ax: Axes, line: Line, *, animated: bool = False) -> None:
        look = {"color": line.colour, "linestyle": line.style, "linewidth": line.width, "drawstyle": "steps-post"}
        [self._edge] = ax.plot([], [], animated=animated, **look)
        self.artists: list[Artist] = [self._edge]
        if line.filled:
            self._area = ax.fill_between([], [], step="post", color=line.colour, alpha=0.3, lw=0, animated=animated)
            self.artists.insert(0, self._area)

    def show(self, seconds: Sequence[float], values: Sequence[float]) -> None:
        """Go through these points. NaN leaves a gap."""
        self._edge.set_data(seconds, values)
        if len(self.artists) > 1:
            self._area.set_data(seconds, values, 0)


def panels(lines: Sequence[Line]) -> tuple[Figure, list[Axes]]:
    """
    Make an empty figure with one titled panel for each line, calm and without pyplot: safe in any thread.

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
        ax.yaxis.get_major_locator().set_params(integer=True)
    return figure, axes


def column(samples: Sequence[Sample], line: Line) -> list[float]:
    """Return the values of one line; where nothing is known, NaN leaves a gap."""
    values = (getattr(sample, line.column) for sample in samples)
    unit = 1000 if line.column == "memory" else 1
    return [math.nan if value is None else value / unit for value in values]


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis. The upper one is a power of two, so that it changes seldom."""
    known = [value for value in values if not math.isnan(value)]
    top = max(4, 2 ** math.ceil(math.log2(max([1, *known]) * 1.1)))
    return -0.02 * top, top  # a line at 0 is seen whole


def png(figure: Figure) -> bytes:
    """Return the figure's bytes; the same figure gives the same bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return encode(numpy.asarray(canvas.buffer_rgba()))


def encode(pixels: numpy.ndarray) -> bytes:
    """Return RGBA *pixels* as a PNG without a date or a program's name in it."""
    few = Image.fromarray(pixels).convert("RGB").quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, "png", compress_level=1)  # of 64 colours: half the time and half the bytes, five times a second
    return file.getvalue()
