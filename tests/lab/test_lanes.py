"""Swim lanes: marks made of the spans of real consumers, one of them killed, and the picture drawn of them."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import combinations

import numpy
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from PIL import Image

from orderstream import Consumer, DeadLetterQueue, Defer, Order, Producer, Settings, connect
from orderstream.lab.pictures import charts, lane_chart, lanes, metrics, waterfall
from orderstream.lab.pictures.lanes import Mark, marks
from orderstream.lab.pictures.live import Panel
from orderstream.lab.pictures.spans import Recorder
from orderstream.lab.workers.process import consumer, producer

pytestmark = pytest.mark.any_server("pictures of spans; test_tracing shows on each server which there are")

TEA = Order("o-1", "tea", 1)


@pytest.fixture
def recorder(lesson, monkeypatch):
    """It listens to a provider that is gone after the test: no other test's orders carry a context."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    return Recorder()


@pytest.fixture
def stream(recorder):
    """It finds the recorder: nobody else has asked this process for OpenTelemetry."""
    with closing(connect(replace(Settings.from_env(), claim_idle_ms=300, backoff_ms=20))) as stream:
        yield stream


def worker(recorder, name, **more):
    started = consumer(name, trace=True, **{"work_ms": 0, "claim_idle_ms": 300, "backoff_ms": 20, **more})
    recorder.watch(started)
    return started


def story(recorder, order="o-1"):
    """What happened to *order*: where and what, oldest first."""
    found = [mark for mark in marks(recorder.spans()) if mark.order == order]
    return [" ".join(map(str, filter(None, (mark.lane, mark.kind, mark.delivery)))) for mark in found]


# From spans to marks ---------------------------------------------------------------------------------------


def test_a_killed_consumer_s_handler_run_has_a_mark_and_the_next_one_claims(recorder, stream, eventually):
    """Its span began, and never ended; an exporter would have heard nothing of it."""
    ann = worker(recorder, "ann", work_ms=60_000)
    Producer(stream).send(TEA)
    eventually(lambda: any(span.operation == "process" for span in recorder.spans()))
    assert story(recorder) == ["stream sent", "ann new 1"]  # it is still at it
    ann.kill()
    worker(recorder, "bob")
    eventually(lambda: stream.backlog().done)
    eventually(lambda: story(recorder)[-1] == "bob acked")
    assert story(recorder) == ["stream sent", "ann new 1", "ann killed", "bob claimed 2", "bob acked"]
    sent, began, killed, claimed, _ = marks(recorder.spans())
    assert sent.t_s == 0 < began.t_s <= killed.t_s < claimed.t_s
    assert len({span.trace_id for span in recorder.spans()}) == 1


def test_a_consumer_that_kills_itself_is_killed_when_it_does(recorder, stream, eventually):
    """The handler began 0.2 s before that, and we look much later: its output tells when it was last alive."""
    ann = worker(recorder, "ann", work_ms=200, die="after effect")
    Producer(stream).send(TEA)
    ann.wait()
    _, began, killed = marks(recorder.spans())
    assert killed.kind == "killed"
    assert killed.t_s - began.t_s > 0.15
    eventually(lambda: lanes.marks(recorder.spans())[-1] == killed)


def test_a_consumer_that_comes_to_a_clean_end_was_not_killed(recorder, stream, eventually):
    """It finishes what it has in hand."""
    ann = worker(recorder, "ann")
    Producer(stream).send(TEA)
    eventually(lambda: stream.backlog().done)
    assert ann.stop() == 0
    assert story(recorder) == ["stream sent", "ann new 1", "ann acked"]


def test_retries_the_dead_letter_and_the_redrive_are_one_story(recorder, stream):
    """Three failures, then a mended handler: all marks in one trace, the last ones of another entry."""

    def fail(order):
        raise RuntimeError

    Producer(stream).send(TEA)
    Consumer(stream, fail, "ann").drain()
    assert DeadLetterQueue(stream).redrive_all() == 1
    Consumer(stream, lambda order: None, "bob").drain()
    tries = [f"ann {what}" for what in ("new 1", "failed", "claimed 2", "failed", "claimed 3", "failed")]
    after = ["dead letters dead", "dead letters redriven", "bob new 1", "bob acked"]
    assert story(recorder) == ["stream sent", *tries, *after]
    assert len({span.trace_id for span in recorder.spans()}) == 1
    assert lanes.sentence(marks(recorder.spans())) == (
        "o-1: sent, new on ann and failed, claimed by ann and failed ×2, dead-lettered, redriven, new on bob and acked."
    )


