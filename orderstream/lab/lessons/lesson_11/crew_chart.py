"""Draw a crew: a lane for each of its places, and a bar for each order that was handled there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from orderstream.lab.lessons.lesson_11.diary import End, Run
from orderstream.lab.pictures import charts

LOOKS: Mapping[End | None, dict[str, Any]] = {
    "handled": {"facecolor": "#8FB8D6", "label": "handled"},
    "failed": {"facecolor": "#FFFFFF", "hatch": "////", "label": "failed"},
    "killed": {"facecolor": "#C9C9C9", "hatch": "xxxx", "label": "in hand when the process was killed"},
    None: {"facecolor": "#E4EEF5", "linestyle": (0, (2, 2)), "label": "in hand now"},
}
MARKED = "#E69F00"
EDGE: dict[str, Any] = {"edgecolor": "#333333", "linewidth": 0.5}
LEAST = 0.002  # a bar that is a smaller part of the picture could not be seen
LOWEST, HIGHEST, LANE = 1.9, 4.2, 0.16  # inches


def draw(runs: Sequence[Run], now_s: float, seconds: float | None = None, marked: str | None = None) -> bytes:
    """
    Return a PNG of the runs.

    Args:
        runs: What a diary has noted.
        now_s: In Unix seconds. What has not ended goes on until then.
        seconds: Draw only these last seconds, counted back from now. None: draw everything, counted from the start.
        marked: The id of an order that has another colour.
    """
    begin_s = now_s - seconds if seconds else min((run.began_s for run in runs), default=now_s)
    zero_s = now_s if seconds else begin_s
    span_s = max(now_s - begin_s, 0.05)
    shown = [run for run in runs if (run.ended_s or now_s) >= begin_s]
    places = 1 + max((run.place for run in shown), default=0)
    figure = Figure(figsize=(charts.WIDTH, _height(places)), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    with charts.DRAWING:  # the legend needs fonts when it is made
        ax = figure.subplots()
        ax.set_xlim(begin_s - zero_s, begin_s - zero_s + span_s)
        ax.set_ylim(places + 0.5, 0.5)
        ax.set_ylabel("place", fontsize=9)
        ax.set_xlabel("seconds ago" if seconds else "seconds")
        ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
        ax.locator_params(axis="y", integer=True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9)
        for end, look in LOOKS.items():
            for is_marked in (False, True):
                these = [run for run in shown if run.end == end and (run.order == marked) is is_marked]
                colour = {"facecolor": MARKED} if is_marked else {}
                lefts = [run.began_s - zero_s for run in these]
                widths = [max((run.ended_s or now_s) - run.began_s, LEAST * span_s) for run in these]
                ax.barh([run.place + 1 for run in these], widths, left=lefts, height=0.82, **EDGE, **{**look, **colour})
        for ended_s in sorted({run.ended_s for run in shown if run.end == "killed" and run.ended_s}):
            ax.axvline(ended_s - zero_s, color="#000000", linewidth=1.4)
            ax.annotate("☠", (ended_s - zero_s, 1), (3, -2), ax.get_xaxis_transform(), "offset points", va="top")
        figure.legend(handles=_legend(shown, marked), loc="outside upper left", ncols=5, frameon=False, fontsize=8.5)
    return charts.png(figure)


def _height(places: int) -> float:
    return min(max(LOWEST, 1 + LANE * places), HIGHEST)


def _legend(shown: Sequence[Run], marked: str | None) -> list[Patch]:
    ends = {run.end for run in shown}
    patches = [Patch(**EDGE, **look) for end, look in LOOKS.items() if end in ends]
    if any(run.order == marked for run in shown):
        patches.append(Patch(**EDGE, facecolor=MARKED, label=marked))
    return patches
