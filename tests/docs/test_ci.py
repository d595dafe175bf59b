"""CI: what runs on each server and what runs once, and that all of it fits into an hour."""

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = (ROOT / ".ci/run").read_text()
SERVERS = re.findall(r"^report (\w+ [\d.]+) ", (ROOT / ".ci/redis-servers").read_text(), re.M)
ON_EACH_SERVER = re.search(r"^while .*?^done", RUN, re.M | re.S)[0]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
CHOOSES = re.compile(r"-[mk].*|--(ignore|deselect|lf|last-failed|ff)\b.*")
HOUR = 3600


def pytest_commands(script):
    """Return the arguments of every pytest that a script runs."""
    found = [shlex.split(line) for line in re.findall(r"/pytest (.*?)(?:</dev/null|\)?$)", script, re.M)]
    assert found
    return found


def folders(commands):
    return {word for words in commands for word in words if (ROOT / word).is_dir()}


def chosen(words):
    """Return the options of a command that leave tests out, each with its value."""
    return [words[at : at + 2] for at, word in enumerate(words) if CHOOSES.fullmatch(word)]


def test_on_each_server_everything_runs_but_what_any_server_shows():
    commands = pytest_commands(ON_EACH_SERVER)
    assert folders(commands) == {"tests/redis", "tests/lab", "notebooks", "tests/chaos"}
    for words in commands:
        assert chosen(words) == [["-m", "not any_server"]]


def test_make_test_leaves_nothing_out():
    """So what is marked has run once, and the server on which it ran needs no second time."""
    commands = pytest_commands((ROOT / "Makefile").read_text())
    assert [chosen(words) for words in [*commands, SETTINGS["addopts"]]] == [[]] * (len(commands) + 1)
    assert folders(pytest_commands(ON_EACH_SERVER)) <= folders(commands) | set(SETTINGS["testpaths"])


def test_what_runs_once_says_why():
    """Without a mark a test runs on each server, so a forgotten one costs a minute and hides nothing."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__):
            text = path.read_text()
            assert len(re.findall(r"^pytestmark\b", text, re.M)) <= 1, f"{path.name}: the second takes away the first"
            assert text.count("any_server") == len(re.findall(r'mark\.any_server\("[^"]{20,}"\)', text)), path.name


def test_it_runs_on_redis_and_on_valkey():
    assert SERVERS == ["Redis 6.2", "Redis 7.0", "Redis 8.10", "Valkey 9.1"]


def test_the_budgets_of_all_sections_fit_into_an_hour():
    """On each server but the one that `make test` takes."""
    servers = len(SERVERS) - 1
    budgets = re.findall(r"^( *)section (\d+) ", RUN, re.M)
    assert len(budgets) == len(re.findall(r"^ *section ", RUN, re.M))
    assert sum(int(seconds) * (servers if indent else 1) for indent, seconds in budgets) < HOUR
