"""The control room: its buttons drive and break real processes, its missions see it, nothing of it survives."""

import re
import threading

import ipywidgets
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from orderstream.embedded.find import ServerError
from orderstream.lab import server
from orderstream.lab.lessons.lesson_09.control_room import IN_LANES, SHOWN, ControlRoom, _controls_in, few
from orderstream.lab.pictures import charts
from orderstream.lab.pictures.lanes import Mark
from orderstream.lab.workers.process import ProcessError, consumer

pytestmark = pytest.mark.any_server("processes and a panel; the sampler and the workers behind it run on each server")


@pytest.fixture
def room(lesson):
    """Quick, so that little has to be waited for."""
    opened = ControlRoom(rate_per_s=20, work_ms=2)
    yield opened
    opened.stop()


def controls(room, kind=ipywidgets.Button):
    """Label -> widget, of everything that the learner can use."""
    return {each.description: each for each in _controls_in(room._controls) if isinstance(each, kind)}


def press(room, label):
    controls(room)[label].click()


def problem(room):
    return room._problem.widget.value


def shown(room):
    """Every text in the room, as one."""

    def texts(widget):
        children = getattr(widget, "children", ())
        own = [widget.value] if isinstance(widget, ipywidgets.HTML) else []
        return own + [text for child in children for text in texts(child)]

    return "\n".join(texts(room._controls))


def mission(room, title):
    [found] = [each for each in room.missions if each.title.startswith(title)]
    return found


# Workers ---------------------------------------------------------------------------------------------------


def test_it_opens_with_a_producer_and_two_consumers_at_work(room, eventually):
    """Each has a row that says what it does, and two buttons."""
    room.until(lambda now: now.handled >= 20 and now.pending == 0)
    assert {"Stop p1", "kill -9 p1", "Stop c1", "kill -9 c1", "Stop c2", "kill -9 c2"} <= controls(room).keys()
    eventually(lambda: all(name in shown(room) for name in (">p1<", ">c1<", ">c2<", "● running")))
    eventually(lambda: re.search("handled [1-9]", shown(room)))
    assert bytes(room.chart.value).startswith(b"\x89PNG")
    assert room.picture("It runs.").sentence == "It runs."


def test_a_worker_is_stopped_and_started_again_under_its_name(room, eventually):
    """Its row stays, and what it did before is still counted."""
    press(room, "Stop c2")
    eventually(lambda: "Start c2" in controls(room))
    assert repr(room.worker("c2")) == "<consumer c2, stopped>"
    press(room, "Stop c1")
    room.until(lambda now: now.oldest_new_s >= 0.5)
    press(room, "Start c2")
    room.until(lambda now: now.throughput >= 10)
    assert room.worker("c2").alive
    press(room, "Stop p1")
    room.until(lambda now: now.throughput == 0)
    press(room, "Start p1")
    room.until(lambda now: now.throughput >= 10)


def test_numbers_drive_those_that_run_and_those_that_come(room):
    """Percent and milliseconds, as the label says."""
    room.rate.value, room.work.value, room.failure.value = 40, 10, 50
    press(room, "Add a consumer")
    press(room, "Add a producer")
    assert [room.worker(name).knobs for name in ("c1", "c3")] == [{"failure_rate": 0.5, "work_ms": 10}] * 2
    assert [room.worker(name).knobs["rate_per_s"] for name in ("p1", "p2")] == [40, 40]
    room.until(lambda now: now.retries > 5)
    assert room.until(lambda now: now.throughput >= 20).failed


def test_a_number_that_changes_while_a_worker_starts_holds_for_it_too(room, monkeypatch):
    """For a new one, and for one that is started again; it began with the value from before."""
    module = "orderstream.lab.lessons.lesson_09.control_room"

    def changed_meanwhile(*args, **settings):
        started = consumer(*args, **settings)
        room.work.value += 10
        return started

    monkeypatch.setattr(f"{module}.consumer", changed_meanwhile)
    room.add_consumer()
    assert room.worker("c3").knobs["work_ms"] == room.work.value == 12
    room.kill("c1")
    room.switch("c1")
    assert [room.worker(name).knobs["work_ms"] for name in ("c1", "c2", "c3")] == [22, 22, 22]


