"""The panel of lesson 02: each order goes to one consumer, and COUNT decides how many it holds."""

import pytest

from orderstream.lab import server
from orderstream.lab.lessons.lesson_02.sharing import Moment, Panel, draw
from orderstream.lab.workers.process import producer

pytestmark = pytest.mark.any_server("threads and a panel; COUNT is tested on each server")

STREAM = "busy"


@pytest.fixture
def panel(lesson):
    """A quiet producer and two consumers, slow enough to be seen."""
    shown = Panel(producer(rate_per_s=0, stream=STREAM), ann=20, bob=20)
    yield shown
    shown.stop()


def all_done(now):
    return now.new == 0 and not any(now.held.values())


def hurry(panel):
    for member in panel.readers.values():
        member.work_ms = 0


def test_each_order_is_handled_by_one_of_them(panel, lesson):
    """Sharing: 100 orders, 100 handled, and both had their part."""
    panel.rush()
    last = panel.until(all_done)
    assert sum(last.handled.values()) == 100
    assert min(last.handled.values()) >= 20
    assert lesson.xpending(STREAM, "order_group")["pending"] == 0


def test_with_count_1_nobody_holds_more_than_one(panel):
    """The others wait in the stream, for whoever is free."""
    panel.rush()
    panel.until(lambda now: set(now.held.values()) == {1} and now.new > 1)
    hurry(panel)
    panel.until(all_done)
    assert max(most for moment in panel.moments for most in moment.held.values()) == 1


def test_with_count_100_one_holds_them_all_and_the_other_none(panel):
    """It hoards: nothing waits, and nobody can help."""
    panel.count.value = 100
    assert [note.what for note in panel.notes] == ["COUNT 100"], "the picture marks it"
    panel.rush()
    hoard = panel.until(lambda now: any(now.held.values()))
    assert (hoard.new, min(hoard.held.values())) == (0, 0)
    hurry(panel)
    assert sorted(panel.until(all_done).handled.values()) == [0, 100]


def test_what_waits_is_held_and_is_done_adds_up_at_any_moment(panel):
    """Also while orders come in and are acked."""
    panel.rate.value = 100
    hurry(panel)
    for work_ms in (0, 5, 50, 0):
        panel.readers["bob"].work_ms = work_ms
        panel.rush(50)
        now = panel.until(lambda now: True)
        assert now.new >= 0
    panel.rate.value = 0
    last = panel.until(all_done)
    assert sum(last.handled.values()) == server.current().client.xlen(STREAM)


def test_one_that_vanishes_keeps_its_orders(panel):
    """As a dead process would: they are pending in its name, and the other never gets them."""
    panel.count.value = 100
    for member in panel.readers.values():
        member.work_ms = 1_000  # a machine that stood still for a moment finds most of them unhandled
    panel.rush(20)
    hoard = panel.until(lambda now: any(now.held.values()))
    [name] = [name for name, held in hoard.held.items() if held]
    button = panel._box.children[3 + list(panel.readers).index(name)].children[1]
    assert button.description == f"{name} vanishes"
    button.click()
    panel.readers[name].join(timeout=5)
    left = panel.until(lambda now: True)
    assert left.held[name] == 20 - left.handled[name] > 0
    assert button.layout.display == "none", "there is nobody left to vanish"
    panel.rush(5)
    after = panel.until(lambda now: now.new == 0 and sum(now.held.values()) == left.held[name])
    assert after.held == left.held


def test_what_nobody_has_in_hand_gets_a_line_when_there_is_some(panel, lesson):
    """The panel goes on, although its first moments know nothing of it."""
    entry_id = lesson.xadd(STREAM, {"item": "tea"})
    panel.until(lambda now: all_done(now) and sum(now.handled.values()) == 1)
    lesson.xclaim(STREAM, "order_group", "(nobody)", 0, [entry_id], force=True, justid=True)
    panel.until(lambda now: now.held == {"ann": 0, "bob": 0, "(nobody)": 1})
    lesson.xack(STREAM, "order_group", entry_id)
    panel.until(all_done)
    assert panel.picture("It waits.").png


def test_the_sliders_drive_the_producer_and_the_consumers(panel):
    """As the learner would turn them."""
    count, rush = panel._box.children[2].children
    assert (count.description, rush.description) == ("COUNT", "100 orders at once")
    count.value = 50
    assert [member.count for member in panel.readers.values()] == [50, 50]
    work = panel._box.children[4].children[0]
    assert work.description == "bob: ms per order"
    work.value = 0
    assert panel.readers["bob"].work_ms == 0
    rush.click()
    panel.rate.value = 50
    panel.until(lambda now: sum(now.handled.values()) > 100)


def test_an_outage_is_said_and_ends_nothing(panel, eventually):
    """Neither a consumer nor the picture."""
    panel.until(all_done)
    server.current().client.shutdown(nosave=True)
    eventually(lambda: "does not answer" in panel._outage.value)
    assert all(member.is_alive() for member in panel.readers.values())
    panel._box.children[2].children[1].click()
    assert "ConnectionError" in panel._problem.value


def test_running_its_cell_again_begins_anew(panel):
    """The consumers of before are gone; what they left pending is handled again."""
    panel.count.value = 100
    panel.rush(20)
    panel.until(lambda now: any(now.held.values()))
    again = Panel(producer(rate_per_s=0, stream=STREAM), ann=0, bob=0)
    assert not any(member.is_alive() for member in panel.readers.values())
    assert sum(again.until(all_done).handled.values()) == 20
    again.stop()


def test_the_picture_is_drawn_from_what_was_seen_and_nothing_else():
    """The same moments, the same bytes; one more order in hand, another picture."""
    seen = [Moment(n / 2, 40 - 5 * n, {"ann": 10 * n, "bob": 1}, {"ann": 0, "bob": n}) for n in range(8)]
    assert draw(seen) == draw(seen)
    assert draw(seen) != draw([*seen[:-1], Moment(3.5, 5, {"ann": 10, "bob": 1}, {"ann": 0, "bob": 7})])
    assert draw(seen, 30) != draw(seen)


def test_the_picture_shows_who_handled_what_where_both_hold_the_same():
    """With COUNT 1 each holds one order all the time. Only what they have handled tells that they share."""
    shared = [Moment(n / 2, 9 - n, {"ann": 1, "bob": 1}, {"ann": n, "bob": n}) for n in range(8)]
    alone = [Moment(n / 2, 9 - n, {"ann": 1, "bob": 1}, {"ann": 2 * n, "bob": 0}) for n in range(8)]
    assert draw(shared) != draw(alone)


def test_the_picture_says_what_it_is_where_it_does_not_move(panel):
    """On GitHub there is only its text."""
    text = panel._repr_mimebundle_()["text/plain"]
    assert text.startswith("Live panel: new orders, and how many ann and bob hold")
    assert repr(panel.picture("Ann holds all.")) == "Ann holds all."
