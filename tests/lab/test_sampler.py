"""The sampler: what it counts is exact, on every version, and no hiccup ends it."""

import math
import threading

import pytest
import redis

from orderstream import Producer, Settings, connect, random_orders
from orderstream.lab import server
from orderstream.lab.pictures.sampler import Sample, Sampler, summary
from orderstream.lab.workers.lossy_link import LossyLink
from orderstream.lab.workers.process import consumer, producer
from orderstream.software import software_of

pytestmark = pytest.mark.usefixtures("lesson")


def send(count, stream="orders"):
    """Send *count* orders to the lesson's server."""
    made = random_orders()
    way = connect(Settings.from_env({"REDIS_URL": server.current().url, "ORDERSTREAM_STREAM": stream}))
    Producer(way).send_many(next(made) for _ in range(count))
    way.close()


# What it counts --------------------------------------------------------------------------------------------


def test_every_handled_order_is_counted_once():
    """By whichever of the two it was handled."""
    with Sampler("orders", [consumer("c1", work_ms=1), consumer("c2", work_ms=1)]) as sampler:
        send(60)
        last = sampler.until(lambda now: now.handled >= 60 and now.pending == 0)
    assert (last.handled, last.failed, last.length, last.dead_lettered) == (60, 0, 60, 0)


def test_throughput_follows_the_producer_up_and_down():
    """It is that of the last second, so a pause shows."""
    worker = producer(rate_per_s=60)
    with Sampler("orders", [consumer("c1", work_ms=1)]) as sampler:
        sampler.until(lambda now: now.throughput >= 40)
        worker.set(rate_per_s=0)
        sampler.until(lambda now: now.throughput == 0)


def test_every_failed_run_is_counted_and_what_was_put_aside():
    """Three attempts for each of five orders; then nothing fails any more, and retries come to rest."""
    with Sampler("orders", [consumer("c1", work_ms=0, failure_rate=1, backoff_ms=10)]) as sampler:
        send(5)
        last = sampler.until(lambda now: now.dead_lettered == 5 and now.failed == 15)
        assert (last.handled, last.pending) == (0, 0)
        sampler.until(lambda now: now.retries == 0)
    assert max(sample.retries for sample in sampler.samples) > 0


def test_what_nobody_was_given_yet_is_counted_on_every_version():
    """A server that does not know the lag does not know it. What was put aside waits for nobody."""
    with Sampler("orders", [consumer("c1", work_ms=0, failure_rate=1, backoff_ms=10)]) as sampler:
        send(3)
        sampler.until(lambda now: now.dead_lettered == 3 and now.pending == 0)
    with Sampler("orders", [consumer("c1", work_ms=60_000)]) as sampler:
        sampler.until(lambda now: now.undelivered == 0)
        send(9)
        last = sampler.until(lambda now: now.pending == 1)
    assert last.undelivered == 8


def test_what_a_killed_consumer_held_stays_pending():
    """Redis tells, not the worker: it cannot any more."""
    worker = consumer("c1", work_ms=60_000)
    with Sampler("orders", [worker]) as sampler:
        send(1)
        sampler.until(lambda now: now.pending == 1)
        worker.kill()
    assert sampler.latest.pending == 1
    assert sampler.latest.held == {"c1": 1}


def test_what_waits_for_its_next_try_is_held_by_no_consumer():
    """So nobody takes it for the orders of a consumer that died."""
    with Sampler("orders", [consumer("c1", work_ms=0, failure_rate=1, backoff_ms=30_000)]) as sampler:
        send(2)
        last = sampler.until(lambda now: now.failed == 2 and now.waiting == 2)
    assert (last.pending, last.held) == (2, {})


