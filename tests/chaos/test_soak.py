"""The soak keeps every promise, and its judge would see if it did not."""

import os
from dataclasses import replace
from itertools import chain

import pytest

from tests.chaos.judge import FAULTS, Event, Facts, broken
from tests.chaos.progress import Stall, longest_after, stalls
from tests.chaos.soak import CREWS, QUICK, Soak, row

SEED = int(os.environ.get("ORDERSTREAM_SOAK_SEED", 20))
SOAK_S = float(os.environ.get("ORDERSTREAM_SOAK_S", QUICK.seconds))


same = pytest.mark.any_server("a crew asks of Redis what one handler at a time does; make soak CREW=threads has more")


@pytest.mark.row(35)
@pytest.mark.parametrize("crew", ["", *[pytest.param(crew, marks=same) for crew in CREWS]])
def test_nothing_is_lost_whoever_is_killed(tmp_path, tell, crew):
    """
    And orders flow again in time, after each fault. More of it, with other seeds: make soak.

    With the timers of production, it takes minutes: python -m tests.chaos.soak --production
    """
    soak = Soak(SEED, tmp_path / "soak", seconds=SOAK_S, crew=crew)
    facts = soak.run()
    tell(row(soak, facts))
    assert "\n".join(broken(facts)) == ""
    assert all(process.exit_code is not None for process in soak.everybody)
    enough = facts.added and facts.dead and facts.handled and {fault for _, fault in facts.faults} >= FAULTS
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
    reasons={
        "2-0": "max-attempts: 3 deliveries, none settled",
        "3-0": "DecodeError: no JSON",
        "4-0": "RuntimeError: made to fail",
        "6-0": "max-attempts: 3 deliveries, none settled",
    },
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


def happened(*events):
    """What happened to somebody, after all else."""
    return replace(WELL, events=[*WELL.events, *events])


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
        (replace(WELL, added=WELL.added | {"7-0": "hang-7"}, dead=[*WELL.dead, "7-0"]), "for a wrong reason"),
        (with_events("1-0", *[("a", "began", "done")] * 4), "given to a handler too often"),
        (replace(WELL, left="1 undelivered"), "not everything was settled: 1 undelivered"),
        (replace(WELL, still_there=["a"]), "still there at the end: a"),
        (
            replace(WELL, reasons=WELL.reasons | {"3-0": "RuntimeError: made to fail"}),
            "dead-lettered for a wrong reason",
        ),
        (replace(WELL, reasons=WELL.reasons | {"4-0": "max-attempts: 3"}), "dead-lettered for a wrong reason"),
        (happened(Event(9, "w1.7", "heard", "-"), Event(10, "w1.7", "ended")), "ended by itself: w1.7"),
        (happened(Event(9, "w1.7", "ended"), Event(9.1, "w1.7", "SIGKILL")), "ended by itself: w1.7"),
        (happened(Event(9, "f1.7", "heard", "-"), Event(10, "f1", "ended")), "ended by itself: f1"),
        (happened(Event(1, "e", "began", "1-0", 1), Event(20, "e", "ended")), "held a process for too long"),
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


def test_an_innocent_may_be_shot_before_its_handler_begins():
    facts = with_events("6-0", ("a",), ("b",), ("c", "began"), dead=[*WELL.dead, "6-0"])
    assert broken(replace(facts, events=[*facts.events, Event(2.5, "b", "SIGKILL")])) == []


def test_an_innocent_that_was_shot_each_time_is_no_broken_promise():
    facts = with_events("6-0", ("a",), ("b", "began"), ("c", "began"), dead=[*WELL.dead, "6-0"])
    assert (broken(facts), facts.innocents) == ([], ["6-0"])


