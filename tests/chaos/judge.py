"""What must hold after a soak, whoever was killed: a list of the promises that were broken, with the story of each."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

BAD = {"poison", "malformed", "failing"}


@dataclass(frozen=True)
class Event:
    """Something that happened to an entry, or with entry ``""`` to a process: it ended, or was sent a signal."""

    t: float
    who: str
    what: str
    entry: str = ""
    attempt: int = 0

    def __str__(self):
        return f"{self.t:.3f} {self.who:>9} {self.what} {self.entry} {f'attempt {self.attempt}' * bool(self.attempt)}"


@dataclass
class Facts:
    """
    All that is known when everything has settled.

    Attributes:
        added: Every entry in the stream, which is never trimmed: {entry id: order id}.
        confirmed: Entry ids that a producer was told.
        dead: Source ids of the dead letters.
        left: What is undelivered or pending; empty is right.
        events: What happened, in order of time.
        fallen: Consumers that ended in the middle of their work.
        crashed: Those of them that nobody shot or told to stop.
        max_attempts: As in the settings.
    """

    added: dict[str, str]
    confirmed: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    left: str = ""
    events: list[Event] = field(default_factory=list)
    fallen: set[str] = field(default_factory=set)
    crashed: set[str] = field(default_factory=set)
    max_attempts: int = 3

    def __post_init__(self):
        self._of_entry = defaultdict(list)
        for event in self.events:
            self._of_entry[event.entry].append(event)

    def of(self, entry, *, what=None, attempt=None):
        events = self._of_entry[entry]
        return [e for e in events if what in (None, e.what) and attempt in (None, e.attempt)]

    @property
    def handled(self):
        return {event.entry for event in self.events if event.what == "done"}

    @property
    def handled_twice(self):
        """How often a handler came to its end for an entry that was handled before."""
        return sum(event.what == "done" for event in self.events) - len(self.handled)

    @property
    def innocents(self):
        """Entries in the dead-letter stream that did nothing wrong."""
        return sorted(entry for entry in set(self.dead) & set(self.added) if kind_of(self.added[entry]) not in BAD)


def kind_of(order_id):
    """Order ids begin with what the order does to its handler: ``slow-a-17``."""
    return order_id.partition("-")[0]


def broken(facts):
    """Return a text for each promise that was broken: which, how often, and the history of the first that suffered."""
    added = Counter(facts.added.values())
    dead = Counter(facts.dead)
    handled, unheard, attempts = facts.handled, _unheard_claims(facts.events), range(1, facts.max_attempts + 1)
    suffered = {
        "lost: neither handled nor dead-lettered": [e for e in facts.added if e not in handled and e not in dead],
        "lost: confirmed, and not in the stream": [e for e in facts.confirmed if e not in facts.added],
        "added twice": [e for e, id in facts.added.items() if added[id] > 1],
        "dead-lettered twice": [e for e, times in dead.items() if times > 1],
        "dead-lettered, and never added": [e for e in dead if e not in facts.added],
        "bad, and not dead-lettered": [e for e, id in facts.added.items() if kind_of(id) in BAD and e not in dead],
        "innocent, and dead-lettered without having been shot each time": [
            e for e in facts.innocents if not all(_was_shot(facts, e, n, unheard) for n in attempts)
        ],
        "given to a handler too often": [e for e in facts.added if len(facts.of(e, what="began")) > facts.max_attempts],
    }
    texts = [
        f"{len(entries)} × {promise}. The first of them:\n{_history(facts, entries[0])}"
        for promise, entries in suffered.items()
        if entries
    ]
    texts += [f"ended by itself: {name}" for name in facts.crashed]
    return texts + [f"not everything was settled: {facts.left}"] * bool(facts.left)


def _was_shot(facts, entry, attempt, unheard):
    """
    Tell whether this attempt says nothing against the order.

    Its handler began, and its consumer fell. Or it came to its end, and the ack was lost with its consumer. Or nobody
    got it: then the reply to a claim was lost at that time, one for each. Of the first attempt no more is asked than
    that it did not fail: it came in a batch, and may have waited behind an order that killed the process.
    """
    story = facts.of(entry, attempt=attempt)
    if any(event.what == "failed" for event in story):
        return kind_of(facts.added[entry]) == "flaky"
    if attempt == 1 or any(event.what == "done" for event in story):
        return True
    if story:
        return any(event.what == "began" and event.who in facts.fallen for event in story)
    after = max((event.t for event in facts.of(entry) if event.attempt < attempt), default=0)
    before = min((event.t for event in facts.of(entry) if event.attempt > attempt), default=math.inf)
    at = next((t for t in unheard if after <= t <= before), None)
    if at is not None:
        unheard.remove(at)
    return at is not None


def _unheard_claims(events):
    """When a claim was sent whose reply nobody heard."""
    asked, unheard = {}, []
    for event in events:
        if event.what == "asked":
            unheard += [asked[event.who]] if event.who in asked else []
            asked[event.who] = event.t
        elif event.what == "heard":
            asked.pop(event.who, None)
    return sorted([*unheard, *asked.values()])


def _history(facts, entry):
    """All that happened to the entry, and to the consumers that had it."""
    own = facts.of(entry)
    owners = {event.who for event in own}
    lines = sorted(own + [e for e in facts.of("") if e.who in owners or e.who == "redis"], key=lambda e: e.t)
    return "\n".join([f"    {entry} {facts.added.get(entry, '')}", *(f"    {event}" for event in lines)])
