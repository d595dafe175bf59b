"""From numbers to a page: medians, ratios, tables. Knows nothing of Redis or processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers import PEERS

BASE = "ideal"
NONE = "–"


@dataclass(frozen=True)
class Measure:
    """What a number is called, and what it counts: ``/s``, ``s``, ``ms``, ``µs``, ``MB``, ``%`` or nothing."""

    name: str
    unit: str

    def show(self, number: float | None) -> str:
        """Write the number as a cell."""
        if number is None:
            return NONE
        digits = {"ms": 2, "s": 1}.get(self.unit, 0)
        return f"{number:,.{digits}f} {self.unit}".removesuffix(" /s").strip()


PRODUCE = Measure("produce", "/s")
SEND = Measure("single send", "/s")
CONSUME = Measure("consume", "/s")
P50 = Measure("p50", "ms")
P99 = Measure("p99", "ms")
MEMORY = Measure("peak", "MB")
MAIN = (PRODUCE, SEND, CONSUME, P50, P99, MEMORY)
COMPARED = ("produce", "consume", "send", "latency")  # what every peer does
RECOVERY = Measure("recover abandoned orders, each alone", "/s")
IMPORT = Measure("`import redis`, `import orderstream`", "ms")
TRACING_GOALS = {
    ("`send_many`", "off"): 0.99,
    ("`send_many`", "1 % sampled"): 0.9,
    ("`Consumer`", "off"): 0.99,
    # To handle an order takes less than 4 µs. To read the context in its entry takes about 0.8 µs more. The two spans
    # of a sampled order take 50 to 70 µs, nearly all of them inside of the SDK: for 1 of 100, that is 0.6 µs.
    ("`Consumer`", "1 % sampled"): 0.75,
}


def traced(what: str, way: str) -> Measure:
    return Measure(f"{what} with tracing {way}, against untraced", "%")


@dataclass
class Results:
    """What was measured, round by round, and who failed at what."""

    samples: dict[Measure, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """By peer and what it was doing: the reason, one line."""
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, peer: str, numbers: Mapping[Measure, float]) -> None:
        for measure, number in numbers.items():
            self.samples.setdefault(measure, {}).setdefault(peer, []).append(number)

    def median(self, measure: Measure, peer: str) -> float | None:
        """Return the median of all rounds; None if there is no number."""
        numbers = self.samples.get(measure, {}).get(peer)
        return median(numbers) if numbers else None

    def ratio(self, measure: Measure, peer: str, base: str = BASE) -> float | None:
        """Return the peer's median divided by that of *base*; None if one is missing."""
        return divide(self.median(measure, peer), self.median(measure, base))


