"""
The pictures of lesson 11: each order that is in hand has a place, and each place a lane.

    diary = lab.crews.Diary(c1)
    lab.crews.picture(diary, "What it shows, in a sentence.")

    producer = lab.processes.producer(rate_per_s=50)
    panel = lab.crews.Panel(producer, work_ms=100, slow="figs")     # the same, and it moves
    panel
"""

from __future__ import annotations

import time
from typing import Any

import ipywidgets as widgets

from orderstream.lab.lessons.lesson_11 import crew_chart
from orderstream.lab.lessons.lesson_11.diary import Diary
from orderstream.lab.pictures import charts, live
from orderstream.lab.pictures.sampler import Sample
from orderstream.lab.workers.process import Process
from orderstream.lab.workers.process import consumer as start_consumer

__all__ = ["Diary", "Panel", "picture"]

AT_ONCE = (1, 2, 5, 10, 20, 50)
SECONDS = 5  # the moving picture shows so much time: more, and the bars are too narrow to be seen
EVERY_S = 0.5


def picture(diary: Diary, sentence: str, marked: str | None = None) -> charts.Picture:
    """
    Return all runs of a diary as a still picture.

    Args:
        sentence: What it shows.
        marked: The id of an order that has another colour.
    """
    runs = diary.runs
    last_s = max((run.ended_s or time.time() for run in runs), default=time.time())
    return charts.Picture(sentence, crew_chart.draw(runs, last_s, marked=marked))


class Panel(live.Panel):
    """
    A producer, one consumer that handles many orders at once, and what it has in hand.

    Args:
        producer: Its rate gets a slider.
        at_once: How many orders the consumer handles at once, at first.
        options: Of the consumer, as in ``lab.processes.consumer``.

    Attributes:
        at_once: The slider for that. When it is moved, the consumer ends, and another one takes its place.
        diary: What the consumers had in hand.
    """

    def __init__(self, producer: Process, at_once: int = 1, **options: Any) -> None:
        self._options = options
        self._concurrency = at_once
        self._drawn_s = 0.0
        first = start_consumer("c1", concurrency=at_once, **options)
        self.diary = Diary(first)
        layout = {**live.WIDE, "max_width": f"{charts.WIDTH * 100:.0f}px", "object_fit": "contain"}
        self.crew = widgets.Image(format="png", layout=layout, value=crew_chart.draw([], time.time(), SECONDS))
        super().__init__(producer, [first], show=("throughput", "backlog", "pending"))
        self.at_once = self._new_slider("At once", at_once, AT_ONCE)
        self.at_once.continuous_update = False  # not one consumer for each value on the way
        self.at_once.observe(lambda change: self._say_if_wrong(self.replace, change["new"]), "value")
        self._sliders.children = (*self._sliders.children, self.at_once)
        self._box.children = (self._box.children[0], self.crew, *self._box.children[1:])

    def replace(self, at_once: int) -> None:
        """Stop the consumers. What they have in hand they handle. Then start one that handles so many at once."""
        self._concurrency = at_once
        self.sampler.note("At once", f"{at_once} at once")
        for consumer in self.consumers:
            consumer.let_go()
        for consumer in self.consumers:
            consumer.stop()
        self.add_consumer()

    def _start(self, name: str, **knobs: float) -> Process:
        new = start_consumer(name, concurrency=self._concurrency, **{**self._options, **knobs})
        self.diary.watch(new)
        return new

    def _show(self, sample: Sample) -> None:
        super()._show(sample)
        if sample.t_s - self._drawn_s > EVERY_S:
            self._drawn_s = sample.t_s
            self.crew.value = crew_chart.draw(self.diary.runs, time.time(), SECONDS)
