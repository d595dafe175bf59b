"""
The control room: producers, consumers and their stream in one panel, with everything that can be broken.

    room = lab.ControlRoom()                            # a producer and two consumers, real processes
    room                                                # the last line of a cell shows it
    room.until(lambda now: now.handled >= 100)          # in a later cell: wait for something to happen
    room.picture("What happened, in a sentence.")       # the same as a still picture
    room.swim_lanes()                                   # the paths of a few orders in the last seconds

A cell can do everything that a button does: ``room.add_consumer()``, ``room.kill("c1")``, ``room.poison()``. It can set
the numbers, too: ``room.work.value = 100``.
"""

from __future__ import annotations

import html
import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import ipywidgets as widgets
import msgspec

from orderstream import DeadLetter, DeadLetterQueue, Order, Producer, Settings, connect, random_orders
from orderstream.embedded.find import ServerError
from orderstream.entries import UNOWNED
from orderstream.lab import server
from orderstream.lab.lessons.lesson_09.missions import POISON, Look, Mission, missions
from orderstream.lab.pictures import charts, lanes
from orderstream.lab.pictures.live import ROW, WIDE, LiveChart, alert, said
from orderstream.lab.pictures.sampler import Sample, Sampler
from orderstream.lab.pictures.spans import Recorder
from orderstream.lab.server.client import PRIVATE
from orderstream.lab.server.private import PrivateServer
from orderstream.lab.workers.lossy_link import LossyLink
from orderstream.lab.workers.process import Process, ProcessError, consumer, producer
from orderstream.lab.workers.tell import EVENT, Span

SHOWN = ("throughput", "pending", "lag", "retries", "dead_lettered", "oldest_new_s")
TIMERS = {"claim_idle_ms": 1_000, "backoff_ms": 200}  # short, because a learner waits for them
PAUSE_MS = 3_000
BURST = 100
WIDTH = f"{charts.WIDTH * 100:.0f}px"
MOST = 8  # producers, and consumers: they share the cores of a small machine
LINES = 8  # of the log
LETTERS = 100
LANES_S = 10  # the swim lanes show so many last seconds
SETTLED_S = 2.5  # after so long, other consumers have usually claimed the orders of a dead one,
CLAIMED_S = 1.0  # and so long after the claim they have begun with them
IN_LANES = 3  # orders in the swim lanes
TIGHT = "line-height: 1.4; overflow: hidden"
REMEMBERED = 10_000  # orders whose ids are kept, to see whether one is handled again
KILLED = -signal.SIGKILL
STATES, FAILED = {None: "● running", 0: "○ stopped", KILLED: "✝ killed"}, "✗ failed"


