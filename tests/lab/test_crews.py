"""The pictures of lesson 11: who is in which place, and the panel whose consumer handles many orders at once."""

import asyncio
import io
import threading
import time

import pytest
from PIL import Image

from orderstream import Order, Producer, connect
from orderstream.lab.lessons.lesson_11 import crew_chart
from orderstream.lab.lessons.lesson_11.crews import Diary, Panel, picture
from orderstream.lab.lessons.lesson_11.diary import Run
from orderstream.lab.workers.process import consumer, producer

pytestmark = pytest.mark.any_server("processes, threads and a panel; test_crew runs on each server")


@pytest.fixture
def send(lesson):
    """``send("tea", "figs")`` adds o-1 and o-2."""
    stream = connect()
    stream.create_group()
    yield lambda *items: Producer(stream).send_many([Order(f"o-{n}", item, 1) for n, item in enumerate(items, 1)])
    stream.close()


def places(diary):
    return {run.order: run.place for run in diary.runs}


def has(png, colour):
    """Tell whether there is a bar of *colour*. The picture has few colours, so each is a little off."""
    found = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20)
    near = [count for count, each in found if max(abs(a - b) for a, b in zip(each, colour, strict=True)) <= 6]
    return sum(near) > 1_000


# The diary ----------------------------------------------------------------------------------------------------


def test_an_order_takes_the_first_free_place():
    diary = Diary()
    with diary.run(Order("o-1", "tea", 1)):
        with diary.run(Order("o-2", "tea", 1)):
            pass
        with diary.run(Order("o-3", "tea", 1)), diary.run(Order("o-4", "tea", 1)):
            pass
    assert places(diary) == {"o-1": 0, "o-2": 1, "o-3": 1, "o-4": 2}
    assert (diary.most_at_once, repr(diary)) == (3, "Diary(4 runs, 3 at once)")
    assert {run.end for run in diary.runs} == {"handled"}
    assert 0 < diary.took_s < 5


def test_a_run_that_raises_has_failed():
    diary = Diary()
    with pytest.raises(RuntimeError), diary.run(Order("o-1", "tea", 1)):
        raise RuntimeError
    assert [(run.end, run.ended_s >= run.began_s) for run in diary.runs] == [("failed", True)]


def test_a_diary_of_nothing_is_empty():
    diary = Diary()
    assert (diary.runs, diary.most_at_once, diary.took_s) == ([], 0, 0.0)
    assert picture(diary, "Nothing.").png


