"""What a child process writes down of its batch, and what its supervisor makes of that."""

import math
import os
import time

import pytest

from orderstream.cli.ledger import BATCH, Ledger, ToldHand
from orderstream.entries import Entry

pytestmark = pytest.mark.any_server("what is written down of entries is the same on each server")


@pytest.fixture
def supervisor():
    """The supervisor's view."""
    ledger = Ledger.new(4)
    yield ledger
    ledger.close()


@pytest.fixture
def entries(taken):
    """Four of them, in hand of the consumer "a"."""
    return taken(4)


@pytest.fixture
def hand(supervisor, patient):
    """The child's view: another mapping of the same file."""
    file = os.dup(supervisor.file)
    hand = ToldHand(Ledger(file, 4), patient, "a", lambda: None, lambda entry: None)
    yield hand
    hand.take([])
    os.close(file)


@pytest.fixture
def page(supervisor, entries):
    """``page() == ("12", "3", "4")``: finished, running, not begun."""
    numbers = {entry.id: str(n) for n, entry in enumerate(entries, 1)}

    def look():
        page = supervisor.read()
        told = page.finished, [page.running] if page.running else [], page.unbegun
        return tuple("".join(numbers[entry.id] for entry in part) for part in told)

    return look


def begin(hand, entry):
    began = time.monotonic()
    assert hand.begin(entry, began)
    return began


def handle(hand, entry):
    begin(hand, entry)
    hand.done.append(entry)


def test_each_entry_is_not_begun_then_runs_then_is_finished(hand, entries, page):
    hand.take(entries)
    assert page() == ("", "", "1234")
    handle(hand, entries[0])
    assert page() == ("", "1", "234")
    handle(hand, entries[1])
    begin(hand, entries[2])
    assert page() == ("12", "3", "4")


def test_it_is_told_when_the_handler_began(hand, entries, supervisor):
    hand.take(entries)
    assert supervisor.read().began == math.inf
    began = begin(hand, entries[0])
    assert supervisor.read().began == began
    hand.rest()
    assert supervisor.read().began == math.inf


def test_one_that_succeeded_is_finished_while_no_handler_runs(hand, entries, page):
    hand.take(entries)
    handle(hand, entries[0])
    hand.rest()
    assert page() == ("1", "", "234")


def test_one_that_failed_is_never_finished(hand, entries, page):
    """Whoever acked it would lose it. It fails first, and then the consumer drops it and settles it."""
    hand.take(entries)
    handle(hand, entries[0])
    begin(hand, entries[1])
    hand.rest()
    assert page() == ("1", "", "34")
    hand.drop([entries[1]])
    handle(hand, entries[2])
    begin(hand, entries[3])
    assert page() == ("13", "4", "")


def test_one_that_may_not_begin_is_never_finished(hand, entries, page):
    """It was given back, or others have claimed it."""
    hand.take(entries)
    handle(hand, entries[0])
    hand.drop([entries[1]])
    assert not hand.begin(entries[1], time.monotonic())
    begin(hand, entries[2])
    assert page() == ("1", "3", "4")


def test_a_new_batch_is_another_one(hand, entries, supervisor, page):
    hand.take(entries)
    handle(hand, entries[0])
    before = supervisor.read().batch
    hand.take(entries[2:])
    assert page() == ("", "", "34")
    assert supervisor.read().batch != before


def test_what_is_being_written_is_not_read(hand, entries, supervisor):
    """As when the child is killed in this moment."""
    assert supervisor.read() is None
    hand.take(entries)
    supervisor.words[BATCH] += 1
    assert supervisor.read() is None


def test_the_longest_ids_fit(supervisor):
    longest = Entry("18446744073709551615-18446744073709551615", (), 2**31)
    supervisor.write([longest] * 4)
    assert supervisor.read().unbegun == [longest] * 4


def test_one_that_was_given_back_is_left_alone(hand, entries, page):
    """By then the next child of that name may have it, at the same attempt."""
    hand.take(entries)
    handle(hand, entries[0])
    hand.drop(entries[2:3])
    hand.release(entries[2:3])
    assert page() == ("", "1", "24")


def test_one_that_may_not_begin_never_runs(hand, entries, page):
    hand.take(entries)
    handle(hand, entries[0])
    hand.drop(entries[1:2])
    assert not hand.begin(entries[1], time.monotonic())
    assert page() == ("1", "", "34")


def test_it_is_told_that_a_handler_has_begun_also_in_a_batch_before(hand, entries, supervisor):
    hand.take([])
    hand.take(entries)
    assert not supervisor.worked
    handle(hand, entries[0])
    assert supervisor.worked
    hand.rest()
    hand.take([])
    assert supervisor.worked


def test_what_a_handler_has_written_over_is_not_read(hand, entries, supervisor):
    hand.take(entries)
    os.pwrite(supervisor.file, b"\xff" * 200, 128 + 4)
    assert supervisor.read() is None


def test_nobody_can_make_the_file_shorter(supervisor):
    """Whoever reads memory that is gone is ended by SIGBUS."""
    with pytest.raises(PermissionError):
        os.ftruncate(supervisor.file, 0)
