"""Worker processes of the lessons: real ones, that can be turned, stopped and killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from orderstream import Order, Producer, Settings, connect, random_orders
from orderstream.errors import ConfigError
from orderstream.lab import lifeline
from orderstream.lab.workers import faults
from orderstream.lab.workers import worker as child
from orderstream.lab.workers.process import ProcessError, consumer, producer, stop_all

pytestmark = pytest.mark.usefixtures("lesson")


@pytest.fixture
def stream():
    """The stream of the workers of this test."""
    stream = connect()
    yield stream
    stream.close()


class Log:
    """All events of a worker so far."""

    def __init__(self, worker):
        self.worker, self.events = worker, []

    def count(self, event):
        self.events += self.worker.events()
        return sum(e.get("count", 1) for e in self.events if e["event"] == event)


# What they do ----------------------------------------------------------------------------------------------


def test_a_producer_sends_orders_and_tells_how_many(stream, eventually):
    """One event per batch."""
    worker = producer(rate_per_s=100)
    log = Log(worker)
    eventually(lambda: log.count("sent") >= 10)
    assert worker.stop() == 0
    assert log.count("sent") == stream.backlog().length


def test_a_producer_s_rate_can_be_set_while_it_runs(eventually):
    """From a pause to full tilt; the slider of the live panel does this."""
    worker = producer(rate_per_s=0)
    log = Log(worker)
    worker.set(rate_per_s=1000)
    eventually(lambda: log.count("sent") > 500)
    assert worker.knobs == {"rate_per_s": 1000, "resend": 0, "dedupe": 0}


def test_a_producer_keeps_its_rate(eventually):
    """Counted by its own clock, over a second or more."""
    log = Log(producer(rate_per_s=100))
    eventually(lambda: log.count("sent") >= 100)
    sent = [event for event in log.events if event["event"] == "sent"]
    took_s = sent[-1]["t"] - sent[0]["t"]
    assert sum(event["count"] for event in sent[1:]) == pytest.approx(100 * took_s, abs=20)


def test_two_consumers_share_the_orders(stream, eventually):
    """Each order is handled once, by the one whose event says so."""
    logs = [Log(consumer(name, work_ms=5)) for name in ("c1", "c2")]
    sent = {order.id for order in send(stream, 100)}
    eventually(lambda: sum(log.count("handled") for log in logs) == 100)
    handled = [event for log in logs for event in log.events if event["event"] == "handled"]
    assert {event["id"] for event in handled} == sent
    assert {event["consumer"] for event in handled} == {"c1", "c2"}


def test_a_failing_consumer_s_orders_are_retried_and_dead_lettered(stream, eventually):
    """Three runs each, as the package does it."""
    send(stream, 5)
    log = Log(consumer("c1", failure_rate=1.0, work_ms=0, backoff_ms=10))
    eventually(lambda: stream.backlog().dead_lettered == 5)
    assert [log.count(event) for event in ("began", "failed", "handled")] == [15, 15, 0]


def test_a_consumer_s_failures_can_be_set_while_it_runs(stream, eventually):
    """The sliders of the live panel."""
    worker = consumer("c1", failure_rate=1.0, work_ms=0, backoff_ms=10, max_attempts=1)
    log = Log(worker)
    send(stream, 1)
    eventually(lambda: log.count("failed") == 1)
    worker.set(failure_rate=0)

    def the_next_one_is_handled():  # the knob and the order travel separately
        send(stream, 1)
        return log.count("handled") >= 1

    eventually(the_next_one_is_handled)
    assert worker.knobs == {"failure_rate": 0, "work_ms": 0}


def test_the_same_seed_fails_at_the_same_runs(stream, eventually):
    """Lessons tell the same story each time."""
    runs = []
    for number in range(2):
        log = Log(consumer("c1", failure_rate=0.5, work_ms=0, seed=7, stream=f"orders-{number}", backoff_ms=0))
        send(connect_to(f"orders-{number}"), 20)
        eventually(lambda log=log: log.count("handled") + log.count("failed") >= 20)
        ends = [event["event"] for event in log.events if event["event"] in ("handled", "failed")]
        runs.append(ends[:20])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {"handled", "failed"}


def test_a_worker_can_go_through_a_link(stream, lesson, eventually):
    """Its own connections feel what the link does; ours do not."""
    with faults.LossyLink() as link:
        sender, log = producer(rate_per_s=100, url=link.url), Log(consumer("c1", url=link.url))
        eventually(lambda: log.count("handled") > 5)
        before = link.connections
        link.cut()
        seen = log.count("handled")
        eventually(lambda: log.count("handled") > seen + 5)
        eventually(lambda: link.connections >= before + 2)
        assert sender.alive


def orders_and_entries(stream):
    ids = [Order.from_fields(fields).id for _, fields in raw_entries(stream)]
    return len(set(ids)), len(ids)


def raw_entries(stream):
    entries = stream.client.xrange(stream.settings.stream)
    return [(entry_id, [part for pair in fields.items() for part in pair]) for entry_id, fields in entries]


def test_a_producer_that_sends_again_adds_entries_and_one_that_is_remembered_does_not(stream, lesson, eventually):
    """What the panel of lesson 06 shows: every order arrives, with or without a double."""
    with faults.LossyLink() as link:
        sender = producer(rate_per_s=100, resend=1, url=link.url, batch=1)
        link.lose_some(0.3)
        eventually(lambda: link.lost > 10, timeout_s=10)
        link.lose_some(0)
        sender.stop()
        orders, entries = orders_and_entries(stream)
        assert entries > orders
        stream.client.delete(stream.settings.stream)
        sender = producer(rate_per_s=100, dedupe=1, url=link.url, batch=1)
        lost = link.lost
        link.lose_some(0.1)
        eventually(lambda: link.lost > lost + 5, timeout_s=10)
        link.lose_some(0)
        sender.stop()
        orders, entries = orders_and_entries(stream)
        assert entries == orders > 0


def test_who_sends_again_pauses_as_long_as_who_is_remembered(stream, lesson, eventually):
    """Else the panel of lesson 06 would compare pauses, and not what it costs to be remembered."""
    took_s = {}
    for kind in ("resend", "dedupe"):
        with faults.LossyLink() as link:
            sender = producer(rate_per_s=0, url=link.url, batch=1, **{kind: 1})
            link.lose_reply("orders", times=5)  # of XADD, or of the script
            log = Log(sender)
            began = time.monotonic()
            sender.set(rate_per_s=20)
            eventually(lambda log=log: log.count("sent") >= 1, timeout_s=20)
            took_s[kind] = time.monotonic() - began
            assert link.lost == 5
            sender.stop()
    assert min(took_s.values()) >= 0.05 + 0.1 + 0.2 + 0.4 + 0.8


@pytest.mark.parametrize(("once", "left"), [(False, b"4"), (True, b"7")])
def test_a_consumer_takes_from_the_stock_once_for_each_run_or_for_each_order(stream, eventually, once, left):
    """Killed between the effect and the ack, it leaves a second run to the next one."""
    stream.client.set("stock", 10)
    first = consumer("c1", stock="stock", once=once, die="after effect", claim_idle_ms=300, backoff_ms=50)
    Producer(stream).send(Order("o-1", "tea", 3))
    assert first.wait() == -signal.SIGKILL
    assert stream.client.get("stock") == b"7"
    log = Log(consumer("c2", stock="stock", once=once, claim_idle_ms=300, backoff_ms=50))
    eventually(lambda: log.count("handled") == 1 and stream.backlog().pending == 0)
    assert stream.client.get("stock") == left


def test_the_password_in_a_worker_s_url_is_not_on_its_command_line(guest_on):
    """Everybody on this machine can read a command line."""
    url = guest_on("--requirepass", "s3cret").replace("redis://", "redis://:s3cret@")
    with faults.LossyLink(url) as link:
        for worker in (producer(url=link.url), consumer("c1", url=link.url)):
            assert "s3cret" not in " ".join(psutil.Process(worker.pid).cmdline())
            assert "s3cret" not in repr(vars(worker))


# How they end ----------------------------------------------------------------------------------------------


def test_a_killed_consumer_leaves_the_order_in_its_hand_pending(stream, eventually):
    """The crash of lesson 04."""
    send(stream, 1)
    worker = consumer("c1", work_ms=60_000)
    log = Log(worker)
    eventually(lambda: log.count("began") == 1)
    assert worker.kill() == -signal.SIGKILL
    assert stream.backlog().pending == 1
    assert repr(worker) == "<consumer c1, killed>"


def test_a_consumer_dies_after_the_read(stream, lesson, eventually):
    """Redis gave it the order, and its handler never began: pending at its first delivery. An empty read is none."""
    worker = consumer("c1", die="after read")
    log = Log(worker)
    eventually(
        lambda: lesson.info("commandstats").get("cmdstat_xreadgroup", {}).get("calls", 0) > 2 or not worker.alive
    )
    assert worker.alive
    send(stream, 1)
    assert worker.wait() == -signal.SIGKILL
    assert repr(worker) == "<consumer c1, killed>"
    assert log.count("began") == 0
    assert pending(stream) == [("c1", 1)]


def test_a_consumer_dies_before_the_effect(stream):
    """Its handler began, and did nothing yet."""
    worker = consumer("c1", die="before effect")
    log = Log(worker)
    send(stream, 1)
    assert worker.wait() == -signal.SIGKILL
    assert [log.count(event) for event in ("began", "handled")] == [1, 0]
    assert pending(stream) == [("c1", 1)]


def test_a_consumer_dies_after_the_effect_and_before_the_ack(stream, eventually):
    """Its events tell of the effect, so the next consumer makes it a second time."""
    (order,) = send(stream, 1)
    worker = consumer("c1", die="after effect", work_ms=0)
    log = Log(worker)
    assert worker.wait() == -signal.SIGKILL
    assert log.count("handled") == 1
    assert pending(stream) == [("c1", 1)]
    again = Log(consumer("c2", claim_idle_ms=200, backoff_ms=20))
    eventually(lambda: again.count("handled") == 1)
    assert {event["id"] for event in log.events + again.events if event["event"] == "handled"} == {order.id}


def test_a_run_that_fails_has_no_effect_to_die_after(stream, eventually):
    """Otherwise it would never be retried here."""
    worker = consumer("c1", die="after effect", failure_rate=1.0, max_attempts=1, work_ms=0)
    send(stream, 1)
    eventually(lambda: stream.backlog().dead_lettered == 1)
    assert worker.alive


def test_a_poison_order_kills_each_consumer_that_gets_it_and_ends_in_the_dead_letters(stream, eventually):
    """The others are handled, once each."""
    orders = [Order(f"o-{n}", item, 1) for n, item in enumerate(("tea", "figs", "rice"))]
    Producer(stream).send_many(orders)
    logs = []

    def start_another():
        if not logs or not logs[-1].worker.alive:
            logs.append(Log(consumer(f"c{len(logs)}", poison="figs", work_ms=0, claim_idle_ms=100, backoff_ms=20)))
        return stream.backlog().done

    eventually(start_another, 20)
    assert [log.worker.exit_code for log in logs[:-1]] == [-signal.SIGKILL] * 3
    ((_, fields),) = stream.dead_letters("-", 10)
    assert Order.from_fields(fields) == orders[1]
    counts = [log.count("handled") for log in logs]
    handled = [event["id"] for log in logs for event in log.events if event["event"] == "handled"]
    assert sorted(handled) == ["o-0", "o-2"], counts


def test_waiting_for_a_worker_that_does_not_end_is_an_error():
    """It names the worker, and does nothing to it."""
    worker = producer()
    with pytest.raises(TimeoutError, match=r"^<producer producer, running>: it has not ended within [0-9.]+ s$"):
        worker.wait(0.1)
    assert worker.alive


def test_a_killed_consumer_s_orders_are_taken_over_by_another(stream, eventually):
    """What was handled is in the events of both, up to the last moment of the first."""
    send(stream, 60)
    first = Log(consumer("c1", work_ms=5, claim_idle_ms=200, backoff_ms=20))
    eventually(lambda: first.count("handled") > 5)
    first.worker.kill()
    second = Log(consumer("c2", work_ms=0, claim_idle_ms=200, backoff_ms=20))
    eventually(lambda: stream.backlog().done)
    assert second.worker.stop() == 0  # what it wrote is complete
    assert first.count("handled") + second.count("handled") >= 60
    runs = Counter(event["id"] for log in (first, second) for event in log.events if event["event"] == "handled")
    assert len(runs) == 60
    assert max(runs.values()) <= 2


def test_a_stopped_consumer_finishes_its_order_and_gives_the_rest_back(stream, eventually):
    """The next one need not wait for ``claim_idle_ms``, half a minute here."""
    send(stream, 50)
    worker = consumer("c1", work_ms=20)
    log = Log(worker)
    eventually(lambda: log.count("handled") > 2)
    assert worker.stop() == 0
    assert not worker.alive
    assert repr(worker) == "<consumer c1, stopped>"
    consumer("c2", work_ms=0)
    eventually(lambda: stream.backlog().done)


def test_sigterm_stops_a_worker_as_well(stream):
    """Whoever finds it in the process table."""
    worker = producer(rate_per_s=10)
    worker._process.terminate()
    assert worker._process.wait(5) == 0


def test_a_worker_that_is_stuck_leaves_when_nobody_is_left_to_kill_it(stream, eventually):
    """Its notebook is gone, and its handler goes on and on."""
    send(stream, 1)
    worker = consumer("c1", work_ms=600_000)
    log = Log(worker)
    eventually(lambda: log.count("began") == 1)
    worker.let_go()
    eventually(lambda: not worker.alive, lifeline.GRACE_S + 3)
    assert repr(worker) == "<consumer c1, failed>"


def test_starting_a_worker_again_stops_the_one_before(scratch):
    """A cell is run twice: two processes must never act as the same consumer."""
    before = consumer("c1")
    after = consumer("c1")
    assert [before.alive, after.alive] == [False, True]


def test_a_worker_runs_on_when_nobody_kept_the_object(stream, scratch, eventually):
    """A cell's last line may start it; stop_all still reaches it."""
    producer(rate_per_s=100)
    eventually(lambda: stream.backlog().length > 20)
    stop_all()
    assert not workers_in(scratch)