class ControlRoom:
    """
    A stream with a producer and some consumers, and a panel to control and to break them.

    Args:
        stream: Key of the stream. The stream and its dead letters are deleted first.
        rate_per_s: Orders per second of each producer.
        work_ms: Milliseconds that one handler run takes.
        consumers: How many there are at first.

    Attributes:
        rate, work, failure, lost: The numbers to set: orders per second, handler time, failing runs and lost replies.
        log: The box. Redis keeps a log of its writes, the AOF, with which it comes back after a restart. None if the
            Redis is your own: the lab does not change how it keeps its data.
        resend, remember: The boxes. ``resend``: producers send unconfirmed orders again. ``remember``: Redis remembers
            which orders were sent.
        sampler: Takes the samples that the picture shows.
        missions: What the learner is asked to do, see ``missions``.
    """

    _open: ControlRoom | None = None

    def __init__(
        self, stream: str = "orders", *, rate_per_s: float = 10, work_ms: float = 20, consumers: int = 2
    ) -> None:
        if ControlRoom._open:
            ControlRoom._open.stop()  # the cell of the old room was run again
        server.current().fresh(stream, f"{stream}-dlq")
        self._recorder = Recorder()  # if poison carried no trace, no span would tell of its dead letter
        self._stream = connect(Settings.from_env({**os.environ, "ORDERSTREAM_STREAM": stream}))
        self._queue = DeadLetterQueue(self._stream)
        self._link = LossyLink() if server.current().url.startswith("redis:") else None
        self.missions: list[Mission] = missions()
        self._team: list[_Member] = []
        self._handled: dict[str, None] = {}  # the orders, in the order in which they were handled
        self._put_aside: set[str] = set()  # orders that were dead letters, and have not been handled since
        self._twice = self._poisons = self._rescued = 0
        self._letters: dict[str, DeadLetter] = {}
        self._log: deque[str] = deque(maxlen=LINES)
        self.chart = LiveChart(show=SHOWN)
        self.rate = self._number("Orders per second", rate_per_s, 200, producer="rate_per_s")
        self.work = self._number("Handler time, ms", work_ms, 2_000, consumer="work_ms")
        self.failure = self._number("Failing runs, %", 0, 100, 0.01, consumer="failure_rate")
        self.lost = self._number("Lost replies, %", 0, 50)
        self.lost.observe(lambda change: self._attempt(self._lose, change["new"]), "value")
        self.resend = self._box("A producer sends again what was not confirmed", True, producer="resend")
        self.remember = self._box("Redis remembers what was sent", False, producer="dedupe")
        self.log = self._log_box() if isinstance(server.current(), PrivateServer) else None
        self._table, self._waiting, self._counts = widgets.VBox(), _Text(), _Text()
        self._problem, self._outage = _Text(), _Text()
        self._select = widgets.Select(description="Oldest first", rows=5, layout={"width": "auto"})
        self._shown, self._said, self._tasks = _Text(), _Text(), _Text()
        self._watching = True
        self._lanes = widgets.Image(format="png", layout={**WIDE, "display": "none"})
        self._lanes_text, self._draw_lanes_at, self._dead_held = _Text(), float("inf"), False
        self._controls = self._layout()
        self.sampler = Sampler(stream, on_sample=self._show)
        ControlRoom._open = self
        self._say("The room is open.")
        self.add_producer()
        for _ in range(consumers):
            self.add_consumer()

    def __repr__(self) -> str:
        return (
            "Live panel: the control room. Moving pictures of throughput, pending, lag, retries, dead letters and the "
            "oldest new order; a table of producers and consumers, each with buttons to stop and to kill it; numbers "
            "for rate, handler time, failing runs and lost replies; buttons for a burst and poison, and for a pause "
            "and a restart of Redis; the dead letters, to show, to redrive and to purge; a log; "
            f"{len(self.missions)} missions; swim lanes. It moves when the notebook runs."
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = self._controls._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self)}

    # What a cell may ask for ----------------------------------------------------------------------------

    def until(self, condition: Callable[[Sample], bool], timeout_s: float = 20, *, then_s: float = 0) -> Sample:
        """
        Wait until *condition* holds for a new sample, and for *then_s* seconds more. Return that sample.

        The picture moves meanwhile. A number or a button that you use now has its effect when the cell has ended.

        Raises:
            TimeoutError: It did not hold within *timeout_s* seconds.
        """
        return self.sampler.until(condition, timeout_s, then_s=then_s)

    def picture(self, sentence: str) -> charts.Picture:
        """Return everything that the room saw so far as a still picture above *sentence*."""
        return charts.timeline(self.sampler, sentence, SHOWN)

    def swim_lanes(self, sentence: str | None = None) -> charts.Picture:
        """
        Return the paths of a few orders in the last ten seconds: orders with trouble, or if there are none, the newest.

        Shortly after a consumer was killed, the room also draws them by itself.
        """
        if ControlRoom._open is self:
            for _ in range(2):  # when a second look begins, the first one has read everything until now
                self.until(lambda now: True)
        return self._paths(sentence)

    def _paths(self, sentence: str | None = None) -> charts.Picture:
        spans = [span for member in list(self._team) for span in member.spans()]
        spans += [span for span in self._recorder.spans() if span.began_s >= time.time() - LANES_S]
        found = few(lanes.marks(spans))
        return charts.swim_lanes(found, sentence if found else f"Nothing was handled in the last {LANES_S} s.")

    # What the buttons do --------------------------------------------------------------------------------

    def add_producer(self) -> Process:
        """Start one more producer."""
        return self._add("producer", "p")

    def add_consumer(self) -> Process:
        """Start one more consumer."""
        return self._add("consumer", "c")

    def worker(self, name: str) -> Process:
        """Return the producer or consumer of this name, such as ``"c1"``."""
        return self._member(name).worker

    def kill(self, name: str) -> None:
        """Kill a worker with SIGKILL, as a crash would."""
        self._member(name).worker.kill()

    def switch(self, name: str) -> None:
        """Stop a worker that runs, once it has finished the order in hand; start one that does not."""
        member = self._member(name)
        if member.worker.alive:
            member.worker.stop()
        else:
            member.work(self._start(member.worker.role, name))
            self._set_as_shown(member.worker)

    def burst(self, orders: int = BURST) -> None:
        """Send so many orders in one moment."""
        Producer(self._stream).send_many(islice(random_orders(), orders))
        self.sampler.note(f"{orders} orders")
        self._say(f"You sent {orders} orders at once.")

    def poison(self) -> None:
        """Send an order that kills the process of each consumer that handles it."""
        self._poisons += 1
        Producer(self._stream).send(Order(f"{POISON}-{self._poisons}", POISON, 1))
        self.sampler.note(POISON)
        self._say(f"You sent {POISON}-{self._poisons}.")

    def pause_redis(self) -> None:
        """
        Let Redis run no command that writes for three seconds. Reading goes on, and so the picture does, too.

        Raises:
            ServerError: The Redis is your own and not the lab's private one.
        """
        _private_server().client.client_pause(PAUSE_MS, all=False)
        self.sampler.note("pause")
        self._say(f"You paused Redis for {PAUSE_MS // 1000} s.")

    def restart_redis(self) -> None:
        """
        Kill Redis with SIGKILL and start it again: with its data if it keeps a log, see ``log``, and empty otherwise.

        Missions that are under way then begin anew: an empty stream would look like a task that is done.

        Raises:
            ServerError: The Redis is your own and not the lab's private one.
        """
        redis, key = _private_server(), self._stream.settings.stream
        kept, before = bool(self.log and self.log.value), redis.client.xlen(key)
        self._watching = False
        try:
            redis.restart()
        finally:
            anew = zip(self.missions, missions(), strict=True)
            self.missions = [mission if mission.done else new for mission, new in anew]
            self._watching = True
        self.sampler.note("restart")
        way = "with its log" if kept else "and kept no log"
        after = redis.client.xlen(key)
        self._say(f"You killed Redis. It is back {way}: {before} entries were in the stream, now {after}.")

    def redrive(self, *ids: str) -> int:
        """Put these dead letters back into the stream; without ids, all of them. Returns how many were put back."""
        count = len(self._queue.redrive(*ids)) if ids else self._queue.redrive_all()
        self._say(f"You put {_counted(count, 'dead letter')} back.")
        return count

    def purge(self, *ids: str) -> int:
        """Delete these dead letters for good. Returns how many there were."""
        count = self._queue.purge(*ids)
        self._say(f"You deleted {_counted(count, 'dead letter')}.")
        return count

    def stop(self) -> None:
        """Stop every process of the room, and the picture. The last picture stays."""
        for member in self._team:
            member.worker.let_go()  # all at once: each may have an order in hand
        for member in self._team:
            member.worker.stop()
        self.sampler.stop()
        if self._link:
            self._link.close()
        self._stream.close()
        for control in _controls_in(self._controls):
            control.disabled = True
        self._problem.say(alert("Stopped. To go on, run the cell again that opened the room."))
        if ControlRoom._open is self:
            ControlRoom._open = None

    # Workers ----------------------------------------------------------------------------------------------

    def _add(self, role: str, letter: str) -> Process:
        numbers = [int(member.worker.name[1:]) for member in self._team if member.worker.role == role]
        if len(numbers) == MOST:
            raise ProcessError(f"there are {MOST} {role}s: start one again that has ended")
        worker = self._start(role, f"{letter}{max(numbers, default=0) + 1}")
        self._team.append(_Member(worker, self))
        self._team.sort(key=lambda member: member.worker.role, reverse=True)  # producers first
        self._table.children = [member.row for member in self._team]
        self._set_as_shown(worker)
        return worker

    def _start(self, role: str, name: str) -> Process:
        settings: dict[str, Any] = {"stream": self._stream.settings.stream, **TIMERS, **self._shown_to(role)}
        if role == "producer":
            worker = producer(name, url=self._link.url if self._link else None, trace=True, **settings)
        else:
            worker = consumer(name, poison=POISON, trace=True, **settings)
        self.sampler.watch(worker, start=0)
        self._say(f"{name} runs.")
        return worker

    def _shown_to(self, role: str) -> dict[str, float]:
        """Return what the numbers and the boxes say to a worker of this role."""
        if role == "producer":
            boxes = {"resend": float(self.resend.value), "dedupe": float(self.remember.value)}
            return {"rate_per_s": self.rate.value, **boxes}
        return {"work_ms": self.work.value, "failure_rate": self.failure.value / 100}

    def _set_as_shown(self, worker: Process) -> None:
        """Set a worker that has just started: a number may have been changed meanwhile."""
        if worker.alive:
            worker.set(**self._shown_to(worker.role))

    def _member(self, name: str) -> _Member:
        found = [member for member in self._team if member.worker.name == name]
        if not found:
            raise ProcessError(f"nobody is called {name}: there are {', '.join(m.worker.name for m in self._team)}")
        return found[0]

    def _lose(self, percent: int) -> None:
        if self._link is None:
            raise ValueError("replies are lost on the way to a redis:// URL only, and yours is another")
        self._link.lose_some(percent / 100)
        self.sampler.note("lost", f"{percent} % lost")

    # Looking, in the sampler's thread ---------------------------------------------------------------------

    def _show(self, sample: Sample) -> None:
        self._outage.say(alert(f"The picture has a gap: {self.sampler.error}") if self.sampler.error else "")
        self.chart.push(sample, self.sampler.notes)
        for member in list(self._team):
            for event in member.look(sample.held.get(member.worker.name, 0)):
                self._note(event)
            if news := member.news():
                self._say(news)
                if member.worker.exit_code == KILLED:
                    self.sampler.note(f"{member.worker.name} killed")
                    self._draw_lanes_at = sample.t_s + SETTLED_S
        if sample.pending is not None:
            self._follow_the_dead(sample)
        if sample.t_s >= self._draw_lanes_at:
            self._draw_lanes()
        self._read_letters(sample)
        if sample.waiting is not None:
            self._waiting.say(f"Waiting for their next try, held by {UNOWNED}: {sample.waiting}.")
        now = self._look(sample)
        self._counts.say(f"Replies lost: {now.lost}. Handled once more: {now.twice}.")
        for mission in self.missions if self._watching else ():
            done = mission.done
            mission.watch(now)
            if mission.done and not done:
                self._say(f"Mission fulfilled: {mission.title}.")
        self._tasks.say(f'<div style="columns: 24em 2; {TIGHT}">{"".join(map(_as_html, self.missions))}</div>')

    def _follow_the_dead(self, sample: Sample) -> None:
        """Have the lanes drawn again when others have claimed what dead consumers held, however long that took."""
        dead = {member.worker.name for member in list(self._team) if member.worker.exit_code == KILLED}
        held = bool(dead & sample.held.keys())
        if self._dead_held and not held:
            self._draw_lanes_at = sample.t_s + CLAIMED_S
        self._dead_held = held

    def _draw_lanes(self) -> None:
        self._draw_lanes_at = float("inf")
        picture = self._paths()
        self._lanes.value, self._lanes.layout.display = picture.png, None
        self._lanes_text.say(f'<div style="{TIGHT}">{html.escape(picture.sentence)}</div>')

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "handled":
            self._twice += event["id"] in self._handled
            self._rescued += event["id"] in self._put_aside
            self._put_aside.discard(event["id"])
            self._handled[event["id"]] = None
            if len(self._handled) > REMEMBERED:
                del self._handled[next(iter(self._handled))]

    def _look(self, sample: Sample) -> Look:
        team = [member.worker for member in list(self._team)]
        consumers = [worker for worker in team if worker.role == "consumer"]
        return Look(
            sample=sample,
            running=frozenset(worker.name for worker in consumers if worker.alive),
            killed=frozenset(worker.name for worker in consumers if worker.exit_code == KILLED),
            rate_per_s=sum(worker.knobs["rate_per_s"] for worker in team if worker.role == "producer" and worker.alive),
            dead=tuple(map(_item, self._letters.values())),
            lost=self._link.lost if self._link else 0,
            twice=self._twice,
            rescued=self._rescued,
        )

    def _read_letters(self, sample: Sample) -> None:
        if sample.dead_lettered is None or (not sample.dead_lettered and not self._letters):
            return
        letters = {letter.id: letter for letter in self._queue.list(LETTERS)}
        known = {letter.reason for letter in self._letters.values()}
        for reason in {letter.reason for letter in letters.values()} - known:
            self._say(f"Dead-lettered: {reason}.")
        if letters.keys() != self._letters.keys():
            self._letters, chosen = letters, self._select.value
            self._put_aside |= {_order_of(letter).get("id", "") for letter in letters.values()}
            self._select.options = [(_line(letter), letter.id) for letter in letters.values()]
            self._select.value = chosen if chosen in letters else next(iter(letters), None)

    # Widgets ----------------------------------------------------------------------------------------------

    def _layout(self) -> widgets.VBox:
        button = self.button
        workers = widgets.HBox(
            [
                button("Add a producer", self.add_producer, icon="plus"),
                button("Add a consumer", self.add_consumer, icon="plus"),
                button("Stop all", self.stop, icon="stop"),
            ],
            layout=ROW,
        )
        breaking = widgets.HBox(
            [
                button(f"{BURST} orders at once", self.burst, icon="bars"),
                button(f"Send {POISON}", self.poison, icon="flask"),
            ],
            layout=ROW,
        )
        letters = widgets.HBox(
            [
                button("Show", self._show_letter, icon="search"),
                button("Redrive", self._redrive_chosen, icon="undo"),
                button("Redrive all", self.redrive, icon="undo"),
                button("Purge", self._purge_chosen, icon="trash"),
            ],
            layout=ROW,
        )
        numbers = [self.rate, self.work, self.failure, self.lost]
        boxes = [self.resend, self.remember]
        left = [
            _titled("Workers", self._table, self._waiting.widget, workers),
            _titled("Dead-letter queue", self._select, letters, self._shown.widget),
        ]
        right = [
            _titled("Break it", *numbers, *boxes, breaking, self._counts.widget),
            _titled("Redis itself", *self._redis_controls()),
            _titled("Log", self._said.widget),
        ]
        columns = [
            widgets.VBox(left, layout={"flex": "3 1 420px", "min_width": "0"}),
            widgets.VBox(right, layout={"flex": "2 1 320px", "min_width": "0"}),
        ]
        problems = [self._problem.widget, self._outage.widget]
        middle = widgets.HBox(columns, layout={**ROW, "grid_gap": "0 16px"})
        draw = widgets.HBox([button(f"Draw the last {LANES_S} s", self._draw_lanes, icon="pencil")])
        paths = _titled("Swim lanes: the paths of a few orders", draw, self._lanes, self._lanes_text.widget)
        rows = [self.chart, *problems, middle, _titled("Missions", self._tasks.widget), paths]
        return widgets.VBox(rows, layout={"max_width": WIDTH})

    def _redis_controls(self) -> list[widgets.Widget]:
        """Return what changes the server as a whole; on a server of your own a line in place of it."""
        if self.log is None:
            why = f"This Redis is your own. The lab neither pauses nor restarts it: {PRIVATE}."
            return [widgets.HTML(html.escape(why))]
        both = [
            self.button(f"Pause Redis for {PAUSE_MS // 1000} s", self.pause_redis, icon="pause"),
            self.button("Restart Redis", self.restart_redis, icon="power-off"),
        ]
        return [self.log, widgets.HBox(both, layout=ROW)]

    def button(self, label: str, function: Callable[[], object], **look: Any) -> widgets.Button:
        """Return a button that calls *function*. If it raises, the room shows the error."""
        made = widgets.Button(description=label, layout={"width": "auto"}, **look)
        made.on_click(lambda _: self._attempt(function))
        return made

    def _number(self, label: str, value: float, high: int, factor: float = 1, **knob: str) -> widgets.BoundedIntText:
        # No slider, because a slider of ipywidgets has no name that a screen reader could speak.
        look = {"style": {"description_width": "10em"}, "layout": {"width": "16em"}}
        number = widgets.BoundedIntText(round(value), 0, high, 5, description=label, **look)

        def changed(change: dict[str, Any]) -> None:
            for name in knob.values():
                self.sampler.note(*said(name, change["new"]))
            self._set(knob, change["new"] * factor)

        number.observe(changed, "value")
        return number

    def _box(self, label: str, value: bool, **knob: str) -> widgets.Checkbox:
        box = widgets.Checkbox(value, description=label, indent=False, layout={"width": "auto"})
        box.observe(lambda change: self._set(knob, float(change["new"])), "value")
        return box

    def _log_box(self) -> widgets.Checkbox:
        box = widgets.Checkbox(False, description="Redis keeps a log (AOF)", indent=False, layout={"width": "auto"})
        box.observe(lambda change: self._attempt(_private_server().keep_log, change["new"]), "value")
        return box

    def _set(self, knob: dict[str, str], value: float) -> None:
        for worker in (member.worker for member in self._team):
            if worker.alive and worker.role in knob:
                self._attempt(worker.set, **{knob[worker.role]: value})

    def _show_letter(self) -> None:
        letter = self._letters[self._chosen()]
        told = {"id": letter.source_id, "reason": letter.reason, "deliveries": letter.deliveries, "group": letter.group}
        fields = {_text(name): _text(value) for name, value in letter.fields.items()}
        lines = [f"{name:12}{value}" for name, value in (told | fields).items()]
        self._shown.say(f'<pre style="white-space: pre-wrap">{html.escape(chr(10).join(lines))}</pre>')

    def _redrive_chosen(self) -> None:
        self.redrive(self._chosen())
        self._shown.say("")

    def _purge_chosen(self) -> None:
        self.purge(self._chosen())
        self._shown.say("")

    def _chosen(self) -> str:
        if self._select.value is None:
            raise ValueError("there is no dead letter to choose")
        chosen: str = self._select.value
        return chosen

    def _attempt(self, action: Callable[..., object], *values: float, **knobs: float) -> None:
        try:
            action(*values, **knobs)
        except Exception as error:  # noqa: BLE001 - a button has no caller that could be told
            self._problem.say(alert(f"{type(error).__name__}: {error}"))
        else:
            if ControlRoom._open is self:
                self._problem.say("")

    def _say(self, line: str) -> None:
        t_s = self.sampler.latest.t_s
        self._log.appendleft(f"<div>{t_s:.0f} s: {html.escape(line)}</div>")
        self._said.say(f'<div role="log" style="height: {LINES * 1.4}em; {TIGHT}">{"".join(tuple(self._log))}</div>')