def test_what_is_given_up_unrun_was_claimed_first(recorder, stream, eventually):
    """Its three consumers died of it; the fourth puts it aside."""
    Producer(stream).send(Order("o-1", "figs", 1))
    for name in ("ann", "bob", "carl"):
        worker(recorder, name, poison="figs").wait()
    Consumer(stream, lambda order: None, "dora").drain()
    deaths = ["ann new 1", "ann killed", "bob claimed 2", "bob killed", "carl claimed 3", "carl killed"]
    assert story(recorder) == ["stream sent", *deaths, "dora claimed 4", "dead letters dead"]
    deliveries = [mark.begun for mark in marks(recorder.spans()) if mark.kind in ("new", "claimed")]
    assert deliveries == [True, True, True, False]


def test_a_deferred_order_has_not_failed(recorder, stream):
    """And the same delivery comes again."""
    runs = []

    def later(order):
        runs.append(order)
        if len(runs) == 1:
            raise Defer(delay_ms=20)

    Producer(stream).send(TEA)
    Consumer(stream, later, "ann").drain()
    assert story(recorder) == ["stream sent", "ann new 1", "ann deferred", "ann claimed 1", "ann acked"]


def test_the_orders_of_a_batch_are_told_apart(recorder, stream):
    """They share one send span and one trace."""
    Producer(stream).send_many([TEA, Order("o-2", "rice", 1)])
    Consumer(stream, lambda order: None, "ann").drain()
    assert story(recorder, "o-1") == story(recorder, "o-2") == ["stream sent", "ann new 1", "ann acked"]


def test_an_order_of_another_program_s_is_told_without_its_send(recorder, stream):
    """It carries no context; each delivery is a trace of its own, and they are brought together by the entry's id."""
    runs = []

    def once(order):
        runs.append(order)
        if len(runs) == 1:
            raise RuntimeError

    stream.client.xadd("orders", dict([TEA.to_fields()]), id="1-0")
    Consumer(stream, once, "ann").drain()
    assert story(recorder) == ["ann new 1", "ann failed", "ann claimed 2", "ann acked"]


def test_two_groups_are_given_the_order_as_new(recorder, stream):
    """That another group has it already makes it no claim."""
    Producer(stream).send(TEA)
    Consumer(stream, lambda order: None, "ann").drain()
    with closing(connect(replace(stream.settings, group="billing"))) as billing:
        Consumer(billing, lambda order: None, "bob").drain()
    assert story(recorder) == ["stream sent", "ann new 1", "ann acked", "bob new 1", "bob acked"]


def test_whoever_lost_an_order_does_not_end_it(recorder, stream):
    """A handler fails after its order was claimed away: its retry changes nothing, and the new owner goes on."""

    def overtaken(order):
        stream.client.xautoclaim("orders", "order_group", "bob", 0)
        raise RuntimeError

    Producer(stream).send(TEA)
    assert Consumer(stream, overtaken, "ann").step() == 0
    assert [span.outcome for span in recorder.spans() if span.operation == "retry"] == ["lease_lost"]
    assert story(recorder) == ["stream sent", "ann new 1", "ann failed"]


# Recording -------------------------------------------------------------------------------------------------


def test_a_new_recorder_takes_over(recorder, stream):
    """A cell that is run again begins with an empty record."""
    Producer(stream).send(TEA)
    later = Recorder()
    Producer(stream).send(Order("o-2", "rice", 1))
    assert [span.order_id for span in recorder.spans()] == ["o-1"]
    assert [span.order_id for span in later.spans()] == ["o-2"]


def test_a_producer_process_s_sends_are_found(recorder, eventually):
    """It tells which process it was."""
    sender = producer(rate_per_s=50, trace=True)
    recorder.watch(sender)
    eventually(lambda: len(recorder.spans()) > 3)
    assert {(span.name, span.kind, span.process) for span in recorder.spans()} == {
        ("send orders", "PRODUCER", "producer")
    }


