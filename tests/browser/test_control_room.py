"""Lesson 09 in JupyterLab: broken and repaired by mouse, and by keyboard alone; a restarted kernel leaves nothing."""

import re
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

LESSON = Path(__file__).parents[2] / "notebooks" / "09_control_room.ipynb"
OPEN = """\
from orderstream import lab

lab.start("09")
room = lab.ControlRoom(rate_per_s=20)
room
"""
EMPTY = """\
room.until(lambda now: now.oldest_new_s == now.pending == now.dead_lettered == 0)
print("nothing is left")
"""


class Room:
    """The control room below a code cell, as a learner uses it."""

    def __init__(self, notebook, number):
        self.notebook = notebook
        self.area = notebook.cell(number).locator(".jp-OutputArea")
        self.picture = self.area.locator("img.widget-image").first
        self.letters = self.area.get_by_role("listbox")

    def button(self, name):
        return self.area.get_by_role("button", name=name)

    def set(self, name, value):
        """Type a number into the field of this label."""
        field = self.area.get_by_label(name, exact=True)
        field.fill(str(value))
        field.press("Enter")

    def worker(self, name):
        """What the table says of a worker."""
        switch = self.area.page.get_by_role("button", name=re.compile(f"(Stop|Start) {name}$"))
        return self.area.locator(".widget-hbox", has=switch).last.locator(".widget-html")

    def mission(self, title):
        return self.area.get_by_text(title)

    def wait_until_it_moves(self):
        before = self.picture.get_attribute("src")
        expect(self.picture).not_to_have_attribute("src", before or "")


