"""The command: what it prints, and how it ends."""

import os
import re
import signal
import subprocess
import sys

import pytest

from orderstream.lab.model import __main__ as command

pytestmark = pytest.mark.any_server("a test of what is printed")


def test_a_schedule_is_told_again_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model", "poison", "--replay", "a a:dies | a2 a2:returns"])
    assert command.main() == 0
    told = capsys.readouterr().out
    assert re.search(r"^  1  a            XREADGROUP → o-1 is a's, delivery 1$", told, re.M)
    assert re.search(r"^  2  a:dies       its process is killed$", told, re.M)
    assert re.search(r"^     from here on nothing goes wrong any more$", told, re.M)
    assert re.search(r"^  4  a2:returns   the handler of o-2 returns$", told, re.M)


def test_ctrl_c_says_what_was_covered():
    line = [sys.executable, "-u", "-m", "orderstream.lab.model", "two-by-two"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1].startswith("two-by-two: 2 consumers")
        process.stdout.readline()  # it tells how far it has come
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert "interrupted: " in out
    assert err == ""
    assert process.returncode == 130
