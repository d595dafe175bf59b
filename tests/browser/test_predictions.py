"""A prediction as a learner meets it: no answer is visible before one is given, then the verdict names the belief."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from playwright.sync_api import expect

from tests.notebooks import sample

pytestmark = pytest.mark.any_server("answers in files and widgets; no Redis is asked")

WRONG, RIGHT = "1-0, 2-0 and 3-0: Ann's order first", "2-0 and 3-0: what nobody was given yet"
CELLS = [
    new_code_cell("from orderstream import lab"),
    new_markdown_cell("*Predict* before you run on."),
    new_code_cell('lab.predict("04a")'),
    new_code_cell('lab.reveal("04a", "2-0 3-0")'),
    new_code_cell('lab.score("04")'),
]
ASK, REVEAL, SCORE = 1, 2, 3


def test_an_answer_is_visible_after_it_is_given_and_not_before(open_notebook, tmp_path, save_screenshot, complaints):
    """Run All first, as many do; then a choice, and the experiment again."""
    nbformat.write(sample.notebook(*CELLS), tmp_path / "prediction.ipynb")
    notebook = open_notebook(tmp_path / "prediction.ipynb")
    notebook.run_all()
    notebook.wait_for_text(SCORE, "Lesson 04: you have predicted none of its 6 questions yet.")
    page = notebook.page
    expect(page.get_by_role("radio")).to_have_count(3)
    notebook.wait_for_text(ASK, "You made no prediction here.")
    shown = " ".join(page.locator(".jp-CodeCell").all_inner_texts())
    assert not [word for word in ("✓", "✗", "belief", "believes") if word in shown]
    save_screenshot("a prediction, nothing chosen")

    page.get_by_role("radio", name=WRONG).check()
    notebook.wait_for_text(ASK, "You can change it until you run the experiment.")
    notebook.run(REVEAL)
    notebook.wait_for_text(REVEAL, "who believes: Redis redelivers when a consumer dies.")
    notebook.wait_for_text(REVEAL, f"✓ {RIGHT}")
    notebook.wait_for_text(ASK, f"● {WRONG}")
    expect(page.get_by_role("radio")).to_have_count(0)
    notebook.run(SCORE)
    notebook.wait_for_text(SCORE, "Lesson 04: you have predicted 1 of its 6 questions, 0 right at first.")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.set_theme(theme)
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        save_screenshot(f"a prediction, answered, {theme}")
    assert not complaints
