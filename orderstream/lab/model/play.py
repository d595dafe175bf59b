"""
The rules: where everything stands, what can be chosen next, and what comes of it.

A choice is a word. A schedule is a line of them.

    a            consumer a goes on: Redis runs what it asks, and it has the replies
    a~           the same for its second thread, the heartbeat; or that thread wakes up
    a:lost       Redis runs what a asks, and the replies are lost
    a:unsent     the link breaks before Redis has it
    a:late       the link breaks, and Redis runs what a asks some time later: when it ``arrives``
    a:returns    the handler that runs in a returns; also raises, rejects, defers
    a:dies       its process is killed; a2 takes its place
    a:stop       it is told to stop
    time         so much time passes that all that is pending is due
    mended       from now on, dead letters can be written
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from orderstream.lab.model.cast import Cast, Node
from orderstream.lab.model.gate import STOP, TIME, Input, Stop
from orderstream.lab.model.judge import Books, Judge
from orderstream.lab.model.programs import Program, consume, janitor, produce
from orderstream.lab.model.scope import ENDS, Scope
from orderstream.lab.model.stage import LOST, Words
from orderstream.lab.model.world import State, World, settings

CONSUMERS = "abcdefgh"
MOST_BEATS = 4  # wake up, ask, and perhaps once more
READS = b"XREADGROUP"


class Left(NamedTuple):
    """How much may still go wrong."""

    deaths: int
    lost: int
    late: int
    times: int
    stops: int
    preemptions: int

    def covers(self, other: Left) -> bool:
        return all(mine >= theirs for mine, theirs in zip(self, other, strict=True))


class Late(NamedTuple):
    """Commands that arrive later than their link broke."""

    who: bytes
    commands: tuple[Words, ...]


class At(NamedTuple):
    """
    Where everything stands.

    Attributes:
        world: The number of Redis' state.
        nodes: Where each process is; None: it has ended.
        book: The number of the page that says what has become of each order.
        last: Who made the last step and could go on: its place among the nodes, and its thread. None: nobody could.
        left: How much may still go wrong.
        late: What is under way to Redis: who asked it, and the commands.
    """

    world: int
    nodes: tuple[Node | None, ...]
    book: int
    last: tuple[int, int] | None
    left: Left
    late: tuple[Late, ...] = ()


class Move(NamedTuple):
    """A choice, where it leads, and what is broken on the way; nothing if all is well."""

    choice: str
    at: At
    broken: str


class Play:
    """
    All that can happen in a scope.

    Args:
        merge: See ``Cast``.
    """

    def __init__(self, scope: Scope, world: World, merge: bool = True) -> None:
        self.scope = scope
        self.world = world
        self._settings = settings(scope.max_attempts, scope.batch, scope.impatient)
        items = {order.id: order.item for order in scope.orders + scope.to_send}
        self._items = items
        self.judge = Judge(items, scope.max_attempts)
        self.books = Books([order.id for order in scope.orders], [order.id for order in scope.to_send])
        self.cast = Cast(self._program, merge)
        self._faults = scope.deaths + scope.lost + scope.late
        self._verdicts: dict[tuple[int, int, int], str] = {}

    def begin(self) -> At:
        """Return where everything stands at first."""
        scope = self.scope
        names = [*CONSUMERS[: scope.consumers], *["producer"] * bool(scope.sent), *scope.janitors]
        return At(
            self.world.begin(scope.orders, scope.refuses),
            tuple(map(self.cast.root, names)),
            0,
            None,
            Left(scope.deaths, scope.lost, scope.late, scope.times, scope.stops, scope.preemptions or 0),
        )

    def moves(self, at: At) -> Iterator[Move]:
        """Yield all that can happen next."""
        for slot, node in enumerate(at.nodes):
            if node:
                for thread, stop in enumerate((node.first, node.second)):
                    if stop and stop.kind != "ended":
                        yield from self._thread_moves(at, slot, node, thread, stop)
                if at.left.deaths and consumes(node):
                    yield self._gone(at, slot, node, f"{node.name}:dies", at.left._replace(deaths=at.left.deaths - 1))
                if at.left.stops and node.first.kind != "ended" and consumes(node):
                    left = at.left._replace(stops=at.left.stops - 1)
                    after = self.cast.after(node, STOP)
                    yield self._to(at._replace(left=left), slot, -1, after, f"{node.name}:stop", at.world)
        if at.left.times:
            yield from self.time(at, at.left._replace(times=at.left.times - 1))
        yield from self.arrivals(at)
        yield from self.mended(at)

    def arrivals(self, at: At) -> Iterator[Move]:
        """Let Redis run what is still under way."""
        for n, each in enumerate(at.late):
            _, world = self.world.ask(at.world, each.commands)
            book, broken = self._noted_change(at, each.who, world)
            mine = [node for node in at.nodes if node and node.known_as == each.who and node.first.kind == "handles"]
            busy = [str(node.first.what) for node in mine]
            if not self.scope.impatient:  # else it was meant to be taken away
                states = self.world.states
                broken = broken or self.judge.arrival(each.who, busy, states[at.world], states[world])
            late = at.late[:n] + at.late[n + 1 :]
            yield self._judged("arrives" + str(n or ""), at._replace(world=world, book=book, late=late), broken)

    def mended(self, at: At) -> Iterator[Move]:
        """Let dead letters be written, if they cannot be."""
        if self.world.states[at.world].refuses:
            yield Move("mended", at._replace(world=self.world.mend(at.world)), "")

    def time(self, at: At, left: Left) -> Iterator[Move]:
        """Let time pass, unless nobody would notice."""
        world = self.world.pass_time(at.world)
        if world != at.world:
            alive = {node.known_as for node in at.nodes if node}
            state = self.world.states[at.world]
            book = at.book
            for each in state.pending:
                if each.owner in alive and not each.due:
                    book = self.books.note(book, state.order_of.get(each.id, "?"), "is overdue")
            nodes = tuple(node and self.cast.after(node, TIME) for node in at.nodes)
            yield Move("time", at._replace(world=world, nodes=nodes, book=book, left=left), "")

    def beats(self, at: At) -> Iterator[Move]:
        """Let each heartbeat that is alive come in time."""
        for slot in range(len(at.nodes)):
            for _ in range(MOST_BEATS):
                if (node := at.nodes[slot]) and node.second and (move := self.fair(at, slot, 1)):
                    yield move
                    at = move.at
                    after = at.nodes[slot]
                    if after and after.second and after.second.kind == "sleeps":
                        break

    def at_rest(self, at: At) -> bool:
        """Return whether nothing is left to do, but for slow orders that somebody works on."""
        state = self.world.states[at.world]
        busy = {str(node.first.what) for node in at.nodes if node and node.first.kind == "handles"}
        slow = {order for order in busy if self._items[order] == "slow"}
        working = any(node and not consumes(node) for node in at.nodes)
        return not working and not state.undelivered and slow.issuperset(state.waiting)

    def fair(self, at: At, slot: int, thread: int) -> Move | None:
        """Let a thread make one step, and nothing goes wrong but what poison and failing orders do."""
        node = at.nodes[slot]
        stop = node and (node.first, node.second)[thread]
        if not node or not stop or stop.kind == "ended":
            return None
        return next(self._thread_moves(at._replace(last=None), slot, node, thread, stop), None)

    def spent(self, at: At) -> int:
        """Return how often a process died or a reply was lost."""
        return self._faults - sum(at.left[:3])

    # One thread -----------------------------------------------------------------------------------------

    def _thread_moves(self, at: At, slot: int, node: Node, thread: int, stop: Stop) -> Iterator[Move]:
        if self.scope.preemptions is not None:
            left, me = at.left, (slot, thread)
            if at.last and at.last != me:
                if not left.preemptions:
                    return
                left = left._replace(preemptions=left.preemptions - 1)
            at = at._replace(last=me, left=left)
        name = node.name + "~" * thread
        if stop.kind == "asks":
            after, world = node.answered.get((thread, at.world)) or self._answered(node, thread, stop, at.world)
            yield self._to(at, slot, thread, after, name, world)
            if at.left.late:
                under_way = (*at.late, Late(node.known_as, commands_of(stop)))
                later = at._replace(left=at.left._replace(late=at.left.late - 1), late=under_way)
                after = self.cast.after(node, Input(thread, LOST))
                yield self._to(later, slot, thread, after, f"{name}:late", at.world)
            if at.left.lost:
                at = at._replace(left=at.left._replace(lost=at.left.lost - 1))
                after = self.cast.after(node, Input(thread, LOST))
                yield self._to(at, slot, thread, after, f"{name}:unsent", at.world)
                if world != at.world:
                    yield self._to(at, slot, thread, after, f"{name}:lost", world)
        elif stop.kind == "handles":
            item = self._items[str(stop.what)]
            for end in self.scope.ends if item == "tea" else ENDS[item]:
                after = self.cast.after(node, Input(thread, end))
                ended = at._replace(book=self.books.note(at.book, str(stop.what), end))
                yield self._to(ended, slot, thread, after, f"{name}:{end}", at.world)
            if item == "poison":
                yield self._gone(at, slot, node, f"{name}:dies", at.left)
        else:
            yield self._to(at, slot, thread, self.cast.after(node, Input(thread)), name, at.world)

    def _answered(self, node: Node, thread: int, stop: Stop, world: int) -> tuple[Node, int]:
        replies, next_world = self.world.ask(world, commands_of(stop))
        answer = self.cast.after(node, Input(thread, replies)), next_world
        node.answered[thread, world] = answer
        return answer

    def _could_go_on(self, world: int, node: Node | None, thread: int) -> bool:
        """Return whether a thread need not wait for entries to read or for its sleep to end."""
        stop = (node.first, node.second)[thread] if node else None
        if not stop or stop.kind != "asks":
            return stop is not None and stop.kind == "handles"
        return commands_of(stop)[-1][0].upper() != READS or bool(self.world.states[world].undelivered)

    def _to(self, at: At, slot: int, thread: int, node: Node, choice: str, world: int) -> Move:
        last = at.last
        book, broken = self._noted_change(at, node.known_as, world)
        if thread == 0 and node.first.kind == "handles":
            book = self.books.note(book, str(node.first.what), "begins")
        here: Node | None = node
        if node.first.kind == "ended":
            error = str(node.first.what)
            if error and not self.scope.refuses:
                broken = broken or f"a program ends without an error: {node.name} ended with {error}"
            here = self.cast.root(_successor(node.name)) if consumes(node) else None
            last = None
        nodes = (*at.nodes[:slot], here, *at.nodes[slot + 1 :])
        if last and not self._could_go_on(world, here, last[1]):
            last = None
        return self._judged(choice, At(world, nodes, book, last, at.left, at.late), broken)

    def _noted_change(self, at: At, who: bytes, world: int) -> tuple[int, str]:
        """Note what *who* has added, and say what *who* did wrong."""
        book = at.book
        if world == at.world:
            return book, ""
        before, after = self.world.states[at.world], self.world.states[world]
        if before.last != after.last:
            for id in after.order_of.keys() - before.order_of.keys():
                order = after.order_of[id]
                redriven = _count(before, order) > _count(after, order)
                book = self.books.note(book, order, "is redriven" if redriven else "is added")
        return book, self.judge.step(who, before, after, self.books.pages[book])

    def _gone(self, at: At, slot: int, node: Node, choice: str, left: Left) -> Move:
        nodes = (*at.nodes[:slot], self.cast.root(_successor(node.name)), *at.nodes[slot + 1 :])
        last = None if at.last and at.last[0] == slot else at.last
        stop = node.first
        poison = str(stop.what) if stop.kind == "handles" and self._items[str(stop.what)] == "poison" else ""
        broken = poison and self.judge.death(node.known_as, poison, self.world.states[at.world])
        return self._judged(choice, at._replace(nodes=nodes, last=last, left=left), broken)

    def _judged(self, choice: str, at: At, broken: str) -> Move:
        spent = self.spent(at)
        seen = at.world, at.book, spent
        verdict = self._verdicts.get(seen)
        if verdict is None:
            verdict = self.judge.state(self.world.states[at.world], self.books.pages[at.book], spent)
            self._verdicts[seen] = verdict
        return Move(choice, at, broken or verdict)

    # Who plays --------------------------------------------------------------------------------------------

    def _program(self, name: str) -> Program:
        if name == "producer":
            return produce(self._settings, self.scope.to_send, self.scope.dedupe)
        if name in self.scope.janitors:
            return janitor(self._settings, name)
        return consume(self._settings)


def commands_of(stop: Stop) -> tuple[Words, ...]:
    return cast(tuple[Words, ...], stop.what)


def _count(state: State, order: str) -> int:
    """Return how many dead letters *order* has."""
    return sum(order == each for each, _ in state.letters)


def consumes(node: Node) -> bool:
    return node.name[1:].isdecimal() or len(node.name) == 1


def _successor(name: str) -> str:
    return f"{name[0]}{int(name[1:] or 1) + 1}"
