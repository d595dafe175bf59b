"""
Each guarantee fails when its mechanism is taken out. A guard that nobody misses would hold nothing.

Each test changes one thing in a copy of the package, as people usually write it, and runs one named test there: it must
turn red, and for the reason that the mechanism is there for.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_server("a test of tests that themselves run on each server")

ROOT = Path(__file__).parents[2]
COPIED = ("orderstream", "tests", "conftest.py", "pyproject.toml")


@dataclass(frozen=True)
class Change:
    """What is taken out: in a file, what stands there and what stands there instead; and how a test notices."""

    edits: tuple[tuple[str, str, str], ...]
    turns_red: str
    saying: str


STREAM, CONSUMER, LEASE = "orderstream/stream.py", "orderstream/consumer.py", "orderstream/lua/lease.lua"
POISON_GOES_ALONE = (
    "tests/redis/test_crash.py::test_an_order_that_kills_every_process_ends_in_the_dead_letter_queue_alone"
)

CLAIM_A_PAGE = """\
        s, acked = self.settings, tuple(ack)
        if acked:
            self.ack(acked)
        waiting = self.__dict__.setdefault("waiting", [])
        if not waiting and (due := self._call("XPENDING", s.stream, s.group, "IDLE", s.claim_idle_ms, "-", "+", 100)):
            ids = [row[0] for row in due]
            taken = dict(self._call("XCLAIM", s.stream, s.group, consumer, s.claim_idle_ms, *ids))
            waiting += [Entry(row[0].decode(), taken[row[0]], row[3] + 1) for row in due]
        return Claimed(waiting.pop(0) if waiting else None, "-", (), 50)
"""
MULTI = """\
        transaction = self.client.pipeline(transaction=True)
        fields = dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))
        transaction.xadd(s.dlq, fields | dict(zip(METADATA, about, strict=True)))
        transaction.xack(s.stream, s.group, entry.id)
        return transaction.execute()[0].decode()
"""
DEFAULT_CLIENT = """\
        options = self.client.get_connection_kwargs()
        with redis.Redis(host=options["host"], port=options["port"]) as default:
            return [default.xadd(self.settings.stream, {fields[0]: fields[1]}) for fields in batch]
"""
ADD, CLAIM, DEAD = (
    "        return self._exchange(list(map(packer(",
    "        args = (s.group, consumer, s.claim_idle_ms, cursor, page, alone, UNOWNED)",
    "        id = self._run(DEAD",
)

CHANGES = {
    "claim a page of suspects instead of one": Change(
        ((STREAM, CLAIM, CLAIM_A_PAGE + CLAIM),), POISON_GOES_ALONE, r"\+ +'o-\w+'"  # innocents went with it
    ),
    "MULTI instead of the script that dead-letters": Change(
        ((STREAM, DEAD, MULTI + DEAD),),
        "tests/redis/test_refusal.py::test_a_dead_letter_that_cannot_be_written_leaves_its_order_pending",
        r"assert 0 == 1",  # acked, and nowhere else: lost
    ),
    "a heartbeat without its fence": Change(
        ((LEASE, "if mine and mine[4] == attempt then", "if true then"),),
        "tests/redis/test_heartbeat.py::test_a_heartbeat_that_comes_late_takes_nothing_back",
        r"assert \{'[\d-]+'\} == set\(\)",  # it took the order of somebody else
    ),
    "redis-py's default retries": Change(
        ((STREAM, ADD, DEFAULT_CLIENT + ADD),),
        "tests/redis/test_producer.py::test_a_lost_reply_is_said_and_the_order_is_sent_once",
        r"DID NOT RAISE",  # it was sent again, quietly
    ),
    "a fixed name, and its own history first": Change(
        (
            (CONSUMER, "self.name = name or ", 'self.name = name or "consumer-1" or '),
            (STREAM, 's.stream, ">")', 's.stream, ">" if hasattr(self, "begun") else "0")\n        self.begun = 1'),
        ),
        POISON_GOES_ALONE,
        # No count comes with what it reads: poison runs a fourth time. On a busy machine a process was seen to wait.
        r"(assert \[\] == \['poison-1'\]|subprocess\.TimeoutExpired)",
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_without_its_mechanism_a_guarantee_fails(change, tmp_path):
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name, before, after in change.edits:
        text = (tmp_path / name).read_text()
        assert text.count(before) == 1, f"{name} has changed; take the mechanism out of it anew"
        (tmp_path / name).write_text(text.replace(before, after))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-vv", change.turns_red]
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    assert re.search(f"^E .*{change.saying}", ran.stdout, re.M), ran.stdout
