"""
Install the course into ``.venv``: make it, mend it, fill it, and look whether it works. ``make`` runs this each time.

    python3 orderstream/lab/author/install.py lab                  what requirements.txt names
    python3 orderstream/lab/author/install.py dev                  that, and what `make test` needs
    python3.12 orderstream/lab/author/install.py lab python3.12    you named a Python: .venv must have this one

The Python that runs it is one that ``preflight`` has found good: .venv's own, or the one to make .venv with. Nothing is
installed yet, so this file uses only the standard library. If all is well it says nothing and takes a moment.

``.venv`` may be somebody else's work: an editor makes one, and so does uv. If its Python is good, it is used as it is.
An environment that cannot work is made again: its Python is gone, or its folder was moved, so that the programs in it
name a place that is no more. One that works is replaced by nobody but you, with ``make clean``.

The stamps, ``.venv/lab-installed`` and its like, name the folder and a fingerprint of the lists that were installed.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
PREFLIGHT = Path(__file__).with_name("preflight.py")
PIP = "-m pip install --quiet --disable-pip-version-check --no-input".split()
LISTS = [Path("requirements.txt"), Path("pyproject.toml")]
VERSION = "import platform as p; print(p.python_implementation(), '.'.join(p.python_version_tuple()[:2]))"
LOOK = "from orderstream.lab.tutor.environment import environment as e; exit(None if e().ready else str(e()))"

TROUBLE = {
    "No space left":
        "The disk is full. A gigabyte is enough; then type: make lab",
    "Permission denied|Operation not permitted|Read-only file system|failed to map segment":
        "Nobody may write or start programs here. Move this folder to where you may do both, and type: make lab",
    "(?s)connection broken by.*(Could not find a version|No matching distribution)":
        "pip reaches no packages. Is there a network? Behind a proxy, type: HTTPS_PROXY=http://HOST:PORT make lab",
    "Failed building|Failed to build|metadata-generation-failed|subprocess-exited-with-error":
        "A package has no ready-made wheel here, and cannot be built. Type: make clean lab PYTHON=python3.12",
    "connection broken by|Could not fetch URL|SSLError":
        "pip reaches no packages. Is there a network? Behind a proxy, type: HTTPS_PROXY=http://HOST:PORT make lab",
}  # fmt: skip
"""What pip or Python says -> what to do. The first that fits is meant: pip may have waited for the network before."""
UNKNOWN = "pip could not install everything; the lines above say why. To try again, type: make lab"


class NotInstalled(Exception):
    """One line: what keeps the course from being installed, and what to type."""


def install(what: str, named: str) -> None:
    """
    Leave an environment in which *what* is installed and works.

    Args:
        what: ``"lab"`` or ``"dev"``.
        named: The Python that the user has named and that runs this; empty: any good one will do.

    Raises:
        NotInstalled: It cannot be done.
    """
    if why := broken():
        if VENV.is_symlink():  # what it leads to may be whole, and another folder's
            raise NotInstalled(f"{why}, and .venv is a link. To have one of its own, type: rm .venv && make lab")
        print(f"{why}: .venv is made again.", flush=True)
    if why or not VENV.exists():
        make()
    elif named and version(PYTHON) != version(sys.executable):
        raise NotInstalled(
            f".venv has {version(PYTHON)}, and {named} is {version(sys.executable)}. "
            f"To replace .venv, type: make clean lab PYTHON={named}"
        )
    stamp, state = VENV / f"{what}-installed", f"{Path.cwd()}\n{fingerprint()}\n"
    if not stamp.exists() or stamp.read_text() != state:
        print("Installing into .venv. This takes a minute or two, and only once.", flush=True)
        fill(["-e", ".[dev]"] if what == "dev" else [])
        look()
        for name in {"lab", what}:  # dev is lab and more
            (VENV / f"{name}-installed").write_text(state)


def broken() -> str:
    """Say why the environment cannot work. Empty: it can, or there is none yet."""
    if VENV.exists() and not version(PYTHON):
        return "The Python of .venv is gone"
    for stamp in VENV.glob("*-installed"):
        folder = stamp.read_text().partition("\n")[0]
        if folder and folder != str(Path.cwd()):
            return f"This folder was {folder}"
    return ""


def version(python: str | Path) -> str:
    """Return what a Python is, such as ``"Python 3.12"``; empty if it does not run."""
    try:
        said = subprocess.run([python, "-c", VERSION], capture_output=True, text=True).stdout
        return said.strip().removeprefix("C")  # CPython's name for itself
    except OSError:
        return ""


def fingerprint() -> str:
    """Return what changes when one of the lists does."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in LISTS)).hexdigest()


def make() -> None:
    """Make an empty environment with the Python that runs this."""
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True)
    if made.returncode:
        raise NotInstalled(f".venv cannot be made here: {last_line(made.stdout + made.stderr)}")


def fill(more: list[str]) -> None:
    """Install what requirements.txt names, apart from a server without a wheel; and *more*, words for pip."""
    if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode:
        subprocess.run([PYTHON, "-m", "ensurepip", "--default-pip"], capture_output=True)  # uv leaves pip out
    left_out = subprocess.run([PYTHON, PREFLIGHT, "--leave-out"], capture_output=True, text=True).stdout.strip()
    lines = LISTS[0].read_text().splitlines(keepends=True)
    needed = VENV / "requirements.txt"
    needed.write_text("".join(line for line in lines if not left_out or not line.startswith(left_out)))
    pip = subprocess.Popen([PYTHON, *PIP, "-r", needed, *more], stderr=subprocess.PIPE, text=True)
    said = ""
    for line in pip.stderr or ():  # it is shown at once: pip may try again for a minute
        sys.stderr.write(line)
        said += line
    if pip.wait():
        raise NotInstalled(todo(said) or UNKNOWN)


def look() -> None:
    """Let the environment's own Python see whether a lesson would run: its server starts, its packages are there."""
    with tempfile.TemporaryDirectory() as home:
        environ = os.environ | {"ORDERSTREAM_LAB_HOME": home}
        looked = subprocess.run([PYTHON, "-c", LOOK], env=environ, capture_output=True, text=True)
    if looked.returncode:
        said = last_line(looked.stderr)
        raise NotInstalled(f"All is installed, but no lesson would run: {said}. {todo(said)}".rstrip(" ."))


def todo(said: str) -> str:
    """Return what to do about what was *said*; empty if nobody knows."""
    return next((todo for words, todo in TROUBLE.items() if re.search(words, said)), "")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[-1]


if __name__ == "__main__":
    try:
        install(sys.argv[1], "".join(sys.argv[2:]))
    except NotInstalled as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
