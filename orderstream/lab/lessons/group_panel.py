"""
One group whose consumers share the work: the common part of the moving pictures of lessons 02 and 10.

A consumer is a thread that takes orders, handles one after the other, and acks each. Each lesson has its own way to
take them. The picture shows how many orders each consumer holds, and how many are new, which means not delivered yet.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from orderstream.lab.lessons import pace
from orderstream.lab.pictures.sampler import Note
from orderstream.lab.pictures.state import held_by
from orderstream.lab.workers.process import Process

GROUP = "order_group"


class Member(pace.Reader):
    """
    A consumer of the group. It runs until it is stopped. A subclass says how it takes orders.

    Args:
        name: Its name in the group.
        stream: Key of the stream.
        work_ms: Milliseconds for one order. It may be changed at any time.
        counting: A lock that is held while an ack is sent and counted. A thread that holds it sees both or neither.

    Attributes:
        handled: How many orders it has handled and acked.
    """

    def __init__(self, name: str, stream: str, work_ms: float, counting: threading.Lock) -> None:
        super().__init__(name, stream, work_ms)
        self.handled = 0
        self._counting = counting


@dataclass(frozen=True)
class Moment:
    """
    What a panel of a group saw. The subclass of a lesson adds its own counts.

    Attributes:
        t_s: Seconds since the panel began.
        new: Orders that were not delivered yet.
        held: Consumer -> orders that it was given and has not acked; ``UNOWNED`` -> those that nobody has in hand.
    """

    t_s: float
    new: int
    held: dict[str, int]


class GroupPanel(pace.Panel):
    """
    A stream whose orders are shared by the consumers of one group.

    Args:
        producer: Its rate gets a slider. The group is made anew on its stream.
        member: Makes a consumer from its name, the stream, ``work_ms`` and the lock ``counting``, see `Member`.
        consumers: Name -> milliseconds that it takes for one order.
        more: Controls of the lesson, above those of the consumers.
    """

    readers: Mapping[str, Member]

    def __init__(
        self,
        producer: Process,
        member: Callable[[str, str, float, threading.Lock], Member],
        consumers: Mapping[str, float],
        *more: widgets.Widget,
    ) -> None:
        self._stream = producer.settings.get("stream", "orders")
        self._counting = threading.Lock()
        members = [member(name, self._stream, work_ms, self._counting) for name, work_ms in consumers.items()]
        super().__init__(producer, members, *more)

    @abstractmethod
    def _moment(self, t_s: float, new: int, held: dict[str, int]) -> Any:
        """Return a `Moment` of the lesson. Nothing is acked meanwhile."""

    def _prepare(self) -> None:
        with self._client.pipeline(transaction=False) as pipe:  # an old group has acks that this panel has not counted
            pipe.xgroup_create(self._stream, GROUP, id="0", mkstream=True).xgroup_destroy(self._stream, GROUP)
            pipe.xgroup_create(self._stream, GROUP, id="0")
            pipe.execute(raise_on_error=False)

    def _look(self, t_s: float) -> Any:
        with self._counting, self._client.pipeline(transaction=True) as pipe:  # all numbers of the same moment
            length, pending = pipe.xlen(self._stream).xpending(self._stream, GROUP).execute()
            held = dict.fromkeys(self.readers, 0) | held_by(pending)
            done = sum(member.handled for member in self.readers.values())
            return self._moment(t_s, length - pending["pending"] - done, held)

    def _draw(self, moments: Sequence[Moment], seconds: float | None) -> bytes:
        return draw(moments, seconds, list(self.notes))


def holds(moment: Moment) -> dict[str, int]:
    """Return name -> number for ``pace.draw``: how many orders are new, and how many each consumer holds."""
    return {"new": moment.new, **moment.held}


def draw(moments: Sequence[Moment], seconds: float | None = None, notes: Sequence[Note] = ()) -> bytes:
    """Return a PNG of the new orders and of what each consumer holds, over time; see ``pace.draw``."""
    parts = {"New orders, and orders that each consumer holds": holds}
    return pace.draw(parts, moments, seconds, "steps-post", notes)
