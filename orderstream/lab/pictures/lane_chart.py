"""
Draw marks in lanes, for ``charts.swim_lanes``.

Every kind of mark has a shape of its own, so that the picture can be read in black and white. An order's line is always
in the lane where the order is: that of a consumer, the stream, pending, or the dead letters. A thick bar lies behind
the line while a handler works on the order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import numpy
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orderstream.lab.pictures.lanes import DEAD, PENDING, STREAM, Kind, Mark

WIDTH = 10.8  # inches at 100 dots: fits beside JupyterLab's file browser at 1280 pixels
LANE_INCHES, ORDER_INCHES = 0.62, 0.07  # a lane grows with the number of orders
END = 1.06  # the marks are from 0 to 1; lines of orders that are not finished go on up to here
NAMED = 9  # characters of an order's id that are shown
BAND = 0.42  # half of a lane's height

Time = Literal["stretched", "even"]
Look = dict[str, Any]  # keyword arguments of matplotlib


@dataclass(frozen=True)
class Shape:
    """The look of a kind of mark: its marker, its colour and the text in it. A hollow mark is white inside."""

    says: str
    marker: Any
    colour: str
    text: str = ""
    size: float = 15.0
    hollow: bool = False


SHAPES: dict[Kind, Shape] = {
    "sent": Shape("sent", "o", "#595959", size=8, hollow=True),
    "new": Shape("new, 1st delivery", "o", "#0072B2", "1"),
    "claimed": Shape("claimed, nth delivery", "D", "#C25100", "n", 13),
    "acked": Shape("acked", "s", "#007A5A", "✓", 14),
    "failed": Shape("failed", "o", "#000000", "✗", hollow=True),
    "deferred": Shape("deferred", "o", "#595959", "…", hollow=True),
    "released": Shape("given back", "D", "#595959", "‹", 13, hollow=True),
    "killed": Shape("killed", (12, 1, 0), "#000000", "☠", 30),
    "dead": Shape("dead letter", "v", "#000000"),
    "redriven": Shape("redriven", "^", "#000000", hollow=True),
}
BAR = "#8FB8D6"
BEGINS: set[Kind] = {"new", "claimed"}
ENDS: set[Kind] = {"acked", "failed", "deferred", "released", "killed"}

DARK, GREY, DOTS, DASHES = "#333333", "#777777", (0, (1.2, 1.2)), (0, (5, 1.5))
PATHS: tuple[tuple[str, Any], ...] = (
    (DARK, "-"), (GREY, DASHES), (DARK, DOTS), (GREY, "-"), (DARK, DASHES), (GREY, DOTS),
)  # fmt: skip
"""The colours and styles of the orders' lines, in turn."""
WAITING = {STREAM: "nobody has read it", PENDING: "nobody works on it", DEAD: "put aside"}
"""The lanes that belong to no consumer -> what it means that an order is in one."""


def draw(marks: Sequence[Mark], left_out: int = 0, time: Time = "stretched") -> Figure:
    """Return the picture of *marks*. *left_out* is the number of orders that are not drawn."""
    orders = list(dict.fromkeys(mark.order for mark in marks))
    rows = _rows(marks)
    height = 1.05 + (LANE_INCHES + ORDER_INCHES * (len(orders) - 1)) * len(rows)
    figure = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained", facecolor="white")
    longest = max([len(order[:NAMED]) for order in orders], default=0)
    axis = AXES[time]([t_s for mark in marks for t_s in (mark.t_s, mark.until_s) if t_s is not None])
    chart = _LaneChart(figure, rows, axis, start=-0.03 - 0.0115 * longest)
    for lane in rows:
        chart.draw_lane(lane, [mark for mark in marks if mark.lane == lane])
    for number, (order, look) in enumerate(zip(orders, cycle(PATHS), strict=False)):
        shift = 0.6 * (number / (len(orders) - 1) - 0.5) if len(orders) > 1 else 0.0
        chart.draw_order([mark for mark in marks if mark.order == order], shift, look)
    if left_out:
        said = f"the {len(orders)} orders with the most marks; {left_out} more are not drawn"
        chart.ax.set_title(said, loc="right", fontsize=9, color="#444444")
    kinds = {mark.kind for mark in marks}
    in_handler = any(mark.kind in BEGINS and mark.begun for mark in marks)
    _draw_legend(figure, [shape for kind, shape in SHAPES.items() if kind in kinds], in_handler)
    return figure