@pytest.fixture
def small(open_notebook, tmp_path):
    """A notebook with a room and nothing else, run; and a cell behind it that waits until nothing is left."""
    book = new_notebook(cells=[new_code_cell(OPEN), new_code_cell(EMPTY)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(book, tmp_path / "room.ipynb")
    notebook = open_notebook(tmp_path / "room.ipynb")
    notebook.run(0)
    room = Room(notebook, 0)
    room.wait_until_it_moves()
    notebook.wait_until_idle()
    return room


def test_the_lesson_is_broken_and_repaired_by_mouse(open_notebook, tmp_path, save_screenshot, complaints):
    """Run All, add a consumer, kill one, another takes over; dead letters are shown and redriven; nothing is left."""
    book = nbformat.read(LESSON, 4)
    [play] = [n for n, cell in enumerate(c for c in book.cells if c.cell_type == "code") if cell["id"] == "play"]
    book.cells.append(new_code_cell(EMPTY))
    nbformat.write(book, tmp_path / LESSON.name)
    notebook = open_notebook(tmp_path / LESSON.name)
    notebook.run_all()
    notebook.wait_until_all_is_run()
    assert notebook.page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.error']").count() == 0
    room = Room(notebook, play)
    room.picture.scroll_into_view_if_needed()
    room.wait_until_it_moves()

    room.set("Orders per second", 40)
    room.set("Handler time, ms", 300)
    expect(room.mission("Repair it: nothing may wait")).to_be_visible()  # orders wait: everybody has one in hand
    expect(room.worker("c1")).to_contain_text("holds 1")
    room.button("kill -9 c1").click()
    expect(room.worker("c1")).to_contain_text("✝ killed")
    expect(room.button("kill -9 c1")).to_have_count(0)
    room.button("Add a consumer").click()
    expect(room.worker("c3")).to_contain_text("● running")
    expect(room.worker("c1")).to_contain_text("holds 0")
    expect(room.mission("✓ Kill a consumer")).to_be_visible()

    room.set("Handler time, ms", 1)
    room.set("Failing runs, %", 100)
    first = room.letters.locator("option").first  # hundreds of runs fail in a second, and two cores draw them late
    expect(first).to_contain_text("RuntimeError: made to fail", timeout=20_000)
    room.set("Orders per second", 0)
    room.set("Failing runs, %", 0)
    room.button("Show").click()
    expect(room.area.locator("pre", has_text="deliveries 3")).to_be_visible()
    save_screenshot("control room")
    room.button("Redrive all").click()
    notebook.run(notebook.page.locator(".jp-CodeCell").count() - 1)
    expect(notebook.page.locator(".jp-CodeCell").last).to_contain_text("nothing is left")
    room.wait_until_it_moves()
    assert not complaints


def test_the_keyboard_alone_reaches_and_works_everything(small, complaints):
    """Tab leads to each control in the order of the page, each has a name, and Enter or a number does the rest."""
    keyboard = small.notebook.page.keyboard
    small.button("Stop p1").focus()
    names = [focused(small)]
    while names[-1] != "Redis remembers what was sent":
        keyboard.press("Tab")
        names.append(focused(small))
        assert len(names) < 40, names
        if names[-1] == "kill -9 c1":
            keyboard.press("Enter")
            expect(small.worker("c1")).to_contain_text("✝ killed")
        if names[-1] == "Add a consumer":
            keyboard.press("Enter")
            expect(small.worker("c3")).to_contain_text("● running")
        if names[-1] == "Orders per second":
            keyboard.press("Control+a")
            keyboard.type("0")
        if names[-1] == "Redis remembers what was sent":
            keyboard.press("Space")
    rows = [f"{verb} {name}" for name in ("p1", "c1", "c2") for verb in ("Stop", "kill -9")]
    team = ["Add a producer", "Add a consumer", "Stop all"]
    letters = ["Oldest first", "Show", "Redrive", "Redrive all", "Purge"]
    numbers = ["Orders per second", "Handler time, ms", "Failing runs, %", "Lost replies, %"]
    boxes = ["A producer sends again what was not confirmed", "Redis remembers what was sent"]
    assert names == [*rows, *team, *letters, *numbers, *boxes]
    small.notebook.run(1)
    small.notebook.wait_for_text(1, "nothing is left")
    assert small.area.get_by_label(boxes[1]).is_checked()
    assert not complaints


def test_redis_is_killed_by_mouse_and_comes_back_with_its_log(small, save_screenshot, complaints):
    """The line in the log tells how many entries were there, before and after."""
    small.set("Handler time, ms", 500)
    small.button("100 orders at once").click()
    small.area.get_by_label("Redis keeps a log (AOF)").check()
    small.set("Orders per second", 0)
    small.button("Restart Redis").click()
    said = small.area.get_by_text("You killed Redis. It is back with its log")
    expect(said).to_be_visible()
    before, after = map(int, re.findall(r"\d+", said.inner_text().partition("log:")[2]))
    assert after >= before >= 100
    small.set("Handler time, ms", 1)
    small.wait_until_it_moves()
    save_screenshot("control room, restarted")
    small.notebook.run(1)
    small.notebook.wait_for_text(1, "nothing is left")
    assert not complaints


def test_stop_all_and_a_restarted_kernel_leave_no_process(small, jupyterlab, complaints):
    """The first by a button; the second although nobody was asked to stop. The new kernel opens a room of its own."""
    assert len(workers(jupyterlab)) == 3
    small.button("Stop all").click()
    small.area.get_by_role("alert").get_by_text("Stopped.").wait_for()
    assert workers(jupyterlab) == []

    small.notebook.run(0)
    small.notebook.wait_until(lambda: len(workers(jupyterlab)) == 3)
    small.notebook.wait_until_idle()
    page = small.notebook.page
    page.evaluate("() => { jupyterapp.commands.execute('kernelmenu:restart') }")  # not to wait for its dialog's end
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    small.notebook.wait_until(lambda: not workers(jupyterlab))
    small.notebook.wait_until(lambda: not list(jupyterlab.scratch.glob("orderstream-*")))
    small.notebook.wait_until_idle()
    small.notebook.run(0)
    small.notebook.wait_until(lambda: len(workers(jupyterlab)) == 3)
    small.notebook.wait_until_idle()
    assert not complaints


def test_the_room_can_be_read_in_a_dark_theme(small, save_screenshot, complaints):
    """Text takes the colour of the theme, and the pictures bring a white of their own."""
    small.notebook.set_theme("JupyterLab Dark")
    small.wait_until_it_moves()
    save_screenshot("control room, dark")
    colour = small.worker("c1").evaluate("element => getComputedStyle(element).color")
    assert min(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]) > 150, colour
    assert not complaints


def focused(room):
    """The name of the control that has the focus, as a screen reader says it."""
    return room.notebook.page.evaluate(
        "() => (document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()"
    )


def workers(jupyterlab):
    """The worker processes of all kernels of this JupyterLab."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("TMPDIR") == str(jupyterlab.scratch)
            if ours and "orderstream.lab.workers.worker" in process.cmdline():
                found.append(process)
        except psutil.Error:  # it has just ended, or is not ours to look at
            continue
    return found
