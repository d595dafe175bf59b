"""The panel of lesson 01: every reader reads everything, at its own pace, and nobody notices another."""

import pytest

from orderstream.lab import server
from orderstream.lab.lessons.lesson_01.readers import Moment, Panel, draw
from orderstream.lab.workers.process import producer

pytestmark = pytest.mark.any_server("threads and a panel; XREAD is tested on each server")

STREAM = "busy"


@pytest.fixture
def panel(lesson):
    """A quiet producer, ten entries, a quick reader and a slower one."""
    for n in range(1, 11):
        lesson.xadd(STREAM, {"item": "tea"}, id=f"{n}-0")
    shown = Panel(producer(rate_per_s=0, stream=STREAM), ann=0, bob=20)
    yield shown
    shown.stop()


def all_read(now):
    return all(read == now.length for read in now.read.values())


def test_each_reader_reads_every_entry_and_takes_none_away(panel, lesson):
    """Fan-out: ten entries, twice ten reads, ten entries."""
    last = panel.until(all_read)
    assert (last.length, last.read) == (10, {"ann": 10, "bob": 10})
    assert [reader.last_id for reader in panel.readers.values()] == ["10-0", "10-0"]


def test_a_reader_that_goes_back_reads_all_again_and_the_other_does_not_notice(panel):
    """Only its own line bends."""
    panel.until(all_read)
    panel.readers["bob"].work_ms = 60  # ten entries take two looks of the panel
    panel.readers["bob"].back_to_start()
    bent = panel.until(lambda now: now.read["bob"] < 10)
    assert (bent.length, bent.read["ann"]) == (10, 10)
    panel.until(all_read)


def test_the_picture_shows_where_a_reader_was_sent_back_to(panel):
    """However quick it is: between two looks it would have read some entries again, and turn above 0."""
    panel.until(all_read)
    panel.readers["bob"].work_ms = 5
    before = len(panel.moments)
    panel.send_back("bob")
    panel.until(all_read)
    assert min(moment.read["bob"] for moment in list(panel.moments)[before:]) == 0


def test_until_does_not_believe_what_it_saw_before_the_call(panel):
    """A moment taken before Bob went back says that he has read everything."""
    panel.until(all_read)
    panel.readers["bob"].work_ms = 60_000
    panel.readers["bob"].back_to_start()
    with pytest.raises(TimeoutError, match="the panel last saw"):
        panel.until(all_read, timeout_s=0)


def test_going_back_in_the_middle_of_an_entry_counts_it_once(panel, eventually):
    """The entry in hand belongs to the way before."""
    bob = panel.readers["bob"]
    for _ in range(5):
        bob.back_to_start()
        eventually(lambda: bob.read >= 2)
    panel.until(all_read)
    assert (bob.last_id, bob.read) == ("10-0", 10)


def test_the_sliders_drive_the_producer_and_the_readers(panel):
    """As the learner would turn them."""
    panel.rate.value = 50
    panel.until(lambda now: now.length > 10)
    work, back = panel._box.children[3].children
    assert (work.description, back.description) == ("bob: ms per order", "bob: back to 0")
    work.value = 200
    assert panel.readers["bob"].work_ms == 200
    back.click()
    assert panel.readers["bob"].read <= 1


def test_a_producer_that_is_gone_is_said_below_the_sliders(panel):
    """A slider has nobody else to tell."""
    panel.producer.kill()
    panel.rate.value = 50
    assert "start it again" in panel._problem.value


def test_an_outage_is_said_and_ends_nothing(panel, eventually):
    """Neither a reader nor the picture."""
    panel.until(all_read)
    server.current().client.shutdown(nosave=True)
    eventually(lambda: "does not answer" in panel._outage.value)
    assert all(reader.is_alive() for reader in panel.readers.values())


def test_running_its_cell_again_stops_the_panel_before(panel):
    """Its readers too: the picture would tell of two Bobs."""
    again = Panel(producer(rate_per_s=0, stream=STREAM), ann=0, bob=0)
    assert not any(reader.is_alive() for reader in panel.readers.values())
    again.until(all_read)
    again.stop()


def test_the_picture_is_drawn_from_what_was_seen_and_nothing_else():
    """The same moments, the same bytes; one more entry, another picture."""
    seen = [Moment(n / 2, 10 * n, {"ann": 10 * n, "bob": 5 * n}) for n in range(8)]
    assert draw(seen) == draw(seen)
    assert draw(seen) != draw([*seen, Moment(4.0, 71, {"ann": 70, "bob": 40})])
    assert draw(seen, 30) != draw(seen)


def test_the_picture_says_what_it_is_where_it_does_not_move(panel):
    """On GitHub there is only its text."""
    text = panel._repr_mimebundle_()["text/plain"]
    assert text.startswith("Live panel: the length of the log, and how far ann and bob have read")
    assert repr(panel.picture("Bob meets Ann.")) == "Bob meets Ann."