def test_it_can_be_kept_by_many_threads():
    diary, all_here = Diary(), threading.Barrier(20, timeout=10)

    def handle(n):
        with diary.run(Order(f"o-{n}", "tea", 1)):
            all_here.wait()

    threads = [threading.Thread(target=handle, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(places(diary).values()) == list(range(20))


def test_only_the_newest_runs_are_kept():
    diary = Diary()
    for n in range(2_010):
        with diary.run(Order(f"o-{n}", "tea", 1)):
            pass
    assert [len(diary.runs), diary.runs[-1].order, diary.most_at_once] == [2_000, "o-2009", 1]


@pytest.mark.parametrize("coroutines", [False, True])
def test_a_worker_handles_many_at_once(send, coroutines, eventually):
    """In threads, or as coroutines."""
    c1 = consumer("c1", concurrency=10, coroutines=coroutines, work_ms=200)
    diary = Diary(c1)
    send(*["tea"] * 30)
    eventually(lambda: [run.end for run in diary.runs] == ["handled"] * 30)
    assert diary.most_at_once == 10


def test_orders_of_a_slow_item_take_ten_times_as_long(send, eventually):
    c1 = consumer("c1", slow="figs", work_ms=30)
    diary = Diary(c1)
    send("tea", "figs")
    eventually(lambda: [run.end for run in diary.runs] == ["handled"] * 2)
    tea, figs = diary.runs
    assert figs.ended_s - figs.began_s >= 0.3 > 0.03 <= tea.ended_s - tea.began_s


def test_what_was_in_hand_when_a_process_was_killed_ends_then(send, eventually):
    c1 = consumer("c1", concurrency=5, work_ms=60_000)
    diary = Diary(c1)
    send(*["tea"] * 7)
    eventually(lambda: len(diary.runs) == 5)
    assert {run.end for run in diary.runs} == {None}
    before = time.time()
    c1.kill()
    assert {run.end for run in diary.runs} == {"killed"}
    assert min(run.ended_s for run in diary.runs) >= before - 0.1


def test_after_a_death_the_next_process_begins_with_the_first_place(send, eventually):
    """Also if the diary is read only at the end."""
    c1 = consumer("c1", concurrency=3, work_ms=50, poison="figs")
    diary = Diary(c1)
    send("tea", "tea", "figs")
    assert c1.wait() < 0
    c2 = consumer("c2", concurrency=3, work_ms=50, claim_idle_ms=300, backoff_ms=10)
    diary.watch(c2)
    eventually(lambda: connect().backlog().done, timeout_s=20)
    assert sorted(run.place for run in diary.runs if run.end == "killed")[-1] <= 2
    assert diary.most_at_once <= 3
    assert {run.order for run in diary.runs if run.end == "handled"} >= {"o-3"}


def test_a_worker_tells_what_it_takes_of_the_machine(lesson):
    c1 = consumer("c1")
    assert 5 < c1.memory_mb() < 500
    assert 0 < c1.processor_s() < 60


# The picture --------------------------------------------------------------------------------------------------


ENDS = {"handled": (0x8F, 0xB8, 0xD6), "killed": (0xC9, 0xC9, 0xC9), None: (0xE4, 0xEE, 0xF5)}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_has_a_look_of_its_own(end):
    drawn = crew_chart.draw([Run("o-1", 0, 0.0, end and 1.0, end)], 1.0)
    assert [end for end, colour in ENDS.items() if has(drawn, colour)] == [end]


def test_an_order_can_be_marked():
    runs = [Run("o-1", 0, 0.0, 1.0, "handled"), Run("o-2", 1, 0.0, 1.0, "handled")]
    orange = (0xE6, 0x9F, 0x00)
    assert has(crew_chart.draw(runs, 1.0, marked="o-2"), orange)
    assert not has(crew_chart.draw(runs, 1.0), orange)


def test_a_moving_picture_forgets_what_ended_long_ago():
    runs = [Run("o-1", 0, 0.0, 1.0, "handled"), Run("o-2", 0, 8.0, 9.0, "failed")]
    assert not has(crew_chart.draw(runs, 10.0, seconds=5), ENDS["handled"])


# The panel ----------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(lesson):
    shown = Panel(producer(rate_per_s=50), at_once=1, work_ms=100, slow="figs")
    yield shown
    shown.stop()


def test_with_more_at_once_the_backlog_goes(panel):
    panel.until(lambda now: now.backlog >= 20)
    assert panel.diary.most_at_once == 1
    panel.at_once.value = 50
    panel.until(lambda now: now.backlog <= 20)
    assert panel.diary.most_at_once > 1
    assert [note.value or note.what for note in panel.sampler.notes][:2] == ["50 at once", "c2 added"]


def test_whoever_is_replaced_finishes_what_it_has_in_hand(panel, lesson):
    panel.at_once.value = 20
    panel.until(lambda now: len(now.held))
    panel.at_once.value = 2
    assert [each.exit_code for each in panel.consumers] == [0, 0, None]
    assert "killed" not in {run.end for run in panel.diary.runs}


def test_the_lanes_move(panel, eventually):
    before = panel.crew.value
    eventually(lambda: panel.crew.value != before)
    assert has(panel.crew.value, ENDS["handled"]) or has(panel.crew.value, ENDS[None])


def test_a_consumer_that_is_added_handles_as_many_at_once(panel):
    panel.at_once.value = 10
    panel.consumers[-1].kill()
    panel.add_consumer()
    panel.rate.value = 200
    panel.until(lambda now: panel.diary.most_at_once >= 10)


def test_it_says_what_it_is(panel):
    assert "at once; buttons to kill, add and stop" in repr(panel)


def test_an_event_loop_is_not_blocked_by_a_diary():
    """``with`` is no ``await``: others run meanwhile."""
    diary = Diary()

    async def handle(n):
        with diary.run(Order(f"o-{n}", "tea", 1)):
            await asyncio.sleep(0.05)

    async def main():
        await asyncio.gather(*map(handle, range(5)))

    asyncio.run(main())
    assert diary.most_at_once == 5
