"""Look whether this machine can run every lesson; each finding comes with the line that repairs it."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orderstream.lab import server
from orderstream.lab.server.client import OLDEST
from orderstream.lab.tutor.predict import home

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to type if it is not well; no repair means: it is well."""

    what: str
    repair: str = ""


@dataclass(frozen=True)
class Environment:
    """All findings. Prints one line for each, the same on every machine where all is well."""

    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """True if every lesson will run."""
        return not any(finding.repair for finding in self.findings)

    def __repr__(self) -> str:
        lines = [f"✗ {f.what}\n    {f.repair}" if f.repair else f"✓ {f.what}" for f in self.findings]
        todo = "Repair the lines with ✗, restart the kernel, and run again."
        return "\n".join([*lines, "Every lesson will run here." if self.ready else todo])


def environment() -> Environment:
    """Look at Python, Redis, widgets, pictures, and the folder for your answers."""
    return Environment(
        (
            python(sys.version_info[:2]),
            redis_server(server.version()),
            package("ipywidgets", "8", "sliders and buttons"),
            package("matplotlib", "3", "pictures"),
            package("pandas", "3", "tables"),
            folder(home()),
        )
    )


def python(version: tuple[int, ...]) -> Finding:
    """The oldest Python the lessons are tested on."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    repair = f"this is {'.'.join(map(str, version))}; install a newer one, then: make clean lab PYTHON=python3.12"
    return Finding(f"Python {oldest} or newer", "" if version >= OLDEST_PYTHON else repair)


def redis_server(version: tuple[int, int]) -> Finding:
    """The oldest Redis the lessons are tested on. What a lesson needs beyond that, it says itself."""
    oldest = ".".join(map(str, OLDEST))
    repair = f"this is {'.'.join(map(str, version))}; unset REDIS_URL and REDIS_ADDR, and a private one is started"
    return Finding(f"Redis {oldest} or newer answers", "" if version >= OLDEST else repair)


def package(name: str, major: str, purpose: str) -> Finding:
    """A library of this kernel's own environment; a kernel from elsewhere lacks it."""
    from importlib import metadata  # slow, and every worker process would pay for it

    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "missing"
    well = found.partition(".")[0] == major
    return Finding(f"{name} {major}, for {purpose}", "" if well else f"it is {found}; type: make lab")


def folder(path: Path) -> Finding:
    """Where predictions are kept."""
    what = "a folder for your answers"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return Finding(what)
    except OSError as error:
        return Finding(what, f"{error.strerror}: {path}; set ORDERSTREAM_LAB_HOME to a folder you may write to")