def test_an_order_that_was_sent_twice_was_ordered_once(eventually):
    """So doubles can be seen: the stream grows faster than that."""
    with LossyLink() as link, Sampler(every_ms=50) as sampler:
        sender = producer(rate_per_s=20, resend=1, batch=1, url=link.url)
        sampler.watch(sender, start=0)
        link.lose_some(0.4)
        eventually(lambda: link.lost >= 10, timeout_s=20)
        link.lose_some(0)
        sampler.until(lambda now: now.ordered >= 10)
        assert sender.stop() == 0
        last = sampler.until(lambda now: now.ordered == 0)
    ordered = sum(event["count"] for event in sender.read(0)[0] if event["event"] == "sent")
    assert 0 < last.length - ordered <= link.lost


def test_the_backlog_is_known_where_the_lag_is_not(lesson):
    """Lesson 07 draws it, also on a server without lag, or with a group that began in the middle."""
    send(5)
    [_, _, (third, _), *_] = lesson.xrange("orders")
    lesson.xgroup_create("orders", "order_group", third)
    with Sampler() as sampler:
        pass
    assert (sampler.latest.lag, sampler.latest.backlog) == (None, 5)


def test_memory_is_what_redis_says(lesson):
    """None before there is a stream."""
    with Sampler() as sampler:
        assert sampler.latest.memory is None
        send(100)
        sampler.until(lambda now: now.length == 100)
    assert sampler.latest.memory == lesson.memory_usage("orders")


def test_lag_is_unknown_where_redis_does_not_know_it(lesson):
    """Before 7.0, and then never a 0."""
    lesson.xgroup_create("orders", "order_group", "0", mkstream=True)
    send(3)
    with Sampler() as sampler:
        pass
    known = software_of(lesson).level >= (7, 0)
    assert sampler.latest.lag == (3 if known else None)
    assert math.isnan(sampler.frame()["lag"].iloc[-1]) is not known


def test_the_age_of_the_oldest_new_order_is_known_on_every_version(lesson):
    """And 0 when all are delivered, acked or not."""
    lesson.xgroup_create("orders", "order_group", "0", mkstream=True)
    send(2)
    with Sampler() as sampler:
        first = sampler.until(lambda now: now.oldest_new_s >= 0.2)
        sampler.until(lambda now: now.oldest_new_s > first.oldest_new_s)
        lesson.xreadgroup("order_group", "c1", {"orders": ">"})
        assert sampler.until(lambda now: now.oldest_new_s == 0).pending == 2


def test_a_worker_is_counted_from_the_moment_it_is_watched():
    """Not what it did before, which another sampler may have seen."""
    worker = consumer("c1", work_ms=0)
    send(5)
    with Sampler("orders", [worker]) as before:
        send(5)
        before.until(lambda now: now.handled >= 5 and now.pending == 0 and now.length == 10)
    with Sampler() as after:
        after.watch(worker)
        send(3)
        after.until(lambda now: now.handled >= 3 and now.length == 13)
    assert after.latest.handled == 3
    with Sampler() as whole:
        whole.watch(worker, start=0)
        whole.until(lambda now: now.handled >= 13)
    assert whole.latest.handled == 13


def test_it_looks_at_the_stream_it_was_told():
    """Lessons have several."""
    send(2)
    send(7, "shop")
    with Sampler("shop") as sampler:
        pass
    assert sampler.latest.length == 7


def test_waiting_looks_only_at_what_was_seen_after_the_call():
    """A sample of a moment ago does not know what the caller has just done."""
    with Sampler() as sampler:
        before = sampler.latest
        assert before.length == 0
        assert sampler.until(lambda now: now.length == 0).t_s > before.t_s


# What it hands out -----------------------------------------------------------------------------------------


def test_the_frame_has_a_row_for_every_sample_by_time():
    """Numbers all of them, so that pandas can calculate."""
    with Sampler(every_ms=20) as sampler:
        sampler.until(lambda now: now.t_s > 0.1)
    frame = sampler.frame()
    assert frame.index.name == "t_s"
    assert frame.index.is_monotonic_increasing
    assert list(frame.columns) == [
        "throughput", "pending", "retries", "length", "lag", "dead_lettered", "handled", "failed", "memory", "waiting",
        "oldest_new_s", "backlog", "undelivered", "ordered",
    ]  # fmt: skip
    assert len(frame) == len(sampler.samples)
    assert set(frame.dtypes.astype(str)) == {"float64"}


