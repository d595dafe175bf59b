"""The chaos of lesson 11: the right consumer survives each level, and each wrong one breaks where it must."""

import json
import re
import subprocess
import sys

import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream.lab.lessons.lesson_11 import chaos, learner
from orderstream.lab.pictures import lanes
from orderstream.lab.workers.process import ProcessError

CLAIM_IDLE_MS = 60_000
MOVE = """
local id = ARGV[2]
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[3])[1]
if not mine or mine[4] ~= tonumber(ARGV[4]) then
  return 0
end
local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
return redis.call('XACK', KEYS[1], ARGV[1], id)
"""
UNFENCED = """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""


class Right:
    """One suspect at a time, then a batch; the delivery count is the attempt; a fenced script moves a bad order."""

    min_idle_ms = CLAIM_IDLE_MS

    def __init__(self, client, stream, group, name, handler):
        self.client, self.stream, self.group, self.name, self.handler = client, stream, group, name, handler

    def step(self):
        if suspect := self.claim():
            self.work(*suspect)
            return 1
        return self.read()

    def read(self):
        reply = self.client.xreadgroup(self.group, self.name, {self.stream: ">"}, count=10)
        entries = reply[0][1] if reply else []
        for entry_id, fields in entries:
            self.work(entry_id, fields, 1)
        return len(entries)

    def claim(self):
        cursor, entries = "0-0", []
        while not entries:
            reply = self.client.xautoclaim(
                self.stream, self.group, self.name, self.min_idle_ms, start_id=cursor, count=1
            )
            cursor, entries = reply[:2]
            if cursor == "0-0" and not entries:
                return None
        [(entry_id, fields)] = entries
        return entry_id, fields, self.deliveries(entry_id)

    def deliveries(self, entry_id):
        [pending] = self.client.xpending_range(self.stream, self.group, entry_id, entry_id, 1)
        return pending["times_delivered"]

    def work(self, entry_id, fields, attempt):
        if attempt <= 3 and self.handled(entry_id, json.loads(fields["data"])):
            self.client.xack(self.stream, self.group, entry_id)
        elif attempt >= 3:
            self.give_up(entry_id, fields, attempt)

    def handled(self, entry_id, order):
        try:
            self.handler(order, order["id"])
        except RuntimeError:
            return False
        return True

    def give_up(self, entry_id, fields, attempt):
        keys = (self.stream, f"{self.stream}-dlq")
        self.client.eval(MOVE, 2, *keys, self.group, entry_id, self.name, attempt)


class AsksOnce(Right):
    """It switches redis-py's retries off: a lost reply ends its process, and the next one looks what became of it."""

    def __init__(self, client, *rest):
        super().__init__(client, *rest)
        client.set_retry(Retry(NoBackoff(), 0))


class LetsItCrash(Right):
    """It holds one order at a time and catches nothing, so whatever fails ends its process."""

    def read(self):
        reply = self.client.xreadgroup(self.group, self.name, {self.stream: ">"}, count=1)
        for entry_id, fields in reply[0][1] if reply else []:
            self.work(entry_id, fields, 1)
        return len(reply)

    def handled(self, entry_id, order):
        self.handler(order, order["id"])
        return True


class AcksFirst(Right):
    def work(self, entry_id, fields, attempt):
        self.client.xack(self.stream, self.group, entry_id)
        self.handled(entry_id, json.loads(fields["data"]))


class HandsOver(Right):
    def step(self):
        reply = self.client.xreadgroup(self.group, self.name, {self.stream: ">"}, count=10)
        ids = [entry_id for entry_id, _ in reply[0][1]] if reply else []
        if ids:
            self.client.xclaim(self.stream, self.group, "(nobody)", 0, ids, justid=True)
        return len(ids)


class NeverClaims(Right):
    def claim(self):
        return None


class TakesWhatIsInWork(Right):
    def claim(self):
        self.min_idle_ms = 0
        return super().claim()


class KeysByDelivery(Right):
    def handled(self, entry_id, order):
        self.handler(order, f"{entry_id} by {self.name}")
        return True


class KeysByEntry(Right):
    def handled(self, entry_id, order):
        self.handler(order, entry_id)
        return True


class KeysByConsumer(Right):
    def handled(self, entry_id, order):
        self.handler(order, self.name)
        return True


class NeverGivesUp(Right):
    def work(self, entry_id, fields, attempt):
        super().work(entry_id, fields, 1)


class GivesUpAtTheSecond(Right):
    def work(self, entry_id, fields, attempt):
        if attempt == 1:
            super().work(entry_id, fields, attempt)
        else:
            self.give_up(entry_id, fields, attempt)


class ClaimsInBatches(Right):
    def step(self):
        entries = self.client.xautoclaim(self.stream, self.group, self.name, self.min_idle_ms, count=10)[1]
        for (entry_id, fields), attempt in [(entry, self.deliveries(entry[0])) for entry in entries]:
            self.work(entry_id, fields, attempt)
        return len(entries) or self.read()


