"""A type checker follows the type of a message from ``connect`` to the handler, whichever one it is."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

RIGHT, WRONG = (ROOT / "tests/docs/typed" / f"{name}.py" for name in ("right", "wrong"))
MARKED = {n for n, line in enumerate(WRONG.read_text().splitlines(), 1) if line.endswith("  # wrong")}


def mypy(tmp_path):
    """The mistakes that it finds: (file, line, what it says)."""
    options = ["--strict", "--follow-imports=silent", f"--config-file={os.devnull}", f"--cache-dir={tmp_path}"]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *options, RIGHT, WRONG], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode in (0, 1), found.stdout + found.stderr
    errors = re.findall(r"^(.+?):(\d+): error: (.+)", found.stdout, re.M)
    return [((ROOT / file).name, int(line), said) for file, line, said in errors]


def pyright(tmp_path):
    options = ["--outputjson", f"--pythonpath={sys.executable}"]
    environ = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # else it looks for a newer one of itself
    found = subprocess.run(
        [sys.executable, "-m", "pyright", *options, RIGHT, WRONG], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert found.returncode in (0, 1), found.stdout + found.stderr
    errors = [one for one in json.loads(found.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    names = [(RIGHT if one["file"].endswith(RIGHT.name) else WRONG).name for one in errors]
    return [(name, one["range"]["start"]["line"] + 1, one["message"]) for name, one in zip(names, errors, strict=True)]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_right_passes_and_each_mistake_is_found_where_it_is(checker, tmp_path):
    found = checker(tmp_path)
    assert [(line, said) for name, line, said in found if name == RIGHT.name] == []
    assert {line for name, line, _ in found if name == WRONG.name} == MARKED
