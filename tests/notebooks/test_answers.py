"""
Every question of a Play and of a self-quiz has a folded answer, and each answer was tried on a real Redis.

A test runs cells of the lesson as they stand in the notebook, then does what the question asks for. Its name is the
answer in short. ``@answers("03 quiz 2")`` says which question it is.
"""

import json
import linecache
import re
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest
import redis

from orderstream import Consumer, DeadLetterQueue, Order, Producer, Settings, connect
from orderstream.lab import server

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
BOOKS = {path.name[:2]: nbformat.read(path, 4) for path in NOTEBOOKS}
GROUP = "order_group"
TEA = '{"id": "o-1", "item": "tea", "amount": 3}'
PACKAGE = """
from dataclasses import replace
from orderstream import DeadLetterQueue, Settings, connect
stream = connect()
"""
"""What the cells above a panel have made: that of lessons 03, 05 and 08."""

TESTS = {}


def answers(question):
    """Note that a test tries the answer to *question*, such as ``"03 quiz 2"``."""

    def note(test):
        assert question not in TESTS, question
        TESTS[question] = test
        return test

    return note


def asked(book):
    """Yield (place, cell, number) for each question: the numbered lines behind "Play" and behind "Self-quiz"."""
    for place, title in (("play", r"^(?:## |\*\*)Play\b"), ("quiz", r"^## Self-quiz\b")):
        for at, cell in enumerate(book.cells):
            if cell.cell_type == "markdown" and (found := re.search(title, cell.source, re.M)):
                section = re.split(r"^## ", cell.source[found.end() :], flags=re.M)[0]
                for number in re.findall(r"^(\d)\. ", section, re.M):
                    yield place, at, number


def answered(book):
    """Yield (place, cell, number) for each folded answer."""
    for at, cell in enumerate(book.cells):
        if cell["id"] in ("play-answers", "quiz-answers"):
            for number in FOLDED.findall(cell.source):
                yield cell["id"].removesuffix("-answers"), at, number


FOLDED = re.compile(r"^<details><summary>Answer (\d)</summary>\n\n[^<]{40,}\n\n</details>$", re.M)


@pytest.mark.any_server("the form of the notebooks; no Redis is asked")
@pytest.mark.parametrize("lesson", BOOKS)
def test_every_question_has_one_folded_answer_that_was_tried(lesson):
    """It stands behind its question, and before the line that leads to the next lesson."""
    book = BOOKS[lesson]
    questions, folded = list(asked(book)), list(answered(book))
    names = [f"{lesson} {place} {number}" for place, _, number in questions]
    assert {"play", "quiz"} == {place for place, *_ in questions}
    assert names == [f"{lesson} {place} {number}" for place, _, number in folded]
    assert names == [question for question in TESTS if question.startswith(lesson)]
    assert all(answer[1] > question[1] for question, answer in zip(questions, folded, strict=True))
    assert not [cell["id"] for cell in book.cells[: folded[-1][1]] if re.search(r"\bNext: \[", cell.source)]
    assert sum(cell.source.count("<summary>Answer") for cell in book.cells) == len(folded)