class ForgetsTheFields(Right):
    def give_up(self, entry_id, fields, attempt):
        self.client.xadd(f"{self.stream}-dlq", {"id": entry_id})
        self.client.xack(self.stream, self.group, entry_id)


class DropsBadOrders(Right):
    def give_up(self, entry_id, fields, attempt):
        self.client.xack(self.stream, self.group, entry_id)


class TrustsTheRetries(Right):
    """It moves an order with MULTI: redis-py sends it again, after a reply was lost."""

    def give_up(self, entry_id, fields, attempt):
        both = self.client.pipeline(transaction=True)
        both.xadd(f"{self.stream}-dlq", fields).xack(self.stream, self.group, entry_id)
        both.execute()


class LooksAtNothing(Right):
    """Its script moves whatever it is told to: twice, when redis-py sends it again."""

    def give_up(self, entry_id, fields, attempt):
        keys = (self.stream, f"{self.stream}-dlq")
        self.client.eval(UNFENCED, 2, *keys, self.group, entry_id)


class WorksTwice(Right):
    def handled(self, entry_id, order):
        return super().handled(entry_id, order) and super().handled(entry_id, order)


WRONG = [
    (WorksTwice, 1, "no detour", "was handed to a handler 2 times"),
    (KeysByConsumer, 1, "one effect", "o-2 was not charged: its key ann had been another order's"),
    (AcksFirst, 2, "no loss", "was acked, and nobody handled it"),
    (HandsOver, 1, "nothing left", "is still nobody's, delivery 1, and nobody asks for it any more"),
    (NeverClaims, 2, "nothing left", "delivery 1, and nobody asks for it any more"),
    (TakesWhatIsInWork, 2, "in work", "alive, was working on it"),
    (KeysByDelivery, 3, "one effect", "was charged 2 times"),
    (KeysByEntry, 3, "one effect", "-0, 8-0"),
    (NeverGivesUp, 4, "attempts", "was handed to a handler"),
    (GivesUpAtTheSecond, 2, "poison alone", "no handler run of it failed"),
    (ClaimsInBatches, 4, "poison alone", "no handler run of it failed"),
    (DropsBadOrders, 4, "no loss", "was acked, and nobody handled it"),
    (ForgetsTheFields, 4, "one dead letter", "without its field data"),
    (LooksAtNothing, 5, "one dead letter", "has 2 dead letters"),
    (TrustsTheRetries, 5, "one dead letter", "has 2 dead letters"),
]


@pytest.fixture
def said():
    return []


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(
    ("consumer", "seed"),
    [(Right, 0), (Right, 1), (learner.Packaged, 0), (learner.Packaged, 1), (AsksOnce, 0), (LetsItCrash, 0)],
)
def test_a_right_consumer_survives_every_level(consumer, seed, said):
    """Whatever it is built like: by hand, the package's, one that dies at every trouble."""
    score, run = chaos.challenge(consumer, said.append, chaos.SEED + seed)
    assert (score, run.verdict) == (5, None), f"{run.verdict}\n{run.verdict and run.story(run.verdict.order)}"
    assert said == [f"level {level.number}  ✓  {level.title}" for level in chaos.LEVELS]


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(("consumer", "level", "invariant", "words"), WRONG, ids=[w[0].__name__ for w in WRONG])
def test_a_wrong_consumer_breaks_where_it_must(consumer, level, invariant, words, said):
    """At its level, with its reason, and the story is that of an order that suffered."""
    score, run = chaos.challenge(consumer, said.append)
    assert (score, run.verdict.invariant) == (level - 1, invariant), str(run.verdict)
    assert words in str(run.verdict)
    assert said[-1] == f"level {level}  ✗  {chaos.LEVELS[level - 1].title}"
    assert run.verdict.order in run.story(run.verdict.order)


# A class that is broken in itself ------------------------------------------------------------------------------


class RaisesItsOwn(Right):
    def step(self):
        return self.missing


class AsksForEver(Right):
    def step(self):
        return super().step() or 1


class NeverReturns(Right):
    def read(self):
        while True:
            pass


