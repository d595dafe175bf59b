"""The panel of lesson 10: what a dead consumer holds stays with it until somebody claims."""

import pytest
import redis

from orderstream.lab.lessons.group_panel import GROUP
from orderstream.lab.lessons.lesson_10.eras import HELD, Panel
from orderstream.lab.workers.process import producer

pytestmark = pytest.mark.any_server("threads and a panel; claims are tested on each server")

STREAM = "busy"


def take_new(r, key, me, idle_ms):
    reply = r.xreadgroup(GROUP, me, {key: ">"}, count=1)
    return reply[0][1][0] if reply else None


def claim(r, key, me, idle_ms):
    claimed = r.xautoclaim(key, GROUP, me, idle_ms, count=1)[1]
    return claimed[0] if claimed else take_new(r, key, me, idle_ms)


def refused(r, key, me, idle_ms):
    raise redis.ResponseError("syntax <error>")


@pytest.fixture
def panel(lesson):
    """A quiet producer and two fast consumers that only read what is new."""
    eras = {"new": take_new, "claim": claim, "refused": refused}
    shown = Panel(producer(rate_per_s=0, stream=STREAM), eras, ann=0, bob=0)
    yield shown
    shown.stop()


def test_orders_of_the_dead_wait_until_the_others_claim(panel, lesson):
    """The choice of the learner decides it, and it counts at once."""
    panel.crash("ann")
    lesson.xadd(STREAM, {"item": "tea"})
    assert panel.until(lambda now: now.handled == 1).held == {"ann": HELD, "bob": 0}
    panel.era.value = "claim"
    last = panel.until(lambda now: now.handled == 1 + HELD)
    assert (last.new, last.held) == (0, {"ann": 0, "bob": 0})


def test_the_order_in_its_hands_is_one_of_the_twenty(panel, lesson):
    """Whenever it is hit, and however often."""
    for member in panel.readers.values():
        member.work_ms = 60_000
    lesson.xadd(STREAM, {"item": "tea"})
    lesson.xadd(STREAM, {"item": "rice"})
    panel.until(lambda now: now.held == {"ann": 1, "bob": 1})
    panel.crash("ann")
    panel.crash("ann")
    assert panel.until(lambda now: True).held == {"ann": HELD, "bob": 1}


@pytest.mark.parametrize(("take", "round_trips"), [(take_new, 2), (claim, 3)])
def test_round_trips_are_counted_for_each_order(lesson, take, round_trips):
    """A read and an ack, or a claim in front of them; polling for nothing does not count."""
    panel = Panel(producer(rate_per_s=0, stream=STREAM), {"only": take}, ann=0, bob=0)
    lesson.xadd(STREAM, {"item": "tea"})
    lesson.xadd(STREAM, {"item": "rice"})
    assert panel.until(lambda now: now.handled == 2).spent == 2 * round_trips
    panel.stop()
    assert f"{round_trips}.0" in panel._cost.value


def test_what_redis_refuses_is_said(panel):
    """On an older server, the newest way of taking orders does not work."""
    panel.era.value = "refused"
    panel.until(lambda now: "Refused" in panel._cost.value)
    assert panel._cost.value == "Refused: syntax &lt;error&gt;"


def test_a_consumer_crashes_at_its_button(panel):
    """Once: the dead do not die again."""
    button = panel._button(panel.readers["ann"])
    button.click()
    assert panel.until(lambda now: now.held["ann"] == HELD)
    assert button.layout.display == "none", "there is nobody left to crash"
    assert not panel.readers["ann"].is_alive()


def test_it_says_what_it_is_without_a_browser(panel):
    """On every version of Redis the same."""
    assert repr(panel).startswith("Live panel: new orders, and how many ann and bob hold; a choice of how")
