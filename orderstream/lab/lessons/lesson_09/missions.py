"""
The missions of the control room, and how the room knows that one is fulfilled.

A mission is a generator. It yields a task for the learner, and the room sends it one `Look` after the other. When the
mission sees that the task is done, it yields the next task. At the end it returns what the learner can learn from it.
A mission does not know about clicks: it looks at the stream only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from orderstream.lab.pictures.sampler import Sample

POISON = "poison"
"""The item of orders that kill the process of their handler."""

Story = Generator[str, "Look", str]


@dataclass(frozen=True)
class Look:
    """
    What the room sees at one moment.

    Attributes:
        sample: What the sampler saw of the stream.
        running: The consumers that run.
        killed: The consumers that were killed, and not started again.
        rate_per_s: Orders per second, the sum of what the running producers are set to.
        dead: The items of the first hundred dead letters, oldest first.
        lost: How many replies to producers were lost so far.
        twice: How many handler runs so far handled an order that had been handled before.
        rescued: How many orders so far were handled after they had been dead letters.
    """

    sample: Sample
    running: frozenset[str]
    killed: frozenset[str]
    rate_per_s: float
    dead: tuple[str, ...]
    lost: int
    twice: int
    rescued: int

    @property
    def at_rest(self) -> bool:
        """Whether a consumer runs and everything that was sent is handled, or a dead letter."""
        nothing_left = self.sample.oldest_new_s == self.sample.pending == self.sample.retries == 0
        return bool(self.running) and nothing_left


class Mission:
    """
    A story and how far it has come.

    Attributes:
        title: What the learner has to do.
        task: The task of now; at the end, what the learner can learn from it.
        done: True once it is fulfilled.
    """

    def __init__(self, title: str, story: Story) -> None:
        self.title, self.task, self.done = title, next(story), False
        self._story = story

    def __repr__(self) -> str:
        return f"{'✓' if self.done else '○'} {self.title}"

    def watch(self, now: Look) -> None:
        """Show the story the look *now*. It goes on if its task is done."""
        if not self.done:
            try:
                self.task = self._story.send(now)
            except StopIteration as end:
                self.task, self.done = end.value, True


def missions() -> list[Mission]:
    """Return all missions, each at its beginning."""
    return [
        Mission("Make lag grow without end, then repair it with one click", endless_lag()),
        Mission("Kill a consumer, and have another one finish its orders", takeover()),
        Mission("Poison the stream, and get over it", poisoned()),
        Mission("Get an innocent order dead-lettered, then bring it back", innocent()),
        Mission("Have an order handled twice, then make the producer careful", twice()),
    ]


def until(task: str, seen: Callable[[Look], object]) -> Generator[str, Look, Look]:
    """Yield *task* until a look shows that it is done, which *seen* decides. Return that look."""
    while not seen(now := (yield task)):
        pass
    return now


def endless_lag() -> Story:
    before = yield from until(
        "Let a new order wait for 3 s although consumers are at work.",
        lambda now: (now.sample.oldest_new_s or 0) >= 3 and now.sample.throughput,
    )
    yield from until(
        "Repair it: nothing may wait for a second, at the same rate and with one consumer more at most.",
        lambda now: (
            now.sample.oldest_new_s is not None
            and now.sample.oldest_new_s < 1
            and now.rate_per_s >= before.rate_per_s
            and len(now.running) <= len(before.running) + 1
        ),
    )
    return "Rate × handler time is the number of busy consumers. If you have fewer, lag has no end."


def takeover() -> Story:
    def left_behind(now: Look) -> frozenset[str]:
        return now.killed & now.sample.held.keys()

    before = yield from until("Kill a consumer while it holds an order.", left_behind)
    dead = left_behind(before)
    yield from until(
        f"Have somebody else finish what {' and '.join(sorted(dead))} left behind.",
        lambda now: now.running and now.sample.pending is not None and not dead & now.sample.held.keys(),
    )
    return "Nobody was told of the death. The orders were idle for too long, and whoever lives claimed them."


def poisoned() -> Story:
    yield from until(
        f"Send {POISON}, and keep consumers running until it is a dead letter.", lambda now: POISON in now.dead
    )
    yield from until(
        "Leave nothing pending, with a consumer that runs.", lambda now: now.running and now.sample.pending == 0
    )
    return "It killed three consumers. The fourth saw the delivery count, and put the order aside unrun."


def innocent() -> Story:
    def innocents(now: Look) -> int:
        """Count them, also those behind the first hundred dead letters."""
        return (now.sample.dead_lettered or 0) - now.dead.count(POISON)

    before = yield from until(
        f"Get an order dead-lettered that is no {POISON}.", lambda now: any(item != POISON for item in now.dead)
    )
    yield from until(
        f"Repair what was wrong, redrive it, and have it handled. Do not redrive {POISON}: purge it.",
        lambda now: now.at_rest and now.rescued > before.rescued and innocents(now) == 0,
    )
    return "Three attempts were over before the repair. If the order is not to blame, raise Defer: it spends none."


def twice() -> Story:
    calm = yield from until(
        "Lose replies to the producer until an order is handled twice.", lambda now: now.lost and now.twice
    )
    now = calm
    while now.lost < calm.lost + 5 or not now.at_rest:
        now = yield "Let Redis remember what was sent: five more lost replies, and no order twice."
        if now.twice > calm.twice:
            calm = now
    return "A lost reply says nothing about the order. Sending again is safe only if somebody remembers."