class _Text:
    """A line of HTML. It is sent to the browser only when it changes."""

    def __init__(self) -> None:
        self.widget = widgets.HTML()

    def say(self, text: str) -> None:
        if text != self.widget.value:
            self.widget.value = text


class _Member:
    """
    A row of the table: a worker, what it holds and did, and its two buttons.

    Attributes:
        worker: The process. After a restart it is another one.
        row: The widget of the row.
    """

    def __init__(self, worker: Process, room: ControlRoom) -> None:
        name = worker.name
        self._text = _Text()
        self._text.widget.layout.flex = "1 1 auto"
        self._switch = room.button(f"Stop {name}", lambda: room.switch(name))
        self._kill = room.button(f"kill -9 {name}", lambda: room.kill(name), icon="bolt", button_style="danger")
        self.row = widgets.HBox([self._text.widget, self._switch, self._kill])
        self._did: Counter[str] = Counter()
        self._spans: dict[str, Span] = {}
        self.work(worker)

    def work(self, worker: Process) -> None:
        """Use *worker* as the process from now on."""
        self.worker, self._alive, self._hand = worker, True, ""

    def look(self, held: int) -> list[dict[str, Any]]:
        """Read what the worker did since the last look, and show it. Returns the events."""
        worker = self.worker
        worker.forget()  # the sampler has read by now what the last look here has read
        events = worker.events()
        for event in events:
            if event["event"] == EVENT:
                span = msgspec.convert(event["span"], Span)
                self._spans[span.id] = msgspec.structs.replace(span, process=self.worker.name)
                continue
            self._did[event["event"]] += event.get("count", 1)
            self._hand = event["id"] if event["event"] == "began" else ""
        self._forget(time.time() - LANES_S)
        code = self.worker.exit_code
        self._switch.description = f"{'Stop' if code is None else 'Start'} {self.worker.name}"
        kill = [self._kill] if code is None else []  # of the living only: a red button invites to press it
        if len(self.row.children) != 2 + len(kill):
            self.row.children = [self._text.widget, self._switch, *kill]
        if self.worker.role == "producer":
            doing = f"sent {self._did['sent']:,}"
        else:
            hand = f" ({short(self._hand)})" if held and self._hand and code is None else ""
            doing = f"holds {held}{hand}, handled {self._did['handled']:,}"
        self._text.say(_cells({self.worker.name: "2em", STATES.get(code, FAILED): "6em", doing: "15em"}))
        return events

    def news(self) -> str:
        """Return a line if the worker has ended since the last call; otherwise an empty one."""
        if self.worker.alive or not self._alive:
            return ""
        self._alive = False
        if self.worker.exit_code != 0:
            killed_s = self.worker.last_alive_s
            self._spans = {s.id: msgspec.structs.replace(s, killed_s=killed_s) for s in self.spans()}
        return f"{self.worker.name}: {STATES.get(self.worker.exit_code, FAILED)[2:]}."

    def spans(self) -> list[Span]:
        """Return its spans of the last seconds, including those from before a restart."""
        return list(self._spans.values())

    def _forget(self, before_s: float) -> None:
        while self._spans and (oldest := next(iter(self._spans.values()))).began_s < before_s:
            del self._spans[oldest.id]