def test_a_worker_that_is_not_traced_imports_nothing_of_tracing():
    """It starts as fast as before. (redis-py imports some of OpenTelemetry's metrics wherever they are installed.)"""
    modules = "'opentelemetry.sdk.trace', 'orderstream.tracing', 'orderstream.lab.workers.tell'"
    program = f"import sys, orderstream.lab.workers.process; print({{{modules}}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


def test_recorders_set_up_the_sdk_once_in_a_process():
    """OpenTelemetry warns of a second time, and here a warning is an error."""
    program = """
import logging, sys
from opentelemetry import trace
logging.basicConfig(stream=sys.stdout)
from orderstream.lab.pictures.spans import Recorder
Recorder()
recorder = Recorder()
with trace.get_tracer("mine").start_as_current_span("work"):
    [span] = recorder.spans()
    assert span.ended_s is None
[span] = recorder.spans()
print(span.name, span.operation == "", span.ended_s > span.began_s)
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert ran.stdout + ran.stderr == "work True True\n"


def test_metrics_of_a_traced_worker_are_those_of_its_own_process(recorder, stream, eventually):
    """Each run is in a bucket; no attribute names a consumer, an order or an entry."""
    slow = worker(recorder, "slow", work_ms=300)
    Producer(stream).send(TEA)
    recorder.until(lambda spans: "process" in {span.operation for span in spans})
    fast = worker(recorder, "fast")
    Producer(stream).send_many(Order(f"o-{n}", "tea", 1) for n in range(2, 51))
    eventually(lambda: stream.backlog().done)
    fast.stop(), slow.stop()
    runs = {each.name: metrics.histogram(each, "messaging.process.duration") for each in (fast, slow)}
    assert sum(runs["fast"].values()) + sum(runs["slow"].values()) == 50
    assert min(runs["slow"]) > 0.25 > min(runs["fast"])
    [point] = metrics.points(slow, "messaging.process.duration")
    told = {*point["attributes"], *point["attributes"].values()}
    assert not {"slow", "messaging.client.id", "messaging.message.id"} & told
    assert metrics.histogram(slow, "no.such.metric") == {}


def test_the_table_names_spans_and_letters_traces(recorder, stream):
    """Ids are random; the same story gives the same table, and nbval compares it."""
    assert repr(recorder.table()) == "spans: no spans"
    Producer(stream).send(TEA)
    Consumer(stream, lambda order: None, "ann").drain()
    [table] = recorder.table()
    assert table.rows == [
        ("A", "o-1", "send orders", "PRODUCER", "notebook", "", "", "–", "–"),
        ("A", "o-1", "process orders", "CONSUMER", "ann", "1", "ack", "send orders", "send orders"),
        ("A", "o-1", "ack orders", "CLIENT", "ann", "1", "", "process orders", "–"),
    ]


def test_the_table_names_the_orders_of_each_span(recorder, stream):
    """Where is order o-2? A batch is one span of several orders, and the span of an ack knows its entry only."""
    Producer(stream).send_many([TEA, Order("o-2", "rice", 1)])
    Consumer(stream, lambda order: None, "ann").drain()
    [table] = recorder.table()
    assert [row[1:3] for row in table.rows] == [
        ("o-1, o-2", "send orders"),
        ("o-1", "process orders"),
        ("o-1", "ack orders"),
        ("o-2", "process orders"),
        ("o-2", "ack orders"),
    ]


def test_a_waterfall_is_the_tree_that_a_trace_viewer_shows(recorder, stream, eventually):
    """Children below their parent, in time; a span that never ended was never sent to a viewer."""
    ann = worker(recorder, "ann", work_ms=60_000)
    Producer(stream).send(TEA)
    eventually(lambda: any(span.operation == "process" for span in recorder.spans()))
    ann.kill()
    worker(recorder, "bob")
    eventually(lambda: stream.backlog().done)
    eventually(lambda: story(recorder)[-1] == "bob acked")
    spans = recorder.spans()
    rows = [(depth, span.process, span.operation) for depth, span in waterfall.tree(spans)]
    assert rows == [(0, "notebook", "send"), (1, "bob", "process"), (2, "bob", "ack")]
    assert repr(charts.waterfall(spans)) == "3 spans: notebook send, – bob process, – – bob ack."
    assert repr(charts.waterfall([])) == "No span has ended."
    ends = {round(1000 * (waterfall.ended(span) - spans[0].began_s)) for _, span in waterfall.tree(spans)}
    assert max(ends) >= 300, "the silence between the two is a part of the picture"


def test_waiting_for_spans_that_do_not_come_names_those_that_did(recorder, stream):
    """The message is all the learner has."""
    Producer(stream).send(TEA)
    recorder.until(lambda spans: len(spans) == 1)
    with pytest.raises(TimeoutError, match=r"^it did not happen within [0-9.]+ s; the spans are send orders$"):
        recorder.until(lambda spans: len(spans) == 2, timeout_s=0.1)


def test_the_newest_orders_begin_at_zero():
    """What the live panel draws."""
    later = [Mark(mark.t_s + 5, mark.lane, "o-2", mark.kind, mark.delivery) for mark in KILLED]
    newest = lanes.latest([*KILLED, *later], 1)
    assert [mark.t_s for mark in newest] == pytest.approx([mark.t_s for mark in KILLED])
    assert lanes.latest([*KILLED, *later]) == [*KILLED, *later]
    waiting = KILLED[:3]
    assert lanes.latest([*waiting, *later], 1) == waiting  # newer ones are done
    assert lanes.latest([]) == []


# The picture -----------------------------------------------------------------------------------------------

KILLED = [
    Mark(0.0, "stream", "o-1", "sent"),
    Mark(0.01, "ann", "o-1", "new", 1),
    Mark(0.9, "ann", "o-1", "killed"),
    Mark(2.0, "bob", "o-1", "claimed", 2),
    Mark(2.1, "bob", "o-1", "acked"),
]


def grey(picture):
    return numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))


def bar_pixels(picture):
    """Count the pixels that have the colour of a thick bar."""
    wanted = [int(lane_chart.BAR[at : at + 2], 16) for at in (1, 3, 5)]
    pixels = numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)
    return (abs(pixels - wanted).max(2) < 12).sum()


def test_the_same_marks_give_the_same_bytes():
    """And others give others."""
    first, second = charts.swim_lanes(KILLED), charts.swim_lanes(KILLED)
    assert first.png == second.png
    assert len(first.png) < 60_000
    assert first.png != charts.swim_lanes([*KILLED[:2], *KILLED[3:]]).png


def test_two_threads_may_draw_at_once():
    """The live panel does so while a cell draws, too; without a lock, matplotlib's fonts break the whole process."""
    with ThreadPoolExecutor(2) as threads:
        drawn = list(threads.map(lambda _: charts.swim_lanes(KILLED).png, range(20)))
    assert set(drawn) == {charts.swim_lanes(KILLED).png}


