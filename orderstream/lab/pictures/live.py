"""
A picture that moves while the stream runs, and a small panel of sliders and buttons around it.

The axes are drawn once, and each frame draws only the lines, because a full drawing takes many times as long. The
sampler's thread draws the frames, so the picture moves while a cell is busy. That thread only sets the value of a
widget. It must not print: the text would appear below the cell that runs at that moment.
"""

from __future__ import annotations

import base64
import html
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy
import traitlets

from orderstream.lab.pictures import charts, lanes
from orderstream.lab.pictures.sampler import Note, Sample, Sampler
from orderstream.lab.workers.process import Process
from orderstream.lab.workers.process import consumer as start_consumer

if TYPE_CHECKING:
    from orderstream.lab.pictures.spans import Recorder

SECONDS = 30  # the moving picture shows so much time; its right edge is now
LANES_EVERY_S = 1.0  # not with every sample: lanes are drawn anew each time, which is slow
ROW = {"flex_flow": "row wrap"}
WIDE = {"width": "100%", "margin": "0"}
"""For a picture as wide as the panel. A widget has a margin, and with it the panel would need a scrollbar."""


class LiveChart(widgets.Image):  # type: ignore[misc]  # ipywidgets has no annotations
    """
    Some columns of the samples over the last seconds, side by side.

    Args:
        seconds: How far back the picture reaches.
        show: Which columns of ``charts.LINES``: two or three, or an even number of them in two rows.
    """

    description = traitlets.Unicode("").tag(sync=True)  # without it, the front end cannot show the tooltip

    def __init__(self, seconds: int = SECONDS, show: Sequence[str] = charts.SHOWN) -> None:
        self._lines = charts.chosen(show)
        width = f"{charts.WIDTH * 100:.0f}px"
        layout = {**WIDE, "max_width": width, "object_fit": "contain"}
        said = f"{listed(self._lines)} of the last {seconds} seconds"
        super().__init__(format="png", layout=layout, tooltip=said)
        self.samples: deque[Sample] = deque(maxlen=2_000)
        self._seconds = seconds
        self._figure, self._axes = charts.panels(self._lines)
        self._curves, self._notes, self._numbers = [], [], []
        for ax, line in zip(self._axes, self._lines, strict=True):
            ax.set_xlim(-seconds, 0)
            ax.set_xlabel("seconds ago")
            ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
            self._curves.append(charts.Curve(ax, line, animated=True))
            self._notes.append(charts.Notes(ax, animated=True))
            place: dict[str, Any] = {"transform": ax.transAxes, "ha": "left", "va": "top", "fontsize": 15}
            self._numbers.append(ax.text(0.02, 0.96, "", animated=True, color=line.colour, fontweight="bold", **place))
        self._limits: list[tuple[float, float]] = []
        self._draw()

    def push(self, sample: Sample, notes: Iterable[Note] = ()) -> None:
        """Draw one more sample, and what was done to the stream. Called from the sampler's thread."""
        self.samples.append(sample)
        self._draw(tuple(notes))

    def __repr__(self) -> str:
        return f"LiveChart({', '.join(line.column for line in self._lines)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return the widget, and a still picture for readers without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self), "image/png": base64.b64encode(self.value).decode()}

    def _draw(self, notes: Sequence[Note] = ()) -> None:
        now = self.samples[-1].t_s if self.samples else 0.0
        shown = [sample for sample in self.samples if sample.t_s >= now - self._seconds - 1]
        ago = [sample.t_s - now for sample in shown]
        columns = [charts.columns(shown, line) for line in self._lines]
        canvas: Any = self._figure.canvas
        limits = [charts.limits([each for column in values for each in column]) for values in columns]
        with charts.DRAWING:
            if limits != self._limits:  # only now everything is drawn
                for ax, ends in zip(self._axes, limits, strict=True):
                    ax.set_ylim(*ends)
                canvas.draw()
                self._limits, self._background = limits, canvas.copy_from_bbox(self._figure.bbox)
            canvas.restore_region(self._background)
            rows = zip(self._axes, self._curves, self._notes, self._numbers, columns, strict=True)
            for ax, curve, lines, number, values in rows:
                curve.show(ago, *values)
                lines.show(notes, now)
                number.set_text(readout(values[0][-1]) if values[0] else "")
                for artist in (*curve.artists, *lines.artists, number):
                    ax.draw_artist(artist)
        self.value = charts.encode(numpy.asarray(canvas.buffer_rgba()))


