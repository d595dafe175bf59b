"""Lesson 00 as a newcomer meets it: open, Run All, and within a minute a picture of a running stream moves."""

import time
from pathlib import Path

import nbformat
import numpy
from nbformat.v4 import new_code_cell

LESSON = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
EMPTY = """\
panel.rate.value = 0
panel.until(lambda now: now.pending == 0)
print("nothing is pending:", panel.consumers)
"""
THROUGHPUT = (0, 114, 178)  # its blue


def test_a_picture_of_the_running_stream_moves_within_a_minute(open_notebook, save_screenshot, complaints):
    """Counted from the moment the page is asked for."""
    began = time.monotonic()
    notebook = open_notebook(LESSON)
    notebook.run_all()
    notebook.wait_until(lambda: drawn(notebook.photograph(), THROUGHPUT), timeout_s=60)
    first = notebook.photograph()
    save_screenshot("lesson 00, first picture")
    assert notebook.page.locator(".Toastify__toast").count() == 0  # JupyterLab's question about news is one
    notebook.wait_until(lambda: notebook.photograph() != first)
    assert time.monotonic() - began < 60
    assert not complaints


def test_every_cell_runs_and_the_panel_goes_on(open_notebook, tmp_path, save_screenshot, complaints):
    """With no error under any cell. A consumer is added, and takes over from those that are then killed."""
    book = nbformat.read(LESSON, 4)
    book.cells.append(new_code_cell(EMPTY))
    nbformat.write(book, tmp_path / LESSON.name)
    notebook = open_notebook(tmp_path / LESSON.name)
    notebook.run_all()
    notebook.wait_until_all_is_run()
    assert notebook.page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.error']").count() == 0
    notebook.picture.scroll_into_view_if_needed()
    notebook.wait_until_the_picture_moves()  # by then the page has drawn what stands around it
    save_screenshot("lesson 00, all run")

    panel = notebook.page.locator(".jp-OutputArea", has=notebook.page.locator("img.widget-image")).first
    panel.get_by_role("button", name="Add a consumer").click()
    panel.get_by_role("button", name="kill -9 c3").wait_for()
    for name in ("c1", "c2"):
        kill = panel.get_by_role("button", name=f"kill -9 {name}")
        kill.click()
        kill.wait_for(state="hidden")  # who is dead has no button
    notebook.wait_until_the_picture_moves()
    last = notebook.page.locator(".jp-CodeCell").count() - 1
    notebook.run(last)
    team = "<consumer c1, killed>, <consumer c2, killed>, <consumer c3, running>"
    notebook.wait_for_text(last, f"nothing is pending: [{team}]")
    assert not complaints


def drawn(picture, colour):
    """Tell whether something of this colour is in the picture, below its title."""
    pixels = numpy.asarray(picture)[picture.height // 10 :].astype(int)
    return (abs(pixels - colour).max(axis=2) < 24).sum() > 100