def test_waiting_in_vain_ends_with_what_was_seen_last():
    """The learner reads what is missing."""
    seen = r"did not happen within [0-9.]+ s; the newest sample is .*handled=0"
    with Sampler(every_ms=20) as sampler, pytest.raises(TimeoutError, match=seen):
        sampler.until(lambda now: now.handled > 0, timeout_s=0.2)


@pytest.mark.parametrize(
    ("handled", "failed", "pending", "sentence"),
    [
        (60, 0, 0, "Orders were handled, no handler run failed, and at the end nothing was left pending."),
        (0, 3, 1, "No order was handled, some handler runs failed, and at the end some orders were left pending."),
        (60, 0, None, "Orders were handled, no handler run failed, and at the end Redis did not answer."),
    ],
)
def test_the_summary_holds_no_number_that_differs_between_two_runs(handled, failed, pending, sentence):
    """nbval compares it."""
    assert summary([Sample(9.0, 20.0, pending, 0.0, 60, None, 0, handled, failed)]) == sentence
    assert summary([]) == "Nothing was sampled yet."


# What goes wrong -------------------------------------------------------------------------------------------


def test_a_hiccup_of_redis_leaves_a_gap_and_no_word(lesson, eventually, capsys):
    """The last error is kept; the next good look forgets it."""
    with Sampler(every_ms=20) as sampler:
        sampler.until(lambda now: now.pending == 0)
        lesson.config_set("maxclients", 1)  # that is ourselves
        lesson.client_kill_filter(_type="normal", skipme=True)
        eventually(lambda: any(sample.pending is None for sample in sampler.samples))
        assert isinstance(sampler.error, redis.ConnectionError)
        lesson.config_set("maxclients", 100)
        sampler.until(lambda now: now.pending == 0)
        assert sampler.error is None
    assert sampler.frame()["pending"].isna().any()
    assert capsys.readouterr() == ("", "")


def test_a_stream_of_the_wrong_type_is_an_error_that_is_kept(lesson, eventually):
    """Until somebody puts it right."""
    with Sampler(every_ms=20) as sampler:
        lesson.set("orders", "not a stream")
        eventually(lambda: sampler.error)
        assert "WRONGTYPE" in str(sampler.error)
        lesson.delete("orders")
        eventually(lambda: sampler.error is None)


def test_a_broken_picture_does_not_end_the_measuring(eventually, capsys):
    """Nor does it print into whatever cell runs."""

    def broken(sample):
        raise ValueError("no ink")

    with Sampler(every_ms=20, on_sample=broken) as sampler:
        eventually(lambda: len(sampler.samples) >= 3)
        assert str(sampler.error) == "no ink"
    assert capsys.readouterr() == ("", "")


# How it ends -----------------------------------------------------------------------------------------------


def test_the_first_sample_is_taken_at_once_and_the_last_when_it_is_stopped():
    """So that a short experiment has its beginning and its end."""
    with Sampler(every_ms=60_000) as sampler:
        send(4)
    assert [sample.length for sample in sampler.samples] == [0, 4]


def test_no_thread_and_no_connection_is_left(lesson, eventually):
    """Stopping twice is no error."""
    connections = len(lesson.client_list())
    with Sampler(every_ms=20) as sampler:
        sampler.until(lambda now: now.length == 0)
        assert len(lesson.client_list()) == connections + 1
    sampler.stop()
    assert "sampler" not in {thread.name for thread in threading.enumerate()}
    eventually(lambda: len(lesson.client_list()) == connections)  # Redis hears of it a moment later
