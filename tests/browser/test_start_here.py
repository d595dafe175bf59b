"""Lesson 00 as a newcomer meets it: open, Run All, and within a minute a picture of a running stream moves."""

import time
from pathlib import Path

import numpy

LESSON = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
THROUGHPUT = (0, 114, 178)  # its blue


def test_a_picture_of_the_running_stream_moves_within_a_minute(open_notebook, save_screenshot, complaints):
    """Counted from the moment the page is asked for."""
    began = time.monotonic()
    notebook = open_notebook(LESSON)
    notebook.run_all()
    notebook.wait_until(lambda: drawn(notebook.photograph(), THROUGHPUT), timeout_s=60)
    first = notebook.photograph()
    save_screenshot("lesson 00, first picture")
    notebook.wait_until(lambda: notebook.photograph() != first)
    assert time.monotonic() - began < 60
    assert not complaints


def test_every_cell_runs_and_the_panel_goes_on(open_notebook, save_screenshot, complaints):
    """With no error under any cell, and with the still picture beside its sentence."""
    notebook = open_notebook(LESSON)
    notebook.run_all()
    notebook.wait_until_all_is_run()
    assert notebook.page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.error']").count() == 0
    notebook.picture.scroll_into_view_if_needed()
    notebook.wait_until_the_picture_moves()
    save_screenshot("lesson 00, all run")
    assert not complaints


def drawn(picture, colour):
    """Tell whether something of this colour is in the picture, below its title."""
    pixels = numpy.asarray(picture)[picture.height // 10 :].astype(int)
    return (abs(pixels - colour).max(axis=2) < 24).sum() > 100