class Kernel(types.ModuleType):
    """A lesson as its learner runs it: its names are those that its cells have made so far."""

    def __init__(self, number):
        super().__init__(f"lesson_{number}")
        self.cells = {cell["id"]: cell.source for cell in BOOKS[number].cells}
        self.solutions = dict(
            re.findall(r"<summary>Solution (\S+)</summary>\s*```python\n(.*?)```", "\n".join(self.cells.values()), re.S)
        )
        self.run("setup")

    def run(self, *cells):
        for cell in cells:
            self.enter(self.cells[cell])

    def solve(self, exercise):
        self.enter(self.solutions[exercise])

    def enter(self, source):
        """Run *source* as a cell of its own. Lesson 12 looks its lines up again."""
        name = f"<{self.__name__}, {len(linecache.cache)}>"
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
        exec(compile(source, name, "exec"), vars(self))


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """``kernel("04")`` starts lesson 04 on a private Redis; whatever it has started ends with the test."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    for variable in ("REDIS_URL", "REDIS_ADDR"):
        monkeypatch.delenv(variable, raising=False)
    started = []

    def start(number):
        started.append(Kernel(number))
        monkeypatch.setitem(sys.modules, started[-1].__name__, started[-1])
        return started[-1]

    yield start
    for lesson in started:
        for name in ("panel", "room"):
            if shown := getattr(lesson, name, None):
                shown.stop()
        for name in ("link", "line"):
            if opened := getattr(lesson, name, None):
                opened.close()
    server.close()


def version(r):
    """Return the version by which a client may tell what Redis can do. Valkey says 7.2."""
    return tuple(int(part) for part in r.info("server")["redis_version"].split("."))


def pending(r, key="orders", group=GROUP):
    """Return entry id -> (consumer, deliveries)."""
    entries = r.xpending_range(key, group, "-", "+", 1_000)
    return {entry["message_id"]: (entry["consumer"], entry["times_delivered"]) for entry in entries}


def orders(r, key, count, first=1):
    for n in range(first, first + count):
        order = {"id": f"o-{n}", "item": "tea", "amount": 1}
        r.xadd(key, {"data": json.dumps(order)})


def keep_busy(workers, eventually):
    """Wait until each of *workers* has an order in hand for a minute: a kill will hit it with the order."""
    for worker in workers:
        worker.set(work_ms=60_000)

    def busy(worker):
        *_, last = [event for event in worker.read(0)[0] if "id" in event or event["event"] == "ready"]
        return last["event"] == "began" and time.time() - last["t"] > 0.5  # longer than any run before

    eventually(lambda: all(map(busy, workers)), timeout_s=20)


def count(process, event):
    return sum(each.get("count", 1) for each in process.read(0)[0] if each["event"] == event)


# 00 Your stream is running ----------------------------------------------------------------------------------


@answers("00 play 1")
@pytest.mark.any_server("processes and a panel, and how long a handler takes")
def test_two_handlers_of_100_ms_stop_at_20_orders_per_second(kernel):
    """Each is busy for 100 ms with an order."""
    lesson = kernel("00")
    lesson.run("processes", "panel")
    panel = lesson.panel
    panel.work.value, panel.rate.value = 100, 50
    panel.until(lambda now: now.length - now.handled >= 30 and now.throughput >= 11)  # more than one can do
    began = panel.sampler.latest
    panel.until(lambda now: now.length - now.handled >= 60)
    ended = panel.sampler.latest
    assert (ended.handled - began.handled) / (ended.t_s - began.t_s) <= 22
    assert ended.pending <= 20


@answers("00 play 2")
@pytest.mark.any_server("processes and a panel; retries and claims are tested on each server")
def test_failing_runs_find_a_level_of_pending_and_a_kill_raises_it_only_for_a_while(kernel, eventually):
    """A failed order comes again, or is a dead letter at the third run; what the dead held is claimed."""
    lesson = kernel("00")
    lesson.run("processes", "panel")
    panel = lesson.panel
    panel.failure.value = 50
    panel.until(lambda now: now.failed >= 40 and now.dead_lettered and now.pending <= 5)
    keep_busy([lesson.c1], eventually)
    lesson.c1.kill()
    panel.until(lambda now: "c1" not in now.held and now.pending <= 10)


@answers("00 quiz 1")
@pytest.mark.any_server("processes and a panel; claims are tested on each server")
def test_with_both_dead_throughput_is_0_and_pending_stands_until_another_claims_it(kernel, eventually):
    """New orders wait undelivered meanwhile."""
    lesson = kernel("00")
    lesson.run("processes", "panel")
    panel, r = lesson.panel, lesson.r
    keep_busy([lesson.c1, lesson.c2], eventually)
    lesson.c1.kill(), lesson.c2.kill()
    left = pending(r)
    assert {owner for owner, _ in left.values()} == {"c1", "c2"}
    panel.until(lambda now: now.throughput == 0)
    length = panel.sampler.latest.length
    panel.until(lambda now: now.length >= length + 20)
    assert pending(r) == left
    panel.add_consumer()
    panel.until(lambda now: now.throughput and not {"c1", "c2"} & now.held.keys())


@answers("00 quiz 2")
@pytest.mark.any_server("a process and its random numbers; dead letters are tested on each server")
def test_at_a_failure_rate_of_one_half_about_an_eighth_ends_in_the_dead_letters(kernel):
    """Three runs must fail one after the other. 200 orders instead of 20, so that chance has less to say."""
    lesson = kernel("00")
    r = lesson.r
    gil = lesson.lab.processes.consumer("gil", stream="shop", failure_rate=0.5, backoff_ms=20, work_ms=1)
    with lesson.lab.Sampler("shop", [gil]) as shop:
        orders(r, "shop", 200)
        shop.until(lambda now: now.handled + now.dead_lettered == 200 and now.pending == 0)
    assert 10 <= r.xlen("shop-dlq") <= 40


@answers("00 quiz 3")
def test_an_entry_without_data_is_a_dead_letter_at_its_first_delivery(kernel):
    """No second try could read it better."""
    lesson = kernel("00")
    gil = lesson.lab.processes.consumer("gil", stream="shop")
    with lesson.lab.Sampler("shop", [gil]) as shop:
        lesson.r.xadd("shop", {"hello": "world"})
        shop.until(lambda now: now.dead_lettered == 1 and now.pending == 0)
    [(_, fields)] = lesson.r.xrange("shop-dlq")
    assert (fields["hello"], fields["dlq-deliveries"]) == ("world", "1")
    assert "data" in fields["dlq-error"]
    assert not count(gil, "began")


# 01 A stream is a log ---------------------------------------------------------------------------------------


@answers("01 play 1")
@pytest.mark.any_server("threads and a panel; XREAD is tested on each server")
def test_bob_reads_at_most_40_orders_per_second_and_neither_ann_nor_the_log_notices(kernel):
    """1000 ms / 25 ms = 40."""
    lesson = kernel("01")
    lesson.run("panel")
    panel = lesson.panel
    panel.until(lambda now: now.length >= 20 and now.length - now.read["bob"] <= 2)
    panel.rate.value = 100
    began = panel.until(lambda now: now.length - now.read["bob"] >= 20)
    ended = panel.until(lambda now: now.length - now.read["bob"] >= 60)
    assert (ended.read["bob"] - began.read["bob"]) / (ended.t_s - began.t_s) <= 41
    panel.until(lambda now: now.length - now.read["ann"] <= 10 and now.length - now.read["bob"] >= 60)
    assert lesson.r.xinfo_groups("busy") == []


@answers("01 play 2")
@pytest.mark.any_server("threads and a panel; XREAD is tested on each server")
def test_only_the_line_of_the_reader_that_goes_back_bends(kernel):
    """The log and Ann go on."""
    lesson = kernel("01")
    lesson.run("panel")
    panel = lesson.panel
    before = panel.until(lambda now: now.read["bob"] >= 40)
    panel.readers["bob"].back_to_start()
    after = panel.until(lambda now: now.read["bob"] < before.read["bob"])
    assert after.length >= before.length
    assert after.read["ann"] >= before.read["ann"]
    panel.until(lambda now: now.length - now.read["bob"] <= 2)


@answers("01 quiz 1")
def test_an_id_that_was_deleted_cannot_be_added_again(kernel):
    """The stream remembers the last id that it gave out."""
    r = kernel("01").r
    for n in (1, 2):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    r.xdel("orders", "2-0")
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        r.xadd("orders", {"item": "tea"}, id="2-0")
    assert r.xlen("orders") == 1
    assert r.xinfo_stream("orders")["last-generated-id"] == "2-0"


@answers("01 quiz 2")
def test_reading_after_an_id_that_never_was_returns_the_next_entry(kernel):
    """An id is a place in the order of ids."""
    r = kernel("01").r
    for n in (2, 3):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    assert r.xread({"orders": "2-5"}) == [["orders", [("3-0", {"item": "tea"})]]]


@answers("01 quiz 3")
def test_redis_knows_nothing_of_a_reader_that_is_behind(kernel):
    """XINFO STREAM tells of the log alone, and there is no group."""
    lesson = kernel("01")
    lesson.run("panel")
    panel = lesson.panel
    panel.readers["bob"].work_ms, panel.rate.value = 200, 100
    panel.until(lambda now: now.length - now.read["bob"] >= 50)
    assert "bob" not in str(lesson.r.xinfo_stream("busy", full=True))
    assert lesson.r.xinfo_groups("busy") == []


# 02 A group shares one stream -------------------------------------------------------------------------------


@answers("02 play 1")
@pytest.mark.any_server("threads and a panel; COUNT is tested on each server")
def test_a_rush_by_count_1_or_20_is_shared_and_one_by_count_100_lies_with_one_consumer(kernel):
    """So it takes twice as long with 100."""
    lesson = kernel("02")
    lesson.run("panel")
    panel = lesson.panel
    took, largest_part = {}, {}
    for size in (100, 20, 1):
        before = panel.until(lambda now: now.new == 0 and not any(now.held.values()))
        panel.count.value = size
        panel.rush()
        began = time.monotonic()
        if size == 100:
            panel.until(lambda now: now.new == 0 and any(held >= 50 for held in now.held.values()))
        if size == 1:
            panel.until(lambda now: now.new >= 40)
        after = panel.until(lambda now: now.new == 0 and not any(now.held.values()))
        took[size] = time.monotonic() - began
        largest_part[size] = max(after.handled[name] - before.handled[name] for name in after.handled)
    assert largest_part[100] == 100
    assert largest_part[20] in (60, 80)
    assert largest_part[1] < 80
    assert max(took[20], took[1]) < took[100]


@answers("02 play 2")
@pytest.mark.any_server("threads and a panel; what stays pending is tested on each server")
def test_the_pile_of_one_who_vanished_never_shrinks(kernel):
    """Nobody claims it: the other one only asks for new orders."""
    lesson = kernel("02")
    lesson.run("panel")
    panel = lesson.panel
    panel.count.value = 100
    panel.rush()
    holds = panel.until(lambda now: any(held >= 50 for held in now.held.values())).held
    gone = max(holds, key=holds.get)
    panel.readers[gone].stop()
    panel.readers[gone].join()
    pile = panel.until(lambda now: True).held[gone]
    panel.rush()
    now = panel.until(lambda now: now.new == 0 and sum(now.held.values()) == now.held[gone])
    assert now.held[gone] == pile >= 40


@answers("02 quiz 1")
def test_of_two_that_wait_the_first_gets_the_first_order(kernel):
    """Redis serves those who wait in the order in which they came."""
    r = kernel("02").r
    r.xgroup_create("orders", GROUP, "0", mkstream=True)

    def wait(name):
        with redis.Redis.from_url(server.current().url, decode_responses=True) as client:
            [[_, entries]] = client.xreadgroup(GROUP, name, {"orders": ">"}, block=20_000)
        return [entry_id for entry_id, _ in entries]

    with ThreadPoolExecutor() as threads:
        waits = []
        for number, name in enumerate(("ann", "bob"), 1):
            waits.append(threads.submit(wait, name))
            while r.info("clients")["blocked_clients"] < number:
                time.sleep(0.01)
        for n in (1, 2):
            r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
        assert [got.result() for got in waits] == [["1-0"], ["2-0"]]


@answers("02 quiz 2")
def test_xack_asks_for_no_name_and_a_second_one_returns_0(kernel):
    """It knows the group and the id."""
    lesson = kernel("02")
    r = lesson.r
    r.xadd("orders", {"item": "tea"}, id="1-0")
    r.xgroup_create("orders", GROUP, "0")
    r.xreadgroup(GROUP, "bob", {"orders": ">"})
    assert [r.xack("orders", GROUP, "1-0") for _ in range(2)] == [1, 0]


@answers("02 quiz 3")
def test_a_stream_keeps_the_orders_that_all_of_its_groups_have_acked(kernel):
    """XACK shortens the pending list alone."""
    r = kernel("02").r
    orders(r, "orders", 3)
    for group in ("kitchen", "books"):
        r.xgroup_create("orders", group, "0")
        [[_, entries]] = r.xreadgroup(group, "ann", {"orders": ">"})
        assert r.xack("orders", group, *(entry_id for entry_id, _ in entries)) == 3
    assert r.xlen("orders") == 3


# 03 Acknowledged is not deleted -----------------------------------------------------------------------------


@pytest.fixture
def busy(kernel):
    """The panel of lesson 03, which is trimmed."""
    lesson = kernel("03")
    lesson.enter(PACKAGE)
    lesson.run("panel")
    yield lesson
    lesson.stream.close(), lesson.busy.close()


@answers("03 play 1")
@pytest.mark.any_server("processes and a panel; trim() is tested on each server")
def test_the_safe_trim_leaves_what_is_not_acked_and_slow_handlers_make_that_more(busy):
    """The shortest is the handful of orders in hand or on their way."""
    panel = busy.panel
    panel.until(lambda now: now.handled >= 50)
    panel.until(lambda now: busy.busy.trim().left <= 5)
    panel.work.value = 200
    panel.until(lambda now: now.length >= 150)
    assert busy.busy.trim().left >= 100


@answers("03 play 2")
@pytest.mark.any_server("processes and a panel; trim() and the claim are tested on each server")
def test_the_dead_hold_the_safe_trim_and_not_the_other_and_neither_moves_pending(busy, eventually):
    """A new consumer claims what the dead held; what was cut away meanwhile is lost, and its log says so."""
    panel, r = busy.panel, busy.r
    keep_busy(busy.team, eventually)
    for consumer in busy.team:
        consumer.kill()
    held = pending(r, "busy")
    assert {owner for owner, _ in held.values()} == {"c1", "c2"}
    busy.busy.trim()
    panel.until(lambda now: now.length >= 200)
    assert busy.busy.trim().removed == 0
    assert r.xtrim("busy", maxlen=100, approximate=False) > 0
    assert pending(r, "busy") == held
    new = panel.add_consumer()
    panel.until(lambda now: not {"c1", "c2"} & now.held.keys())
    eventually(lambda: all(entry_id in new.output().decode() for entry_id in held))
    assert not r.exists("busy-dlq")


@answers("03 quiz 1")
def test_xack_of_a_trimmed_entry_returns_1_while_it_is_pending(kernel):
    """XACK looks into the pending list alone. What is not pending gives 0."""
    lesson = kernel("03")
    r = lesson.r
    orders(r, "orders", 2)
    r.xgroup_create("orders", GROUP, "0")
    [[_, [(first, _)]]] = r.xreadgroup(GROUP, "ann", {"orders": ">"}, count=1)
    [(_, _), (second, _)] = r.xrange("orders")
    r.xtrim("orders", maxlen=0, approximate=False)
    assert [r.xack("orders", GROUP, entry_id) for entry_id in (first, first, second)] == [1, 0, 0]


@answers("03 quiz 2")
@pytest.mark.parametrize(("place", "removed", "left"), [("$", 2, 4), ("0", 0, 6)])
def test_a_group_at_the_end_holds_nothing_and_one_at_0_holds_the_whole_stream(kernel, place, removed, left):
    """A group needs what it was not given yet."""
    lesson = kernel("03")
    lesson.run("safe-setup")
    lesson.r.xgroup_create("orders", "late", place)
    stream = connect()
    done = stream.trim()
    stream.close()
    assert (done.removed, done.left) == (removed, left)
    assert (done.holder.group == "late") == (place == "0")


@answers("03 quiz 3")
@pytest.mark.any_server("processes and a panel; XTRIM is tested on each server")
def test_what_the_cap_took_was_sent_and_never_handled_and_no_number_says_so(busy):
    """Sent minus handled is what was cut away unread."""
    panel, r = busy.panel, busy.r
    panel.work.value = 200
    busy.busy.trim()
    panel.until(lambda now: now.length >= 300)
    cut = r.xtrim("busy", maxlen=100, approximate=False)
    panel.rate.value, panel.work.value = 0, 5

    def settled(now):
        [group] = r.xinfo_groups("busy")
        return group["pending"] == 0 and group["last-delivered-id"] == r.xinfo_stream("busy")["last-generated-id"]

    panel.until(settled)
    sent = count(busy.producer, "sent")
    handled = {event["id"] for each in busy.team for event in each.read(0)[0] if event["event"] == "handled"}
    assert 100 <= sent - len(handled) <= cut
    assert not r.exists("busy-dlq")


# 04 A consumer dies --------------------------------------------------------------------------------------------


@answers("04 play 1")
@pytest.mark.any_server("processes and a panel; what stays pending is tested on each server")
def test_throughput_alone_says_that_everybody_is_dead(kernel, eventually):
    """Pending stands still, and the length grows as it did before."""
    lesson = kernel("04")
    lesson.run("panel")
    panel, r = lesson.panel, lesson.r
    keep_busy(lesson.team, eventually)
    for consumer in lesson.team:
        consumer.kill()
    left = pending(r, "busy")
    panel.until(lambda now: now.throughput == 0)
    length = panel.sampler.latest.length
    panel.until(lambda now: now.length >= length + 20)
    assert pending(r, "busy") == left
    assert 2 <= len(left) < 20


@answers("04 play 2")
@pytest.mark.any_server("processes and a panel; the claim is tested on each server")
def test_pending_falls_when_what_the_dead_held_has_been_idle_for_the_claim_limit(kernel, eventually):
    """Six seconds: long enough to see that pending stands still, while throughput is back."""
    lesson = kernel("04")
    lesson.run("panel")
    panel = lesson.panel
    keep_busy(lesson.team, eventually)
    lesson.kill_all()
    killed_s = time.time()
    last = panel.add_consumer()
    panel.until(lambda now: now.throughput and {"c1", "c2", "c3"} <= now.held.keys())
    panel.until(lambda now: not {"c1", "c2", "c3"} & now.held.keys())
    begun = [event for event in last.read(0)[0] if event["event"] == "began"]
    claimed_s = min(event["t"] for event in begun if event["id"] in in_hand(lesson.team))
    assert claimed_s - killed_s >= 4  # the limit, less the age of a heartbeat


def in_hand(workers):
    """Return the ids of the orders that *workers* had begun and not finished."""
    ids = set()
    for worker in workers:
        events = [event for event in worker.read(0)[0] if "id" in event]
        ids |= {e["id"] for e in events if e["event"] == "began"} - {e["id"] for e in events if e["event"] != "began"}
    return ids


@answers("04 quiz 1")
def test_force_of_an_entry_that_never_was_claims_nothing(kernel):
    """It makes pending what is in the stream, whether somebody held it or not."""
    lesson = kernel("04")
    lesson.run("shop")
    lesson.shop(1)
    r = lesson.r
    assert r.xclaim("orders", GROUP, "bob", 0, ["9-0"], force=True) == []
    assert pending(r) == {}
    assert [entry_id for entry_id, _ in r.xclaim("orders", GROUP, "bob", 0, ["1-0"], force=True)] == ["1-0"]


@answers("04 quiz 2")
def test_two_that_claim_at_once_never_get_the_same_entry(kernel):
    """The first claim sets the idle time to 0. With a min-idle of 0 there is nothing to be too young for."""
    lesson = kernel("04")
    lesson.run("shop")
    lesson.shop(200)
    r = lesson.r
    r.xreadgroup(GROUP, "ann", {"orders": ">"})
    ids = [f"{n}-0" for n in range(1, 201)]
    r.xclaim("orders", GROUP, "ann", 0, ids, idle=90_000, justid=True)
    together = threading.Barrier(2)

    def claim(name):
        got, cursor = [], "0-0"
        with redis.Redis.from_url(server.current().url, decode_responses=True) as client:
            together.wait()
            while True:
                cursor, entries = client.xautoclaim("orders", GROUP, name, 60_000, start_id=cursor, count=1)[:2]
                got += [entry_id for entry_id, _ in entries]
                if cursor == "0-0":
                    return got

    with ThreadPoolExecutor() as threads:
        bob, carl = threads.map(claim, ("bob", "carl"))
    assert sorted(bob + carl) == sorted(ids)
    assert [r.xautoclaim("orders", GROUP, name, 0, count=200)[1][0][0] for name in ("bob", "carl")] == ["1-0", "1-0"]


@answers("04 quiz 3")
@pytest.mark.any_server("processes and their heartbeat; its script is tested on each server")
def test_nobody_overtakes_a_slow_consumer_that_renews_its_order(kernel):
    """His process says several times within the limit that he is at it."""
    lesson = kernel("04")
    lesson.run("shop")
    lesson.shop(1, "shift")
    bob = lesson.lab.processes.consumer("bob", stream="shift", work_ms=4_000, claim_idle_ms=1_000)
    with lesson.lab.Sampler("shift", [bob]) as shift:
        shift.until(lambda now: now.held == {"bob": 1})
        carl = lesson.lab.processes.consumer("carl", stream="shift", claim_idle_ms=1_000)
        shift.until(lambda now: now.handled == 1 and now.pending == 0)
    assert (count(bob, "handled"), count(carl, "began")) == (1, 0)


# 05 Three tries, then the dead-letter queue -----------------------------------------------------------------


@pytest.fixture
def failing(kernel):
    """The panel of lesson 05 at 100 % failing runs, with ten dead letters."""
    lesson = kernel("05")
    lesson.enter(PACKAGE)
    lesson.run("panel")
    lesson.panel.failure.value = 100
    lesson.panel.until(lambda now: now.dead_lettered >= 10)
    yield lesson
    lesson.queue.stream.close()


@answers("05 play 1")
def test_dead_letters_grow_with_the_third_power_of_the_failing_runs(kernel):
    """All three runs of an order must fail: 1 %, 13 % and 51 % of the orders."""
    lesson = kernel("05")
    dead = {}
    for rate in (0.2, 0.5, 0.8):
        lesson.lab.fresh("orders", "orders-dlq")
        stream = connect(Settings(redis_url=server.current().url, claim_idle_ms=100, backoff_ms=1))
        Producer(stream).send_many(Order(f"o-{n}", "tea", 1) for n in range(300))
        Consumer(stream, lesson.lab.faults.flaky(rate, seed=5), "ann").drain(timeout_s=60)
        dead[rate] = lesson.r.xlen("orders-dlq") / 300
        stream.close()
    assert dead[0.2] < 0.03
    assert 0.08 < dead[0.5] < 0.18
    assert 0.43 < dead[0.8] < 0.59


@answers("05 play 2")
@pytest.mark.any_server("processes and a panel; redrive is tested on each server")
def test_redriven_before_the_repair_all_dead_letters_are_back_after_three_runs_more(failing):
    """A redrive begins with a new set of attempts."""
    panel = failing.panel
    panel.rate.value = 0
    panel.until(lambda now: now.pending == 0 and now.length == now.dead_lettered + now.handled)
    before = panel.sampler.latest
    assert failing.queue.redrive_all() == before.dead_lettered
    panel.until(lambda now: now.failed == before.failed + 3 * before.dead_lettered)
    panel.until(lambda now: now.dead_lettered == before.dead_lettered and now.pending == 0)


@answers("05 quiz 1")
def test_an_idle_below_0_counts_as_0(kernel, eventually):
    """No entry can be claimed later than the limit from now on, here 50 ms: XCLAIM sets no clock to the future."""
    r = kernel("05").r
    r.xadd("orders", {"item": "tea"}, id="1-0")
    r.xgroup_create("orders", GROUP, "0")
    r.xreadgroup(GROUP, "ann", {"orders": ">"})
    r.xclaim("orders", GROUP, "ann", 0, ["1-0"], idle=60_000 - 90_000, justid=True)
    assert r.xautoclaim("orders", GROUP, "bob", 60_000)[1] == []
    eventually(lambda: r.xautoclaim("orders", GROUP, "bob", 50)[1], timeout_s=20)


@answers("05 quiz 2")
def test_the_reason_is_the_consumers_own_and_the_field_of_that_name_stays(kernel):
    """What the move appends wins, and a redrive brings the entry back as it was."""
    lesson = kernel("05")
    r = lesson.r
    stream = connect(Settings(redis_url=server.current().url, backoff_ms=1, claim_idle_ms=100))
    r.xadd("orders", {"data": TEA, "dlq-error": "I say so"})
    Consumer(stream, lesson.lab.faults.failing("tea"), "ann").drain()
    [letter] = DeadLetterQueue(stream).list()
    assert "made to fail" in letter.reason
    assert letter.deliveries == 3
    DeadLetterQueue(stream).redrive(letter.id)
    [*_, (_, fields)] = r.xrange("orders")
    assert fields == {"data": TEA, "dlq-error": "I say so"}
    stream.close()


@answers("05 quiz 3")
@pytest.mark.any_server("processes and a panel; claims and dead letters are tested on each server")
def test_with_both_dead_neither_number_moves_and_a_third_consumer_fails_on(failing):
    """Pending keeps those that wait for their next try; the new consumer takes the value of the slider."""
    panel, r = failing.panel, failing.r
    for consumer in failing.pair:
        consumer.kill()
    left, dead = pending(r, "busy"), r.xlen("busy-dlq")
    length = r.xlen("busy")
    panel.until(lambda now: now.length >= length + 20)
    assert left
    assert (pending(r, "busy"), r.xlen("busy-dlq")) == (left, dead)
    panel.add_consumer()
    panel.until(lambda now: now.dead_lettered >= dead + len(left) + 10 and not {"c1", "c2"} & now.held.keys())
    assert not left.keys() & pending(r, "busy").keys()


# 06 Exactly once is something you build ---------------------------------------------------------------------


@answers("06 play 1")
@pytest.mark.any_server("a link, a process and a panel; XADD is tested on each server")
def test_at_30_percent_lost_replies_the_stream_grows_by_nearly_a_half_more(kernel):
    """An order is sent 1 / (1 - 0.3) = 1.43 times."""
    lesson = kernel("06")
    lesson.run("panel")
    panel, r = lesson.panel, lesson.r
    lesson.losses.value, panel.rate.value = 30, 100
    panel.until(lambda now: now.length >= 300)
    ids = [json.loads(fields["data"])["id"] for _, fields in r.xrange("busy")]
    assert 1.25 < len(ids) / len(set(ids)) < 1.65
    assert len(ids) - len(set(ids)) <= lesson.line.lost


@answers("06 play 2")
@pytest.mark.any_server("a link, a process and a panel; dedupe is tested on each server")
def test_dedupe_leaves_no_double_and_costs_no_throughput_because_both_pause_alike(kernel):
    """At 30 % lost replies as many orders get in with it as without it: those that the producer takes."""
    lesson = kernel("06")
    lesson.run("panel")
    panel, r = lesson.panel, lesson.r
    panel.until(lambda now: now.length >= 5)
    ordered, took_s = {}, {}
    for dedupe in (0, 1):
        lesson.losses.value, lesson.dedupe.value = 0, dedupe
        panel.until(lambda now: now.pending == now.backlog == 0)
        before, began = r.xlen("busy"), time.monotonic()
        lesson.losses.value = 30
        lost = lesson.line.lost + 40
        panel.until(lambda now, enough=lost: lesson.line.lost >= enough)
        took_s[dedupe] = time.monotonic() - began
        ids = [json.loads(fields["data"])["id"] for _, fields in r.xrange("busy")][before:]
        ordered[dedupe] = len(set(ids))
        assert (len(ids) > len(set(ids))) == (dedupe == 0)
    assert 0.5 < (ordered[1] / took_s[1]) / (ordered[0] / took_s[0]) < 2
    assert 7 < ordered[1] / took_s[1] < 13


@answers("06 quiz 1")
def test_with_an_id_of_its_own_the_repeat_is_refused_and_the_order_is_in_once(kernel):
    """The call raises, although all is well."""
    lesson = kernel("06")
    lesson.run("link")
    lesson.link.lose_reply("XADD")
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        lesson.shop.xadd("orders", {"data": TEA}, id="5-0")
    assert lesson.r.xrange("orders") == [("5-0", {"data": TEA})]
    lesson.shop.close()


@answers("06 quiz 2")
def test_without_its_marker_an_order_is_sold_again(kernel):
    """A marker must live as long as the order can come again."""
    lesson = kernel("06")
    lesson.run("link", "once", "once-run")
    r = lesson.r
    assert r.get("sold:o-1") == "1"
    r.set("stock", 7)
    r.delete("sold:o-1")
    lesson.sell_once({"id": "o-1", "item": "tea", "amount": 3})
    assert r.get("stock") == "4"


@answers("06 quiz 3")
def test_who_dies_before_the_effect_leaves_it_to_the_next_and_7_packets_are_left(kernel):
    """Only Dora's run took any."""
    lesson = kernel("06")
    r, processes = lesson.r, lesson.lab.processes
    r.set("stock", 10)
    bob = processes.consumer("bob", stock="stock", die="before effect")
    r.xadd("orders", {"data": TEA}, id="1-0")
    bob.wait()
    assert (r.get("stock"), pending(r)) == ("10", {"1-0": ("bob", 1)})
    dora = processes.consumer("dora", stock="stock")
    with lesson.lab.Sampler("orders", [dora]) as hall:
        r.xclaim("orders", GROUP, "bob", 0, ["1-0"], idle=30_000, justid=True)
        hall.until(lambda now: now.handled == 1 and now.pending == 0)
    assert r.get("stock") == "7"


