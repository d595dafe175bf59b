"""The chaos of lesson 12: the right consumer survives each level, and each wrong one breaks where it must."""

import importlib
import json
import linecache
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from redis import ResponseError
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream.lab.lessons.lesson_12 import chaos, learner
from orderstream.lab.pictures import lanes
from orderstream.lab.workers.process import ProcessError
from tests.process import Process

once = pytest.mark.any_server("what is wrong breaks by itself; the right consumers and the solution run on each server")

CLAIM_IDLE_MS = 60_000
FENCE = """
local id = ARGV[2]
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[3])[1]
if not mine or mine[4] ~= tonumber(ARGV[4]) then
  return 0
end
"""
ADD = """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
end
"""
ACK = """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""
MOVE, UNFENCED, ACK_THEN_ADD = FENCE + ADD + ACK, ADD + ACK, FENCE + ACK + ADD


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
        while due := self.client.xpending_range(self.stream, self.group, "-", "+", 1, idle=self.min_idle_ms):
            entry_id, attempt = due[0]["message_id"], due[0]["times_delivered"] + 1
            for found, fields in self.client.xclaim(self.stream, self.group, self.name, self.min_idle_ms, [entry_id]):
                if found:
                    return entry_id, fields, attempt
                self.client.xack(self.stream, self.group, entry_id)
        return None

    def work(self, entry_id, fields, attempt):
        if attempt <= 3 and self.handled(entry_id, fields):
            self.client.xack(self.stream, self.group, entry_id)
        elif attempt >= 3:
            self.give_up(entry_id, fields, attempt)

    def handled(self, entry_id, fields):
        try:
            self.charge(entry_id, json.loads(fields["data"]))
        except (KeyError, ValueError, RuntimeError):
            return False
        return True

    def charge(self, entry_id, order):
        self.handler(order, order["id"])

    def give_up(self, entry_id, fields, attempt):
        self.move(MOVE, entry_id, attempt)

    def move(self, script, entry_id, attempt):
        keys = (self.stream, f"{self.stream}-dlq")
        self.client.eval(script, 2, *keys, self.group, entry_id, self.name, attempt)


class FollowsTheCursor(Right):
    """XAUTOCLAIM, page by page. Redis 6.2 gives a deleted entry without its id, and leaves it pending."""

    def claim(self):
        cursor = None
        while cursor != "0-0":
            cursor, entries = self.page(cursor or "0-0")
            for entry_id, fields in entries:
                if entry_id:
                    return entry_id, fields, self.deliveries(entry_id)
                self.forget_what_was_deleted()
        return None

    def page(self, cursor):
        rest = {"start_id": cursor, "count": 1}
        return self.client.xautoclaim(self.stream, self.group, self.name, self.min_idle_ms, **rest)[:2]

    def deliveries(self, entry_id):
        [pending] = self.client.xpending_range(self.stream, self.group, entry_id, entry_id, 1)
        return pending["times_delivered"]

    def forget_what_was_deleted(self):
        for mine in self.client.xpending_range(self.stream, self.group, "-", "+", 100, self.name):
            entry_id = mine["message_id"]
            if not self.client.xrange(self.stream, entry_id, entry_id):
                self.client.xack(self.stream, self.group, entry_id)


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

    def handled(self, entry_id, fields):
        self.charge(entry_id, json.loads(fields["data"]))
        return True


class WaitsForTheKey(Right):
    """It outlives the refusal of a dead letter: the order stays pending, and the next attempt moves it."""

    def give_up(self, entry_id, fields, attempt):
        with suppress(ResponseError):
            super().give_up(entry_id, fields, attempt)


class KnowsMalformed(Right):
    """What is no order needs no attempt: it is a dead letter at once."""

    def work(self, entry_id, fields, attempt):
        try:
            json.loads(fields["data"])
        except (KeyError, ValueError):
            self.give_up(entry_id, fields, attempt)
        else:
            super().work(entry_id, fields, attempt)


# Wrong in one thing each --------------------------------------------------------------------------------------


class AcksFirst(Right):
    def work(self, entry_id, fields, attempt):
        self.client.xack(self.stream, self.group, entry_id)
        self.handled(entry_id, fields)


class NeverAcks(Right):
    def work(self, entry_id, fields, attempt):
        if not self.handled(entry_id, fields) and attempt >= 3:
            self.give_up(entry_id, fields, attempt)


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


class NeverFollowsTheCursor(FollowsTheCursor):
    def page(self, cursor):
        return "0-0", super().page(cursor)[1]


class LooksAtTheFirstHundred(Right):
    """It asks for a page of the pending entries, and looks itself which of them are due."""

    def claim(self):
        for each in self.client.xpending_range(self.stream, self.group, "-", "+", 100):
            entry_id, attempt = each["message_id"], each["times_delivered"] + 1
            if each["time_since_delivered"] >= self.min_idle_ms:
                for found, fields in self.client.xclaim(self.stream, self.group, self.name, 60_000, [entry_id]):
                    if found:
                        return entry_id, fields, attempt
                    self.client.xack(self.stream, self.group, entry_id)
        return None


class NeverMoves(Right):
    """What has failed three times, it claims and leaves."""

    def give_up(self, entry_id, fields, attempt):
        pass


class LeavesWhatWasDeleted(Right):
    """It claims only what is there. What was deleted stays pending for ever."""

    def claim(self):
        for due in self.client.xpending_range(self.stream, self.group, "-", "+", 100, idle=self.min_idle_ms):
            entry_id, attempt = due["message_id"], due["times_delivered"] + 1
            if self.client.xrange(self.stream, entry_id, entry_id):
                for _, fields in self.client.xclaim(self.stream, self.group, self.name, 60_000, [entry_id]):
                    return entry_id, fields, attempt
        return None


class TakesWhatIsInWork(Right):
    def claim(self):
        self.min_idle_ms = 0
        return super().claim()


class KeysByDelivery(Right):
    def charge(self, entry_id, order):
        self.handler(order, f"{entry_id} by {self.name}")


class KeysByEntry(Right):
    def charge(self, entry_id, order):
        self.handler(order, entry_id)


class KeysByConsumer(Right):
    def charge(self, entry_id, order):
        self.handler(order, self.name)


class NeverGivesUp(Right):
    def work(self, entry_id, fields, attempt):
        super().work(entry_id, fields, 1)


class TriesOnceMore(Right):
    """It gives up only behind a run that failed, and not when the delivery count says that there were three."""

    def work(self, entry_id, fields, attempt):
        if self.handled(entry_id, fields):
            self.client.xack(self.stream, self.group, entry_id)
        elif attempt >= 3:
            self.give_up(entry_id, fields, attempt)


class GivesUpAtTheFirstFailure(Right):
    def work(self, entry_id, fields, attempt):
        if attempt <= 3 and self.handled(entry_id, fields):
            self.client.xack(self.stream, self.group, entry_id)
        else:
            self.give_up(entry_id, fields, attempt)


class GivesUpAtTheSecond(Right):
    def work(self, entry_id, fields, attempt):
        if attempt == 1:
            super().work(entry_id, fields, attempt)
        else:
            self.give_up(entry_id, fields, attempt)


class CountsItsLooks(Right):
    """It reads a suspect once more, from 0, and each look counts as a delivery."""

    def work(self, entry_id, fields, attempt):
        looks = attempt > 1 and len(self.client.xreadgroup(self.group, self.name, {self.stream: "0"}))
        super().work(entry_id, fields, attempt + looks)


class ClaimsInBatches(FollowsTheCursor):
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


class DropsMalformed(Right):
    """An entry without an order is noise, it thinks."""

    def work(self, entry_id, fields, attempt):
        if "data" in fields:
            super().work(entry_id, fields, attempt)
        else:
            self.client.xack(self.stream, self.group, entry_id)


class AcksThenAdds(Right):
    """Its script acks before it adds. Redis undoes nothing of a script that fails."""

    def give_up(self, entry_id, fields, attempt):
        self.move(ACK_THEN_ADD, entry_id, attempt)


class AcksARefusedDeadLetter(Right):
    def give_up(self, entry_id, fields, attempt):
        with suppress(ResponseError):
            self.client.xadd(f"{self.stream}-dlq", fields)
        self.client.xack(self.stream, self.group, entry_id)


class TrustsMulti(Right):
    """MULTI runs the XACK even when the XADD before it fails."""

    def give_up(self, entry_id, fields, attempt):
        both = self.client.pipeline(transaction=True)
        both.xadd(f"{self.stream}-dlq", fields).xack(self.stream, self.group, entry_id)
        both.execute()


class LooksAtNothing(Right):
    """Its script moves whatever it is told to: twice, when redis-py sends it again."""

    def give_up(self, entry_id, fields, attempt):
        self.move(UNFENCED, entry_id, attempt)


class TrustsTheRetries(Right):
    """It adds, then acks: redis-py sends the XADD again after its reply was lost."""

    def give_up(self, entry_id, fields, attempt):
        self.client.xadd(f"{self.stream}-dlq", fields)
        self.client.xack(self.stream, self.group, entry_id)


class WorksTwice(Right):
    def handled(self, entry_id, fields):
        return super().handled(entry_id, fields) and super().handled(entry_id, fields)


WRONG = [
    ("no loss", AcksFirst, 2, "was acked, and nobody handled it"),
    ("no loss", DropsBadOrders, 4, "was acked, and nobody handled it"),
    ("no loss", AcksThenAdds, 5, "was acked, and nobody handled it"),
    ("no loss", AcksARefusedDeadLetter, 5, "was acked, and nobody handled it"),
    ("no loss", TrustsMulti, 5, "was acked, and nobody handled it"),
    ("no loss", DropsMalformed, 7, "was acked, and nobody handled it"),
    ("one effect", KeysByConsumer, 1, "o-2 was not charged: its key ann had been another order's"),
    ("one effect", KeysByDelivery, 3, "was charged 2 times"),
    ("one effect", KeysByEntry, 3, "-0, 8-0"),
    ("in work", TakesWhatIsInWork, 2, "alive, was working on it"),
    ("acked", NeverAcks, 1, "o-1 was handled by ann, who then rested, and it is still pending"),
    ("attempts", NeverGivesUp, 4, "was handed to a handler"),
    ("attempts", TriesOnceMore, 4, "was handed to a handler"),
    ("three tries", GivesUpAtTheSecond, 2, "became a dead letter after 1 of 3 attempts"),
    ("three tries", GivesUpAtTheFirstFailure, 4, "became a dead letter after 2 of 3 attempts"),
    ("three tries", CountsItsLooks, 4, "of 3 attempts"),
    ("poison alone", ClaimsInBatches, 4, "no handler run of it failed"),
    ("one dead letter", ForgetsTheFields, 4, "has a dead letter without its fields"),
    ("one dead letter", LooksAtNothing, 8, "has 2 dead letters"),
    ("one dead letter", TrustsTheRetries, 8, "has 2 dead letters"),
    ("no detour", WorksTwice, 1, "was handed to a handler 2 times"),
    ("nothing left", HandsOver, 1, "is still nobody's, delivery 1, and nobody asks for it any more"),
    ("nothing left", NeverClaims, 2, "delivery 1, and nobody asks for it any more"),
    ("nothing left", NeverMoves, 4, "and nobody acks it or moves it"),
    ("nothing left", NeverFollowsTheCursor, 6, "111-0 (o-111) is still zoe's, delivery 1"),
    ("nothing left", LooksAtTheFirstHundred, 6, "111-0 (o-111) is still zoe's, delivery 1"),
    ("nothing left", LeavesWhatWasDeleted, 7, "was deleted, is still zoe's, delivery 1"),
]


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(
    ("consumer", "levels", "seed"),
    [
        (Right, [8], 1),
        (learner.Packaged, [8], 1),
        (FollowsTheCursor, [6, 7, 8], 0),
        (AsksOnce, [5, 8], 0),
        (LetsItCrash, [4, 5, 7, 8], 0),
        (WaitsForTheKey, [5], 0),
        (KnowsMalformed, [7], 0),
    ],
)
def test_a_right_consumer_survives_however_it_is_built(consumer, levels, seed):
    """By hand or the package's, one that dies at every trouble, one that is careful: the judge asks only what holds."""
    for level in levels:
        run = chaos.play(consumer, level, chaos.SEED + seed)
        assert run.verdict is None, f"{run.verdict}\n{run.story(run.verdict.order)}"


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(
    ("invariant", "consumer", "level", "words"), WRONG, ids=[f"{w[0]} - {w[1].__name__}" for w in WRONG]
)
@once
def test_a_wrong_consumer_breaks_where_it_must(invariant, consumer, level, words):
    """At its level, with the headline of its invariant, and the story is that of an order that suffered."""
    if level > 1:
        assert chaos.play(consumer, level - 1).verdict is None
    run = chaos.play(consumer, level)
    assert (run.verdict.invariant, words in str(run.verdict)) == (invariant, True), str(run.verdict)
    assert str(run.verdict).startswith(chaos.INVARIANTS[invariant][0])
    assert run.verdict.order in run.story(run.verdict.order)


