"""The panel: its picture moves with the stream, sliders and buttons drive real processes, nothing of it survives."""

import io
import math
import threading
import time

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from orderstream.lab.pictures import live
from orderstream.lab.pictures.live import LiveChart, Panel, readout
from orderstream.lab.pictures.sampler import Note, Sample, Sampler
from orderstream.lab.workers.process import consumer, producer

pytestmark = pytest.mark.any_server("widgets; the sampler and the workers behind them run on each server")


@pytest.fixture
def panel(lesson):
    """One producer, two consumers and their panel."""
    timers = {"claim_idle_ms": 400, "backoff_ms": 20}
    shown = Panel(producer(rate_per_s=20), [consumer(name, work_ms=1, **timers) for name in ("c1", "c2")])
    yield shown
    shown.stop()


def said(panel):
    """The lines under the buttons."""
    return [widget.value for widget in panel._box.children[-2:] if widget.value]


def buttons(panel):
    """Every button, as the learner sees them."""
    kills, *others = panel._box.children[2].children
    return [*kills.children, *others]


def labels(panel):
    return [button.description for button in buttons(panel)]


def button(panel, label):
    """The button of this label."""
    [found] = [button for button in buttons(panel) if button.description == label]
    return found


# The picture -----------------------------------------------------------------------------------------------


def samples(count, step=0.2):
    return [Sample(n * step, 10.0 + n % 3, n % 4, 1.0, 100, None, 0, n, 0) for n in range(count)]


def test_the_picture_changes_with_each_sample_and_is_the_same_for_the_same():
    """It is drawn from what was pushed and from nothing else."""
    pictures = []
    for _ in range(2):
        chart = LiveChart()
        pictures.append([chart.value])
        for sample in samples(8):
            chart.push(sample)
            pictures[-1].append(chart.value)
    assert len(set(pictures[0])) == 9
    assert pictures[0] == pictures[1]


def test_the_number_in_a_panel_is_written_as_people_write_it():
    """A backlog of 62,500 orders is not 6.25e+04."""
    assert [readout(value) for value in (0, 7.5, 999, 62_500, math.nan)] == ["0", "7.5", "999", "62,500", "?"]


def test_a_frame_draws_the_lines_and_not_the_axes():
    """Under a tenth of a core at five frames a second; drawing it all takes ten times as long."""
    chart = LiveChart()
    for sample in samples(200):
        chart.push(sample)
    notes = [Note(30.0 + n, f"c{n} killed") for n in range(0, 12, 2)]
    for known in ([], notes):
        began = time.process_time()
        for sample in samples(250)[200:]:
            chart.push(sample, known)
        assert (time.process_time() - began) / 50 < 0.04


def test_what_was_done_is_a_line_that_moves_with_the_picture():
    """And it leaves the picture with its time."""
    chart, plain = LiveChart(seconds=4), LiveChart(seconds=4)
    kill = Note(1.0, "c1 killed")
    for taken in samples(40):
        chart.push(taken, [kill])
        plain.push(taken)
        seen = taken.t_s - 4 <= kill.t_s <= taken.t_s
        assert (chart.value != plain.value) == seen, taken.t_s


def test_a_reader_without_a_kernel_sees_the_last_picture(lesson):
    """On GitHub, say."""
    chart = LiveChart()
    bundle = chart._repr_mimebundle_()
    assert bundle["text/plain"] == "LiveChart(throughput, pending, retries)"
    assert "image/png" in bundle


def test_the_picture_moves_while_the_stream_does(panel, eventually):
    """And while the main thread is busy."""
    seen = set()

    def several():
        seen.add(panel.chart.value)
        return len(seen) >= 5

    eventually(several)
    panel.until(lambda now: now.throughput >= 10)
    assert Image.open(io.BytesIO(panel.chart.value)).size == (1080, 260)
    assert panel.picture().png != panel.chart.value


def test_a_panel_shows_the_columns_it_was_asked_for(lesson):
    """The text that stands for it names them, and so does its still picture."""
    shown = Panel(producer(rate_per_s=20), [consumer("c1")], show=("pending", "length", "memory"))
    assert repr(shown).startswith("Live panel: pending, length and memory; sliders for orders per second, ")
    shown.until(lambda now: now.handled >= 1)
    assert shown.picture("The log grows.").png != shown.chart.value
    assert repr(shown.chart) == "LiveChart(pending, length, memory)"
    shown.stop()


# Sliders and buttons ---------------------------------------------------------------------------------------


