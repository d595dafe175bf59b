"""The README is true: its program prints what it says, its commands exist, its line counts hold."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\(([^)#\s]+)", README)
PROOFS = re.findall(r"\]\((tests/\S+\.py) \"(\w+)\"\)", README)
CONTRACT = re.search(r"^## The contract\n(.*?)^## ", README, re.M | re.S)[1]
COUNTS = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \| (\d+) \| (\d+) \|", README, re.M)
COMMANDS = re.findall(r"^orderstream (.+?)\s*(?:#|$)", README, re.M)


def test_the_program_prints_what_the_readme_shows(redis_server, tmp_path):
    """Copy it, run it, get the same lines."""
    program, printed = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S).groups()
    code = tmp_path / "program.py"
    code.write_text(program)
    environ = {**os.environ, "REDIS_URL": redis_server, "ORDERSTREAM_STREAM": "readme", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, code], env=environ, capture_output=True, text=True, timeout=30)
    assert run.stdout == printed, run.stderr


def test_the_program_has_about_ten_lines():
    """Ten lines that do something; the imports are on one of them."""
    program = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in program.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("link", [link for link in LINKS if "://" not in link])
def test_every_link_leads_to_a_file(link):
    """No link of the README is dead."""
    assert (ROOT / link).exists()


@pytest.mark.parametrize(("path", "test"), PROOFS)
def test_every_promise_has_a_test(path, test):
    """What the contract says is held by the test it names."""
    assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.M)


def test_no_line_of_the_contract_lacks_its_proof():
    """A promise without a test is a hope."""
    rows = [line for line in CONTRACT.splitlines() if line.startswith("| ") and "proved by" not in line]
    rows = [line for line in rows if "shown by" not in line]
    assert len(rows) == len([line for line in rows if re.search(r"\]\(tests/\S+ \"test_", line)]) == len(PROOFS) > 15


def lines(path):
    """Return all lines of a file or folder, and how many of them are code: no comment, no docstring, not empty."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    texts = [file.read_text() for file in files if file.is_file()]
    code = [bare(text) if path.suffix == ".py" else re.sub(r"^ *--.*", "", text, flags=re.M) for text in texts]
    filled = [line for text in code for line in text.splitlines() if line.strip()]
    return sum(len(text.splitlines()) for text in texts), len(filled)


def bare(source):
    """Return Python source without docstrings and without lines that hold only a comment."""
    kept = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for part in getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else []:
            if isinstance(part, ast.Expr) and isinstance(getattr(part.value, "value", None), str):
                kept[part.lineno - 1 : part.end_lineno] = [""] * (part.end_lineno - part.lineno + 1)
    return "\n".join(line for line in kept if not line.lstrip().startswith("#"))


@pytest.mark.parametrize(("path", "all_lines", "code"), COUNTS)
def test_the_line_counts_are_true(path, all_lines, code):
    """Whoever plans an evening's reading can trust the table."""
    assert lines(ROOT / path) == (int(all_lines), int(code))


def test_every_file_of_the_core_is_in_the_table():
    """A file that nobody is told to read is a file too many."""
    core = {f"orderstream/{file.name}" for file in (ROOT / "orderstream").glob("[!_]*.py")} | {"orderstream/lua"}
    assert {path for path, *_ in COUNTS} == core


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_known(command):
    """Each line of the shell example names a command that can explain itself."""
    run = subprocess.run(
        [sys.executable, "-m", "orderstream", *command.split(), "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
