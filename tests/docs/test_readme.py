"""The README is true: its program prints what it says, its numbers and its table of lessons hold."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.docs.counts import SUM, TABLES, code_of, corrected, files
from tests.docs.pages import PAGES, README, ROOT

LESSONS = re.findall(r"^\| (\d\d) \| (.+?) \| .+ \| (\d+ \+ \d+) \| \S+ \|$", README, re.M)


def test_it_can_be_read_in_one_go():
    assert len(README.splitlines()) <= 226


def test_the_program_prints_what_the_readme_shows(redis_server, tmp_path):
    """Copy it, run it, get the same lines."""
    program, printed = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S).groups()
    code = tmp_path / "program.py"
    code.write_text(program)
    environ = {**os.environ, "REDIS_URL": redis_server, "ORDERSTREAM_STREAM": "readme", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, code], env=environ, capture_output=True, text=True, timeout=30)
    assert run.stdout == printed, run.stderr


def test_the_program_with_a_message_of_its_own_and_many_at_once_works(redis_server, tmp_path):
    _, program = re.findall(r"```python\n(.*?)```", README, re.S)
    code = tmp_path / "program.py"
    code.write_text(program)
    environ = {**os.environ, "REDIS_URL": redis_server, "ORDERSTREAM_STREAM": "payments", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, code], env=environ, capture_output=True, text=True, timeout=30)
    assert sorted(map(int, run.stdout.split())) == [*range(100)], run.stderr


def test_the_program_has_about_ten_lines():
    """Ten lines that do something; the imports are on one of them."""
    program = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in program.splitlines() if line.strip()]) <= 10


def test_the_picture_of_the_speed_is_told_as_the_last_run_told_it():
    told = re.search(r"!\[(.+)\]\(results\.png\)", PAGES["benchmarks/results.md"])[1]
    assert f"![{told}](benchmarks/results.png)" in README


def test_the_picture_of_handlers_that_wait_is_told_as_the_last_run_told_it():
    """As soon as there is one."""
    told = re.findall(r"!\[(.+)\]\(waiting\.png\)", PAGES["benchmarks/results.md"])
    assert re.findall(r"!\[(.+)\]\(benchmarks/waiting\.png\)", README) == told


# Read the code in this order --------------------------------------------------------------------------------


def test_the_line_counts_and_their_sums_are_true():
    """Whoever plans an evening's reading can trust the tables. To correct them: python -m tests.docs.counts"""
    assert len(SUM.findall(README)) == 3
    assert README.splitlines() == corrected(README).splitlines()


def test_the_heart_can_be_read_in_an_hour():
    assert code_of(README, TABLES[0]) <= 1_690


def test_every_file_outside_the_lab_is_in_one_of_the_tables():
    """A file that nobody is told to read is a file too many. Left out: what only names or starts the rest."""
    there = {path.name for path in (ROOT / "orderstream").glob("[!_]*")} - {"lab", "py.typed"}
    told = [path for title in TABLES for path in files(README, title)]
    assert sorted(told) == sorted(f"orderstream/{name}" for name in there)


# The lessons ------------------------------------------------------------------------------------------------


def test_the_table_has_all_lessons():
    """In their order."""
    assert [number for number, *_ in LESSONS] == [f"{number:02}" for number in range(13)]


@pytest.mark.parametrize(("number", "title", "minutes"), LESSONS)
def test_a_lesson_is_linked_with_its_title_and_time(number, title, minutes):
    """As its own head has them."""
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    head = "".join(json.loads(path.read_text())["cells"][0]["source"])
    says = re.search(r"^# \d\d · (.+)", head)[1]
    assert title == f"[{says}](notebooks/{path.name})"
    assert f"**{minutes} minutes**" in head
