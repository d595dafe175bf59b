"""The ledger of lesson 03: each order that was sent is in one place, and one that was cut away is named."""

import pytest

from orderstream import Settings, connect
from orderstream.lab import server
from orderstream.lab.lessons.lesson_03.ledger import Cut, Ledger, Panel
from orderstream.lab.workers.process import consumer, producer

pytestmark = pytest.mark.any_server("widgets; XTRIM under pending entries is tested on each server")

STREAM = "busy"


@pytest.fixture
def panel(lesson):
    """A quiet producer and two consumers that take over from the dead soon."""
    timers = {"claim_idle_ms": 400, "backoff_ms": 20}
    team = [consumer(name, stream=STREAM, work_ms=1, **timers) for name in ("c1", "c2")]
    shown = Panel(producer(rate_per_s=0, stream=STREAM), team)
    yield shown
    shown.stop()


def send(panel, count):
    """Let the producer send about so many orders, and then no more."""
    panel.rate.value = 100
    panel.until(lambda now: panel.ledger.sent >= count)
    panel.rate.value = 0
    panel.until(lambda now: now.length == panel.ledger.sent)


def kill_all(panel):
    for worker in panel.consumers:
        worker.kill()


def test_what_is_handled_is_not_lost_however_much_is_cut(panel):
    """Handled orders may go."""
    send(panel, 30)
    panel.until(lambda now: panel.ledger.waiting == 0)
    panel.trim(0)
    panel.until(lambda now: now.length == 0)
    assert panel.ledger == Ledger(panel.ledger.sent, panel.ledger.sent)


def test_new_orders_that_are_cut_are_lost_and_named(panel, lesson):
    """The button says 100; here it is 3."""
    kill_all(panel)
    send(panel, 20)
    sent = panel.ledger.sent
    gone = [fields["data"] for _, fields in lesson.xrange(STREAM)][: sent - 3]
    panel.trim(3)
    panel.until(lambda now: len(panel.ledger.lost) == sent - 3)
    assert all(cut.order in data for cut, data in zip(panel.ledger.lost, gone, strict=True))
    assert {cut.consumer for cut in panel.ledger.lost} == {None}
    assert panel.ledger.waiting == 3
    assert f"{panel.ledger.lost[-1].order} (was new)" in panel._table.value


def test_an_order_in_the_hands_of_a_living_consumer_is_not_lost(panel):
    """It has read what it needs. What nobody was given is lost at once."""
    panel.work.value = 200
    send(panel, 1)
    panel.until(lambda now: now.pending)
    panel.trim(0)
    panel.until(lambda now: now.pending == 0 == panel.ledger.waiting)
    assert {cut.consumer for cut in panel.ledger.lost} <= {None}


def test_what_the_dead_held_is_lost_when_somebody_claims_it_in_vain(panel):
    """Before that it waits: nobody knows yet that it is gone."""
    for worker in panel.consumers:
        worker.set(work_ms=60_000)
    send(panel, 1)
    panel.until(lambda now: now.pending == 2)
    kill_all(panel)
    panel.trim(0)
    panel.until(lambda now: panel.ledger.lost and panel.ledger.waiting == 2)
    assert {cut.consumer for cut in panel.ledger.lost} == {None}
    panel.add_consumer()
    panel.until(lambda now: panel.ledger.waiting == 0)
    assert {cut.consumer for cut in panel.ledger.lost} == {"c1", "c2", None}


def test_a_dead_letter_is_put_aside_and_not_lost(panel):
    panel.failure.value = 100
    send(panel, 5)
    panel.until(lambda now: panel.ledger.put_aside == panel.ledger.sent)
    assert (panel.ledger.waiting, panel.ledger.lost) == (0, ())


def test_the_safe_trim_takes_nothing_that_is_needed(panel):
    """The other button of the lesson."""
    stream = connect(Settings.from_env({"REDIS_URL": server.current().url, "ORDERSTREAM_STREAM": STREAM}))
    kill_all(panel)
    send(panel, 10)
    stream.trim()
    panel.until(lambda now: True)
    assert (panel.ledger.lost, panel.ledger.waiting) == ((), panel.ledger.sent)
    stream.close()


def test_the_ledger_names_the_last_and_counts_the_others():
    lost = tuple(Cut(f"o-{n}", "c1" if n == 9 else None) for n in range(10))
    said = Ledger(1_000, 500, 3, lost).html()
    assert "1,000" in said
    assert ">487<" in said
    assert "o-9 (was given to c1), o-8 (was new)" in said
    assert "o-3" not in said
    assert "and 4 more" in said
    assert "No order is lost." in Ledger(5, 5).html()


def test_the_panel_says_what_it_shows(panel):
    """For those who cannot see it, and for nbval."""
    assert repr(panel).startswith("Live panel: pending, length and memory; a ledger of orders sent, ")
    [button] = [each for each in panel._buttons.children if getattr(each, "description", "") == "Trim to 100"]
    send(panel, 120)
    panel.until(lambda now: panel.ledger.waiting == 0)
    button.click()
    panel.until(lambda now: now.length == 100)
