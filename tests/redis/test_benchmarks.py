"""`make bench`, with a few hundred orders and no library but our own."""

from contextlib import closing

import pytest

from benchmarks import __main__ as command
from benchmarks.measures import PAIR, Bench, Size, Step
from benchmarks.process import Failed, Process
from orderstream.lab.server.private import PrivateServer

pytestmark = pytest.mark.any_server("the command works; none of its numbers is looked at")

SMALL = Size(
    rounds=1, part=0.001, latency_s=0.1, first=500, backlogs=(1_000, 1_500, 2_000), pending=1_000, consumers=(2,),
    abandoned=50, traced=500, imports=1, limit_s=30,
)  # fmt: skip


@pytest.fixture
def server():
    """A Redis of its own: its databases are emptied."""
    with closing(PrivateServer()) as server:
        yield server


def test_a_small_run_measures_everything_and_writes_the_page(server, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    with closing(Bench(server.url, SMALL, PAIR)) as bench:
        command.measure(bench)
    assert bench.results.failures == {}
    page = command.write(bench, "8.10.2", "results", 60)
    for measure, numbers in bench.results.samples.items():
        assert set(numbers) == ({"ours"} if measure.unit == "%" else set(PAIR)), measure.name
    assert (tmp_path / "results.md").read_text() == page + "\n"
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_that_is_not_there_fails_alone(server):
    """One line says why, and it is asked once."""
    with closing(Bench(server.url, SMALL, ("nobody",))) as bench:
        for _ in range(2):
            bench.take(Step("send", "nobody", lambda: bench.send("nobody", 500)))
    assert bench.results.failures == {
        ("nobody", "send"): "ModuleNotFoundError: No module named 'benchmarks.peers.nobody'"
    }


def test_a_process_that_hangs_is_ended(server):
    """No order ever comes."""
    with Process("ideal", "consume", url=server.url, n=1, limit_s=2) as process:
        process.ready()
        process.go()
        with pytest.raises(Failed, match="no result within 2 s"):
            process.result()