def test_there_is_a_most_of_each_kind(room, monkeypatch):
    """They share a small machine; the line says what to do."""
    monkeypatch.setattr("orderstream.lab.lessons.lesson_09.control_room.MOST", 2)
    press(room, "Add a consumer")
    assert "there are 2 consumers: start one again that has ended" in problem(room)
    press(room, "Add a producer")
    assert problem(room) == ""
    with pytest.raises(ProcessError, match="nobody is called c9: there are p1, p2, c1, c2"):
        room.kill("c9")


# What can be broken, and the missions that see it -----------------------------------------------------------------


def test_a_killed_consumer_s_orders_are_finished_by_another(room, eventually):
    """The row says that it was killed and what it holds, and the mission sees both steps."""
    room.rate.value, room.work.value = 50, 2_000
    room.until(lambda now: now.oldest_new_s >= 0.5 and now.throughput == 0 and now.held.get("c1"))  # in its handler
    press(room, "kill -9 c1")
    eventually(lambda: "kill -9 c1" not in controls(room))  # there is nobody to kill any more
    assert "Start c1" in controls(room)
    assert "✝ killed" in shown(room)
    assert "c1: killed." in shown(room)
    room.rate.value, room.work.value = 0, 1
    room.until(lambda now: now.pending == now.oldest_new_s == 0)
    eventually(lambda: mission(room, "Kill a consumer").done)
    eventually(lambda: "new on c1 and killed, claimed by c" in shown(room))  # the swim lanes
    assert bytes(room._lanes.value).startswith(b"\x89PNG")
    assert "Mission fulfilled: Kill a consumer" in shown(room)


def test_the_swim_lanes_show_a_claim_however_late_it_comes(room, eventually):
    """Nobody is left to claim. The picture of the death stays until somebody is."""
    room.rate.value, room.work.value = 20, 2_000
    room.until(lambda now: now.throughput == 0 and now.held.get("c1") and now.held.get("c2"))
    for name in ("c1", "c2"):
        press(room, f"kill -9 {name}")
    room.rate.value, room.work.value = 0, 1
    eventually(lambda: "new on c1 and killed" in shown(room))
    assert "claimed by" not in shown(room)
    press(room, "Add a consumer")
    eventually(lambda: re.search(r"new on c\d and killed, claimed by c3", shown(room)))


def test_lag_grows_while_handlers_are_slow_until_they_are_repaired(room, eventually):
    """The mission sees both; at the same rate, and without a further consumer."""
    room.rate.value, room.work.value = 40, 200
    eventually(lambda: "Repair it" in mission(room, "Make lag grow").task, timeout_s=30)
    room.work.value = 1
    eventually(lambda: mission(room, "Make lag grow").done, timeout_s=30)


def test_poison_kills_three_and_becomes_a_dead_letter(room, eventually):
    """The fourth consumer lives. The letter can be shown, and redriven it would kill again."""
    room.rate.value = 0
    for _ in range(2):
        room.add_consumer()
    press(room, "Send poison")
    room.until(lambda now: now.dead_lettered == 1 and now.pending == 0)
    names = ["c1", "c2", "c3", "c4"]
    assert sorted(room.worker(name).alive for name in names) == [False, False, False, True]
    eventually(lambda: mission(room, "Poison").done)
    claimed = r"(, claimed by c\d and killed){2}, claimed by c\d, dead-lettered"
    assert re.search(rf"poison: sent, new on c\d and killed{claimed}\.", room.swim_lanes().sentence)
    assert room._select.label.startswith("poison, deliveries 4: max-attempts: ")
    press(room, "Show")
    assert "poison-1" in shown(room)
    assert "deliveries  4" in shown(room)
    press(room, "Purge")
    room.until(lambda now: now.dead_lettered == 0)
    assert "You deleted 1 dead letter." in shown(room)
    eventually(lambda: not room._select.options)
    noted = [note.what for note in room.sampler.notes if note.what != "rate_per_s"]
    assert sorted(noted) == [*(f"{name} killed" for name in names if not room.worker(name).alive), "poison"]