@once
def test_a_challenge_ends_at_the_first_level_that_breaks(lesson):
    said = []
    score, run = chaos.challenge(AcksFirst, said.append)
    assert (score, run.verdict.invariant) == (1, "no loss")
    assert said == ["level 1  ✓  a quiet day", "level 2  ✗  a crash before the effect"]


def test_the_printed_solution_and_the_package_survive_every_level(printed):
    for consumer in (printed, learner.Packaged):
        said = []
        score, run = chaos.challenge(consumer, said.append)
        assert score == len(chaos.LEVELS), f"{run.verdict}\n{run.story(run.verdict.order)}"
        assert said == [f"level {level.number}  ✓  {level.title}" for level in chaos.LEVELS]


@pytest.fixture
def printed(lesson, tmp_path, monkeypatch):
    """The class that the lesson prints, in a module of its own."""
    book = nbformat.read(Path(__file__).parents[2] / "notebooks" / "12_capstone.ipynb", 4)
    [text] = [cell.source for cell in book.cells if "Solution 12.2" in cell.source]
    source = re.search(r"Solution 12\.2</summary>\s*```python\n(.*?)```", text, re.S)[1]
    (tmp_path / "printed_solution.py").write_text(f"import json\n\n{source}", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "printed_solution", raising=False)
    linecache.clearcache()
    return importlib.import_module("printed_solution").MyConsumer


