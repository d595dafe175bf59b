"""``orderstream lab``: open the course in JupyterLab. The lab does it, in a process of its own."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from orderstream.cli.options import environ, setting


@click.command()
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[FOLDER] [-- OPTIONS]")
@click.option("--fresh", metavar="LESSON", help="Give this lesson back as it was, such as 04, and open it.")
@setting("--redis", "REDIS_URL", "URL", "Take the lessons to this Redis.", "a server of each lesson's own")
def lab(words: tuple[str, ...], fresh: str | None) -> None:
    """
    Open the course: thirteen lessons about Redis Streams.

    You work in FOLDER, which gets a copy of the lessons that is yours; without one, in ./learn. What you wrote there is
    never overwritten. OPTIONS are for JupyterLab.

    \b
    Examples:
      orderstream lab
      orderstream lab ~/streams -- --no-browser --port 8890
    """
    if not (find_spec("jupyterlab") and find_spec("ipywidgets")):
        raise click.ClickException('the lessons need more than the package. Type: pip install "orderstream[lab]"')
    if not words or words[0].startswith("-"):
        words = ("learn", *words)
    again = ["--fresh", fresh] if fresh else []
    command = [sys.executable, "-m", "orderstream.lab.edition.jupyterlab", *again, "--", *words]
    os.execve(sys.executable, command, environ())