def test_sliders_begin_where_the_processes_are(panel):
    """Percent and milliseconds, as the label says."""
    assert [panel.rate.value, panel.failure.value, panel.work.value] == [20, 0, 1]
    assert [slider.description for slider in (panel.rate, panel.failure, panel.work)] == [
        "Orders per second",
        "Failing runs, %",
        "Handler time, ms",
    ]


def test_the_rate_slider_drives_the_producer(panel):
    """More orders come, and more are handled."""
    panel.rate.value = 100
    panel.until(lambda now: now.throughput >= 60)
    assert panel.producer.knobs["rate_per_s"] == 100


def test_a_rate_that_needs_a_long_slider_goes_from_value_to_value(lesson):
    """From 20 to 50,000 orders per second a slider in even steps would have room for neither."""
    sender = producer(rate_per_s=20)
    panel = Panel(sender, [consumer("c1", work_ms=1)], rates=(0, 20, 200, 50_000))
    try:
        assert (panel.rate.value, panel.rate.label, panel.rate.tooltip) == (20, "20", "Orders per second")
        panel.rate.index = 3
        assert (sender.knobs["rate_per_s"], panel.rate.label) == (50_000, "50,000")
    finally:
        panel.stop()


def test_a_lesson_adds_a_slider_and_a_button_of_its_own(panel):
    """They act at once, say what went wrong, and end with the others."""
    got = []
    slider = panel.add_slider("Replies lost, %", 0, 50, got.append)
    pressed = panel.add_button("Trim", lambda: got.append("trim"))
    broken = panel.add_button("Break", lambda: 1 / 0)
    slider.value = 25
    pressed.click()
    assert got == [25, "trim"]
    marked = [note.value or note.what for note in panel.sampler.notes]
    assert marked == ["replies lost 25", "Trim"], "the picture marks them"
    broken.click()
    assert "ZeroDivisionError" in said(panel)[0]
    assert "handler time and replies lost; buttons to kill, add and stop, Trim, Break." in repr(panel)
    panel.stop()
    assert slider.disabled
    assert pressed.disabled


def test_the_failure_slider_makes_retries(panel):
    """Until it is set back; then the picture calms down."""
    panel.failure.value = 100
    panel.until(lambda now: now.retries >= 10)
    panel.failure.value = 0
    panel.until(lambda now: now.retries == 0)
    assert [worker.knobs["failure_rate"] for worker in panel.consumers] == [0, 0]


def test_a_slow_handler_is_a_limit(panel):
    """Two consumers at 100 ms do 20 orders a second, whatever comes."""
    panel.work.value = 100
    panel.rate.value = 200
    panel.until(lambda now: now.pending and now.length > 200 and 0 < now.throughput <= 25)  # a knob needs a moment


def test_a_killed_consumer_s_orders_are_handled_by_the_other(panel):
    """Its button goes with it."""
    kill = button(panel, "kill -9 c1")
    panel.rate.value = 0
    panel.work.value = 200
    panel.rate.value = 40
    panel.until(lambda now: now.pending >= 2)
    kill.click()
    assert repr(panel.consumers[0]) == "<consumer c1, killed>"
    assert labels(panel) == ["kill -9 c2", "Add a consumer", "Stop all"]
    panel.rate.value = 0
    panel.work.value = 1
    panel.until(lambda now: now.pending == 0 and now.lag in (0, None))
    assert panel.consumers[1].alive


def test_only_the_living_have_a_kill_button(panel, eventually):
    """A red button invites to press it. A cell may kill a consumer, too, and the picture marks when it died."""
    panel.consumers[0].kill()
    eventually(lambda: labels(panel) == ["kill -9 c2", "Add a consumer", "Stop all"])
    eventually(lambda: [note.what for note in panel.sampler.notes] == ["c1 killed"])
    assert panel._kill_buttons.layout.flex_flow == "row wrap", "many buttons keep their whole labels"


def test_a_slider_that_is_drawn_while_a_consumer_starts_holds_for_it_too(panel, monkeypatch):
    """It started with the value from before."""

    def drawn_meanwhile(*args, **knobs):
        started = consumer(*args, **knobs)
        panel.work.value = 50
        return started

    monkeypatch.setattr(live, "start_consumer", drawn_meanwhile)
    new = panel.add_consumer()
    assert [each.knobs["work_ms"] for each in panel.consumers] == [50, 50, 50]
    assert new.alive


def test_the_picture_marks_what_a_slider_was_set_to(panel):
    """While it is drawn it says many values, and the last one is kept; a cell can go on for the picture's sake."""
    for value in (50, 100, 150):
        panel.work.value = value
    panel.failure.value = 20
    assert [(note.what, note.value) for note in panel.sampler.notes] == [
        ("work_ms", "150 ms"), ("failure_rate", "20 % fail"),
    ]
    began = panel.sampler.latest.t_s
    panel.until(lambda now: True, then_s=0.5)
    assert panel.sampler.latest.t_s >= began + 0.5