def test_stop_all_leaves_no_process(scratch):
    """Asked all at once, not one after the other."""
    workers = [producer(), consumer("c1"), consumer("c2")]
    stop_all()
    assert [worker.exit_code for worker in workers] == [0, 0, 0]
    assert not workers_in(scratch)


def test_a_script_that_ends_leaves_no_process(scratch):
    """No lesson and no kernel: only the two processes of a plain Python script."""
    code = "from orderstream.lab import processes; processes.producer(); processes.consumer('c1')"
    before = {process.pid for process in scratch.processes()}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    assert not scratch.processes(but=before)


# What is wrong is said -------------------------------------------------------------------------------------


def test_a_worker_that_dies_at_once_says_why(lesson):
    """Its last words, in one line."""
    lesson.set("orders", "not a stream")
    with pytest.raises(ProcessError, match=r"^consumer c1 did not start: .*WRONGTYPE.*$"):
        consumer("c1")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rate_per_s": 5}, "a consumer has no knob 'rate_per_s'; it has failure_rate, work_ms"),
        ({"failure_rate": 30}, "failure_rate must be 0 to 1, not 30"),
        ({"work_ms": -1}, "work_ms must be 0 to inf, not -1"),
    ],
)
def test_a_knob_that_cannot_be_set_is_refused_and_the_worker_works_on(knobs, message):
    """In the notebook, not in the log of the worker."""
    worker = consumer("c1")
    with pytest.raises(ValueError, match=f"^{message}$"):
        worker.set(**knobs)
    assert worker.alive
    assert worker.knobs == {"failure_rate": 0.0, "work_ms": 5}


