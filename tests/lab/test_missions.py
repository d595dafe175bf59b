"""The missions: each goes on when the stream shows what it waits for, and for nothing else."""

from dataclasses import replace

import pytest

from orderstream.lab.lessons.lesson_09.missions import Look, missions
from orderstream.lab.pictures.sampler import Sample

pytestmark = pytest.mark.any_server("what missions make of looks that the tests make up")

CALM = Look(
    sample=Sample(0.0, 10.0, 0, 0.0, 100, 0, 0, 0, 0, oldest_new_s=0.0),
    running=frozenset({"c1", "c2"}),
    killed=frozenset(),
    rate_per_s=10.0,
    dead=(),
    lost=0,
    twice=0,
    rescued=0,
)
UNKNOWN = replace(CALM, sample=Sample(0.0, 0.0, None, 0.0, None, None, None, 0, 0))


def look(before=CALM, **changes):
    """A look like *before*; changes of the sample go there."""
    ours = {name: value for name, value in changes.items() if hasattr(before, name)}
    sample = replace(before.sample, **{name: value for name, value in changes.items() if name not in ours})
    return replace(before, sample=sample, **ours)


SLOW = look(oldest_new_s=3.2, pending=2)
LEFT = look(killed=frozenset({"c1"}), running=frozenset({"c2"}), held={"c1": 1}, pending=1)
TAKEN = look(LEFT, held={"c2": 1})
POISONED = look(dead=("poison",), dead_lettered=1, running=frozenset())
INNOCENT = look(dead=("poison", "tea"), dead_lettered=2)
TWICE = look(lost=7, twice=2)

STORIES = {
    "Make lag grow": [SLOW, look(running=frozenset({"c1", "c2", "c3"}))],
    "Kill a consumer": [LEFT, TAKEN],
    "Poison the stream": [POISONED, look(POISONED, running=frozenset({"c4"}))],
    "Get an innocent order": [INNOCENT, look(dead=("poison",), dead_lettered=1, rescued=1)],
    "Have an order handled twice": [TWICE, look(TWICE, lost=12)],
}

DETOURS = {
    "Make lag grow": [
        look(oldest_new_s=9.0, throughput=0.0),  # nobody is at work
        UNKNOWN,
        SLOW,
        look(rate_per_s=5.0),  # less to do
        look(running=frozenset({"c1", "c2", "c3", "c4"})),  # two clicks
        UNKNOWN,
        look(oldest_new_s=1.0),
    ],
    "Kill a consumer": [
        look(killed=frozenset({"c1"})),  # it held nothing
        look(held={"c1": 1}),  # it lives
        CALM,
        LEFT,
        look(LEFT, pending=None, held={}),  # Redis did not answer
        look(TAKEN, running=frozenset()),
    ],
    "Poison the stream": [
        look(dead=("tea",), dead_lettered=1),
        POISONED,
        look(POISONED, running=frozenset({"c4"}), pending=1),
        UNKNOWN,
    ],
    "Get an innocent order": [
        POISONED,
        INNOCENT,
        UNKNOWN,
        CALM,  # purged, and not brought back
        look(rescued=1, retries=1.0),
        look(rescued=1, dead=("tea",), dead_lettered=1),
        look(rescued=1, dead=("poison",) * 100, dead_lettered=101),  # the last one is not poison
        look(rescued=1, pending=1),
        look(rescued=1, running=frozenset()),
        look(rescued=1, oldest_new_s=0.4),  # put back, and not handled yet
    ],
    "Have an order handled twice": [
        look(twice=1),  # a kill does that as well
        look(lost=3),
        TWICE,
        look(TWICE, lost=11),
        look(TWICE, lost=11, twice=3),  # begin to count anew
        look(TWICE, lost=15, twice=3),
        look(TWICE, lost=16, twice=3, running=frozenset()),  # who handles nothing handles nothing twice
        look(TWICE, lost=17, twice=3, oldest_new_s=2.0),
    ],
}


def mission(title):
    [found] = [each for each in missions() if each.title.startswith(title)]
    return found


@pytest.mark.parametrize("title", STORIES)
def test_a_mission_is_done_step_by_step(title):
    """What to do changes with the first step, and at the end it says what there was to learn."""
    ours, tasks = mission(title), set()
    for now in (CALM, *STORIES[title]):
        assert not ours.done
        tasks.add(ours.task)
        ours.watch(now)
    assert ours.done
    assert len(tasks) == 2
    assert ours.task not in tasks
    assert repr(ours).startswith("✓ ")


@pytest.mark.parametrize("title", DETOURS)
def test_what_only_looks_like_it_does_not_count(title):
    """Each of these looks lacks something."""
    ours = mission(title)
    for now in DETOURS[title]:
        ours.watch(now)
    assert not ours.done
    assert repr(ours).startswith("○ ")


def test_a_mission_that_is_done_stays_done():
    """Whatever comes after it."""
    ours = mission("Poison")
    for now in (*STORIES["Poison the stream"], CALM, POISONED):
        ours.watch(now)
    assert ours.done


def test_every_mission_has_a_story_here():
    """And none of them is fulfilled by a stream that is well."""
    told = missions()
    assert len(told) == len(STORIES) == len(DETOURS)
    for each in told:
        each.watch(CALM)
        each.watch(UNKNOWN)
    assert not [each for each in told if each.done]
