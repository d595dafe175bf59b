"""The soak keeps every promise, and its judge would see if it did not."""

import os
from dataclasses import replace
from itertools import chain

import pytest

from tests.chaos.judge import Event, Facts, broken
from tests.chaos.soak import SECONDS, Soak

SEED, SOAK_S = int(os.environ.get("ORDERSTREAM_SOAK_SEED", 20)), float(os.environ.get("ORDERSTREAM_SOAK_S", SECONDS))


@pytest.mark.row(35)
def test_nothing_is_lost_whoever_is_killed(tmp_path):
    """More of it, with other seeds: make soak."""
    soak = Soak(SEED, SOAK_S, tmp_path / "soak")
    facts, line = soak.run()
    print(line)
    assert "\n".join(broken(facts)) == ""
    assert all(process.exit_code is not None for process in soak.everybody)
    enough = facts.added and facts.dead and facts.handled and soak.link.lost and soak.tally["killed"]
    assert enough, "a soak in which nothing happened proves nothing"


# The judge: a run in which all went well, and one thing after the other that did not


def runs(entry, *attempts):
    """The events of an entry: for each attempt who had it, and what became of it."""
    for n, (who, *what) in enumerate(attempts, 1):
        for step in ("got", *what):
            yield Event(n, who, step, entry, n)


KINDS = ("good", "poison", "malformed", "failing", "flaky", "slow")
WELL = Facts(
    added={f"{n}-0": f"{kind}-{n}" for n, kind in enumerate(KINDS, 1)},
    confirmed=["1-0", "4-0"],
    dead=["2-0", "3-0", "4-0"],
    events=[
        *runs("1-0", ("a", "began", "done")),
        *runs("2-0", ("a", "began"), ("b", "began"), ("c", "began"), ("d",)),
        *runs("3-0", ("d",)),
        *runs("4-0", *[("d", "began", "failed")] * 3),
        *runs("5-0", ("d", "began", "failed"), ("d", "began", "done")),
        *runs("6-0", ("a",), ("b", "began"), ("d", "began", "done"), ("d", "began", "done")),
    ],
    fallen={"a", "b", "c"},
)


def with_events(entry, *attempts, **more):
    others = (event for event in WELL.events if event.entry != entry)
    return replace(WELL, events=[*others, *runs(entry, *attempts)], **more)


def test_a_run_that_went_well_broke_no_promise():
    assert broken(WELL) == []
    assert (WELL.handled_twice, WELL.innocents) == (1, [])


@pytest.mark.parametrize(
    ("facts", "promise"),
    [
        (with_events("1-0"), "lost: neither handled nor dead-lettered"),
        (with_events("1-0", ("a", "began")), "lost: neither handled nor dead-lettered"),
        (replace(WELL, dead=["3-0", "4-0"]), "bad, and not dead-lettered"),
        (replace(WELL, dead=[*WELL.dead, "3-0"]), "dead-lettered twice"),
        (replace(WELL, dead=[*WELL.dead, "9-0"]), "dead-lettered, and never added"),
        (replace(WELL, confirmed=["1-0", "9-0"]), "lost: confirmed, and not in the stream"),
        (replace(WELL, added=WELL.added | {"7-0": "good-1"}, dead=[*WELL.dead, "7-0"]), "added twice"),
        (with_events("1-0", *[("a", "began", "done")] * 4), "given to a handler too often"),
        (replace(WELL, left="1 undelivered"), "not everything was settled: 1 undelivered"),
        (replace(WELL, crashed={"a"}), "ended by itself: a"),
        # Claimed in a batch with the poison, and never begun.
        (with_events("6-0", ("a",), ("b",), ("c", "began"), dead=[*WELL.dead, "6-0"]), "innocent, and dead-lettered"),
        # Nobody got it, and no claim was lost.
        (with_events("6-0", ("a",), ("b", "began"), dead=[*WELL.dead, "6-0"]), "innocent, and dead-lettered"),
        # Its consumer lives.
        (with_events("6-0", ("a",), ("b", "began"), ("d", "began"), dead=[*WELL.dead, "6-0"]), "innocent"),
        (with_events("6-0", ("d", "began", "failed"), dead=[*WELL.dead, "6-0"]), "innocent, and dead-lettered"),
    ],
)
def test_a_broken_promise_is_seen(facts, promise):
    assert promise in "\n".join(broken(facts))


def test_an_innocent_that_was_shot_each_time_is_no_broken_promise():
    facts = with_events("6-0", ("a",), ("b", "began"), ("c", "began"), dead=[*WELL.dead, "6-0"])
    assert (broken(facts), facts.innocents) == ([], ["6-0"])


@pytest.mark.parametrize(
    ("asked", "promises"),
    [([], 1), ([2.5], 1), ([2.5, 2.6], 0), ([0.5, 2.5], 1), ([2.5, 3.5], 0)],
    ids=["none", "one", "two", "one too early", "two again"],
)
def test_each_attempt_that_nobody_got_needs_a_claim_whose_reply_was_lost(asked, promises):
    """Its second and its third; an earlier one was somebody else's."""
    facts = with_events("6-0", ("a", "began"), dead=[*WELL.dead, "6-0"])
    heard = [Event(0.1, "a", "asked", "-"), Event(0.2, "a", "heard", "-")]
    claims = [Event(t, who, "asked", "-") for t, who in zip(asked, "xy", strict=False)]
    assert len(broken(replace(facts, events=[*heard, *claims, *facts.events]))) == promises


def test_the_history_of_the_first_that_suffered_is_told():
    events = [Event(0.5, "redis", "kill -9"), Event(1.5, "a", "SIGKILL"), Event(1.6, "z", "SIGKILL")]
    facts = with_events("1-0", ("a", "began"))
    (text,) = broken(replace(facts, events=list(chain(events, facts.events))))
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["1-0", "good-1"],
        ["0.500", "redis", "kill", "-9"],
        ["1.000", "a", "got", "1-0", "attempt", "1"],
        ["1.000", "a", "began", "1-0", "attempt", "1"],
        ["1.500", "a", "SIGKILL"],
    ]
