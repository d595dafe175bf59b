"""The page that `make bench` writes, from given numbers."""

import re
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measures import PAIR, Bench, Size, memory_with, rate_with, rotated
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from benchmarks.report import CONSUME, MEMORY, P50, PRODUCE, Measure, Results, traced

FOLDER = Path(__file__).parents[2] / "benchmarks"


def results(**rates: list[float]) -> Results:
    """Results of peers whose produce rates are given, round by round."""
    made = Results()
    for peer, numbers in rates.items():
        for number in numbers:
            made.add(peer, {PRODUCE: number})
    return made


def line(table: str, start: str) -> list[str]:
    """The cells of the one line that begins so."""
    [found] = [row for row in table.splitlines() if row.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_median_is_what_counts_not_the_luckiest_round():
    made = results(ours=[300, 900, 310], ideal=[100, 90, 2_000])
    assert made.median(PRODUCE, "ours") == 310
    assert made.ratio(PRODUCE, "ours") == 3.1


def test_a_ratio_without_both_numbers_is_no_ratio():
    made = results(ours=[300])
    assert made.ratio(PRODUCE, "ours") is None
    assert made.ratio(CONSUME, "ours") is None
    assert report.times(None) == "–"


@pytest.mark.parametrize(("ratio", "text"), [(0.0071, "0.0071x"), (0.524, "0.52x"), (1, "1x"), (13.4, "13x")])
def test_a_ratio_has_two_digits(ratio, text):
    assert report.times(ratio) == text


def test_the_table_has_every_peer_its_rate_and_its_ratio():
    table = report.main_table(results(ours=[410_000], ideal=[100_000], huey=[5_000]))
    assert line(table, "**orderstream**")[1:3] == ["410,000", "4.1x"]
    assert line(table, "huey")[1:5] == ["5,000", "0.05x", "–", "–"]
    assert line(table, "celery")[1] == "not measured"
    assert len(table.splitlines()) == 2 + len(PEERS)


def test_who_failed_is_one_line_with_the_reason():
    made = results(ideal=[1])
    made.failures["walrus", "produce"] = "No module named 'walrus'"
    made.failures["ideal", "latency"] = "a | b"
    table = report.main_table(made)
    assert line(table, "walrus")[1] == "failed (produce: No module named 'walrus')"
    assert line(table, "↳ failed")[0] == "↳ failed: latency: a / b"
    assert {row.count("|") for row in table.splitlines()} == {11}


def test_the_second_table_holds_what_only_the_pair_was_asked():
    made = results(ours=[1], ideal=[1])
    made.add("ideal", {rate_with(10): 100_000, Measure("time to the first order", "ms"): 3})
    made.add("ours", {rate_with(10): 250_000})
    made.failures["ours", "pending"] = "no result within 60 s"
    table = report.scale_table(made)
    assert line(table, "handle orders with a backlog of 10")[1:] == ["100,000", "250,000", "2.5x"]
    assert line(table, "time to the first order")[1:] == ["3.00 ms", "–", "–"]
    assert line(table, "↳ **orderstream** failed")[0].endswith("pending: no result within 60 s")
    assert "produce" not in table


def test_a_goal_is_met_missed_or_not_measured():
    made = results(ours=[350], ideal=[100])
    made.add("ours", {rate_with(1): 100, rate_with(9): 89, memory_with(9): 34, P50: 0.3})
    table = report.goals(made, rate_with(1), rate_with(9), memory_with(9))
    assert line(table, "`send_many`, against the ideal")[1:] == ["≥ 3", "3.50", "yes"]
    assert line(table, "rate with a large backlog")[1:] == ["≥ 0.9", "0.89", "**no**"]
    assert line(table, "peak memory")[1:] == ["≤ 45", "34", "yes"]
    assert line(table, "p50 latency")[1:] == ["≤ 1.2", "–", "not measured"]
    made.add("ours", {traced("`Consumer`", "off"): 99.4, traced("`Consumer`", "1 % sampled"): 71})
    table = report.goals(made, rate_with(1), rate_with(9), memory_with(9))
    assert line(table, "`Consumer` with tracing off")[1:] == ["≥ 0.99", "0.99", "yes"]
    assert line(table, "`Consumer` with tracing 1 %")[1:] == ["≥ 0.75", "0.71", "**no**"]


def test_the_picture_says_in_words_what_it_shows():
    made = results(ours=[400], ideal=[100], walrus=[110], celery=[2])
    sentence = report.sentence(made)
    assert "orderstream 4x the ideal" in sentence
    assert "from 0.02x (celery) to 1.1x (walrus)" in sentence


def test_the_picture_can_be_drawn_whoever_is_missing():
    made = results(ours=[400])
    made.add("ours", {MEMORY: 30})
    draw(made).canvas.draw()


def test_each_round_begins_with_somebody_else():
    turns = [rotated(tuple(PEERS), turn) for turn in range(5)]
    assert len({turn[0] for turn in turns}) == 5
    assert {frozenset(turn) for turn in turns} == {frozenset(PEERS)}


def test_every_round_asks_every_peer_the_same():
    bench = Bench("redis://localhost:1/0", Size(rounds=3))
    steps = bench.plan()
    for peer in PEERS:
        assert [step.doing for step in steps if step.peer == peer].count("consume") == 3
    assert {step.peer for step in steps if step.doing == "recovery"} == set(PAIR)


def test_every_peer_has_a_file_that_links_to_its_documentation():
    files = {path.stem for path in (FOLDER / "peers").glob("[!_]*.py")} - {"base"}
    assert files == set(PEERS)
    for name in files - {"ours"}:
        assert "\nhttps://" in (FOLDER / "peers" / f"{name}.py").read_text(), name


def test_what_is_measured_is_what_the_project_installs():
    """The same redis-py, parser and codec in both environments."""
    ours, theirs = (
        set(re.findall(r"^([\w-]+)==(\S+)", (folder / "requirements.txt").read_text(), re.M))
        for folder in (FOLDER.parent, FOLDER)
    )
    names = {name for name, _ in ours & theirs}
    assert names == {name for name, _ in ours} & {name for name, _ in theirs}
    assert {"redis", "hiredis", "msgspec"} <= names