def test_what_its_consumers_handled_while_it_was_made_counts(lesson):
    """Otherwise the orders in the stream and those handled never add up."""
    worker, sender = consumer("c1", work_ms=1), producer(rate_per_s=50)
    with Sampler("orders", [worker]) as before:
        before.until(lambda now: now.handled >= 10)
    shown = Panel(sender, [worker])
    shown.rate.value = 0
    shown.until(lambda now: now.pending == 0 and now.handled == now.length)
    shown.stop()


def test_another_consumer_is_set_like_the_others_and_counted(panel, eventually):
    """Its orders, its knobs and its settings."""
    for worker in panel.consumers:
        worker.kill()
    panel.work.value = 5
    button(panel, "Add a consumer").click()
    new = panel.consumers[-1]
    assert repr(new) == "<consumer c3, running>"
    assert (new.knobs, new.settings["claim_idle_ms"]) == ({"failure_rate": 0, "work_ms": 5}, 400)
    before = panel.sampler.latest.handled
    panel.until(lambda now: now.handled >= before + 10)
    panel.work.value = 10
    assert new.knobs["work_ms"] == 10
    button(panel, "kill -9 c3").click()
    assert not new.alive


# What goes wrong is one line in the panel ------------------------------------------------------------------


def test_a_gap_is_explained_while_it_lasts(panel, lesson, eventually):
    """By the error itself."""
    panel.rate.value = 0
    lesson.set("orders", "not a stream")
    eventually(lambda: any("The picture has a gap: WRONGTYPE" in line for line in said(panel)))
    lesson.delete("orders")
    eventually(lambda: not said(panel))


def test_a_button_that_cannot_do_its_work_says_so(panel, lesson, capsys):
    """In the panel, as text and not as HTML, and aloud for a screen reader; nowhere else."""
    panel.consumers[0].settings["stream"] = "<other>"
    lesson.set("<other>", "not a stream")
    button(panel, "Add a consumer").click()
    [line] = [line for line in said(panel) if "did not start" in line]
    assert line.startswith('<span role="alert">ProcessError: consumer c3 did not start')
    assert "\n" not in line
    assert capsys.readouterr() == ("", "")


# How it ends -----------------------------------------------------------------------------------------------


def test_stop_ends_processes_and_thread_and_leaves_the_picture(panel, scratch):
    """The line says how to go on."""
    button(panel, "Stop all").click()
    assert not any(process.alive for process in (panel.producer, *panel.consumers))
    assert "sampler" not in {thread.name for thread in threading.enumerate()}
    assert panel.rate.disabled
    assert bytes(panel.chart.value).startswith(b"\x89PNG")
    assert ["Stopped" in line for line in said(panel)] == [True]


def test_a_cell_that_is_run_again_leaves_no_second_picture_drawing(panel):
    """The processes go on: the new panel shows them."""
    again = Panel(panel.producer, panel.consumers)
    assert [thread.name for thread in threading.enumerate()].count("sampler") == 1
    again.until(lambda now: now.handled > 0)
    again.sampler.stop()


LESSON = """
from orderstream import lab
lab.start("00")
lab.fresh("orders", "orders-dlq")
team = [lab.processes.consumer(name) for name in ("c1", "c2")]
panel = lab.live.Panel(lab.processes.producer(rate_per_s=50), team)
panel
"""
WAIT = """
panel.until(lambda now: now.handled >= 20)
panel.rate.value = 0
panel.until(lambda now: now.pending == 0 and now.throughput == 0)
panel.picture()
"""


def test_in_a_notebook_without_a_browser_it_says_the_same_each_time(scratch, eventually):
    """What nbval sees: text and pictures, no word from a thread; afterwards nothing is left."""
    book = new_notebook(cells=[new_code_cell(LESSON), new_code_cell(WAIT), new_code_cell("panel")])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    shown, waited, again = [cell.outputs for cell in book.cells]
    [line] = [output.data["text/plain"] for output in shown if "data" in output]
    assert line.startswith("Live panel: throughput, pending and retries; sliders for orders per second")
    assert [output.data["text/plain"] for output in again] == [line]
    picture, sentence = waited
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.metadata["image/png"]["alt"] == sentence.text.strip()
    assert sentence.text == "Orders were handled, no handler run failed, and at the end nothing was left pending.\n"
    assert nbformat.validate(book) is None
    eventually(scratch.is_clean)
