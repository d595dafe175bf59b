"""`make refresh` brings a notebook into one form, and a second time changes nothing."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orderstream.lab import server
from orderstream.lab.author.refresh import name_cells
from tests.notebooks import rules, sample
from tests.notebooks.sample import code, markdown, printed

ROOT = Path(__file__).parents[2]


def refresh(*paths):
    command = [sys.executable, "-m", "orderstream.lab.author.refresh", *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def write(tmp_path, *cells):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(sample.notebook(*cells), path)
    return path


DRAWING = """\
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.show()"""
NOISY = 'import sys\nprint("one")\nprint("aside", file=sys.stderr)\nprint("two")'


def test_a_refreshed_notebook_is_canonical_and_stays_byte_for_byte(tmp_path):
    """Counts, ids, widgets, streams, pictures, metadata: all in one form, twice the same bytes."""
    path = write(
        tmp_path,
        markdown("title", "# 01 · A sample"),
        code("0badcafe", sample.SET_UP, collapsed=True, tags=["exercise"], reason="kept"),
        code("predict", sample.PREDICT, count=17),
        code("draw", DRAWING),
        code("noisy", NOISY),
        code("fails", "1 / 0", tags=["raises-exception"]),
    )
    first = refresh(path)
    assert (first.returncode, first.stdout, first.stderr) == (0, "[1/1] lesson.ipynb … changed\n", "")
    once = path.read_bytes()
    assert refresh(path).stdout == "[1/1] lesson.ipynb … unchanged\n"
    assert path.read_bytes() == once

    book = nbformat.read(path, 4)
    assert [cell["id"] for cell in book.cells] == ["title", "01-a-sample-1", "predict", "draw", "noisy", "fails"]
    set_up, asked, drawn, noisy, failed = rules.code(book)
    assert [cell.execution_count for cell in rules.code(book)] == [1, 2, 3, 4, 5]
    assert set_up.metadata == {"tags": ["exercise"], "reason": "kept"}
    assert list(asked.outputs[0].data) == ["text/plain"]
    picture = base64.b64decode(drawn.outputs[-1].data["image/png"])
    assert b"Software" not in picture
    assert {output.name: output.text for output in noisy.outputs} == {"stdout": "one\ntwo\n", "stderr": "aside\n"}
    assert failed.outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert "widgets" not in book.metadata

    note = PngInfo()
    note.add_text("Comment", "the same pixels, packed in another way")
    repacked = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(repacked, "png", pnginfo=note)
    drawn.outputs[-1].data["image/png"] = base64.b64encode(repacked.getvalue()).decode()
    nbformat.write(book, path)
    assert refresh(path).stdout.endswith("unchanged\n")


def test_a_kernel_that_does_not_start_is_told_in_one_line(tmp_path, monkeypatch):
    path = write(tmp_path, code("never", "1"))
    before = path.read_bytes()
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ran = refresh(path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("refresh: lesson.ipynb: its kernel did not start: ")
    assert ran.stderr.count("\n") == 1
    assert path.read_bytes() == before


def test_a_failing_cell_is_named_and_the_notebook_left_alone(tmp_path):
    path = write(tmp_path, code("before", "x = 1"), code("broken", "x / 0"))
    before = path.read_bytes()
    ran = refresh(path)
    assert ran.returncode == 1
    # A kernel that is being ended may have printed a traceback of its own before.
    assert ran.stderr.endswith("refresh: lesson.ipynb, cell broken: ZeroDivisionError: division by zero\n")
    assert path.read_bytes() == before


NEEDS = f'{sample.SET_UP}\nr = lab.start("01")\nif lab.needs("99.0"):\n    print("new")'


def test_a_server_that_cannot_run_a_cell_keeps_its_result(tmp_path):
    """A Valkey, or an older Redis, refreshes the other cells."""
    path = write(tmp_path, code("gated", NEEDS, printed("new\n"), tags=["redis>=99.0"]), code("other", "print(2)"))
    assert refresh(path).stdout == "[1/1] lesson.ipynb … changed; kept, as they need a newer Redis: gated\n"
    gated, other = rules.code(nbformat.read(path, 4))
    assert (gated.outputs[0].text, other.outputs[0].text) == ("new\n", "2\n")
    assert " … unchanged; kept, " in refresh(path).stdout


@pytest.mark.parametrize("stored", [[], [printed("This cell needs Redis 99.0; yours is Valkey 9.1.2.\n")]])
def test_a_server_that_cannot_run_a_cell_without_a_result_is_refused(tmp_path, stored):
    path = write(tmp_path, code("gated", NEEDS, *stored, tags=["redis>=99.0"]))
    before = path.read_bytes()
    assert refresh(path).stderr == (
        f"refresh: lesson.ipynb, cell gated: it has no result yet and needs Redis 99.0, this is {server.software()}; "
        "name a newer redis-server in ORDERSTREAM_REDIS_SERVER\n"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["Redis", "Valkey"])
def test_a_server_of_another_name_changes_no_text(tmp_path, name):
    """What the comparison of notebooks takes for the same is no news."""
    said = f"Lesson 01 is ready. {name} answers.\n"
    path = write(tmp_path, code("setup", f'{sample.SET_UP}\nr = lab.start("01")', printed(said)))
    refresh(path)
    (cell,) = rules.code(nbformat.read(path, 4))
    assert cell.outputs[0].text == said


def test_what_is_no_notebook_is_said_in_a_line(tmp_path):
    path = tmp_path / "lesson.ipynb"
    path.write_text("{")
    ran = refresh(path)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)


def test_readable_ids_stay_and_made_up_ones_are_replaced():
    """An id follows the heading above it, so that a difference in git can be read."""
    book = nbformat.from_dict(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "cells": [
                {"id": "a1b2c3d4", "cell_type": "markdown", "source": "# 01 · A stream is a log"},
                {"id": "set-up", "cell_type": "code", "source": ""},
                {"id": "set-up", "cell_type": "code", "source": ""},
                {"cell_type": "code", "source": ""},
                {"id": "f" * 32, "cell_type": "markdown", "source": "text\n\n## Break it!"},
            ],
        }
    )
    name_cells(book)
    assert [cell["id"] for cell in book.cells] == [
        "01-a-stream-is-a-log-1",
        "set-up",
        "01-a-stream-is-a-log-2",
        "01-a-stream-is-a-log-3",
        "break-it-1",
    ]
