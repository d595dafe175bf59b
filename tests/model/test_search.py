"""The checker itself: the same choices give the same run, and merging what is alike loses nothing."""

import random
import threading

import pytest
import redis

from orderstream.lab.model.check import check, open_world
from orderstream.lab.model.gate import Input, Process
from orderstream.lab.model.play import Play
from orderstream.lab.model.scope import Scope
from orderstream.lab.model.scopes import QUICK, SCOPES
from orderstream.lab.model.search import Search, ways
from orderstream.lab.model.stage import LOST
from orderstream.lab.model.story import follow, story

DEATH = Scope(deaths=1, lost=1, times=1)


@pytest.fixture
def world():
    with open_world() as world:
        yield world


def reached(play, depth):
    """What can be reached with so many choices: Redis' states, the ledgers, and where each process waits."""
    layer, found = {play.begin()}, set()
    for _ in range(depth):
        layer = {move.at for at in layer for move in play.moves(at)}
        found |= {
            (
                play.world.states[at.world],
                play.books.pages[at.book],
                tuple(node and (node.name, node.first, node.second) for node in at.nodes),
                at.left,
            )
            for at in layer
        }
    play.cast.close()
    return found, len(play.cast.nodes)


def a_walk(play, seed, length):
    """A schedule of random choices."""
    chance, at, schedule = random.Random(seed), play.begin(), []
    while len(schedule) < length and (moves := list(play.moves(at))):
        move = chance.choice(moves)
        schedule.append(move.choice)
        at = move.at
    return schedule


@pytest.mark.parametrize("name", QUICK)
def test_no_schedule_of_a_quick_scope_breaks_a_promise(name):
    covered, told = check(QUICK[name])
    assert told == []
    assert covered.exhausted


def test_what_arrives_late_after_a_deferral_takes_nothing_from_the_next_delivery():
    """Found in the schedule ``a a:defers a:lost a:late a time a | arrives``: a retry came, and fitted that one, too."""
    assert check(SCOPES["deferred"])[1] == []


def test_the_same_schedule_twice_tells_the_same_story():
    with open_world() as world:
        schedules = [a_walk(Play(DEATH, world), seed, 25) for seed in range(5)]
    told = []
    for _ in range(2):
        with open_world() as world:
            told.append([story(Play(DEATH, world), schedule) for schedule in schedules])
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("scope", "depth"),
    [
        (Scope(deaths=1, lost=1), 6),
        (Scope(times=1, stops=1), 6),
        (Scope(items=("failing",), janitors=("redrive",), max_attempts=1), 8),
        (Scope(consumers=2, deaths=1), 6),
        (Scope(items=("tea", "poison"), times=1, ends=("returns",)), 8),
    ],
    ids=str,
)
def test_merging_what_is_alike_reaches_the_same(world, scope, depth):
    merged, nodes = reached(Play(scope, world), depth)
    apart, more_nodes = reached(Play(scope, world, merge=False), depth)
    assert merged == apart
    assert nodes < more_nodes


def test_redis_says_in_one_go_what_it_said_step_by_step(world):
    """A schedule on a server that is never put back, with processes that are never brought anywhere again."""
    play = Play(DEATH, world)
    for seed in range(5):
        steps = list(follow(play, a_walk(play, seed, 25)))
        kept = world.begin(DEATH.orders)
        processes = {}
        for at, move in steps:
            who, _, how = move.choice.partition(":")
            state, name, thread = world.states[at.world], who.rstrip("~"), int(who.endswith("~"))
            if who == "time":
                kept = world.pass_time(kept)
                for process in processes.values():
                    process.go(Input(-1, "time"))
                continue
            process = processes.get(name) or processes.setdefault(name, Process(name, play._program(name)))
            stop = process.stops[thread]
            assert world.states[kept] == state
            if how == "dies":
                processes.pop(name).die()
            elif stop.kind == "asks":
                replies, after = (LOST, kept) if how == "unsent" else world.fresh(kept, stop.what)
                kept = after
                process.go(Input(thread, LOST if how else replies))
            else:
                process.go(Input(thread, how or None))
        assert world.states[kept] == world.states[steps[-1][1].at.world]
        for process in processes.values():
            process.die()


@pytest.mark.parametrize(
    "scope", [Scope(consumers=2, deaths=1), Scope(consumers=2, lost=1, late=1, preemptions=0)], ids=str
)
def test_two_states_that_mirror_each_other_are_one(world, scope):
    """Without mirrors there are twice as many: once somebody has begun, no state is its own mirror image."""
    sizes = []
    for mirrors in (True, False):
        search = Search(Play(scope, world))
        search._mirror._two = mirrors
        assert search.run().exhausted
        sizes.append(len(search._seen))
    mirrored, apart = sizes
    assert apart == 2 * mirrored


def test_schedules_are_counted_without_going_each(world):
    def go(at, choices):
        return sum(go(move.at, choices - 1) for move in play.moves(at)) if choices else 1

    play = Play(Scope(deaths=1), world)
    assert ways(play, 7) == go(play.begin(), 7)


def test_a_choice_that_cannot_be_made_is_named(world):
    with pytest.raises(ValueError, match="choice 2, 'b', is none of: a"):
        list(follow(Play(DEATH, world), ["a", "b"]))


def test_outside_of_its_processes_nothing_is_replaced(redis_server):
    methods = dict(vars(redis.Connection))
    threads = threading.active_count()
    with open_world() as world:
        play = Play(DEATH, world)
        assert list(follow(play, a_walk(play, 1, 10)))
        with redis.Redis.from_url(redis_server) as client:
            assert client.ping()
        play.cast.close()
    assert {name: value for name, value in vars(redis.Connection).items() if name in methods} == methods
    assert vars(redis.Connection).keys() == methods.keys()
    assert threading.active_count() == threads
