"""The section on handlers that wait: tables and sentences, from given numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.waiting import CONTENDERS
from benchmarks.report import Measure, Results, cell, failures, table, times

BASE = "bare"
OURS = tuple(who for who in CONTENDERS if who.startswith("ours"))
PEERS = tuple(who for who in CONTENDERS if not who.startswith(("ours", "bare")))
AT = (0.01, 100)  # seconds of waiting and orders in flight: where more than the rate is measured
CPU = Measure("CPU per order", "µs")
MEMORY = Measure("memory", "MB")
LOAD = Measure("half load", "/s")
P50 = Measure("p50 at half load", "ms")
P99 = Measure("p99 at half load", "ms")
STOP_S = Measure("to stop", "s")
AFTER_STOP, AFTER_KILL = "clean stop", "kill -9"
LOST = {after: Measure(f"lost or stuck after {after}", "") for after in (AFTER_STOP, AFTER_KILL)}
TWICE = {after: Measure(f"handled twice after {after}", "") for after in (AFTER_STOP, AFTER_KILL)}
WHOLE_S = {after: Measure(f"until all were handled after {after}", "s") for after in (AFTER_STOP, AFTER_KILL)}


def rate_at(wait_s: float, at_once: int) -> Measure:
    return Measure(f"{1000 * wait_s:.0f} ms, {at_once:,} in flight", "/s")


def rates(results: Results, wait_s: float, levels: Sequence[int]) -> str:
    """Orders per second with each number of orders in flight, and the ratio to the bare loop."""
    heads = [text for at_once in levels for text in (f"{at_once:,} in flight /s", "x bare")]
    rows = [[f"a handler that waits {1000 * wait_s:.0f} ms", *heads]]
    for who in CONTENDERS:
        measures = [rate_at(wait_s, at_once) for at_once in levels]
        cells = [(measure.show(results.median(measure, who)), _ratio(results, measure, who)) for measure in measures]
        rows.append([name(results, who), *(text for pair in cells for text in pair)])
    return table(rows)


def prices(results: Results) -> str:
    """What it takes, where everybody has 100 in flight."""
    measures = (CPU, MEMORY, P50, P99, LOAD)
    rows = [["10 ms, 100 in flight", "CPU per order", "x bare", "memory", "p50", "p99", "at /s"]]
    for who in CONTENDERS:
        cpu, *others = (measure.show(results.median(measure, who)) for measure in measures)
        rows.append([name(results, who), cpu, _ratio(results, CPU, who), *others])
    return table(rows)


def ends(results: Results) -> str:
    """What becomes of the orders in flight. The worst round counts: a round without a loss is no promise."""
    told = ("lost or stuck", "twice", "all after")
    heads = [f"{after}: {what}" for after in (AFTER_STOP, AFTER_KILL) for what in told]
    rows = [["100 ms, 100 in flight", "to stop", *heads]]
    for who in CONTENDERS:
        cells = [_worst(results, STOP_S, who)]
        for after in (AFTER_STOP, AFTER_KILL):
            cells += [_worst(results, measure[after], who) for measure in (LOST, TWICE, WHOLE_S)]
        rows.append([name(results, who), *cells])
    return table(rows)


def failed(results: Results) -> str:
    """Who failed at what, and why. One line each."""
    return "\n".join(
        f"- {CONTENDERS[who].title}, {doing}: {cell(reason)}"
        for who in CONTENDERS
        for doing, reason in failures(results, who)
    )


def sentence(results: Results) -> str:
    """Say what the picture shows: its alt text."""
    rate = rate_at(*AT)
    ratios = {who: ratio for who in CONTENDERS if (ratio := results.ratio(rate, who, BASE)) is not None and who != BASE}
    ours = [f"{times(ratio)} ({plain(who)})" for who, ratio in ratios.items() if who in OURS]
    others = {who: ratio for who, ratio in ratios.items() if who not in OURS and who in PEERS}
    text = f"Handlers that wait 10 ms, 100 in flight, against a bare asyncio loop: {', '.join(ours)}"
    if others:
        best, worst = max(others, key=others.__getitem__), min(others, key=others.__getitem__)
        text += f"; the others from {times(others[worst])} ({plain(worst)}) to {times(others[best])} ({plain(best)})"
    for measure, words in ((LOST, "lost or stuck"), (TWICE, "handled twice")):
        counts = {who: max(results.samples.get(measure[AFTER_KILL], {}).get(who, [0])) for who in CONTENDERS}
        who_did = [f"{plain(who)} {count:.0f}" for who, count in counts.items() if count]
        text += f". After kill -9, {words}: {', '.join(who_did) or 'nothing'}"
    return text + "."


def plain(who: str) -> str:
    """Return a title without marks."""
    return CONTENDERS[who].title.replace("*", "").replace("`", "")


def name(results: Results, who: str) -> str:
    return f"{CONTENDERS[who].title} {results.versions.get(who, '')}".strip()


def _ratio(results: Results, measure: Measure, who: str) -> str:
    return times(results.ratio(measure, who, BASE))


def _worst(results: Results, measure: Measure, who: str) -> str:
    return measure.show(max(results.samples.get(measure, {}).get(who, []), default=None)).strip()
