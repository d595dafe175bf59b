"""Consumers that are wrong, as people usually write them: copies of the package with one mechanism taken out."""

import os
import shutil
import subprocess
import sys

from tests.chaos.test_mechanisms import CHANGES, CONSUMER, ROOT

DEAD, POLICY = "orderstream/lua/dead.lua", "orderstream/policy.py"
ADD = "local dead = redis.call('XADD'"

MECHANISMS = {
    "claim a page of suspects instead of one": "poison",
    "MULTI instead of the script that dead-letters": "failing",
    "a heartbeat without its fence": "one",
    "redis-py's default retries": "sender",
    "a fixed name, and its own history first": "poison",
}
"""What is taken out, as in tests/chaos/test_mechanisms.py, and the scope in which it is found."""

ESCAPES = {
    "dead-letter on the first exception": ("one", ((POLICY, "attempt >= self.max_attempts", "True"),)),
    "ack before add in the script": ("refused", ((DEAD, ADD, f"redis.call('XACK', stream, group, id)\n{ADD}"),)),
    "a deferral whose reply was lost is sent again as one": (
        "late",
        ((CONSUMER, "if isinstance(error, ReplyLost) and decision.outcome is Outcome.DEFER:", "if False:"),),
    ),
    "a cursor never followed": ("pages", ((CONSUMER, "self._cursor = found.cursor", 'self._cursor = "-"'),)),
}


def cases():
    """Yield (name, scope, edits)."""
    for name, scope in MECHANISMS.items():
        yield name, scope, CHANGES[name].edits
    for name, (scope, edits) in ESCAPES.items():
        yield name, scope, edits


def look(folder, edits, scope, *options):
    """Look at *scope* with a copy of the package in *folder* that has *edits*. Returns exit code and output."""
    shutil.copytree(ROOT / "orderstream", folder / "orderstream", dirs_exist_ok=True)
    for name, before, after in edits:
        text = (folder / name).read_text()
        assert text.count(before) == 1, f"{name} has changed; take the mechanism out of it anew"
        (folder / name).write_text(text.replace(before, after))
    command = [sys.executable, "-m", "orderstream.lab.model", scope, *options]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
    return ran.returncode, ran.stdout + ran.stderr
