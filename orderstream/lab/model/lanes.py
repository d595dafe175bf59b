"""A schedule as marks in lanes, for ``charts.swim_lanes``: each choice takes a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orderstream.entries import UNOWNED
from orderstream.lab.model.play import At, Move, Play
from orderstream.lab.model.story import follow
from orderstream.lab.model.world import State
from orderstream.lab.pictures.lanes import DEAD, STREAM, Kind, Mark

RAN: dict[str, Kind] = {"raises": "failed", "rejects": "failed", "defers": "deferred"}
"""How a handler ends -> its mark. If it returns, the ack makes the mark."""


def marks(play: Play, schedule: Sequence[str]) -> list[Mark]:
    """Return what happened to each order in *schedule*, oldest first."""
    found = [Mark(0.0, STREAM, order.id, "sent") for order in play.scope.orders]
    for n, (at, move) in enumerate(follow(play, schedule), 1):
        found += _of_a_process(play, float(n), at, move)
        found += _of_entries(float(n), play.world.states[at.world], play.world.states[move.at.world], move)
    return found


def _of_a_process(play: Play, t_s: float, at: At, move: Move) -> Iterator[Mark]:
    """Yield the marks of a handler that ended, or of a process that did."""
    name, _, how = move.choice.partition(":")
    node = next((node for node in at.nodes if node and node.name == name), None)
    if node and how in RAN and node.first.kind == "handles":
        yield Mark(t_s, name, str(node.first.what), RAN[how])
    if node and how == "dies":
        state = play.world.states[at.world]
        for each in state.pending:
            if each.owner == node.known_as:
                yield Mark(t_s, name, state.order_of[each.id], "killed")


def _of_entries(t_s: float, before: State, after: State, move: Move) -> Iterator[Mark]:
    """Yield the marks of what Redis did with entries."""
    name = move.choice.partition(":")[0].rstrip("~")
    for id, order in after.order_of.items():
        was, now = before.owners.get(id), after.owners.get(id)
        if id not in before.order_of and len(after.letters) < len(before.letters):
            yield Mark(t_s, DEAD, order, "redriven")
        elif id not in before.order_of:
            yield Mark(t_s, STREAM, order, "sent")
        elif now and now.owner != UNOWNED.encode() and (was is None or was.owner != now.owner):
            yield Mark(t_s, name, order, "claimed" if was else "new", now.deliveries)
        elif was and now and was.owner != now.owner and now.due:
            yield Mark(t_s, name, order, "released")
        elif was and not now and order not in dict(after.letters[len(before.letters) :]):
            yield Mark(t_s, name, order, "acked")
    for order, _ in after.letters[len(before.letters) :]:
        yield Mark(t_s, DEAD, order, "dead")