def _rows(marks: Sequence[Mark]) -> dict[str, float]:
    """Return the row of each lane, from top to bottom: the stream, the consumers, pending, the dead letters."""
    lanes = dict.fromkeys(mark.lane for mark in marks)
    consumers = [lane for lane in lanes if lane not in WAITING]
    stream = [STREAM] if any(mark.kind in ("sent", "redriven") for mark in marks) else []
    dead = [DEAD] if DEAD in lanes else []
    return {lane: float(row) for row, lane in enumerate([*stream, *consumers, PENDING, *dead])}


class _Even:
    """Turns a time into a place on the axis, 0 to 1. A second is as long as any other."""

    label = "time →"

    def __init__(self, times: Sequence[float]) -> None:
        self._times = sorted({0.0, *times})
        self._places = numpy.concatenate([[0.0], numpy.cumsum(self._widths(numpy.diff(self._times)))])

    def _widths(self, gaps_s: numpy.ndarray) -> numpy.ndarray:
        """Return the widths on the axis of the times between marks."""
        widths: numpy.ndarray = gaps_s / max(float(gaps_s.sum()), 1e-9)
        return widths

    def __call__(self, t_s: float) -> float:
        return float(numpy.interp(t_s, self._times, self._places))

    def ticks(self) -> Iterator[float]:
        """Yield a few round times that are not too close to each other."""
        last_s = self._times[-1]
        step = 10 ** math.floor(math.log10(max(last_s, 0.01)) - 0.3)
        free = 0.0
        for number in range(math.floor(last_s / step) + 1):
            if self(number * step) >= free:
                yield number * step
                free = self(number * step) + 0.1


class _Stretched(_Even):
    """
    The same with short times made longer.

    Half of the axis is shared equally by the gaps between marks, so that no mark hides the next one. The other half is
    shared by the square roots of the times between marks, so that a long time does not take all of it.
    """

    label = "time →  (short times are stretched)"

    def _widths(self, gaps_s: numpy.ndarray) -> numpy.ndarray:
        gaps = numpy.sqrt(gaps_s)
        widths: numpy.ndarray = 0.5 / max(len(gaps), 1) + 0.5 * gaps / max(float(gaps.sum()), 1e-9)
        return widths


AXES: dict[Time, type[_Even]] = {"stretched": _Stretched, "even": _Even}