def test_an_innocent_order_is_dead_lettered_and_redriven(room, eventually):
    """All of them at once, or the one that is chosen."""
    room.failure.value = 100
    eventually(lambda: re.search(r"Waiting for their next try, held by \(nobody\): [1-9]", shown(room)))
    room.until(lambda now: now.dead_lettered >= 3)
    room.rate.value = room.failure.value = 0
    before = room.until(lambda now: now.pending == now.retries == 0).dead_lettered
    eventually(lambda: len(room._select.options) == before)
    press(room, "Redrive")
    room.until(lambda now: now.dead_lettered == before - 1)
    press(room, "Redrive all")
    room.until(lambda now: now.dead_lettered == now.pending == 0)
    eventually(lambda: mission(room, "Get an innocent").done)
    eventually(lambda: "held by (nobody): 0." in shown(room))
    assert f"You put {before - 1} dead letters back." in shown(room)
    eventually(lambda: not room._select.options)
    press(room, "Redrive")
    assert "there is no dead letter to choose" in problem(room)


def test_lost_replies_make_orders_twice_until_redis_remembers(room, eventually):
    """The room counts both, and the mission sees that no further order comes twice."""
    room.rate.value, room.lost.value = 40, 20
    eventually(lambda: "Let Redis remember" in mission(room, "Have an order").task, timeout_s=30)
    room.remember.value = True
    eventually(lambda: mission(room, "Have an order").done, timeout_s=30)
    assert "Replies lost: " in shown(room)


def test_a_burst_waits_for_a_moment(room):
    """And then it is over."""
    room.rate.value, room.work.value = 0, 2_000
    press(room, "100 orders at once")
    room.until(lambda now: now.oldest_new_s > 0)
    room.work.value = 1
    room.until(lambda now: now.handled >= 100 and now.oldest_new_s == now.pending == 0)


def test_redis_is_paused_while_the_picture_moves(room, eventually):
    """Nothing is lost by it."""
    room.until(lambda now: now.throughput >= 10)
    press(room, "Pause Redis for 3 s")
    assert problem(room) == ""
    paused = room.until(lambda now: now.throughput == 0)
    after = room.until(lambda now: now.throughput >= 10)
    between = [sample for sample in room.sampler.samples if paused.t_s <= sample.t_s < after.t_s]
    assert sum(sample.length == paused.length for sample in between) >= 4
    assert after.dead_lettered == 0


def test_a_restart_of_redis_takes_all_orders_with_it_unless_it_keeps_a_log(room, lesson, eventually):
    """The consumers go on either way, and the log of the room says what was there before and after."""
    room.work.value = 2_000
    room.until(lambda now: now.length and now.length >= 40)
    room.rate.value = 0
    room.until(lambda now: now.throughput == 0)
    first = lesson.xrange("orders", count=1)
    press(room, "Restart Redis")
    assert lesson.xrange("orders", count=1) != first
    assert re.search(r"It is back and kept no log: \d\d entries were in the stream, now 0\.", shown(room))

    controls(room, ipywidgets.Checkbox)["Redis keeps a log (AOF)"].value = True
    room.burst(30)
    room.until(lambda now: now.pending)
    press(room, "Restart Redis")
    assert "It is back with its log: 30 entries were in the stream, now 30." in shown(room)
    room.work.value = 1
    room.until(lambda now: now.length == 30 and now.pending == now.oldest_new_s == 0)
    assert problem(room) == ""
    assert "restart" in [note.what for note in room.sampler.notes]


def test_an_empty_stream_fulfils_no_mission(room, eventually):
    """A restart takes away what the learner had to repair, so what was under way begins anew."""
    room.rate.value, room.work.value = 40, 200
    eventually(lambda: "Repair it" in mission(room, "Make lag grow").task, timeout_s=30)
    press(room, "Restart Redis")
    assert mission(room, "Make lag grow").task.startswith("Let a new order wait")
    assert not any(each.done for each in room.missions)


def test_a_redis_of_one_s_own_is_neither_paused_nor_restarted(guest, capsys):
    """Nothing of that is offered: one line says why, and how to get a Redis that may be."""
    server.start()
    room = ControlRoom(rate_per_s=20, work_ms=2)
    room.until(lambda now: now.handled >= 5)
    assert "Send poison" in controls(room)
    assert [label for label in controls(room, ipywidgets.DOMWidget) if "Redis" in label] == [
        "Redis remembers what was sent"
    ]
    why = "The lab neither pauses nor restarts it: unset REDIS_URL and REDIS_ADDR to get a private Redis."
    assert f"This Redis is your own. {why}" in shown(room)
    for forbidden in (room.pause_redis, room.restart_redis):
        with pytest.raises(ServerError, match="this server is your own"):
            forbidden()
    room.stop()