# However slow the machine is ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lesson")
@once
def test_a_busy_machine_changes_no_verdict(busy_machine, monkeypatch):
    """The judge has no patience in seconds at all here. A slow start of Python is no endless turn."""
    monkeypatch.setattr(chaos, "SILENT_S", 0.0)
    monkeypatch.setattr(chaos, "BEAT_S", 0.1)
    assert chaos.play(Right, level=2).verdict is None
    assert chaos.play(NeverClaims, level=2).verdict.invariant == "nothing left"


@pytest.fixture
def busy_machine():
    """Three processes for each core that do nothing but count."""
    loop = [sys.executable, "-I", "-c", "import os\nwhile os.getppid() > 1: pass"]
    busy = [Process(loop, stdin=subprocess.DEVNULL) for _ in range(3 * (os.cpu_count() or 1))]
    yield
    for process in busy:
        process.kill()
        process.wait()


def test_no_time_passes_while_a_process_lives(lesson):
    """What is in work is never due, however long it takes; what was due before stays due."""
    lesson.xgroup_create(chaos.KEY, learner.GROUP, id="0", mkstream=True)
    for entry_id in ("1-0", "2-0"):
        lesson.xadd(chaos.KEY, {"data": "tea"}, id=entry_id)
    lesson.xreadgroup(learner.GROUP, "ann", {chaos.KEY: ">"})
    lesson.xclaim(chaos.KEY, learner.GROUP, "ann", 0, ["1-0"], idle=59_000, justid=True)
    lesson.xclaim(chaos.KEY, learner.GROUP, "ann", 0, ["2-0"], idle=90_000, justid=True)
    lesson.eval(chaos.STAND_STILL, 1, chaos.KEY, learner.GROUP)
    first, second = lesson.xpending_range(chaos.KEY, learner.GROUP, "-", "+", 2)
    assert first["time_since_delivered"] < 30_000
    assert second["time_since_delivered"] >= 90_000
    assert (first["consumer"], first["times_delivered"]) == ("ann", 1)


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


