"""
JupyterLab, opened on the learner's edition, as the course shows it: see ``.jupyter/jupyter_server_config.py``.

    python -m orderstream.lab.edition.jupyterlab learn                    on lesson 00
    python -m orderstream.lab.edition.jupyterlab --fresh 04 learn         on lesson 04, as it was
    python -m orderstream.lab.edition.jupyterlab -- learn --no-browser    with options of JupyterLab

``make lab`` and ``orderstream lab`` run it.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from orderstream.lab.edition import author
from orderstream.lab.edition.learner import LearnersEdition

HOME = ".home"
"""Beside the lessons. It stands in for a home folder that cannot be written."""


def environ(folder: Path) -> dict[str, str]:
    """
    Return the environment variables for a JupyterLab on the learner's *folder*.

    Jupyter, IPython, matplotlib and the lessons keep something in your home folder. If nothing can be written there,
    as in some containers, they get another one.
    """
    settings = [str(author.home() / ".jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environ = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, settings))}
    try:
        with tempfile.TemporaryFile(dir=Path.home()):
            pass
    except OSError:
        (folder / HOME).mkdir(exist_ok=True)
        environ["HOME"] = str(folder / HOME)
    return environ


def command(folder: Path, lesson: str, options: list[str]) -> list[str]:
    """Return the words that start JupyterLab on a *lesson*; ``"00"`` is the first."""
    name = author.path_of(lesson).name
    # JupyterLab refuses to run as root (in a container, say) unless told so.
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    root = f"--ServerApp.root_dir={folder.parent}"
    return [sys.executable, "-m", "jupyterlab", root, *as_root, *options, str(folder / name)]


def main(argv: list[str] | None = None) -> None:
    """Make the learner's edition, then become JupyterLab."""
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.edition.jupyterlab")
    parser.add_argument("folder", type=Path, help="where you work")
    parser.add_argument("--fresh", metavar="LESSON", help="give this lesson back as it was, and open it")
    parser.add_argument("options", nargs="*", help="JupyterLab's own; write -- before FOLDER then")
    wish = parser.parse_args(argv)
    folder = wish.folder.resolve()
    edition = LearnersEdition(folder)
    try:
        for line in edition.update():
            print(line)
        if wish.fresh:
            print(edition.give_back(wish.fresh))
        words, variables = command(folder, wish.fresh or "00", wish.options), environ(folder)
    except author.NoLesson as problem:
        sys.exit(f"lab: {problem}")
    except OSError as problem:
        sys.exit(f"lab: {folder} cannot be written: {problem.strerror}; name a folder of yours: orderstream lab FOLDER")
    print(f"JupyterLab opens in your browser. To stop it, press Ctrl-C here. What you do stays in {folder.name}/.")
    sys.stdout.flush()
    os.execve(sys.executable, words, variables)


if __name__ == "__main__":
    main()