# 07 Round trips, not Redis, are the limit -------------------------------------------------------------------


@answers("07 play 1")
@pytest.mark.any_server("processes and a panel; what is pending is tested on each server")
def test_one_consumer_keeps_up_until_the_rate_is_within_reach_of_the_slider(kernel):
    """Up to there throughput follows the producer, and behind it the backlog grows."""
    lesson = kernel("07")
    lesson.run("little-start")
    panel = lesson.panel

    def waiting(now):
        return now.length - now.handled

    panel.work.value = 0
    panel.rate.value = 500
    panel.until(lambda now: now.throughput >= 400 and waiting(now) <= 100)
    panel.rate.value = lesson.RATES[-1]
    panel.until(lambda now: waiting(now) >= 20_000)
    assert panel.sampler.latest.throughput < lesson.RATES[-1] / 2


@answers("07 play 2")
@pytest.mark.any_server("processes and a panel, and how long a handler takes")
def test_rate_times_handler_time_is_how_many_consumers_are_busy(kernel):
    """A quarter of 200 orders per second, 60 ms each: 3 are busy, so 2 fall behind, and 4 catch up."""
    lesson = kernel("07")
    lesson.run("little-start")
    panel = lesson.panel
    panel.add_consumer()
    panel.work.value, panel.rate.value = 60, 50

    def waiting(now):
        return now.length - now.handled

    panel.until(lambda now: waiting(now) >= 30)
    panel.add_consumer(), panel.add_consumer()
    most = waiting(panel.sampler.latest)
    panel.until(lambda now: waiting(now) <= most - 15)


