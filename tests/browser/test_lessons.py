"""Every lesson opens in JupyterLab as it was committed; the screenshot at its end is the whole lesson."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
TALLEST = 16_000  # pixels that Chromium puts into one picture


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_opens(path, open_notebook, page, complaints):
    """As it was committed, and no output needs a scrollbar: neither on a small laptop nor on a wider screen."""
    notebook = open_notebook(path)
    expect(page.locator(".jp-NotebookPanel h1").first).to_be_visible()
    tall = page.locator(".jp-WindowedPanel-inner").first.evaluate("element => element.scrollHeight")
    for width in (1400, 1280):
        page.set_viewport_size({"width": width, "height": min(tall + 200, TALLEST)})
        assert notebook.scrollbars() == []
    expect(notebook.cell(0).locator(".jp-OutputArea")).to_contain_text(" answers.")
    text = page.locator(".jp-OutputArea-output pre").first
    assert text.evaluate("element => getComputedStyle(element).wordBreak") == "normal"  # no line breaks within a word
    assert not complaints