class Waits(Right):
    def read(self):
        threading.Event().wait()


class DiesOfAMalformedEntry(Right):
    """So does each process after it: an error before the delivery count is looked at."""

    def work(self, entry_id, fields, attempt):
        json.loads(fields["data"])
        super().work(entry_id, fields, attempt)


class HandsOverTheFields(Right):
    def work(self, entry_id, fields, attempt):
        self.handler(fields, entry_id)


@pytest.mark.usefixtures("lesson")
@pytest.mark.parametrize(
    ("consumer", "level", "words"),
    [
        (RaisesItsOwn, 1, "object has no attribute 'missing', at: return self.missing"),
        (AsksForEver, 1, "a turn that finds nothing to do returns 0: ann never stopped asking"),
        (NeverReturns, 1, "a turn comes to its end: step() of ann never returned"),
        (Waits, 1, "a turn comes to its end: step() of ann never returned"),
        (DiesOfAMalformedEntry, 7, 'at: json.loads(fields["data"])'),
        (HandsOverTheFields, 1, "takes the order, a dict with its id, and got {'data':"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@once
def test_a_broken_class_hears_what_is_wrong_with_it(consumer, level, words, monkeypatch):
    """That is no invariant: the learner must mend the code first."""
    monkeypatch.setattr(chaos, "SILENT_S", 0.5)
    with pytest.raises(AssertionError, match=re.escape(words)):
        chaos.play(consumer, level)


# Stories ----------------------------------------------------------------------------------------------------


@once
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


@once
def test_the_same_seed_tells_the_same_story(lesson):
    """A verdict depends on points, never on times."""
    stories = set()
    for _ in range(2):
        run = chaos.play(TrustsTheRetries, level=8)
        stories.add(run.story(run.verdict.order))
    [story] = stories
    assert "→ Connection closed" in story
    assert "at last  2 dead letters" in story


@once
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
    assert [mark.begun for mark in marks if mark.delivery] == [False, True, True, False], "zoe only held it"
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
    notebook = Process([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
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
from orderstream.lab.lessons.lesson_12 import chaos
with redirect_stdout(sys.stderr):
    lab.start("12")
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


@once
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
@once
def test_what_a_class_names_goes_along(answer):
    module = {}
    exec(learner.source_of(answer), module)
    assert module["ANSWER"]().step() == [3, 3, "{}", r"\."]


@once
def test_what_cannot_go_along_is_named():
    with pytest.raises(AssertionError, match=r"'client' of this notebook does not go along"):
        learner.source_of(UsesWhatStaysBehind)