def test_a_consumer_dies_at_a_point_that_exists(scratch):
    """A typing error would make an experiment that never happens."""
    with pytest.raises(ValueError, match=r"^die must be one of 'after read', .*, not 'after ack'$"):
        consumer("c1", die="after ack")
    assert not workers_in(scratch)


def test_a_worker_that_has_ended_cannot_be_set():
    """The message says what became of it."""
    worker = producer()
    worker.kill()
    with pytest.raises(ProcessError, match="<producer producer, killed>: start it again"):
        worker.set(rate_per_s=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"claim_idle": 5}, "no setting claim_idle; there are .*claim_idle_ms"), ({"max_attempts": 0}, "max_attempts=0")],
)
def test_settings_are_checked_before_a_process_starts(settings, message, scratch):
    """By the package's own rules."""
    with pytest.raises(ConfigError, match=message):
        consumer("c1", **settings)
    assert not workers_in(scratch)


# How they are built ----------------------------------------------------------------------------------------


def test_a_worker_loads_nothing_that_only_notebooks_need():
    """It would start five times slower."""
    loaded = "{'pandas', 'numpy', 'matplotlib', 'ipywidgets', 'IPython'} & set(sys.modules)"
    code = f"import sys, orderstream.lab.workers.process, orderstream.lab.server; sys.exit({loaded} or None)"
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0