@answers("07 quiz 1")
@pytest.mark.any_server("a link that delays replies; Redis does the same work")
def test_over_a_distance_of_1_ms_a_hundred_orders_at_a_time_save_far_more(kernel):
    """2,000 waits of a millisecond, or 20."""
    lesson = kernel("07")
    lesson.run("batch-tools")
    near = seconds(lesson, lesson.one_by_one) / seconds(lesson, lesson.by, 100)
    lesson.link = lesson.lab.faults.LossyLink()
    lesson.link.delay(1)
    lesson.r = redis.Redis.from_url(lesson.link.url, decode_responses=True)
    alone, together = seconds(lesson, lesson.one_by_one), seconds(lesson, lesson.by, 100)
    lesson.r.close()
    assert alone >= 2.0
    assert alone / together > near


def seconds(lesson, work, *args):
    took = []
    for _ in range(2):
        lesson.lab.fresh("orders")
        began = time.perf_counter()
        work(*args)
        took.append(time.perf_counter() - began)
    return min(took)


@answers("07 quiz 2")
@pytest.mark.any_server("the time of processors; the commands are tested on each server")
def test_two_consumers_share_redis_and_nothing_else(kernel, eventually):
    """What each does for itself is the larger part by far."""
    lesson = kernel("07")
    pair = [lesson.lab.processes.consumer(name, work_ms=0) for name in ("c1", "c2")]
    before = cpu_s(lesson.r), sum(map(process_s, pair))
    stream = connect()
    Producer(stream).send_many(Order(f"o-{n}", "tea", 1) for n in range(5_000))
    stream.close()
    eventually(lambda: sum(count(each, "handled") for each in pair) == 5_000, timeout_s=30)
    assert cpu_s(lesson.r) - before[0] < sum(map(process_s, pair)) - before[1]


