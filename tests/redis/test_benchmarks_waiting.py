"""`make bench WAITING=1`, for a moment and with no library but our own."""

from contextlib import closing
from dataclasses import replace

import psutil
import pytest

from benchmarks import __main__ as command
from benchmarks import process
from benchmarks.measures import Step
from benchmarks.page import WAITING
from benchmarks.waiting import __main__ as waiting
from benchmarks.waiting.measures import Size, WaitingBench
from benchmarks.waiting.report import AFTER_KILL, AFTER_STOP, AT, CPU, LOST, MEMORY, P50, STOP_S, TWICE, rate_at
from orderstream.lab.server.private import PrivateServer

pytestmark = pytest.mark.any_server("the command works; none of its numbers is looked at but what a kill loses")

SMALL = Size(
    rounds=1, waits_s=(0.01,), at_once=(100,), run_s=0.2, latency_s=0.2, ends=1, ends_at_once=2, given_up_s=3.0,
    limit_s=40,
)  # fmt: skip


@pytest.fixture
def server():
    """A Redis of its own: its database is emptied."""
    with closing(PrivateServer()) as server:
        yield server


def test_a_small_run_measures_everything_and_writes_its_section(server, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FOLDER", tmp_path)
    (tmp_path / "results.md").write_text("# How fast is it?\n")
    with closing(WaitingBench(server.url, SMALL, ("bare", "bare_threads"))) as bench:
        command.measure(bench)
    assert bench.results.failures == {}
    for who in bench.peers:
        for measure in (rate_at(*AT), CPU, MEMORY, P50, STOP_S):
            assert bench.results.median(measure, who) > 0, (who, measure.name)
        assert bench.results.median(LOST[AFTER_STOP], who) == 0
    section = waiting.write(bench, "8.10.2", "results", 60)
    assert section.startswith(WAITING)
    assert (tmp_path / "results.md").read_text() == f"# How fast is it?\n\n{section}\n"
    assert (tmp_path / "waiting.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_seen_that_the_bare_loop_loses_what_it_had_in_hand(server):
    with closing(WaitingBench(server.url, SMALL)) as bench:
        numbers = bench.kill("bare", phase=0.5)
    assert numbers[LOST[AFTER_KILL]] > 0


@pytest.mark.parametrize(("who", "at_once"), [("ours_async", 20), ("ours_threads", 20), ("ours_processes", 1)])
def test_it_is_seen_that_ours_lose_nothing(server, who, at_once):
    size = replace(SMALL, ends_at_once=at_once, given_up_s=30.0)
    with closing(WaitingBench(server.url, size)) as bench:
        numbers = bench.kill(who, phase=0.5)
    assert numbers[LOST[AFTER_KILL]] == 0
    assert TWICE[AFTER_KILL] in numbers


def test_of_a_contender_with_many_processes_none_is_left(server, eventually):
    with closing(WaitingBench(server.url, SMALL)) as bench:
        with bench.serving("ours_processes", at_once=2, wait_s=0.01, count=1_000) as (consumer, notes):
            consumer.go()
            eventually(lambda: notes.processes() == 2)
            started = consumer.processes()
            assert len(started) >= 3  # a supervisor and its two
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started)


def test_a_contender_that_is_not_there_fails_alone_and_says_why(server, monkeypatch):
    monkeypatch.setattr(process.shutil, "which", lambda name: None)
    with closing(WaitingBench(server.url, SMALL)) as bench:
        for who in ("bullmq", "huey"):
            bench.take(Step("kill", who, lambda who=who: bench.kill(who, phase=0.5)))
    assert bench.results.failures == {
        ("bullmq", "kill"): "node is not installed",
        ("huey", "kill"): "ModuleNotFoundError: No module named 'huey'",
    }
