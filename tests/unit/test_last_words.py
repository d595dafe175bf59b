"""The last words of a command are its own: Python adds none when it ends."""

import os
import subprocess
import sys

import pytest

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["status", "--redis", "redis://127.0.0.1:1"]])
@pytest.mark.parametrize("environ", [BUFFERED, BUFFERED | {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "at once"])
def test_python_has_nothing_to_say_when_a_command_ends(words, environ):
    """Since 3.13 it complains of a file that is closed twice."""
    done = subprocess.run([sys.executable, "-m", "orderstream", *words], env=environ, capture_output=True, text=True)
    said = done.stderr.splitlines()
    assert len(said) == done.returncode <= 1, done.stderr
