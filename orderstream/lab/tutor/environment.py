"""Check whether this machine can run every lesson. Each finding says what to type to repair it."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orderstream.lab import server
from orderstream.lab.tutor.predict import home
from orderstream.software import OLDEST, Software

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing that was checked, and what to do if it is not well. An empty *repair* means that it is well."""

    what: str
    repair: str = ""


@dataclass(frozen=True)
class Environment:
    """All findings. It prints one line for each. The lines are the same on every machine where all is well."""

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
    """Look at Python, the server, widgets, pictures, and the folder for your answers."""
    return Environment(
        (
            python(sys.version_info[:2]),
            redis_server(server.software()),
            package("ipywidgets", "8", "sliders and buttons"),
            package("matplotlib", "3", "pictures"),
            package("pandas", "3", "tables"),
            folder(home()),
        )
    )


def python(version: tuple[int, ...]) -> Finding:
    """Check for the oldest Python that the lessons are tested on, or a newer one."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    repair = f"this is {'.'.join(map(str, version))}; install a newer one, then: make clean lab PYTHON=python3.12"
    return Finding(f"Python {oldest} or newer", "" if version >= OLDEST_PYTHON else repair)


def redis_server(found: Software) -> Finding:
    """Check for the commands of the oldest Redis that the lessons are tested on. A cell that needs more says so."""
    oldest = ".".join(map(str, OLDEST))
    repair = f"this is {found}; unset REDIS_URL and REDIS_ADDR, and a private one is started"
    what = f"{found.name} answers, with the commands of Redis {oldest}"
    return Finding(what, "" if found.level >= OLDEST else repair)


def package(name: str, major: str, purpose: str) -> Finding:
    """Check for a library that ``make lab`` installs. If it is missing, the kernel is another Python's."""
    from importlib import metadata  # slow to load, so not at the top of the file

    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "missing"
    well = found.partition(".")[0] == major
    return Finding(f"{name} {major}, for {purpose}", "" if well else f"it is {found}; type: make lab")


def folder(path: Path) -> Finding:
    """Check that the folder of the predictions can be written."""
    what = "a folder for your answers"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return Finding(what)
    except OSError as error:
        return Finding(what, f"{error.strerror}: {path}; set ORDERSTREAM_LAB_HOME to a folder you may write to")
