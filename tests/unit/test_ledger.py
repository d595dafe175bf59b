"""What a child process writes down of its batch, and what its supervisor makes of that."""

import math
import os

import pytest

from orderstream.cli.ledger import BATCH, Ledger, ToldHand
from orderstream.config import Settings
from orderstream.entries import Entry

ENTRIES = [Entry(f"{n}-0", (), 1) for n in range(1, 5)]


class Stream:
    """As much of a stream as a hand needs that is not asked to send anything."""

    settings = Settings()

    def heartbeat(self, consumer, entries):
        return {entry.id for entry in entries}


@pytest.fixture
def supervisor():
    """The supervisor's view."""
    ledger = Ledger.new(4)
    yield ledger
    ledger.close()


@pytest.fixture
def hand(supervisor):
    """The child's view: another mapping of the same file."""
    file = os.dup(supervisor.file)
    hand = ToldHand(Ledger(file, 4), Stream(), "till-1", lambda: None, lambda entry: None)
    yield hand
    hand.take([])
    os.close(file)


def ids(entries):
    return "".join(entry.id[0] for entry in entries)


@pytest.fixture
def page(supervisor):
    """``page() == ("12", "3", "4")``: finished, running, not begun."""

    def look():
        page = supervisor.read()
        return ids(page.finished), page.running.id[0] if page.running else "", ids(page.unbegun)

    return look


def handle(hand, entry, now=1.0):
    assert hand.begin(entry, now)
    hand.done.append(entry)


def test_each_entry_is_not_begun_then_runs_then_is_finished(hand, page):
    hand.take(ENTRIES)
    assert page() == ("", "", "1234")
    handle(hand, ENTRIES[0])
    assert page() == ("", "1", "234")
    handle(hand, ENTRIES[1])
    hand.begin(ENTRIES[2], 7.0)
    assert page() == ("12", "3", "4")


def test_it_is_told_when_the_handler_began(hand, supervisor):
    hand.take(ENTRIES)
    assert supervisor.read().began == math.inf
    hand.begin(ENTRIES[0], 7.25)
    assert supervisor.read().began == 7.25
    hand.rest()
    assert supervisor.read().began == math.inf


def test_one_that_succeeded_is_finished_while_no_handler_runs(hand, page):
    hand.take(ENTRIES)
    handle(hand, ENTRIES[0])
    hand.rest()
    assert page() == ("1", "", "234")


def test_one_that_failed_is_never_finished(hand, page):
    """Whoever acked it would lose it. It fails first, and then the consumer drops it and settles it."""
    hand.take(ENTRIES)
    handle(hand, ENTRIES[0])
    hand.begin(ENTRIES[1], 1.0)
    hand.rest()
    assert page() == ("1", "", "34")
    hand.drop([ENTRIES[1]])
    handle(hand, ENTRIES[2])
    hand.begin(ENTRIES[3], 1.0)
    assert page() == ("13", "4", "")


def test_one_that_may_not_begin_is_never_finished(hand, page):
    """It was given back, or others have claimed it."""
    hand.take(ENTRIES)
    handle(hand, ENTRIES[0])
    hand.drop([ENTRIES[1]])
    assert not hand.begin(ENTRIES[1], 1.0)
    hand.begin(ENTRIES[2], 1.0)
    assert page() == ("1", "3", "4")


def test_a_new_batch_is_another_one(hand, supervisor, page):
    hand.take(ENTRIES)
    handle(hand, ENTRIES[0])
    before = supervisor.read().batch
    hand.take([Entry("9-0", (), 2)])
    assert page() == ("", "", "9")
    assert supervisor.read().batch != before
    assert [entry.attempt for entry in supervisor.read().unbegun] == [2]


def test_what_is_being_written_is_not_read(hand, supervisor):
    """As when the child is killed in this moment."""
    assert supervisor.read() is None
    hand.take(ENTRIES)
    supervisor.words[BATCH] += 1
    assert supervisor.read() is None


def test_the_longest_ids_fit(supervisor):
    longest = Entry("18446744073709551615-18446744073709551615", (), 2**31)
    supervisor.write([longest] * 4)
    assert supervisor.read().unbegun == [longest] * 4