def cpu_s(r):
    used = r.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def process_s(process):
    used = psutil.Process(process.pid).cpu_times()
    return used.user + used.system


@answers("07 quiz 3")
def test_at_the_end_of_the_stream_lag_is_0_and_known_again(kernel):
    """Redis counts from the newest entry, wherever the group began. 6.2 has no lag."""
    r = kernel("07").r
    for n in range(1, 7):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    r.xgroup_create("orders", GROUP, "3-0")
    [before] = r.xinfo_groups("orders")
    r.xreadgroup(GROUP, "ann", {"orders": ">"}, count=2)
    r.xreadgroup(GROUP, "ann", {"orders": ">"})
    [after] = r.xinfo_groups("orders")
    lag = (before.get("lag", "no lag"), after.get("lag", "no lag"))
    assert lag == ((None, 0) if version(r) >= (7,) else ("no lag", "no lag"))


# 08 One order, one trace ------------------------------------------------------------------------------------


@pytest.fixture
def lanes(kernel):
    """The panel of lesson 08, with its swim lanes."""
    lesson = kernel("08")
    lesson.enter(PACKAGE)
    lesson.run("panel")
    return lesson


@answers("08 play 1")
@pytest.mark.any_server("spans of processes; the claim is tested on each server")
def test_the_line_runs_in_pending_for_the_claim_limit_of_1500_ms(lanes, eventually):
    """Then c2 claims the order of the dead, at its second attempt."""
    keep_busy(lanes.pair[:1], eventually)
    lanes.pair[0].kill()
    killed_s = time.time()

    def again(spans):
        return [span for span in spans if span.consumer == "c2" and span.operation == "process" and span.attempt == 2]

    lanes.recorder.until(again)
    assert again(lanes.recorder.spans())[0].began_s - killed_s >= 0.9  # less the age of a heartbeat