@pytest.mark.parametrize(
    "ends",
    [
        [Event(9, "d", "SIGKILL"), Event(9.1, "d", "ended")],
        [Event(9, "c", "ended")],  # the poison
        [Event(8, "f1", "SIGTERM"), Event(9, "f1.7", "ended")],
        [Event(9, "f1", "ended")],
    ],
    ids=["shot", "poisoned", "told by its supervisor", "no Redis at its start"],
)
def test_a_process_that_was_ended_did_not_end_by_itself(ends):
    assert broken(happened(*ends)) == []


def test_one_of_many_handlers_may_have_ended_its_process():
    """Others went on meanwhile, and were done."""
    events = [Event(1, "w1.7", "began", "7-0", 1), *runs("8-0", ("w1.7", "began", "done")), Event(9, "w1.7", "ended")]
    facts = replace(WELL, added=WELL.added | {"7-0": "hang-7", "8-0": "good-8"}, events=[*WELL.events, *events])
    assert "ended by itself" not in "\n".join(broken(facts))
    facts = replace(facts, events=[*facts.events[:-1], Event(8, "w1.7", "done", "7-0", 1), events[-1]])
    assert "ended by itself: w1.7" in "\n".join(broken(facts))


def test_a_supervisor_that_replaces_nobody_is_seen():
    works = [Event(t, who, "heard", "-") for t, who in [(1.0, "f1.7"), (1.0, "f1.8"), (30.0, "f1.8"), (31.0, "f1.9")]]
    facts = happened(*works, Event(10, "f1.7", "SIGKILL"), Event(10.1, "f1.7", "ended"), Event(32, "f1", "SIGTERM"))
    assert broken(facts) == []
    assert broken(replace(facts, events=[e for e in facts.events if e.who != "f1.9"])) == [
        "not replaced: a process of f1"
    ]


@pytest.mark.parametrize("disturbed", [Event(3.5, "redis", "kill -9"), Event(2.5, "d", "SIGKILL")])
def test_nobody_settled_an_order_whose_last_attempt_was_disturbed(disturbed):
    facts = happened(disturbed)
    assert broken(replace(facts, reasons=facts.reasons | {"4-0": "max-attempts: 3 deliveries, none settled"})) == []


def test_an_order_that_holds_the_interpreter_is_kept_by_a_supervisor_and_by_nobody_else():
    events = [*WELL.events, *runs("7-0", *[("f1.7", "began", "done")] * 3)]
    added, dead = WELL.added | {"7-0": "gil-7"}, [*WELL.dead, "7-0"]
    facts = replace(WELL, added=added, dead=dead, reasons=WELL.reasons | {"7-0": "max-attempts: 3"}, events=events)
    assert "was kept by its supervisor, and dead-lettered" in "\n".join(broken(facts))
    events = [replace(event, who="w1.7") if event.who == "f1.7" else event for event in events]
    assert broken(replace(facts, events=events)) == []


# Time without progress


def test_nothing_stalls_while_no_order_waits():
    waits = [(1.0, 1.5), (8.0, 9.0)]
    assert stalls(waits, done=[1.5, 9.0]) == [Stall(8.0, 9.0)]


def test_a_stall_begins_when_the_last_order_was_done_if_another_one_waited():
    waits = [(1.0, 1.5), (1.2, 9.0)]
    assert stalls(waits, done=[1.5, 9.0]) == [Stall(1.5, 9.0)]


def test_a_stall_counts_from_each_fault_on_that_it_outlasts():
    found = [Stall(1.0, 2.0), Stall(4.0, 9.0)]
    faults = [(3.0, "kill"), (6.0, "crash"), (10.0, "kill")]
    assert longest_after(faults, found) == {"kill": 5.0, "crash": 3.0}


def test_a_stall_that_is_too_long_is_a_broken_promise():
    switch = [Event(3.2, "redis", "failover"), Event(3.5, "redis", "is the promoted one")]
    facts = replace(happened(*switch), sent=[[1.0, 2.5, 10.0]])
    assert broken(facts) == ["nothing was sent for 6.5 s after failover, longer than claim_idle_ms and 5 s"]
    assert broken(replace(facts, claim_idle_s=2.0)) == []


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