def few(marks: Sequence[lanes.Mark]) -> list[lanes.Mark]:
    """Return the marks of the newest orders with trouble, or else of the newest orders, under short names."""
    orders = dict.fromkeys(mark.order for mark in reversed(marks))
    trouble = {mark.order for mark in marks if mark.kind not in ("sent", "new", "acked")}
    kept = [order for order in orders if order in trouble or not trouble][:IN_LANES]
    theirs = [mark for mark in marks if mark.order in kept]
    return [replace(mark, order=short(mark.order)) for mark in lanes.from_zero(theirs)]


def short(order_id: str) -> str:
    """Return the beginning of an order's id: enough to tell a few of them apart."""
    return order_id[:6]


def _cells(widths: dict[str, str]) -> str:
    cell = '<span style="display: inline-block; min-width: {}">{}</span>'
    return "".join(cell.format(width, html.escape(text)) for text, width in widths.items())


def _private_server() -> PrivateServer:
    """
    Return the lab's own server.

    Raises:
        ServerError: The Redis is your own.
    """
    found = server.current()
    if not isinstance(found, PrivateServer):
        raise ServerError(f"this server is your own, and the lab neither pauses nor restarts it: {PRIVATE}")
    return found


def _titled(title: str, *children: widgets.Widget) -> widgets.VBox:
    return widgets.VBox([widgets.HTML(f"<b>{title}</b>"), *children])


def _controls_in(widget: widgets.Widget) -> list[widgets.Widget]:
    """Return every control in *widget* that can be disabled."""
    inner = [found for child in getattr(widget, "children", ()) for found in _controls_in(child)]
    return [*inner, widget] if hasattr(widget, "disabled") and not isinstance(widget, widgets.HTML) else inner


def _as_html(mission: Mission) -> str:
    """Return its title and its task, or in the end what there was to learn."""
    told = f"<b>{html.escape(repr(mission))}</b><br>{html.escape(mission.task)}"
    return f'<div style="break-inside: avoid; padding-bottom: 0.5em">{told}</div>'


def _order_of(letter: DeadLetter) -> dict[str, str]:
    """Return its order's members as text; empty if it holds no order."""
    try:
        return {name: str(value) for name, value in json.loads(letter.fields[b"data"]).items()}
    except (KeyError, AttributeError, ValueError):
        return {}


def _item(letter: DeadLetter) -> str:
    """Return the item of its order; empty if it holds no order."""
    return _order_of(letter).get("item", "")


def _line(letter: DeadLetter) -> str:
    return f"{_item(letter) or 'no order'}, deliveries {letter.deliveries}: {letter.reason}"


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