@answers("08 play 2")
@pytest.mark.any_server("spans of processes; attempts are tested on each server")
def test_3_is_the_last_digit_before_the_dead_letters_and_not_each_3_leads_there(lanes):
    """The third run may succeed."""
    panel = lanes.panel
    panel.failure.value, panel.rate.value, panel.work.value = 60, 20, 5

    def thirds(spans):
        return {span.outcome for span in spans if span.operation == "process" and span.attempt == 3 and span.ended_s}

    panel.until(lambda now: now.dead_lettered >= 3)
    lanes.recorder.until(lambda spans: len(thirds(spans)) >= 2)
    assert {entry["dlq-deliveries"] for _, entry in lanes.r.xrange("busy-dlq")} == {"3"}


@answers("08 quiz 1")
@pytest.mark.any_server("spans of processes; what is pending is tested on each server")
def test_who_dies_before_the_handler_is_in_no_span_and_attempt_2_has_no_attempt_1(kernel):
    """No handler run began."""
    lesson = kernel("08")
    lesson.enter(PACKAGE)
    recorder = lesson.lab.Recorder()
    ann = lesson.lab.processes.consumer("ann", die="after read", claim_idle_ms=1_000, trace=True)
    recorder.watch(ann)
    Producer(lesson.stream).send(Order("o-4712", "figs", 1))
    ann.wait()
    bob = lesson.lab.processes.consumer("bob", claim_idle_ms=1_000, trace=True)
    recorder.watch(bob)
    recorder.until(lambda spans: "ack" in [span.operation for span in spans])
    spans = recorder.spans()
    assert not [span for span in spans if span.process == "ann"]
    assert [span.attempt for span in spans if span.operation == "process"] == [2]
    lesson.stream.close()


@answers("08 quiz 2")
@pytest.mark.any_server("spans; test_tracing shows on each server which there are")
def test_a_redrive_is_a_child_of_the_first_send(kernel):
    """The context that travels in the entry is that of the send, also through the dead letters."""
    lesson = kernel("08")
    recorder = lesson.lab.Recorder()
    stream = connect(Settings(redis_url=server.current().url, claim_idle_ms=100, backoff_ms=1))
    Producer(stream).send(Order("o-4711", "tea", 1))
    Consumer(stream, lesson.lab.faults.failing("tea"), "ann").drain()
    queue = DeadLetterQueue(stream)
    queue.redrive(*(letter.id for letter in queue.list()))
    sends = [span for span in recorder.spans() if span.operation == "send"]
    assert [span.outcome for span in sends] == [None, "redrive"]
    assert sends[1].parent_id == sends[0].id
    stream.close()


# 09 The control room ----------------------------------------------------------------------------------------


@pytest.fixture
def room(kernel):
    """A control room, as its cell opens it."""
    lesson = kernel("09")
    lesson.run("play")
    lesson.room.until(lambda now: now.handled)
    return lesson.room


@answers("09 play 1")
@pytest.mark.any_server("processes and a panel; attempts are tested on each server")
def test_an_innocent_order_dies_of_three_failures_or_of_three_kills(room):
    """Both spend its attempts."""
    room.failure.value = 100
    room.until(lambda now: now.dead_lettered)
    room.rate.value = room.failure.value = 0
    room.until(lambda now: now.pending == 0)
    assert reasons() == {"RuntimeError"}
    dead = room.sampler.latest.dead_lettered
    team = ["c1", "c2"]
    room.work.value = 2_000
    for name in team:  # a number is on its way for a moment; a process that starts has it
        room.switch(name)
        room.switch(name)
    room.burst(1)
    for _ in range(3):
        [holder] = room.until(lambda now: now.held.keys() & set(team)).held
        room.kill(holder)
        team.remove(holder)
        team.append(room.add_consumer().name)
    room.until(lambda now: now.dead_lettered == dead + 1)
    assert reasons() == {"RuntimeError", "max-attempts"}


def reasons():
    """Return the first words of the reasons of all dead letters in the stream ``play``."""
    stream = connect(Settings(redis_url=server.current().url, stream="play"))
    found = {letter.reason.partition(":")[0] for letter in DeadLetterQueue(stream)}
    stream.close()
    return found


@answers("09 play 2")
@pytest.mark.any_server("processes and a panel; CLIENT PAUSE WRITE is the same since 6.2")
def test_in_a_pause_throughput_falls_to_0_and_who_waits_gets_older_and_nothing_else_moves(room):
    """Only a write moves the others. Without an order that waits, nobody gets older."""
    room.rate.value, room.work.value = 20, 200
    room.until(lambda now: now.oldest_new_s >= 0.5 and now.throughput)
    room.pause_redis()
    first = room.until(lambda now: now.throughput == 0)
    later = room.until(lambda now: now.t_s >= first.t_s + 0.5)
    still = ("pending", "lag", "dead_lettered", "length")
    assert [getattr(first, name) for name in still] == [getattr(later, name) for name in still]
    assert later.oldest_new_s > first.oldest_new_s


@answers("09 play 3")
@pytest.mark.any_server("processes and a panel; test_control_room restarts each server")
def test_after_a_restart_nearly_nothing_waits_and_with_a_log_everything_does(room):
    """What is sent after it is there; nothing is sent here."""
    room.work.value = 500
    room.worker("p1").stop()
    room.burst(100)
    room.until(lambda now: now.length >= 100 and now.pending)
    room.restart_redis()
    after = room.until(lambda now: now.length is not None)
    assert [after.length, after.dead_lettered, after.oldest_new_s] == [0, 0, 0]
    room.log.value = True
    room.burst(100)
    room.until(lambda now: now.length == 100 and now.pending)
    room.restart_redis()
    after = room.until(lambda now: now.length is not None)
    assert after.length == 100
    assert after.oldest_new_s