def divide(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def times(ratio: float | None) -> str:
    """Write a ratio: two digits are all that a noisy machine gives."""
    return NONE if ratio is None else f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"


# Tables ----------------------------------------------------------------------------------------------------


def table(rows: Iterable[Sequence[str]]) -> str:
    """Write rows as Markdown, the headings first. All but the first column are numbers."""
    heads, *rest = rows
    rule = ["---", *["--:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rest))


def main_table(results: Results) -> str:
    """Every peer, one line each; whoever has no number at all gives the reason instead."""
    rows = [["", "produce /s", "x ideal", "send /s", "x ideal", "consume /s", "x ideal", "p50", "p99", "peak"]]
    for peer, known in PEERS.items():
        numbers = {measure: results.median(measure, peer) for measure in MAIN}
        reasons = [f"{doing}: {reason}" for doing, reason in failures(results, peer) if doing in COMPARED]
        name = f"{known.title} {results.versions.get(peer, '')}".strip()
        if not any(number is not None for number in numbers.values()):
            rows.append([name, f"failed ({cell(reasons[0])})" if reasons else "not measured", *[""] * 8])
            continue
        shown = {measure: measure.show(number) for measure, number in numbers.items()}
        cells = [(shown[rate], times(results.ratio(rate, peer))) for rate in (PRODUCE, SEND, CONSUME)]
        rows.append([name, *(text for pair in cells for text in pair), shown[P50], shown[P99], shown[MEMORY]])
        rows += [[f"↳ failed: {cell(reason)}", *[""] * 9] for reason in reasons]
    return table(rows)


def scale_table(results: Results) -> str:
    """What only the ideal loop and ours were asked, in the order in which it was measured."""
    rows = [["", "ideal", "orderstream", "orderstream / ideal"]]
    for measure in results.samples:
        if measure not in MAIN:
            name = f"{measure.name} /s" if measure.unit == "/s" else measure.name
            shown = [measure.show(results.median(measure, peer)) for peer in (BASE, "ours")]
            rows.append([name, *shown, times(results.ratio(measure, "ours"))])
    for peer in (BASE, "ours"):
        for doing, reason in failures(results, peer):
            if doing not in COMPARED:
                rows.append([f"↳ {PEERS[peer].title} failed: {cell(f'{doing}: {reason}')}", "", "", ""])
    return table(rows)


def failures(results: Results, peer: str) -> list[tuple[str, str]]:
    """What this peer failed at, and why."""
    return [(doing, reason) for (who, doing), reason in results.failures.items() if who == peer]


def cell(text: str) -> str:
    """Whatever a library says must not end the cell."""
    return text.replace("|", "/").replace("\n", " ")


# Goals -----------------------------------------------------------------------------------------------------


def goals(results: Results, small: Measure, large: Measure, large_memory: Measure) -> str:
    """
    What we want to hold, and whether it does.

    Args:
        results: Of this run.
        small: The rate with a small backlog.
        large: The rate with a large one.
        large_memory: The peak of a consumer there.
    """
    ratio, ours = results.ratio, results.median
    rows = [["", "goal", "measured", ""]]
    for what, sign, goal, got in (
        ("`send_many`, against the ideal pipeline", "≥", 3, ratio(PRODUCE, "ours")),
        ("`send_many`, against FastStream", "≥", 8, ratio(PRODUCE, "ours", "faststream_batch")),
        ("`send`, against `redis.xadd`", "≥", 1, ratio(SEND, "ours")),
        ("`Consumer`, against the ideal loop", "≥", 2, ratio(CONSUME, "ours")),
        ("`Consumer`, against FastStream in batches", "≥", 3.5, ratio(CONSUME, "ours", "faststream_batch")),
        ("rate with a large backlog, against a small one", "≥", 0.9, divide(ours(large, "ours"), ours(small, "ours"))),
        ("peak memory with that backlog, in MB", "≤", 45, ours(large_memory, "ours")),
        ("p50 latency, against the naive loop", "≤", 1.2, ratio(P50, "ours", "naive")),
        ("`import orderstream`, against `import redis`", "≤", 1.15, ratio(IMPORT, "ours")),
        ("recovered in a second", "≥", 5_000, ours(RECOVERY, "ours")),
        *[
            (traced(what, way).name, "≥", goal, divide(ours(traced(what, way), "ours"), 100))
            for (what, way), goal in TRACING_GOALS.items()
        ],
    ):
        met = None if got is None else got >= goal if sign == "≥" else got <= goal
        number = NONE if got is None else f"{got:,.0f}" if got >= 10 else f"{got:.2f}"
        rows.append([what, f"{sign} {goal:,}", number, {None: "not measured", True: "yes", False: "**no**"}[met]])
    return table(rows)


def sentence(results: Results) -> str:
    """Say what the picture shows: its alt text."""
    parts = []
    for measure, word in ((PRODUCE, "Sending"), (CONSUME, "Handling")):
        ratios = {peer: results.ratio(measure, peer) for peer in PEERS if peer != BASE}
        others = {peer: ratio for peer, ratio in ratios.items() if ratio is not None and peer != "ours"}
        text = f"{word}: orderstream {times(ratios['ours'])} the ideal redis-py loop"
        if others:
            best, worst = max(others, key=others.__getitem__), min(others, key=others.__getitem__)
            text += f"; the others from {times(others[worst])} ({PEERS[worst].title})"
            text += f" to {times(others[best])} ({PEERS[best].title})"
        parts.append(text)
    p50 = results.median(P50, "ours")
    return ". ".join(parts) + (f". Half of our orders take less than {p50:.2f} ms at 500 a second." if p50 else ".")