def test_a_picture_of_lanes_is_its_sentence():
    """The caller's, or one that tells what happened."""
    assert repr(charts.swim_lanes(KILLED, "Bob goes on.")) == "Bob goes on."
    assert repr(charts.swim_lanes(KILLED)) == "o-1: sent, new on ann and killed, claimed by bob and acked."


def test_every_kind_looks_different_in_black_and_white():
    """Where only the kind of one mark differs, the pictures do: by more than a shade."""
    around = {}
    for kind in lane_chart.SHAPES:
        picture = grey(charts.swim_lanes([KILLED[0], KILLED[1], Mark(1.0, "ann", "o-1", kind), KILLED[3]], "."))
        around[kind] = picture[-250:-60, 200:900].astype(int)
    for one, other in combinations(around, 2):
        assert (abs(around[one] - around[other]) > 100).sum() > 15, (one, other)


def test_a_thick_bar_is_a_handler_run():
    """Not an order that was given to a consumer and waited for its turn, or was put aside unrun."""
    begun, waited = KILLED, [replace(mark, begun=False) if mark.kind == "new" else mark for mark in KILLED]
    assert charts.swim_lanes(begun, ".").png != charts.swim_lanes(waited, ".").png
    bars = [bar_pixels(charts.swim_lanes(marks, ".")) for marks in (begun, waited)]
    assert bars[0] > bars[1] + 500


