"""The whole thing, as a user has it: three processes of the command line, ten thousand orders, one kill -9."""

import json
import os
import sys
from itertools import islice

import pytest

from orderstream import random_orders
from tests.process import Process

ORDERS = 10_000


@pytest.fixture
def command(settings, tmp_path):
    """Start ``orderstream …`` on this test's stream; what it prints goes to a file. Nothing outlives the test."""
    environ = os.environ | {
        "REDIS_URL": settings.redis_url,
        "ORDERSTREAM_STREAM": settings.stream,
        "ORDERSTREAM_GROUP": settings.group,
        "ORDERSTREAM_CLAIM_IDLE_MS": "1000",
    }
    started = []

    def start(name, *args):
        with (tmp_path / name).open("wb") as out:
            started.append(Process([sys.executable, "-m", "orderstream", *args], stdout=out, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_ten_thousand_orders_survive_a_kill_half_way(command, stream, tmp_path, eventually):
    """All are handled, nothing is pending, and status says so."""
    assert command("produce", "produce", "--count", str(ORDERS), "--seed", "1").wait(30) == 0
    doomed = command("doomed", "consume", "--work-ms", "1")
    survivor = command("survivor", "consume", "--work-ms", "1", "--until-idle", "0.5")

    def printed():
        lines = b"".join((tmp_path / name).read_bytes() for name in ("doomed", "survivor")).splitlines()
        return [line.split()[0].decode() for line in lines if line.split()]

    eventually(lambda: len(printed()) >= ORDERS / 2, timeout_s=30)
    doomed.kill()
    held = stream.backlog().pending
    assert survivor.wait(60) == 0

    wanted = {order.id for order in islice(random_orders(1), ORDERS)}
    handled = printed()
    assert wanted <= set(handled)  # the line that the kill cut may be there as well
    assert len(handled) - len(wanted) <= held, "handled twice: only what was pending at the kill"

    assert command("status", "status", "--json").wait(30) == 0
    state = json.loads((tmp_path / "status").read_text())
    assert (state["length"], state["pending"], state["dead_lettered"]) == (ORDERS, 0, 0)
    assert state["lag"] in (0, None)  # Redis 6.2 does not know it
    assert state["oldest_undelivered_s"] is None
