"""A schedule, told: who did what, and what became of each order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orderstream import scripts
from orderstream.entries import UNOWNED
from orderstream.lab.model.play import At, Move, Play, commands_of
from orderstream.lab.model.search import REST
from orderstream.lab.model.world import State

_SCRIPTS = {each.sha: name.lower() for name, each in vars(scripts).items() if isinstance(each, scripts.Script)}
_SAID = {"unsent": "the link breaks before Redis has it", "lost": "Redis runs it, and the reply is lost"}
_SAID["late"] = "the link breaks, and Redis runs it later"


def follow(play: Play, schedule: Sequence[str]) -> Iterator[tuple[At, Move]]:
    """
    Yield each step of *schedule*: where everything stood, and the move.

    Raises:
        ValueError: A choice cannot be made there.
    """
    at, resting = play.begin(), False
    for n, choice in enumerate(schedule, 1):
        if choice == REST:
            resting = True
            continue
        moves = [*_resting(play, at)] if resting else [*play.moves(at)]
        move = next((move for move in moves if move.choice == choice), None)
        if move is None:
            raise ValueError(f"choice {n}, {choice!r}, is none of: {' '.join(move.choice for move in moves)}")
        yield at, move
        at = move.at


def _resting(play: Play, at: At) -> Iterator[Move]:
    for slot in range(len(at.nodes)):
        for thread in (0, 1):
            if move := play.fair(at, slot, thread):
                yield move
    yield from play.time(at, at.left)
    yield from play.arrivals(at)
    yield from play.mended(at)


def story(play: Play, schedule: Sequence[str]) -> list[str]:
    """Tell *schedule* in lines."""
    lines = []
    begins_rest = schedule.index(REST) + 1 if REST in schedule else 0
    for n, (at, move) in enumerate(follow(play, schedule), 1):
        states = play.world.states
        if n == begins_rest:
            lines.append("     from here on nothing goes wrong any more")
        changed = _changes(states[at.world], states[move.at.world])
        lines.append(f"{n:>3}  {move.choice:<12} {_what(at, move)}{' → ' + '; '.join(changed) if changed else ''}")
        if move.broken:
            lines.append(f"     broken: {move.broken}")
    return lines


def _what(at: At, move: Move) -> str:
    who, _, how = move.choice.partition(":")
    if who == "time":
        return "time passes: what is pending is due"
    if how in ("dies", "stop"):
        return "its process is killed" if how == "dies" else "it is told to stop"
    if who.startswith("arrives"):
        return f"what is under way arrives: {', '.join(map(_command, at.late[int(who[7:] or 0)].commands))}"
    node = next((node for node in at.nodes if node and node.name == who.rstrip("~")), None)
    stop = node and (node.second if who.endswith("~") else node.first)
    if not stop or stop.kind == "sleeps":
        return "the heartbeat wakes up" if stop else "dead letters can be written from now on"
    if stop.kind == "handles":
        return f"the handler of {stop.what} {how}"
    asked = ", ".join(map(_command, commands_of(stop)))
    return f"{asked}{': ' + _SAID[how] if how else ''}"


def _command(words: tuple[bytes, ...]) -> str:
    name = words[0].decode()
    return f"lua/{_SCRIPTS.get(words[1].decode(), '?')}.lua" if name == "EVALSHA" else name


def _changes(before: State, after: State) -> list[str]:
    changed = [
        f"{order} {_place(after, id)}"
        for id, order in {**before.order_of, **after.order_of}.items()
        if _place(before, id) != _place(after, id)
    ]
    return changed + [f"{order} is a dead letter" for order, _ in after.letters[len(before.letters) :]]


def _place(state: State, id: bytes) -> str:
    if id in state.owners:
        each = state.owners[id]
        owner = each.owner.decode().partition("-1-0")[0]
        who = "waits" if owner == UNOWNED else f"is {owner}'s"
        return f"{who}, delivery {each.deliveries}{', due' if each.due else ''}"
    if id not in state.order_of:
        return "is not in the stream"
    return "is undelivered" if state.order_of[id] in state.undelivered and id > state.read else "is acked"