def test_a_file_beside_the_notebook_is_not_taken_for_a_module(tmp_path, monkeypatch):
    """Learners call their files redis.py."""
    (tmp_path / "redis.py").write_text("raise SystemExit('the wrong file')")
    monkeypatch.chdir(tmp_path)
    assert producer().alive


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can free a part of a file")
def test_what_was_read_need_not_stay_on_disk(eventually):
    """A room may be open for hours; what comes is still read."""
    worker = producer(rate_per_s=200, trace=True)
    log = Log(worker)
    eventually(lambda: len(worker.output()) > 3 * 4096)
    before = log.count("sent")
    used = os.fstat(worker._output.fileno()).st_blocks
    worker.forget()
    assert os.fstat(worker._output.fileno()).st_blocks < used
    eventually(lambda: log.count("sent") > before)


def test_events_are_whole_while_they_are_being_written(stream, eventually):
    """A line that is not complete yet waits for the next call."""
    send(stream, 3000)
    log = Log(consumer("c1", work_ms=0))
    eventually(lambda: log.count("handled") == 3000, 10)


def send(stream, number):
    """Send *number* orders and return them."""
    made = random_orders()
    orders = [next(made) for _ in range(number)]
    Producer(stream).send_many(orders)
    return orders


def pending(stream):
    """Who holds each pending entry, and how often it was delivered."""
    rows = stream.client.xpending_range(stream.settings.stream, stream.settings.group, "-", "+", 100)
    return [(row["consumer"].decode(), row["times_delivered"]) for row in rows]


def connect_to(name):
    """Return the stream of this name on the lesson's server."""
    return connect(Settings(redis_url=os.environ["REDIS_URL"], stream=name))


def workers_in(scratch):
    """Return the worker processes of this test that are still there."""
    return [process for process in scratch.processes() if child.__name__ in process.cmdline()]
