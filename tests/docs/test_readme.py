"""The README is true: its program prints what it says, its commands run, its messages and line counts hold."""

import ast
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orderstream.lab.tutor.environment import environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\(([^)#\s]+)", README)
PROOFS = re.findall(r"\]\((tests/\S+\.py) \"(\w+)\"\)", README)
CONTRACT = re.search(r"^## The contract\n(.*?)^## ", README, re.M | re.S)[1]
COUNTS = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \| (\d+) \| (\d+) \|", README, re.M)
COMMANDS = re.findall(r"^orderstream (.+?)\s*(?:#|$)", README, re.M)
TYPED = [
    line.split(" #")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    if not block.startswith("%%bash")
    for line in block.splitlines()
]
LESSONS = re.findall(r"^\| (\d\d) \| (.+?) \| .+ \| (\d+) \|$", README, re.M)
MESSAGES = re.findall(r"^\| `(.+?)` \| ", README.partition("## When something goes wrong")[2], re.M)


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


# The lessons ------------------------------------------------------------------------------------------------


def test_the_table_has_all_twelve_lessons():
    """In their order."""
    assert [number for number, *_ in LESSONS] == [f"{number:02}" for number in range(12)]


@pytest.mark.parametrize(("number", "title", "minutes"), LESSONS)
def test_a_lesson_is_linked_with_its_title_and_time(number, title, minutes):
    """As its own head has them."""
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    head = "".join(json.loads(path.read_text())["cells"][0]["source"])
    says = re.search(r"^# \d\d · (.+)", head)[1]
    assert title == f"[{says}](notebooks/{path.name})"
    assert f"**{minutes} minutes**" in head


@pytest.mark.parametrize("picture", ["control_room", "swim_lanes"])
def test_a_picture_that_is_there_is_shown(picture):
    """With a text for those who do not see it."""
    path = f"notebooks/images/{picture}.png"
    shown = re.search(rf"!\[.{{20,}}\]\({path}\)", README)
    assert bool(shown) == (ROOT / path).exists()


# Commands ---------------------------------------------------------------------------------------------------

ENDLESS = {"produce", "consume", "consume --processes 4", "consume --otlp http://localhost:4317"}
FINDS_FAULTS = {"doctor"}  # a Redis for tests keeps nothing on disk
ELSEWHERE = {
    "make lab": (".ci/elsewhere", "make lab "),
    "make test": (".ci/run", "make test "),
    "pytest --nbval": (".ci/run", ".venv/bin/pytest --nbval"),
    "make refresh": ("tests/notebooks/test_refresh.py", "-m orderstream.lab.author.refresh"),
    "make soak SEEDS=3": ("tests/chaos/test_soak.py", "tests.chaos.soak"),
    "make bench": ("tests/redis/test_benchmarks.py", "benchmarks"),
    "docker compose up -d --wait": (".ci/run", "compose up -d"),
    "REDIS_ADDR=localhost:6379 make lab": (".ci/run", "REDIS_ADDR=localhost:6379"),
}
"""Which file runs a command, or what its make target runs, and how that looks there."""


@pytest.mark.parametrize("command", TYPED)
def test_every_command_is_run_by_a_test(command):
    """Here, or in a place that is named."""
    if command.startswith(("orderstream ", "redis-cli ")):
        return  # below
    file, text = ELSEWHERE[command]
    assert text.replace("-m ", "") in (ROOT / file).read_text().replace('"-m", "', "")


def test_nothing_is_listed_that_nobody_types():
    """A command that left the README leaves the list."""
    assert set(ELSEWHERE) <= set(TYPED)
    assert set(COMMANDS) >= ENDLESS | FINDS_FAULTS


def test_the_shell_commands_work_in_the_order_in_which_they_stand(redis_server):
    """Each in a process of its own; the producer goes on meanwhile; Ctrl-C ends the endless ones well."""
    environ = {**os.environ, "REDIS_URL": redis_server, "ORDERSTREAM_STREAM": "shell", "PYTHONPATH": str(ROOT)}

    def start(command):
        words = [sys.executable, "-m", "orderstream", *command.split()]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(words, env=environ, text=True, **pipes)
        if command in ENDLESS:
            assert process.stdout.readline()  # it has begun
        return process

    def end(process, command):
        if command in ENDLESS:
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == (command in FINDS_FAULTS), said

    first, *others = COMMANDS
    producer = start(first)
    for command in others:
        end(start(command), command)
    end(producer, first)


def test_the_user_can_be_made_as_the_readme_says(client):
    """Redis takes the line, and the user may add orders, and nothing else."""
    [line] = [line for line in TYPED if line.startswith("redis-cli ")]
    _, *command = shlex.split(line)
    client.execute_command(*command)
    client.acl_deluser("till-1")


def test_the_cell_for_colab_is_run_in_ci():
    """It is the only such cell, and .ci/elsewhere takes it from the README."""
    assert README.count("```sh\n%%bash\n") == 1
    assert "sed -n '/^%%bash$/,/^```$/p' \"$source/README.md\"" in (ROOT / ".ci/elsewhere").read_text()


# Messages ---------------------------------------------------------------------------------------------------

WIDGETS = Path(sys.prefix, "share", "jupyter", "labextensions", "@jupyter-widgets", "jupyterlab-manager", "static")
OF_OTHERS = [
    "ModuleNotFoundError: No module named 'orderstream'",
    "✗ ipywidgets 8, for sliders and buttons",
    "Error displaying widget: model not found",
]
SAID_BY = {
    "ServerError: found no": "orderstream/lab/server/private.py",
    "ServerError: … does not answer": "orderstream/lab/server/client.py",
    "ServerError: no server yet": "orderstream/lab/server/session.py",
    "ServerError: every database": "orderstream/lab/server/reserved.py",
    "ServerError: another lab session": "orderstream/lab/server/reserved.py",
    "The lab needs": "orderstream/lab/author/preflight.py",
    "Error: ": "orderstream/cli.py",
    "Warning: ": "orderstream/cli.py",
    "ERROR: which Redis": "conftest.py",
}


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in OF_OTHERS])
def test_every_message_of_ours_is_still_said(message):
    """Word for word; what differs, and who says it, is left out."""
    file = next(file for beginning, file in SAID_BY.items() if message.startswith(beginning))
    code = re.sub(r'"\s*\n\s*f?"', "", (ROOT / file).read_text())  # one text, written on several lines
    said = re.sub(r"^(ServerError|ERROR|Error): ", "", message).split("…")
    assert not [part for part in said if part.strip(" :,.") not in code]


def test_a_kernel_of_another_python_does_not_know_the_package():
    """What Python says then."""
    run = subprocess.run([sys.executable, "-I", "-S", "-c", "import orderstream"], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == OF_OTHERS[0]


def test_a_kernel_of_another_python_lacks_the_widgets(monkeypatch, tmp_path):
    """What the first lesson says then."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path))
    monkeypatch.setattr("orderstream.lab.server.version", lambda: (7, 0))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "7.7.1")
    assert OF_OTHERS[1] in repr(environment()).splitlines()


def test_a_widget_of_a_kernel_that_is_gone_is_not_found():
    """What JupyterLab shows then."""
    code = "".join(file.read_text() for file in WIDGETS.glob("*.js"))
    assert not [part for part in OF_OTHERS[2].split(": ") if part not in code]


def test_the_table_has_what_newcomers_meet():
    """A dozen or so; each is quoted once."""
    assert len(MESSAGES) == len(set(MESSAGES)) > 10
    assert set(OF_OTHERS) <= set(MESSAGES)
