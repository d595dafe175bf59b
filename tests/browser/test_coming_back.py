"""
Coming back with a new kernel: what was answered is still there, and where a widget was, a line says what helps.

JupyterLab writes "model not found" in the place of a widget whose kernel is gone, whatever stands beside the widget.
The course's own style sheet shows a line of ours instead.
"""

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from playwright.sync_api import expect

from tests.browser.conftest import Notebook
from tests.notebooks import sample

pytestmark = pytest.mark.any_server("what JupyterLab stores and shows; no Redis is asked about it")

RIGHT = "2-0 and 3-0: what nobody was given yet"
LINE = "Its kernel has ended. To use it, run the cells down to this one again."
CELLS = [
    new_code_cell(source)
    for source in (
        'from orderstream import lab\nlab.start("04")\nlab.fresh("orders", "orders-dlq")',
        'lab.predict("04a")',
        'lab.reveal("04a", "2-0 3-0")',
        'lab.predict("04b")',
        """\
consumers = [lab.processes.consumer("c1")]
panel = lab.live.Panel(lab.processes.producer(rate_per_s=20), consumers)
panel""",
        "lab.scoreboard()",
    )
]
ANSWERED, REVEAL, OPEN, PANEL, BOARD = 1, 2, 3, 4, 5
WORDS_BEHIND = "element => getComputedStyle(element, '::after').content"


@pytest.fixture
def left(open_notebook, tmp_path):
    """``04a`` was answered and judged, ``04b`` was asked, a panel moved. All of it is saved."""
    nbformat.write(sample.notebook(*CELLS), tmp_path / "lesson.ipynb")
    notebook = open_notebook(tmp_path / "lesson.ipynb")
    notebook.run(0)
    notebook.run(ANSWERED)
    notebook.page.get_by_role("radio", name=RIGHT).check()
    notebook.wait_for_text(ANSWERED, "You can change it until you run the experiment.")
    notebook.run(REVEAL)
    notebook.wait_for_text(ANSWERED, "The result is known.")
    for number in (OPEN, PANEL, BOARD):
        notebook.run(number)
    notebook.wait_for_text(BOARD, "1 prediction, 1 right at first")
    notebook.wait_until_the_picture_moves()
    notebook.wait_until_idle()
    notebook.save()
    return notebook


def assert_what_was_answered_is_there(notebook):
    notebook.wait_for_text(ANSWERED, f"● {RIGHT}")
    notebook.wait_for_text(REVEAL, "✓ You predicted it")
    notebook.wait_for_text(BOARD, "1 prediction, 1 right at first")


def test_the_next_day_answers_are_there_and_a_line_says_what_a_widget_needs(left, jupyterlab, save_screenshot):
    """The kernel is gone, the page is opened anew. The cell is run again, and its widget lives."""
    jupyterlab.shut_kernels_down()
    notebook = left.reopened()
    assert_what_was_answered_is_there(notebook)
    for number in (OPEN, PANEL):
        place = notebook.cell(number).locator(".jp-OutputArea-output.jupyter-widgets")
        expect(place).to_have_css("font-size", "0px")  # JupyterLab's own words
        assert LINE in place.evaluate(WORDS_BEHIND)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        notebook.page.locator("#jupyterlab-splash").wait_for(state="detached")
        save_screenshot(f"coming back, {theme}")
    notebook.run(0)
    notebook.run(OPEN)
    expect(notebook.cell(OPEN).get_by_role("radio")).to_have_count(3)
    place = notebook.cell(OPEN).locator(".jp-OutputArea-output.jupyter-widgets")
    expect(place).to_have_count(0)


@pytest.mark.parametrize("end", [Notebook.restart_kernel, Notebook.shut_kernel_down])
def test_a_panel_whose_kernel_has_ended_takes_no_clicks_and_says_why(end, left, save_screenshot):
    """Its buttons would do nothing."""
    assert_what_was_answered_is_there(left)
    end(left)
    panel = left.cell(PANEL).locator(".jp-OutputArea-output > .jupyter-widgets")
    expect(panel).to_have_css("pointer-events", "none")
    assert LINE in panel.evaluate(WORDS_BEHIND)
    assert_what_was_answered_is_there(left)
    left.cell(PANEL).scroll_into_view_if_needed()
    save_screenshot(f"a panel after {end.__name__}")
    if end is Notebook.shut_kernel_down:
        return
    left.run(0)
    left.run(PANEL)
    left.wait_until_the_picture_moves()