class _LaneChart:
    def __init__(self, figure: Figure, rows: Mapping[str, float], at: _Even, start: float) -> None:
        self.ax = ax = figure.subplots()
        self._rows, self._at, self._start = rows, at, start
        ax.set_xlim(start, END)
        ax.set_ylim(max(rows.values()) + 0.55, -0.55)
        ticks = list(at.ticks())
        ax.set_xticks([at(t_s) for t_s in ticks], [f"{t_s:g} s" for t_s in ticks], fontsize=9, color="#444444")
        ax.set_yticks([])
        ax.set_xlabel(at.label, fontsize=9, color="#444444")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    def draw_lane(self, lane: str, marks: Sequence[Mark]) -> None:
        """Draw an empty lane with its name. A consumer's lane is grey only while the consumer lives."""
        row = self._rows[lane]
        name: Look = {"x": self._start - 0.01, "y": row, "s": lane, "ha": "right", "fontsize": 11.5}
        if lane in WAITING:
            self.ax.text(**name, va="bottom")
            below: Look = {"ha": "right", "va": "top", "fontsize": 8.5, "color": "#555555"}
            self.ax.text(self._start - 0.01, row + 0.06, WAITING[lane], **below)
            look: Look = {"facecolor": "white", "edgecolor": "#999999", "linestyle": DASHES, "linewidth": 0.8}
            self.ax.axhspan(row - BAND, row + BAND, **look)
        else:
            self.ax.text(**name, va="center")
            for begin, end in _lives(marks):
                places = [self._start if begin is None else self._at(begin), END if end is None else self._at(end)]
                self.ax.fill_between(places, row - BAND, row + BAND, color="#E9EEF2", linewidth=0)

    def draw_order(self, marks: Sequence[Mark], shift: float, look: tuple[str, Any]) -> None:
        """Draw the marks of one order and the line between them, *shift* rows below the middle of each lane."""
        line: Look = {"color": look[0], "linestyle": look[1], "linewidth": 1.6, "zorder": 2}
        for number, mark in enumerate(marks):
            x, y, after = self._at(mark.t_s), self._rows[mark.lane] + shift, marks[number + 1 : number + 2]
            if mark.kind in BEGINS and mark.begun:
                ends = [m.t_s for m in marks[number:] if m.lane == mark.lane and m.kind in ENDS]
                ends = ends[:1] if mark.until_s is None else [mark.until_s]
                bar: Look = {"color": BAR, "linewidth": 9, "solid_capstyle": "butt", "zorder": 1}
                self.ax.plot([x, self._at(ends[0]) if ends else END], [y, y], **bar)
            if mark.kind != "acked":
                to_x = self._at(after[0].t_s) if after else END
                waits = self._rows[_between(mark, *after)] + shift
                to_y = self._rows[after[0].lane] + shift if after else waits
                self.ax.plot([x, x, to_x, to_x], [y, waits, waits, to_y], **line)
            self._draw_mark(mark, x, y)
        place = self._at(marks[0].t_s), self._rows[marks[0].lane] + shift
        beside: Look = {"xytext": (-10, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
        order = marks[0].order
        name = order if len(order) <= NAMED else f"{order[: NAMED - 1]}…"
        self.ax.annotate(name, place, fontsize=10, fontweight="bold", color="#222222", zorder=5, **beside)

    def _draw_mark(self, mark: Mark, x: float, y: float) -> None:
        shape = SHAPES[mark.kind]
        inside, ink = ("white", shape.colour) if shape.hollow else (shape.colour, "white")
        edge = 1.6 if shape.hollow else 1.0
        look: Look = {"markerfacecolor": inside, "markeredgecolor": ink, "markeredgewidth": edge}
        self.ax.plot([x], [y], marker=shape.marker, markersize=shape.size, zorder=3, **look)
        text, size = str(mark.delivery) if mark.delivery else shape.text, min(0.65 * shape.size, 13)
        place: Look = {"ha": "center", "va": "center_baseline", "zorder": 4}
        self.ax.text(x, y, text, color=ink, fontsize=size, fontweight="bold", **place)
        if mark.kind == "killed":
            beside: Look = {"xytext": (17, 0), "textcoords": "offset points", "va": "center", "fontsize": 10}
            self.ax.annotate("killed", (x, y), fontweight="bold", zorder=4, **beside)


def _lives(marks: Sequence[Mark]) -> Iterator[tuple[float | None, float | None]]:
    """Yield when the consumer of these marks began and ended to live. None: from the start, or to the end."""
    began, alive = None, True
    for mark in marks:
        if mark.kind == "killed":
            yield began, mark.t_s
            alive = False
        elif not alive:  # another process with the same name
            began, alive = mark.t_s, True
    if alive:
        yield began, None


def _between(mark: Mark, after: Mark | None = None) -> str:
    """Return the lane in which an order is between two of its marks."""
    if mark.kind in ("sent", "redriven"):
        return STREAM
    if mark.kind in BEGINS or mark.kind == "dead" or (after and after.kind == "dead"):
        return mark.lane
    return PENDING


def _draw_legend(figure: Figure, shapes: Sequence[Shape], in_handler: bool) -> None:
    handles: list[Any] = []  # pairs, which the annotations of legend() do not know
    for shape in shapes:
        inside, ink = ("white", shape.colour) if shape.hollow else (shape.colour, "white")
        size = min(0.75 * shape.size, 16)
        outer = Line2D([], [], linestyle="", marker=shape.marker, markersize=size, mfc=inside, mec=shape.colour)
        sign = f"${shape.text}$" if shape.text else ""
        text = Line2D([], [], linestyle="", marker=sign, markersize=0.55 * size, mfc=ink, mew=0)
        handles.append((outer, text))
    says = [shape.says for shape in shapes]
    if in_handler:
        handles.append(Line2D([], [], color=BAR, linewidth=9, solid_capstyle="butt"))
        says.append("in its handler")
    look: Look = {"frameon": False, "fontsize": 9, "handletextpad": 0.4, "ncols": max(1, len(says))}
    figure.legend(handles, says, loc="outside upper left", **look)