class Panel:
    """
    The moving picture of one producer and its consumers, with sliders and buttons that drive these processes.

        producer = lab.processes.producer(rate_per_s=20)
        consumers = [lab.processes.consumer("c1"), lab.processes.consumer("c2")]
        panel = lab.live.Panel(producer, consumers)
        panel                                               # the last line of a cell shows it
        panel.until(lambda now: now.handled >= 100)         # in a later cell: wait for something to happen
        panel.picture()                                     # a still picture with a sentence that says what happened

    Args:
        producer: Its rate gets a slider.
        consumers: At least one. Each gets a "kill -9" button as long as it lives; failure rate and handler time get one
            slider for all.
        show: What the picture shows, two or three columns of ``charts.LINES``.
        rates: The values that the rate's slider has, where 0 to 200 orders per second are too few.

    Attributes:
        sampler: Takes the samples that the picture shows.
        chart: The picture.
    """

    _shown: Panel | None = None

    def __init__(
        self,
        producer: Process,
        consumers: Sequence[Process],
        show: Sequence[str] = charts.SHOWN,
        rates: Sequence[int] = (),
    ) -> None:
        if Panel._shown:
            Panel._shown.sampler.stop()  # the cell of the old panel was run again
        Panel._shown = self
        self.producer, self.consumers = producer, list(consumers)
        self._show_columns = show
        self.chart = LiveChart(show=show)
        self._lanes: tuple[Recorder, widgets.Image] | None = None
        self._lanes_drawn_s = 0.0
        self._died = {consumer for consumer in self.consumers if not consumer.alive}
        self._said, self._outage = widgets.HTML(), widgets.HTML()
        self._kills = {consumer: self._kill_button(consumer) for consumer in self.consumers}
        self._kill_buttons = widgets.HBox(list(self._kills.values()), layout=ROW)
        self._add_button = widgets.Button(description="Add a consumer", icon="plus")
        self._add_button.on_click(lambda _: self._say_if_wrong(self.add_consumer))
        self._stop_button = widgets.Button(description="Stop all", icon="stop")
        self._stop_button.on_click(lambda _: self._say_if_wrong(self.stop))
        first = self.consumers[0].knobs
        self.rate = self._slider("Orders per second", producer.knobs["rate_per_s"], rates or 200, "rate_per_s")
        self.failure = self._slider("Failing runs, %", 100 * first["failure_rate"], 100, "failure_rate", 0.01)
        self.work = self._slider("Handler time, ms", first["work_ms"], 200, "work_ms")
        self._sliders = widgets.VBox([self.rate, self.failure, self.work])
        self._buttons = widgets.HBox([self._kill_buttons, self._add_button, self._stop_button], layout=ROW)
        self._box = widgets.VBox([self.chart, self._sliders, self._buttons, self._said, self._outage])
        self.sampler: Sampler = Sampler(producer.settings.get("stream", "orders"), on_sample=self._show)
        for worker in (producer, *self.consumers):
            self.sampler.watch(worker, start=0)  # it has handled some orders while this panel was made

    def __repr__(self) -> str:
        pictures = listed(charts.chosen(self._show_columns)).lower() + ("; swim lanes" if self._lanes else "")
        sliders = [slider.description.partition(",")[0].lower() for slider in self._sliders.children]
        more = "".join(f", {button.description}" for button in self._buttons.children[3:])
        return (
            f"Live panel: {pictures}; sliders for {', '.join(sliders[:-1])} and {sliders[-1]}; "
            f"buttons to kill, add and stop{more}. It moves when the notebook runs."
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = self._box._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        return {**(data or {}), "text/plain": repr(self)}

    def until(self, condition: Callable[[Sample], bool], timeout_s: float = 20, *, then_s: float = 0) -> None:
        """
        Wait until *condition* holds for the newest sample, and for *then_s* seconds more.

        The picture moves meanwhile. A slider or a button that you use now has its effect when the cell has ended.

        Raises:
            TimeoutError: It did not hold within *timeout_s* seconds.
        """
        self.sampler.until(condition, timeout_s, then_s=then_s)

    def picture(self, sentence: str | None = None) -> charts.Picture:
        """Return all samples so far as a still picture, with a sentence that says what it shows."""
        return charts.timeline(self.sampler, sentence, self._show_columns)

    def add_slider(
        self, label: str, value: float, high: float, function: Callable[[float], object], step: int = 5
    ) -> widgets.IntSlider:
        """
        Add a slider of your own below the others, and return it.

        Args:
            label: The text beside it. The unit comes after a comma.
            value: Its value at first.
            high: The value of its right end. The left end is 0.
            function: Called with each new value.
        """
        slider = self._new_slider(label, value, high, step)
        name = label.partition(",")[0].lower()

        def turned(change: dict[str, Any]) -> None:
            self.sampler.note(label, f"{name} {change['new']:g}")
            self._say_if_wrong(function, change["new"])

        slider.observe(turned, "value")
        self._sliders.children = (*self._sliders.children, slider)
        return slider

    def add_button(self, label: str, function: Callable[[], object]) -> widgets.Button:
        """Add a button of your own behind the others, and return it. *function* is called when it is pressed."""
        button = widgets.Button(description=label, layout={"width": "auto"})

        def pressed(_: widgets.Button) -> None:
            self.sampler.note(label)
            self._say_if_wrong(function)

        button.on_click(pressed)
        self._buttons.children = (*self._buttons.children, button)
        return button

    def add_lanes(self, recorder: Recorder) -> None:
        """Add the swim lanes of the newest orders below the picture. They are drawn anew every second."""
        layout = {**WIDE, "max_width": f"{charts.WIDTH * 100:.0f}px", "object_fit": "contain"}
        image = widgets.Image(format="png", layout=layout, value=charts.swim_lanes([]).png)
        self._lanes = recorder, image
        self._box.children = (self._box.children[0], image, *self._box.children[1:])

    def add_consumer(self) -> Process:
        """Start one more consumer, with the same settings as the others."""
        number = 1 + max([int(c.name[1:]) for c in self.consumers if c.name[1:].isdigit()], default=0)
        new = self._start(f"c{number}", **self._knobs())
        if self._lanes:
            self._lanes[0].watch(new)
        self.consumers.append(new)
        self.sampler.note(f"{new.name} added")
        self.sampler.watch(new, start=0)  # if many orders wait, it has handled some already
        new.set(**self._knobs())  # a slider may have been drawn while it started
        self._kills[new] = self._kill_button(new)
        self._show_kill_buttons()
        return new

    def stop(self) -> None:
        """Stop the producer, the consumers and the picture. The last picture stays."""
        for process in (self.producer, *self.consumers):
            process.let_go()  # all at once: each may have an order in hand
        for process in (self.producer, *self.consumers):
            process.stop()
        self.sampler.stop()
        self._show_kill_buttons()
        for widget in (*self._sliders.children, *self._buttons.children[1:]):
            widget.disabled = True
        self._said.value = alert("Stopped. To go on, run the cells again, from the one that starts the producer.")

    def _start(self, name: str, **knobs: float) -> Process:
        return start_consumer(name, trace=self.consumers[0].traced, **{**self.consumers[0].settings, **knobs})

    def _slider(
        self, label: str, value: float, values: int | Sequence[int], knob: str, factor: float = 1
    ) -> widgets.IntSlider | widgets.SelectionSlider:
        slider = self._new_slider(label, value, values)
        processes = [self.producer] if knob in self.producer.knobs else self.consumers

        def turned(change: dict[str, Any]) -> None:
            self.sampler.note(*said(knob, change["new"]))
            for process in processes:
                if process.alive:
                    self._say_if_wrong(process.set, **{knob: change["new"] * factor})

        slider.observe(turned, "value")
        return slider

    def _knobs(self) -> dict[str, float]:
        """Return what the sliders say to a consumer."""
        return {"failure_rate": self.failure.value / 100, "work_ms": self.work.value}

    @staticmethod
    def _new_slider(
        label: str, value: float, values: float | Sequence[int], step: int = 5
    ) -> widgets.IntSlider | widgets.SelectionSlider:
        """Return a slider from 0 to *values*, or, if that is a list, one that goes from value to value."""
        look: dict[str, Any] = {"style": {"description_width": "11em"}, "description": label, "tooltip": label}
        look["layout"] = {"width": "100%", "max_width": "540px"}
        if isinstance(values, Sequence):
            return widgets.SelectionSlider(value=round(value), options=[(f"{each:,}", each) for each in values], **look)
        return widgets.IntSlider(round(value), 0, max(round(values), round(value)), step=step, **look)

    def _kill_button(self, consumer: Process) -> widgets.Button:
        look = {"icon": "bolt", "button_style": "danger", "layout": {"width": "auto"}}
        button = widgets.Button(description=f"kill -9 {consumer.name}", **look)

        def kill(_: widgets.Button) -> None:
            self._say_if_wrong(consumer.kill)
            self._show_kill_buttons()

        button.on_click(kill)
        return button

    def _show_kill_buttons(self) -> None:
        """Show those of the living only: a red button invites to press it."""
        living = tuple(button for consumer, button in list(self._kills.items()) if consumer.alive)
        if living != self._kill_buttons.children:
            self._kill_buttons.children = living

    def _say_if_wrong(self, action: Callable[..., object], *values: float, **knobs: float) -> None:
        try:
            action(*values, **knobs)
        except Exception as error:  # noqa: BLE001 - a button has no caller that could be told
            self._said.value = alert(f"{type(error).__name__}: {error}")

    def _show(self, sample: Sample) -> None:
        self._show_kill_buttons()  # a cell can kill a consumer, too
        for consumer in [each for each in list(self.consumers) if each.exit_code and each not in self._died]:
            self._died.add(consumer)
            self.sampler.note(f"{consumer.name} killed")
        self._outage.value = alert(f"The picture has a gap: {self.sampler.error}") if self.sampler.error else ""
        self.chart.push(sample, self.sampler.notes)
        if self._lanes and sample.t_s - self._lanes_drawn_s > LANES_EVERY_S:
            self._lanes_drawn_s = sample.t_s
            recorder, image = self._lanes
            image.value = charts.swim_lanes(lanes.latest(lanes.marks(recorder.spans()))).png


def said(knob: str, value: float) -> tuple[str, str]:
    """Return what ``Sampler.note`` is told when a slider or a number was set to *value*: short, to fit in a picture."""
    units = {"rate_per_s": "/s", "work_ms": " ms", "failure_rate": " % fail"}
    return knob, f"{value:g}{units[knob]}"


def listed(lines: Sequence[charts.Line]) -> str:
    """Return the titles of *lines* as a list in words: ``Throughput, pending and retries``."""
    *first, last = [line.title for line in lines]
    return f"{', '.join(first)} and {last}".capitalize()


def readout(value: float) -> str:
    """Return *value* as the number in a panel: ``?`` if it is unknown, and never as ``6.25e+04``."""
    if math.isnan(value):
        return "?"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def alert(line: str) -> str:
    """Return *line* as HTML that a screen reader speaks when it appears."""
    return f'<span role="alert">{html.escape(line)}</span>'