def test_a_thick_bar_ends_with_its_handler(recorder, stream):
    """Acks are sent together, so an order may be done long before it is acked."""
    Producer(stream).send(TEA)
    Consumer(stream, lambda order: None, "ann").drain()
    _, began, acked = marks(recorder.spans())
    assert began.t_s < began.until_s <= acked.t_s
    late = [replace(KILLED[1], until_s=0.5), Mark(2.0, "ann", "o-1", "acked")]
    until_the_ack = [replace(late[0], until_s=None), late[1]]
    bars = [bar_pixels(charts.swim_lanes(marks, ".", "even")) for marks in (late, until_the_ack)]
    assert bars[0] < bars[1] - 500
    newest = lanes.latest([replace(mark, t_s=mark.t_s + 5, until_s=mark.until_s and 5.5) for mark in late])
    assert newest[0].until_s == pytest.approx(0.49)


def test_a_killed_consumer_s_lane_ends():
    """Until another process of that name begins with something."""
    lives = lane_chart._lives
    own = [mark for mark in KILLED if mark.lane == "ann"]
    assert list(lives(own)) == [(None, 0.9)]
    assert list(lives([*own, Mark(3.0, "ann", "o-2", "new", 1)])) == [(None, 0.9), (3.0, None)]
    assert list(lives([])) == [(None, None)]


def test_marks_keep_their_distance_and_their_order():
    """A millisecond beside a minute can still be seen."""
    at = lane_chart._Stretched([0.0, 0.001, 60.0, 60.001])
    places = [at(t_s) for t_s in (0.0, 0.001, 60.0, 60.001)]
    assert places == sorted(places)
    assert min(numpy.diff(places)) > 0.15
    assert places[0] == 0
    assert places[-1] == pytest.approx(1)


def test_even_time_shows_a_silence_as_long_as_it_was():
    """Where silence is the point, a second is as long as any other: here it is most of the picture."""
    at = lane_chart._Even([0.0, 0.1, 0.2, 2.0])
    assert [at(t_s) for t_s in (0.0, 0.2, 1.0, 2.0)] == pytest.approx([0, 0.1, 0.5, 1])
    assert charts.swim_lanes(KILLED, time="even").png != charts.swim_lanes(KILLED).png


def test_no_marks_are_an_empty_picture():
    """Nothing was traced yet; the live panel draws this first."""
    assert charts.swim_lanes([]).png == charts.swim_lanes([]).png


def test_of_many_orders_those_with_the_most_marks_are_drawn():
    """Six at most, with no more consumers than anybody can follow; the others are counted in the picture."""
    calm = [Mark(n, "ann", f"calm-{n}", "new", 1) for n in range(20)]
    drawn = lanes.eventful(calm + KILLED)
    assert [mark for mark in drawn if mark.order == "o-1"] == KILLED
    assert len({mark.order for mark in drawn}) == lanes.ORDERS
    crowd = [Mark(n, f"c{n}", f"o-{n}", "new", 1) for n in range(20)]
    assert len({mark.lane for mark in lanes.eventful(crowd)}) == lanes.CONSUMERS
    assert charts.swim_lanes(calm).png != charts.swim_lanes(lanes.eventful(calm)).png


def test_the_live_panel_s_lanes_move(recorder, eventually):
    """They are drawn anew while orders come, and a consumer added later has a lane, too."""
    sender = producer(rate_per_s=20, trace=True)
    recorder.watch(sender)
    ann = worker(recorder, "c1")
    panel = Panel(sender, [ann])
    try:
        panel.add_lanes(recorder)
        assert "; swim lanes;" in repr(panel)
        image = panel._lanes[1]
        eventually(lambda: image.value != charts.swim_lanes([]).png, 10)
        panel.add_consumer()
        eventually(lambda: "c2" in {span.consumer for span in recorder.spans()}, 10)
        assert panel.sampler.error is None
    finally:
        panel.stop()


def test_spans_travel_as_json_lines(recorder, stream, eventually):
    """What a worker writes is one line for the begin and one for the end of each span, between its other events."""
    ann = worker(recorder, "ann")
    Producer(stream).send(TEA)
    eventually(lambda: stream.backlog().done)
    ann.stop()
    lines = [json.loads(line) for line in ann.output().splitlines()]
    ended = [line["span"]["ended_s"] is not None for line in lines if line["event"] == "span"]
    assert sorted(ended) == [False, False, True, True]  # process orders, ack orders