@answers("09 quiz 1")
@pytest.mark.any_server("processes and a panel; the claim is tested on each server")
def test_a_pause_longer_than_the_claim_limit_can_have_an_order_handled_twice(room):
    """The claim of who has nothing to do waits at Redis in front of the ack, or the renewal, of the owner."""
    room.rate.value, room.work.value = 2, 500
    for _ in range(8):
        room.until(lambda now: sum(now.held.values()) == 1)
        room.pause_redis()
        paused = room.until(lambda now: now.throughput == 0)
        room.until(lambda now, enough=paused.handled + 3: now.handled >= enough)
        if room._twice:
            break
    assert room._twice
    assert [room.worker(name).alive for name in ("c1", "c2")] == [True, True]


@answers("09 quiz 2")
@pytest.mark.any_server("processes and a panel; what a consumer gives back is tested on each server")
def test_only_pending_tells_a_stop_from_a_kill(room):
    """Who is stopped finishes its order and gives back the rest. What the dead held stays."""
    team = ("c1", "c2")
    room.work.value = 200
    room.until(lambda now: now.held.keys() >= set(team))
    for name in team:
        room.switch(name)
    stopped = room.until(lambda now: now.throughput == 0)
    assert stopped.pending == 0
    room.work.value = 2_000
    for name in team:
        room.switch(name)
    room.until(lambda now: now.held.keys() >= set(team))
    for name in team:
        room.kill(name)
    killed = room.until(lambda now: now.throughput == 0)
    assert killed.pending >= 1
    room.work.value = 20
    room.switch("c1")
    room.until(lambda now: now.throughput)


@answers("09 quiz 3")
@pytest.mark.any_server("processes and a panel; attempts and redrive are tested on each server")
def test_redriven_poison_costs_three_consumers_again(room):
    """A redrive begins with a new set of attempts."""
    room.rate.value = 0
    room.add_consumer(), room.add_consumer()
    team = ("c1", "c2", "c3", "c4")
    for begin in (room.poison, room.redrive):
        for name in team:
            if not room.worker(name).alive:
                room.switch(name)
        length = room.until(lambda now: now.pending == 0).length
        begin()
        room.until(lambda now, length=length: now.dead_lettered == 1 and now.pending == 0 and now.length > length)
        assert sum(not room.worker(name).alive for name in team) == 3


# 10 The same recovery in three eras -------------------------------------------------------------------------


@pytest.fixture
def eras(kernel):
    """The panel of lesson 10."""
    lesson = kernel("10")
    lesson.run("cost-5-0", "cost-newer", "panel")
    return lesson


def choose(panel, era):
    """Choose *era*, and return once nobody takes an order by another one."""
    panel.era.value = era
    handled = panel.until(lambda now: True).handled
    return panel.until(lambda now: now.handled >= handled + 3)


@answers("10 play 1")
def test_without_a_death_the_newest_way_needs_2_round_trips_as_reading_alone_does_and_the_others_3(eras):
    """A read and an ack; 5.0 and 6.2 look for suspects first. Redis before 8.4 refuses the newest way."""
    panel = eras.panel
    each = {}
    for era in eras.eras:
        if era.startswith("8.4") and version(eras.r) < (8, 4):
            continue
        before = choose(panel, era)
        after = panel.until(lambda now, before=before: now.handled >= before.handled + 8)
        each[era[:3]] = (after.spent - before.spent) / (after.handled - before.handled)
    assert each.pop("8.4", 2) == 2
    assert each == {"> a": 2, "5.0": 3, "6.2": 3}


@answers("10 play 2")
@pytest.mark.parametrize(("era", "each"), [("5.0", 3), ("6.2", 2)])
def test_a_recovered_order_costs_3_round_trips_by_5_0_and_2_by_6_2(eras, era, each):
    """
    Look, claim, ack; or claim, ack. An order that was new costs 3 in both.

    XAUTOCLAIM looks at ten at a time. If all get due between its first and its second look, that order costs one more.
    """
    panel = eras.panel
    choose(panel, era)
    panel.rate.value = 0
    panel.until(lambda now: now.new == 0 and not any(now.held.values()))
    before = panel.moments[-1]
    panel.crash("ann")
    after = panel.until(lambda now: now.handled >= before.handled + 20 and not any(now.held.values()))
    new = after.handled - before.handled - 20
    assert after.spent - before.spent - 20 * each - 3 * new in ({0} if era == "5.0" else {0, 1})


def reply_of_a_reader_that_claims(r, act):
    """Let Bob wait in XREADGROUP … CLAIM for what Ann holds, *act* meanwhile, and return the reply that he gets."""
    r.delete("orders")
    r.xadd("orders", {"item": "tea"}, id="1-0")
    r.xgroup_create("orders", GROUP, "0")
    r.xreadgroup(GROUP, "ann", {"orders": ">"})

    def read():
        with redis.Redis.from_url(server.current().url, decode_responses=True) as client:
            return client.xreadgroup(GROUP, "bob", {"orders": ">"}, block=2_000, claim_min_idle_time=60_000)

    with ThreadPoolExecutor() as threads:
        waits = threads.submit(read)
        while not r.info("clients")["blocked_clients"]:
            time.sleep(0.01)
        act()
        return waits.result()


@answers("10 quiz 1")
def test_xnack_wakes_a_reader_that_claims_and_xclaim_idle_does_not(kernel):
    """A clock that somebody sets is no news to it. Before 8.8 there is no XNACK."""
    r = kernel("10").r
    if version(r) < (8, 8):
        with pytest.raises(redis.ResponseError):
            r.xnack("orders", GROUP, "FAIL", "1-0")
        return
    [[_, [(entry_id, *_)]]] = reply_of_a_reader_that_claims(r, lambda: r.xnack("orders", GROUP, "FAIL", "1-0"))
    assert entry_id == "1-0"
    older = {"idle": 90_000, "justid": True}
    assert reply_of_a_reader_that_claims(r, lambda: r.xclaim("orders", GROUP, "ann", 0, ["1-0"], **older)) == []
    assert r.xpending_range("orders", GROUP, "-", "+", 1, idle=90_000)


@answers("10 quiz 2")
def test_delref_takes_the_trimmed_entry_off_the_pending_list(kernel):
    """Redis before 8.2 refuses the word."""
    r = kernel("10").r
    for n in (1, 2):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    r.xgroup_create("orders", GROUP, "0")
    r.xreadgroup(GROUP, "ann", {"orders": ">"}, count=1)
    if version(r) < (8, 2):
        with pytest.raises(redis.ResponseError):
            r.xtrim("orders", maxlen=1, approximate=False, ref_policy="DELREF")
        return
    r.xtrim("orders", maxlen=1, approximate=False, ref_policy="DELREF")
    assert r.xpending("orders", GROUP)["pending"] == 0
    assert r.xack("orders", GROUP, "1-0") == 0


@answers("10 quiz 3")
def test_claim_with_the_id_0_claims_nothing(kernel):
    """It reads what the consumer holds itself. Redis before 8.4 refuses the word."""
    lesson = kernel("10")
    lesson.run("crash")
    lesson.crash("orders")
    r = lesson.r
    if version(r) < (8, 4):
        with pytest.raises(redis.ResponseError):
            r.xreadgroup(GROUP, "bob", {"orders": "0"}, claim_min_idle_time=60_000)
        return
    assert r.xreadgroup(GROUP, "bob", {"orders": "0"}, claim_min_idle_time=60_000) == [["orders", []]]
    assert pending(r) == {"1-0": ("ann", 1)}


# 11 Many at once --------------------------------------------------------------------------------------------


