"""One picture: how fast, and what a kill costs. Marks differ in form, so it can be read in black and white."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.peers.waiting import CONTENDERS
from benchmarks.picture import BLUE, ORANGE
from benchmarks.report import Results
from benchmarks.waiting.report import AFTER_KILL, AT, BASE, LOST, OURS, TWICE, plain, rate_at


def draw(results: Results) -> Figure:
    """Speed against the bare loop on the left, orders lost or handled twice on the right, one line for each."""
    figure = Figure(figsize=(10.8, 4.6), dpi=100, layout="constrained", facecolor="white")
    speed, killed = figure.subplots(1, 2, sharey=True)
    names = list(reversed(CONTENDERS))
    for y, who in enumerate(names):
        for at_once, mark, colour in ((AT[1], "o", BLUE), (500, "D", ORANGE)):
            if ratio := results.ratio(rate_at(AT[0], at_once), who, BASE):
                speed.plot(ratio, y, mark, color=colour, markersize=8, fillstyle="none" if mark == "o" else "full")
        for measure, shift, colour, hatch in ((LOST, 0.2, ORANGE, ""), (TWICE, -0.2, BLUE, "////")):
            if counts := results.samples.get(measure[AFTER_KILL], {}).get(who):
                bar = killed.barh(y + shift, max(counts), 0.36, color=colour, edgecolor="white", hatch=hatch)
                killed.bar_label(bar, fmt="%.0f", padding=3, fontsize=8)
    speed.axvline(1, color="black", linewidth=1, linestyle="--")
    speed.set_yticks(range(len(names)), [plain(who) for who in names])
    for who in OURS:
        speed.get_yticklabels()[names.index(who)].set_fontweight("bold")
    speed.plot([], [], "o", color=BLUE, fillstyle="none", label=f"{AT[1]} in flight")
    speed.plot([], [], "D", color=ORANGE, label="500 in flight")
    speed.legend(loc="lower right", fontsize=9)
    speed.set_title("10 ms handler: orders per second, bare loop = 1", loc="left", fontsize=11)
    speed.set_xlabel("times as fast; each step is ten times")
    speed.set_xscale("log")
    speed.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    killed.barh(0, 0, color=ORANGE, label="lost or stuck")
    killed.barh(0, 0, color=BLUE, hatch="////", edgecolor="white", label="handled twice")
    killed.legend(loc="lower right", fontsize=9)
    killed.set_title("kill -9 with 100 in flight: orders", loc="left", fontsize=11)
    killed.set_xlabel("orders; none is best")
    killed.margins(x=0.12)
    for ax in (speed, killed):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