def test_swim_lanes_show_trouble_first_and_else_the_newest(room):
    """By the beginnings of their ids; and when nothing happens, they say so."""
    room.until(lambda now: now.handled >= 20)
    room.rate.value = 0
    room.until(lambda now: now.pending == now.oldest_new_s == 0)
    told = room.swim_lanes().sentence
    assert told.count("and acked") == told.count(": ") == IN_LANES
    room.rate.value, room.failure.value = 40, 100
    failed = room.until(lambda now: now.dead_lettered >= 1)
    room.failure.value = 0
    room.until(lambda now: now.handled >= failed.handled + 20)
    assert room.swim_lanes().sentence.count("and failed") >= IN_LANES
    for name in ("c1", "c2", "p1"):
        room.switch(name)
    for member in room._team:
        member._forget(float("inf"))
    press(room, "Draw the last 10 s")
    assert "Nothing was handled in the last 10 s." in shown(room)
    assert problem(room) == ""


# The form --------------------------------------------------------------------------------------------------


def test_every_control_has_a_label(room):
    """A screen reader says it."""
    named = _controls_in(room._controls)
    assert len(named) >= 20
    assert all(each.description for each in named)
    assert len({each.description for each in named}) == len(named)


def test_what_stands_for_it_is_the_same_at_any_time(room):
    """Text for a reader without a kernel, whatever has happened."""
    before = repr(room)
    press(room, "kill -9 c1")
    press(room, "Add a consumer")
    assert room._repr_mimebundle_()["text/plain"] == before == repr(room)
    assert before.startswith("Live panel: the control room. ")
    assert all(line.title.lower() in before for line in charts.chosen(SHOWN))


def test_what_redis_holds_is_shown_as_text(room, lesson, eventually):
    """Not as HTML."""
    press(room, "Stop p1")
    lesson.xadd("orders", {"data": "<script>", "<b>": "bold"})
    room.until(lambda now: now.dead_lettered == 1)
    eventually(lambda: room._select.options)
    press(room, "Show")
    assert "&lt;script&gt;" in shown(room)
    assert "<script>" not in shown(room)
    assert room._select.label.startswith("no order, ")


# How it ends -----------------------------------------------------------------------------------------------


def test_stop_all_leaves_no_process_and_no_thread(room, eventually):
    """The picture stays, and every control is off."""
    team = [member.worker for member in room._team]
    press(room, "Stop all")
    assert not any(worker.alive for worker in team)
    eventually(lambda: {"sampler", "lossy link"}.isdisjoint(thread.name for thread in threading.enumerate()))
    assert all(each.disabled for each in _controls_in(room._controls))
    assert "Stopped." in problem(room)


def test_a_second_room_closes_the_first(room):
    """Its cell was run again."""
    team = [member.worker for member in room._team]
    again = ControlRoom()
    assert not any(worker.alive for worker in team)
    assert [thread.name for thread in threading.enumerate()].count("sampler") == 1
    again.until(lambda now: now.handled > 0)
    again.stop()


OPEN = """
from orderstream import lab
lab.start("09")
room = lab.ControlRoom(rate_per_s=20)
room
"""


def test_nothing_survives_the_kernel(scratch, eventually):
    """Killed with SIGKILL, in the middle of everything."""
    book = new_notebook(cells=[new_code_cell(OPEN)])
    client = NotebookClient(book, timeout=60, kernel_name="python3")
    with client.setup_kernel():
        client.execute_cell(book.cells[0], 0)
        assert len(scratch.processes()) >= 6  # the kernel, a guard, a server and three workers
        client.km.provisioner.process.kill()
        eventually(scratch.is_clean, timeout_s=15)


def test_a_bar_moves_with_the_marks_of_its_order():
    """The picture begins with the first mark that it shows, and not when the room was opened."""
    began, acked = few([Mark(7.0, "c2", "o-1", "claimed", 2, until_s=7.5), Mark(8.0, "c2", "o-1", "acked")])
    assert (began.t_s, began.until_s, acked.t_s) == (0.0, 0.5, 1.0)