class HandsOverTheFields(Right):
    def work(self, entry_id, fields, attempt):
        self.handler(fields, entry_id)


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(
    ("consumer", "words"),
    [
        (RaisesItsOwn, "object has no attribute 'missing', at: return self.missing"),
        (AsksForEver, "a turn that finds nothing to do returns 0: ann never stopped asking"),
        (NeverReturns, "a turn comes to its end: step() of ann never returned"),
        (HandsOverTheFields, "takes the order, a dict with its id, and got {'data':"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_class_hears_what_is_wrong_with_it(consumer, words, monkeypatch):
    """That is no invariant: the learner must mend the code first."""
    monkeypatch.setattr(chaos, "STUCK_S", 2.0)
    with pytest.raises(AssertionError, match=re.escape(words)):
        chaos.play(consumer, level=1)


# Stories ----------------------------------------------------------------------------------------------------


def test_the_story_tells_the_way_of_one_order(lesson):
    run = chaos.play(AcksFirst, level=2)
    assert run.story(run.verdict.order).splitlines() == [
        "    o-3 is 3-0, item tea",
        "    ann      XREADGROUP COUNT 10 > → 1-0, 2-0, 3-0, 4-0, 5-0, 6-0",
        "    ann      XACK 3-0 → 1",
        "    ann      handler begins with o-3",
        "    ann      is killed",
        "    at last  acked, and never handled",
    ]


def test_the_same_seed_tells_the_same_story(lesson):
    """A verdict depends on points, never on times."""
    stories = set()
    for _ in range(2):
        run = chaos.play(TrustsTheRetries, level=5)
        stories.add(run.story(run.verdict.order))
    [story] = stories
    assert "→ Connection closed" in story
    assert "at last  2 dead letters" in story


def test_the_marks_follow_an_order_from_hand_to_hand(lesson):
    """Of the poison: who was given it, who died of it, and where it ended."""
    run = chaos.play(Right, level=4)
    [poison] = [order for order, item in run.items.items() if item == "poison"]
    marks = run.marks(poison)
    assert [(mark.lane, mark.kind, mark.delivery) for mark in marks] == [
        (lanes.STREAM, "sent", None),
        ("zoe", "new", 1),
        ("zoe", "killed", None),
        ("ann", "claimed", 2),
        ("ann", "killed", None),
        ("bob", "claimed", 3),
        ("bob", "killed", None),
        ("carl", "claimed", 4),
        (lanes.DEAD, "dead", None),
    ]
    assert [mark.t_s for mark in marks] == sorted(mark.t_s for mark in marks)
    assert poison in repr(run.picture(poison))


def test_a_level_leaves_no_key_and_no_process(lesson, scratch):
    before = set(lesson.scan_iter())
    children = scratch.processes()
    chaos.play(NeverClaims, level=2)
    assert set(lesson.scan_iter()) == before
    assert scratch.processes(but=[process.pid for process in children]) == []


def test_a_life_does_not_outlive_the_notebook(scratch, eventually):
    """Its handler is busy, and waits for a word that will never come."""
    notebook = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert notebook.stdout.readline() == "busy\n"
    assert len(scratch.processes()) >= 3  # itself, the guard, the server, the worker
    notebook.kill()
    notebook.wait()
    notebook.stdout.close()
    eventually(scratch.is_clean)


KILLED = """
import sys
from contextlib import redirect_stdout
from orderstream import lab
from orderstream.lab.lessons.lesson_11 import chaos
with redirect_stdout(sys.stderr):
    lab.start("11")
sys.path.insert(0, ".")
from tests.lab.test_chaos import Right
chaos.Worker.go_on = lambda self: (print("busy", flush=True), sys.stdin.read())
chaos.play(Right, level=2)
"""


# Beside the other workers, in a panel ----------------------------------------------------------------------------


def test_a_class_can_work_beside_the_package_s_consumers(lesson, eventually):
    """It goes on when there is nothing to do, can be turned and killed, and another of its name replaces it."""
    lesson.xgroup_create("orders", learner.GROUP, id="0", mkstream=True)
    worker, events = learner.consumer(Right, "mine"), []

    def count(what):
        events.extend(worker.events())
        return sum(event["event"] == what for event in events)

    def send(order):
        lesson.xadd("orders", {"data": json.dumps({"id": order, "item": "tea", "amount": 1})})

    send("o-1")
    eventually(lambda: count("handled") == 1)
    worker.set(failure_rate=1, work_ms=0)
    eventually(lambda: send("o-2") or count("failed"))
    assert worker.kill() < 0
    again = learner.consumer(Right, "mine")
    assert learner.consumer(Right, "mine").alive
    assert not again.alive


def test_a_class_that_cannot_be_made_says_why(lesson):
    class Broken(Right):
        pass

    with pytest.raises(AssertionError, match="left edge"):
        learner.consumer(Broken, "mine")
    with pytest.raises(ProcessError, match="consumer mine did not start: TypeError: NeedsMore"):
        learner.consumer(NeedsMore, "mine")


class NeedsMore(Right):
    def __init__(self, client, stream, group, name, handler, more):
        super().__init__(client, stream, group, name, handler)


# From the notebook into a module ---------------------------------------------------------------------------------

LIMIT = 3
client = object()


def twice(number):
    return [LIMIT * number for _ in range(2)]


class UsesHelpers:
    """A constant through a function, a module, an import under another name."""

    def step(self):
        return [*twice(1), json.dumps({}), re.escape(".")]


class UsesWhatStaysBehind:
    def step(self):
        return client


class UsesAnother(UsesHelpers):
    def more(self):
        return self.step()


Alias = UsesHelpers


class UsesAnAlias(Alias):
    def more(self):
        return self.step()


@pytest.mark.parametrize("answer", [UsesHelpers, UsesAnother, UsesAnAlias])
def test_what_a_class_names_goes_along(answer):
    module = {}
    exec(learner.source_of(answer), module)
    assert module["ANSWER"]().step() == [3, 3, "{}", r"\."]


def test_what_cannot_go_along_is_named():
    with pytest.raises(AssertionError, match=r"'client' of this notebook does not go along"):
        learner.source_of(UsesWhatStaysBehind)