@answers("11 play 1")
@pytest.mark.any_server("a process and a panel, and how long a handler takes")
def test_100_orders_per_second_of_85_ms_need_more_than_5_at_once_and_fewer_than_20(kernel):
    """100/s x 0.085 s = 8.5, with a share of figs that chance decides."""
    lesson = kernel("11")
    lesson.run("play-panel")
    panel = lesson.panel
    panel.at_once.value, panel.rate.value = 5, 100
    before = panel.sampler.until(lambda now: now.backlog >= 40)
    panel.until(lambda now: now.backlog >= before.backlog + 60)
    panel.at_once.value = 20
    panel.until(lambda now: now.backlog <= 25)


@answers("11 play 2")
@pytest.mark.any_server("processes and a panel; claims are tested on each server")
def test_what_a_killed_crew_had_in_hand_comes_again_when_it_has_been_silent_for_5_s(kernel):
    """A heartbeat shortly before the kill may have renewed it."""
    lesson = kernel("11")
    lesson.run("play-panel")
    panel = lesson.panel
    panel.at_once.value, panel.rate.value = 50, 200
    panel.until(lambda now: len(now.held) and now.throughput > 100)
    panel.consumers[-1].kill()
    panel.add_consumer()
    killed = {run.order: run for run in panel.diary.runs if run.end == "killed"}
    assert len(killed) >= 5

    def again():
        return {run.order: run for run in panel.diary.runs if run.order in killed and run.end != "killed"}

    panel.until(lambda now: again().keys() == killed.keys(), timeout_s=40)
    assert min(run.began_s - killed[order].ended_s for order, run in again().items()) >= 3


@answers("11 quiz 1")
@pytest.mark.any_server("threads, and how long a handler takes; reads and acks are tested on each server")
def test_where_all_orders_take_the_same_time_batches_are_hardly_slower(kernel):
    """In turn, and the best of three: what else this machine does hits both."""
    lesson = kernel("11")
    lesson.run("more-tools", "more-wait", "batch-tools", "batch-run")
    took_s = {"batches": [], "crew": []}
    for _ in range(3):
        for how, times in took_s.items():
            lesson.shop(*lesson.tea(100))
            lesson.diary = lesson.lab.crews.Diary()
            if how == "batches":
                lesson.by_batches(10)
            else:
                Consumer(lesson.stream, lesson.ask, "c1", concurrency=10).drain()
            times.append(lesson.diary.took_s)
    assert min(took_s["batches"]) < 2 * min(took_s["crew"])


@answers("11 quiz 2")
@pytest.mark.any_server("a process, and how long a handler takes; its pace is tested on each server")
def test_a_crew_that_knows_its_pace_holds_about_50_ms_of_work_more(kernel, eventually):
    """20 in 100 ms are 10 in 50 ms."""
    lesson = kernel("11")
    lesson.run("more-tools", "more-wait")
    lesson.shop(*lesson.tea(300))
    c1 = lesson.lab.processes.consumer("c1", concurrency=20, work_ms=100)
    diary = lesson.lab.crews.Diary(c1)
    eventually(lambda: len(diary.runs) >= 50, timeout_s=20)
    c1.kill()
    assert sum(run.end == "killed" for run in diary.runs) <= 20 < len(pending(lesson.r)) <= 60


@answers("11 quiz 3")
@pytest.mark.any_server("processes; who goes alone is tested on each server")
def test_with_one_attempt_all_that_were_with_the_poison_are_dead_letters(kernel):
    """At the first crash nobody has died yet."""
    lesson = kernel("11")
    lesson.run("more-tools", "more-wait", "kill-run")
    lesson.enter(lesson.cells["poison-run"].replace('poison="figs"', 'poison="figs", max_attempts=1'))
    assert (lesson.lives, lesson.r.xlen("orders-dlq")) == (2, 20)


# 12 Survive the chaos ---------------------------------------------------------------------------------------

KEYED_BY_ENTRY = '''
class KeyedByEntry(MyConsumer):
    """The key of its effect is the id of the entry."""

    def __init__(self, client, stream, group, name, handler):
        super().__init__(client, stream, group, name, lambda order, key: handler(order, self.entry_id))

    def work(self, entry_id, fields, attempt):
        self.entry_id = entry_id
        super().work(entry_id, fields, attempt)
'''
UNFENCED = '''
MOVE = """
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""
'''


@pytest.fixture
def capstone(kernel):
    """Lesson 12 with everything that its panel and its exercise name; ``MyConsumer`` is not written yet."""
    lesson = kernel("12")
    lesson.run("rules", "first", "last")
    lesson.enter(lesson.cells["ex-11-2"].rpartition("\n\n\nlab.check")[0])
    return lesson


def kill_ours(lesson):
    """Play both cells, then do what the questions ask for; return the panel and what the dead one holds."""
    lesson.run("panel", "still")
    panel, (_, ours, _) = lesson.panel, lesson.trio
    panel.work.value = 200
    panel.until(lambda now: now.held.get("ours"))
    ours.kill()
    panel.until(lambda now: True)
    lesson.ninety_seconds_pass()
    return panel


@answers("12 play 1")
@pytest.mark.any_server("processes and a panel; what stays pending is tested on each server")
def test_after_the_kill_nobody_claims_and_pending_does_not_fall(capstone):
    """`last` is dead as well and would only read what is new; `yours` does nothing yet."""
    panel = kill_ours(capstone)
    left = pending(capstone.r)
    length = panel.sampler.latest.length
    panel.until(lambda now: now.length >= length + 40 and now.throughput == 0)
    assert {owner for owner, _ in pending(capstone.r).values()} == {"ours"}
    assert pending(capstone.r) == left


@answers("12 play 2")
@pytest.mark.any_server("processes and a panel; the claim is tested on each server")
def test_a_consumer_that_claims_brings_back_what_the_dead_one_held(capstone):
    """At rest, pending is 0."""
    capstone.solve("12.2")
    panel = kill_ours(capstone)
    panel.until(lambda now: "ours" not in now.held)
    panel.rate.value = panel.work.value = 0
    panel.until(lambda now: now.pending == 0)


@answers("12 quiz 1")
@pytest.mark.any_server("a judge and processes; tests/lab/test_chaos plays all levels on each server")
def test_the_printed_solution_has_the_same_score_with_another_seed(capstone):
    """Its orders are hit at other points."""
    capstone.solve("12.2")
    score, run = capstone.chaos.challenge(capstone.MyConsumer, seed=7)
    assert (score, run.verdict) == (len(capstone.chaos.LEVELS), None)


@answers("12 quiz 2")
@pytest.mark.any_server("a judge and processes; what it judges is the same on each server")
def test_with_the_entry_id_as_key_the_order_of_two_entries_is_charged_twice(capstone):
    """Level 3 has one."""
    capstone.solve("12.2")
    capstone.enter(KEYED_BY_ENTRY)
    score, run = capstone.chaos.challenge(capstone.KeyedByEntry)
    assert (score, run.verdict.invariant) == (2, "one effect")
    assert len(run.entries[run.verdict.order]) == 2


@answers("12 quiz 3")
@pytest.mark.any_server("a judge and processes; what it judges is the same on each server")
def test_without_the_fence_the_repeat_of_the_move_adds_a_second_dead_letter(capstone):
    """Its reply is 0: the order was not pending any more, and nobody had looked."""
    capstone.solve("12.2")
    capstone.enter(UNFENCED)
    run = capstone.chaos.play(capstone.MyConsumer, level=len(capstone.chaos.LEVELS))
    *_, before, last = run.story(run.verdict.order).splitlines()
    assert run.verdict.invariant == "one dead letter"
    assert before.split()[1] == "EVAL"
    assert before.endswith("→ 0")
    assert last.endswith("2 dead letters")
