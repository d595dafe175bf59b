"""The panel in JupyterLab: drawn, moving, driven by keyboard and mouse, in a light and in a dark theme."""

import nbformat
import numpy
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

PANEL = """\
from orderstream import lab

lab.start("00")
lab.fresh("orders", "orders-dlq")
timers = {"claim_idle_ms": 1_000, "backoff_ms": 100}
consumers = [lab.processes.consumer(name, **timers) for name in ("c1", "c2")]
panel = lab.live.Panel(lab.processes.producer(rate_per_s=20), consumers)
panel
"""
STILL = 'panel.until(lambda now: now.handled >= 20)\npanel.picture("Orders were handled.")'
FASTER = 'panel.until(lambda now: now.throughput >= 35)\nprint("faster:", panel.producer.knobs)'
RESCUED = """\
panel.rate.value = 0
panel.until(lambda now: now.pending == 0)
print(consumers)
"""


@pytest.fixture
def notebook(open_notebook, tmp_path):
    """A small notebook with a panel and what one does with it; run up to the still picture."""
    book = new_notebook(cells=[new_code_cell(source) for source in (PANEL, STILL, FASTER, RESCUED)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(book, tmp_path / "panel.ipynb")
    notebook = open_notebook(tmp_path / "panel.ipynb")
    for number in (0, 1):
        notebook.run(number)
    notebook.wait_until_the_picture_moves()
    notebook.wait_until_idle()
    return notebook


def test_a_slider_turned_by_keyboard_changes_what_the_producer_does(notebook, complaints):
    """Each press of the arrow is five orders a second."""
    slider = notebook.cell(0).get_by_role("slider").first
    slider.focus()
    for _ in range(5):
        notebook.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "45.0"
    notebook.run(2)
    notebook.wait_for_text(2, "faster: {'rate_per_s': 45")
    assert not complaints


def test_a_consumer_is_killed_with_its_button_and_the_other_finishes(notebook, complaints):
    """By keyboard as well: Tab leads there, Enter presses."""
    kill = notebook.cell(0).get_by_role("button", name="kill -9 c1")
    kill.focus()
    notebook.page.keyboard.press("Enter")
    expect(kill).to_have_count(0)  # a red button invites to press it
    notebook.run(3)
    notebook.wait_for_text(3, "[<consumer c1, killed>, <consumer c2, running>]")
    assert not complaints


def test_stop_all_stops_and_says_so(notebook, complaints):
    """In words that a screen reader speaks."""
    notebook.cell(0).get_by_role("button", name="Stop all").click()
    alert = notebook.cell(0).get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("Stopped.")
    assert not complaints


def test_it_follows_the_theme(notebook, save_screenshot, complaints):
    """Dark on dark in a dark theme, white in a light one, and its colours keep their hue."""
    notebook.set_theme("JupyterLab Dark")
    notebook.wait_until_the_picture_moves()
    save_screenshot("panel, dark")
    assert max(notebook.photograph().getpixel((4, 4))) <= 40
    assert bluish(notebook.photograph()) > 100
    notebook.set_theme("JupyterLab Light")
    assert min(notebook.photograph().getpixel((4, 4))) >= 250
    assert bluish(notebook.photograph()) > 100
    assert notebook.picture.get_attribute("title") == "Throughput, pending and retries of the last 30 seconds"
    assert not complaints


def test_many_kill_buttons_can_still_be_told_apart(notebook, save_screenshot, complaints):
    """They go on in the next row, and none is so narrow that it reads "kill -…"."""
    add = notebook.cell(0).get_by_role("button", name="Add a consumer")
    for number in range(3, 13):
        add.click()
        expect(notebook.cell(0).get_by_role("button", name=f"kill -9 c{number}")).to_be_visible()
    save_screenshot("panel, many consumers")
    kills = notebook.cell(0).get_by_role("button", name="kill -9 c")
    cut = "buttons => buttons.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText)"
    assert kills.count() == 12
    assert kills.evaluate_all(cut) == []
    assert not complaints


def test_it_needs_no_scrollbar(notebook, complaints):
    """Neither on a small laptop nor on a wider screen."""
    for width in (1280, 1400):
        notebook.page.set_viewport_size({"width": width, "height": 900})
        notebook.wait_until_the_picture_moves()
        assert notebook.scrollbars() == []
    assert not complaints


def bluish(picture):
    """Count the pixels in which blue leads clearly: the line of throughput."""
    red, green, blue = (numpy.asarray(picture)[:, :, channel].astype(int) for channel in range(3))
    return ((blue > red + 60) & (blue > green + 20)).sum()
