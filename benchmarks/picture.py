"""One picture of the main table. Marks differ in form, so it can be read in black and white."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.peers import PEERS
from benchmarks.report import BASE, CONSUME, P50, P99, PRODUCE, Results

BLUE, ORANGE = "#0072B2", "#C25100"


def draw(results: Results) -> Figure:
    """Speed against the ideal loop on the left, latency on the right, one line for each peer."""
    figure = Figure(figsize=(10.8, 4.2), dpi=100, layout="constrained", facecolor="white")
    speed, latency = figure.subplots(1, 2, sharey=True)
    names = list(reversed(PEERS))
    for y, peer in enumerate(names):
        for measure, mark, colour in ((PRODUCE, "o", BLUE), (CONSUME, "D", ORANGE)):
            if ratio := results.ratio(measure, peer):
                speed.plot(ratio, y, mark, color=colour, markersize=8, fillstyle="none" if mark == "o" else "full")
        p50, p99 = results.median(P50, peer), results.median(P99, peer)
        if p50 and p99:
            latency.plot([p50, p99], [y, y], "-", color="black", linewidth=1)
            latency.plot(p50, y, "s", color=BLUE, markersize=7)
            latency.plot(p99, y, "|", color="black", markersize=12, markeredgewidth=2)
    speed.axvline(1, color="black", linewidth=1, linestyle="--")
    speed.set_yticks(range(len(names)), [PEERS[peer].title.replace("*", "") for peer in names])
    speed.get_yticklabels()[names.index("ours")].set_fontweight("bold")
    speed.plot([], [], "o", color=BLUE, fillstyle="none", label="produce")
    speed.plot([], [], "D", color=ORANGE, label="consume")
    speed.legend(loc="upper left", fontsize=9)
    speed.set_title(f"Orders per second, {PEERS[BASE].title} = 1", loc="left", fontsize=11)
    latency.set_title("Latency at 500 orders a second: ■ p50 to | p99", loc="left", fontsize=11)
    speed.set_xlabel("times as fast; each step is ten times")
    latency.set_xlabel("milliseconds; each step is ten times")
    for ax in (speed, latency):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
