"""What `make bench WAITING=1` notes, plans and writes, from given numbers."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.measures import NOT_DUE
from benchmarks.page import WAITING, write_main, write_waiting
from benchmarks.peers.waiting import CONTENDERS, DEAD_AFTER_S
from benchmarks.report import Results
from benchmarks.waiting import report
from benchmarks.waiting.measures import Size, WaitingBench, times_handled
from benchmarks.waiting.notes import NOTE, VARIABLE, Note, Notes
from benchmarks.waiting.picture import draw
from benchmarks.waiting.report import AFTER_KILL, AFTER_STOP, AT, CPU, LOST, STOP_S, TWICE, rate_at
from orderstream import Settings

FOLDER = Path(__file__).parents[2] / "benchmarks"
MS = 1_000_000


def write(path, *notes):
    """Write notes as handlers do, into a file with much room behind them."""
    path.write_bytes(b"".join(NOTE.pack(*note) for note in notes) + bytes(100 * NOTE.size))


def line(table, start):
    """The cells of the one line that begins so."""
    [found] = [row for row in table.splitlines() if row.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("|").split("|")]


# Notes -------------------------------------------------------------------------------------------------------


def test_the_notes_of_all_processes_are_counted_while_they_grow(tmp_path):
    notes = Notes(tmp_path)
    assert notes.count() == notes.processes() == 0
    write(tmp_path / "1", (0, 1, 2))
    assert (notes.count(), notes.processes()) == (1, 1)
    write(tmp_path / "1", (0, 1, 2), (1, 2, 3))
    write(tmp_path / "2", (2, 1, 2))
    assert (notes.count(), notes.processes()) == (3, 2)


def test_a_gap_that_a_killed_thread_left_hides_nothing(tmp_path):
    write(tmp_path / "1", (0, 1, 2), (0, 0, 0), (7, 2, 3))
    assert Notes(tmp_path).read() == [Note(0, 1, 2), Note(7, 2, 3)]


def test_the_clock_runs_from_when_the_last_process_is_at_work(tmp_path):
    """Two processes, an order each 10 ms; one of them starts a second later."""
    write(tmp_path / "1", *((n, n * 10 * MS, (n + 1) * 10 * MS) for n in range(200)))
    write(tmp_path / "2", *((n, n * 10 * MS, (n + 1) * 10 * MS) for n in range(100, 200)))
    assert Notes(tmp_path).rate() == 200


def test_new_orders_are_not_taken_for_those_that_were_sent_before():
    notes = [Note(0, 1, 2), Note(1, 1, 2), Note(1, 3, 4), Note(10**15, 1, 2)]
    assert times_handled(notes, count=3) == {0: 1, 1: 2}


# The plan ----------------------------------------------------------------------------------------------------


def test_every_round_asks_everybody_one_thing_before_it_asks_the_next():
    bench = WaitingBench("redis://localhost:1/0", Size(rounds=2, ends=1))
    steps = bench.plan()
    asked = [steps[start : start + len(CONTENDERS)] for start in range(0, len(steps), len(CONTENDERS))]
    for some in asked:
        assert len({step.doing for step in some}) == 1
        assert {step.peer for step in some} == set(CONTENDERS)
    assert [some[0].doing for some in asked].count("10 ms, 500 in flight") == 2
    assert [some[0].doing for some in asked].count(AFTER_KILL) == 1
    assert len({some[0].peer for some in asked[:4]}) > 1


def test_what_busy_holds_does_not_become_due_in_a_long_run():
    settings = Settings.from_env(NOT_DUE)
    assert settings.claim_idle_ms >= 12 * 3_600_000


# The page ----------------------------------------------------------------------------------------------------


def results(**rates):
    """Results of contenders whose rates with 100 in flight are given."""
    made = Results()
    for who, rate in rates.items():
        made.add(who, {rate_at(*AT): rate})
    return made


def test_the_table_has_every_contender_its_rate_and_its_ratio_to_the_bare_loop():
    made = results(bare=7_500, ours_async=8_250, celery=1_275)
    made.versions["celery"] = "5.7.0"
    table = report.rates(made, AT[0], (10, 100))
    assert line(table, "**orderstream**, `async def`")[3:] == ["8,250", "1.1x"]
    assert line(table, "celery 5.7.0")[1:] == ["–", "–", "1,275", "0.17x"]
    assert len(table.splitlines()) == 2 + len(CONTENDERS)


def test_cpu_is_compared_and_memory_is_named():
    made = results()
    made.add("bare", {CPU: 25.2, report.MEMORY: 24})
    made.add("bullmq", {CPU: 97.4, report.MEMORY: 93, report.P50: 0.6, report.P99: 63, report.LOAD: 3_500})
    assert line(report.prices(made), "BullMQ")[1:] == ["97 µs", "3.9x", "93 MB", "0.60 ms", "63.00 ms", "3,500"]


def test_of_several_kills_the_worst_one_is_shown():
    made = Results()
    for lost in (0, 93, 12):
        made.add("huey", {LOST[AFTER_KILL]: lost, TWICE[AFTER_KILL]: 0})
    made.add("huey", {STOP_S: 0.234, LOST[AFTER_STOP]: 0, TWICE[AFTER_STOP]: 0, report.WHOLE_S[AFTER_STOP]: 1.04})
    assert line(report.ends(made), "huey")[1:] == ["0.2 s", "0", "0", "1.0 s", "93", "0", "–"]


def test_who_failed_is_one_line_with_the_reason():
    made = results(bare=1)
    made.failures["bullmq", "latency"] = "node is not | installed"
    assert report.failed(made) == "- BullMQ (node), latency: node is not / installed"


def test_the_picture_says_in_words_what_it_shows():
    made = results(bare=100, ours_async=110, ours_threads=125, bullmq=90, celery=17)
    made.add("huey", {LOST[AFTER_KILL]: 92, TWICE[AFTER_KILL]: 0})
    sentence = report.sentence(made)
    assert "1.1x (orderstream, async def), 1.2x (orderstream, threads)" in sentence
    assert "from 0.17x (celery) to 0.9x (BullMQ (node))" in sentence
    assert sentence.endswith("After kill -9, lost or stuck: huey 92. After kill -9, handled twice: nothing.")


def test_the_picture_can_be_drawn_whoever_is_missing():
    made = results(bare=100, ours_async=110)
    made.add("huey", {LOST[AFTER_KILL]: 92, TWICE[AFTER_KILL]: 0})
    draw(made).canvas.draw()
    draw(Results()).canvas.draw()


def test_each_of_the_two_commands_leaves_the_other_ones_part_of_the_page(tmp_path):
    page = tmp_path / "results.md"
    write_main(page, "# How fast\n\nold")
    write_waiting(page, f"{WAITING}\nold")
    write_main(page, "# How fast\n\nnew")
    assert page.read_text() == f"# How fast\n\nnew\n\n{WAITING}\nold\n"
    write_waiting(page, f"{WAITING}\nnew")
    assert page.read_text() == f"# How fast\n\nnew\n\n{WAITING}\nnew\n"


def test_a_page_may_begin_with_the_handlers_that_wait(tmp_path):
    write_waiting(tmp_path / "results.md", f"{WAITING}\nfirst")
    assert (tmp_path / "results.md").read_text().startswith("# How fast is it?\n\n## ")


# The files ---------------------------------------------------------------------------------------------------


def test_every_contender_has_a_file_that_links_to_its_documentation():
    files = {path.stem: path for path in (FOLDER / "peers" / "waiting").glob("[!_]*.[pj]*") if path.suffix != ".pyc"}
    assert set(files) == set(CONTENDERS)
    for name, path in files.items():
        assert name.startswith("ours") or "\nhttps://" in path.read_text(), name


def test_node_is_told_the_same_as_python():
    program = (FOLDER / "peers" / "waiting" / "bullmq.js").read_text()
    assert f"process.env.{VARIABLE}" in program
    assert re.search(r"DEAD_AFTER_MS = ([\d_]+)", program)[1] == f"{DEAD_AFTER_S * 1000:_}"


@pytest.mark.parametrize("name", ["bullmq", "ioredis"])
def test_what_runs_on_node_is_pinned_to_one_version(name):
    needed = json.loads((FOLDER / "requirements-bullmq.json").read_text())["dependencies"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", needed[name])
