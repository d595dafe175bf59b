"""
Draw spans as trace viewers such as Jaeger do: a row for each span, children below their parent, time to the right.

A viewer is given spans that have ended. So a span whose process was killed is not in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from orderstream.lab.workers.tell import Span

WIDTH, ROW_INCHES = 10.8, 0.34  # at 100 dots: fits beside JupyterLab's file browser at 1280 pixels
TREE = 0.36  # the part of the picture that the names take
INDENT = 0.022
COLOURS = ("#0072B2", "#C25100", "#007A5A", "#8A3A6B", "#595959")
"""Those of the processes, in turn."""
RED = "#B00020"
TROUBLE = {"retry", "dead_letter"}
"""Outcomes of a handler run that failed."""


def draw(spans: Sequence[Span]) -> Figure:
    """Return the picture of the *spans* that have ended."""
    rows = list(tree(spans))
    figure = Figure(figsize=(WIDTH, 0.5 + ROW_INCHES * max(1, len(rows))), dpi=100, facecolor="white")
    ax = figure.add_axes((TREE, 0.0, 0.98 - TREE, 1 - 0.4 / figure.get_figheight()))
    begin = min((span.began_s for _, span in rows), default=0.0)
    total_ms = max((1000 * (ended(span) - begin) for _, span in rows), default=1.0)
    ax.set_xlim(0, 1.12 * total_ms)
    ax.set_xticks([ms for ms in ax.get_xticks() if 0 <= ms <= total_ms])  # a label at the edge would be cut
    ax.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    ax.set_yticks([])
    ax.set_axisbelow(True)
    ax.xaxis.tick_top()
    ax.xaxis.set_major_formatter(lambda ms, _: f"{ms:g} ms")
    ax.tick_params(labelsize=8.5, length=0, colors="#444444")
    ax.grid(axis="x", alpha=0.3)
    ax.spines[:].set_visible(False)
    whose = dict(zip(dict.fromkeys(span.process for _, span in rows), COLOURS * len(rows), strict=False))
    for row, (depth, span) in enumerate(rows):
        colour, failed = whose[span.process], span.outcome in TROUBLE or bool(span.error)
        at_ms, long_ms = 1000 * (span.began_s - begin), 1000 * (ended(span) - span.began_s)
        ax.barh(row, max(long_ms, 0.004 * total_ms), left=at_ms, height=0.5, color=colour)
        ax.text(at_ms + max(long_ms, 0.004 * total_ms), row, f" {_long(long_ms)}", va="center", fontsize=8.5)
        place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 10}
        left = (0.01 - TREE) / (0.98 - TREE) + depth * INDENT / (0.98 - TREE)
        ax.text(left, row, "✗" if failed else "▪", color=RED if failed else colour, fontweight="bold", **place)
        name = f"{span.process}  {span.name}" + (f", attempt {span.attempt}" if span.operation == "process" else "")
        ax.text(left + 0.028, row, name, color=colour, **place)
    return figure


def tree(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """Yield each span that has ended with its depth: children behind their parent, older ones first."""
    known = sorted((span for span in spans if span.ended_s is not None), key=lambda span: span.began_s)
    ids = {span.id for span in known}

    def below(parent: str | None) -> Iterator[tuple[int, Span]]:
        for span in known:
            if (span.parent_id if span.parent_id in ids else None) == parent:
                yield 0, span
                yield from ((depth + 1, child) for depth, child in below(span.id))

    yield from below(None)


def ended(span: Span) -> float:
    """Return when it ended; a span that has not is not drawn."""
    return span.ended_s or span.began_s


def sentence(spans: Sequence[Span]) -> str:
    """Return a sentence that says what the picture shows, without a time: it is the same in each run."""
    rows = [f"{'– ' * depth}{span.process} {span.operation}" for depth, span in tree(spans)]
    return f"{len(rows)} spans: {', '.join(rows)}." if rows else "No span has ended."


def _long(ms: float) -> str:
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
