"""What must hold after a soak, whoever was killed: a list of the promises that were broken, with the story of each."""

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.progress import PROMPT, STARTERS, Stall, longest_after, stalls

UNSETTLED = "max-attempts: "
DIED = re.compile(rf"{UNSETTLED}|ProcessDied: ")  # a supervisor settles what its child leaves
REASONS = {
    "malformed": re.compile("DecodeError: "),
    "failing": re.compile("RuntimeError: made to fail"),
    "sysexit": re.compile("SystemExit: made to fail"),
    "interrupt": re.compile("KeyboardInterrupt: made to fail"),
    "cancelled": re.compile("CancelledError: made to fail"),
    "hang": re.compile("handler ran longer than "),
    "poison": DIED,
    "exit": DIED,
    "abort": DIED,
}
"""What the reason of a dead letter is, for each kind of order that ends there."""
BAD = set(REASONS)
INNOCENT = {"flaky": re.compile(f"RuntimeError: made to fail|{DIED.pattern}")}
"""The same for kinds that end there only if they were shot each time; ``DIED`` for all others."""
SIGNALS = {"SIGKILL", "SIGTERM", "told to end"}
FAULTS = {"SIGKILL", "SIGTERM", "kill -9", "failover", "memory full"}
REDIS_IS_BACK = {"answers again", "memory free", "is the promoted one"}
ENDS = {"done", "failed", "ended"}  # of a run of a handler
DEADLY = {"poison", "exit", "abort", "hang"}  # kinds whose handler does not outlive them
REDIS = "redis"
PROCESSES = 2  # of each supervisor
REPLACED_S = 15.0  # a supervisor waits for 10 s at most, then the new process has to start
MARGIN_S = 5.0  # a fault may stop the work for claim_idle_ms and this, no longer


@dataclass(frozen=True)
class Event:
    """
    Something that happened to an entry, or with entry ``""`` to somebody: a process ended, or was sent a signal.

    Attributes:
        who: A process is called by the name of its program and its pid, ``f1.4711``; to signal a supervisor tells all
            of its processes.
    """

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
        sent: When that was and when nothing was to be sent any more, in Unix seconds, for each producer.
        dead: Source ids of the dead letters.
        reasons: Of the dead letters: {source id: reason}.
        left: What is undelivered or pending; empty is right.
        events: What happened, in order of time.
        fallen: Processes that ended in the middle of their work.
        still_there: Processes that run although all was told to end.
        max_attempts, claim_idle_s, handler_timeout_s: As in the settings.
    """

    added: dict[str, str]
    confirmed: list[str] = field(default_factory=list)
    sent: list[list[float]] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    left: str = ""
    events: list[Event] = field(default_factory=list)
    fallen: set[str] = field(default_factory=set)
    still_there: list[str] = field(default_factory=list)
    max_attempts: int = 3
    claim_idle_s: float = 1.0
    handler_timeout_s: float = 4.0

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
    def lost(self):
        """Entries that nobody handled, and that are not in the dead-letter stream."""
        settled = self.handled.union(self.dead)
        return [entry for entry in self.added if entry not in settled]

    @property
    def handled_twice(self):
        """How often a handler came to its end for an entry that was handled before."""
        return sum(event.what == "done" for event in self.events) - len(self.handled)

    @property
    def innocents(self):
        """Entries in the dead-letter stream that did nothing wrong."""
        return sorted(entry for entry in set(self.dead) & set(self.added) if self.kind(entry) not in BAD)

    def kind(self, entry):
        return kind_of(self.added[entry])

    def longest_run_s(self, entry):
        """How long a handler had the entry, until it came to its end or its process did."""
        runs_s = [0.0]
        for began in self.of(entry, what="began"):
            ends = [e for e in self.of(entry) + self.of("") if e.who == began.who and e.what in ENDS and e.t >= began.t]
            runs_s.append(min((e.t for e in ends), default=began.t) - began.t)
        return max(runs_s)

    @property
    def faults(self):
        """When something went wrong, and what: a signal, something with Redis, the first run of a bad order."""
        told = [(e.t, e.what) for e in self.of("") if e.what in FAULTS]
        orders = [(e.t, self.kind(e.entry)) for e in self.events if e.what == "began" and e.entry in self.added]
        return sorted(told + [(t, kind) for t, kind in orders if kind in STARTERS])

    @property
    def without_progress(self):
        """How many seconds no order was handled after each kind of fault, at most, although one waited."""
        done, first = [], {}
        for event in self.events:
            if event.what == "done":
                done.append(event.t)
                first.setdefault(event.entry, event.t)
        waits = [(int(e.partition("-")[0]) / 1000, t) for e, t in first.items() if self.kind(e) in PROMPT]
        return longest_after(self.faults, stalls(waits, done))

    @property
    def without_sending(self):
        """How many seconds one of the producers sent nothing after each kind of fault, at most, though it could."""
        again = [event.t for event in self.of("") if event.what in REDIS_IS_BACK]
        pauses = [pause for times in self.sent for pause in pairwise(times)]
        unsent = [Stall(max([begin, *(t for t in again if t < end)]), end) for begin, end in pauses]
        return longest_after(self.faults, unsent)

    def signals(self, who):
        """What *who* was told, a process or its program."""
        return [e for e in self.of("") if e.who in (who, who.partition(".")[0]) and e.what in SIGNALS]


def kind_of(order_id):
    """Order ids begin with what the order does to its handler: ``slow-a-17``."""
    return order_id.partition("-")[0]


def supervised(who):
    """Programs are called ``w1``, or ``f1`` if they have a supervisor and its children."""
    return who.startswith("f")


def broken(facts):
    """Return a text for each promise that was broken: which, how often, and the history of the first that suffered."""
    added = Counter(facts.added.values())
    dead = Counter(facts.dead)
    unheard, attempts = _unheard_claims(facts.events), range(1, facts.max_attempts + 1)
    suffered = {
        "lost: neither handled nor dead-lettered": facts.lost,
        "lost: confirmed, and not in the stream": [e for e in facts.confirmed if e not in facts.added],
        "added twice": [e for e, id in facts.added.items() if added[id] > 1],
        "dead-lettered twice": [e for e, times in dead.items() if times > 1],
        "dead-lettered, and never added": [e for e in dead if e not in facts.added],
        "bad, and not dead-lettered": [e for e in facts.added if facts.kind(e) in BAD and e not in dead],
        "dead-lettered for a wrong reason": [e for e in dead if e in facts.added and not _is_explained(facts, e)],
        "innocent, and dead-lettered without having been shot each time": [
            e for e in facts.innocents if not all(_was_shot(facts, e, n, unheard) for n in attempts)
        ],
        "held a process for too long": [
            e for e in facts.added if facts.longest_run_s(e) > facts.handler_timeout_s + MARGIN_S
        ],
        "held the interpreter, was kept by its supervisor, and dead-lettered all the same": [
            e for e in facts.innocents if facts.kind(e) == "gil" and _was_kept(facts, e)
        ],
        "given to a handler too often": [e for e in facts.added if len(facts.of(e, what="began")) > facts.max_attempts],
    }
    texts = [
        f"{len(entries)} × {promise}. The first of them:\n{_history(facts, entries[0])}"
        for promise, entries in suffered.items()
        if entries
    ]
    if by_themselves := [event.who for event in facts.of("", what="ended") if _nobody_ended(facts, event)]:
        texts.append(f"ended by itself: {', '.join(by_themselves)}")
    texts += [f"not replaced: a process of {name}" for name in _short_of_processes(facts)]
    texts += [f"still there at the end: {who}" for who in facts.still_there]
    texts += [
        f"nothing was {what} for {stall_s:.1f} s after {fault}, longer than claim_idle_ms and {MARGIN_S:g} s"
        for what, longest in (("handled", facts.without_progress), ("sent", facts.without_sending))
        for fault, stall_s in longest.items()
        if stall_s > facts.claim_idle_s + MARGIN_S
    ]
    return texts + [f"not everything was settled: {facts.left}"] * bool(facts.left)


def _is_explained(facts, entry):
    """
    Tell whether the reason of a dead letter is that of its kind.

    It may be that nobody settled the entry, if something else ended its last attempt.
    """
    reason, kind = facts.reasons.get(entry, ""), facts.kind(entry)
    if (REASONS | INNOCENT).get(kind, DIED).search(reason):
        return True
    last = facts.of(entry, what="began", attempt=facts.max_attempts)
    disturbed = not last or facts.signals(last[0].who) or any(e.t > last[0].t for e in facts.of("") if e.who == REDIS)
    return bool(DIED.search(reason) and disturbed)


def _short_of_processes(facts):
    """Name the supervisors that had too few processes when they were told to end, and had had time to start them."""
    first, ended = {}, {event.who: event.t for event in facts.of("", what="ended")}
    for event in facts.events:
        first.setdefault(event.who, event.t)
    for told in facts.of(""):
        if supervised(told.who) and "." not in told.who and told.what in SIGNALS:
            own = [who for who, t in first.items() if who.startswith(f"{told.who}.") and t <= told.t]
            there = [who for who in own if ended.get(who, math.inf) > told.t - REPLACED_S]
            if own and first[own[0]] < told.t - REPLACED_S and len(there) < PROCESSES:
                yield told.who


def _was_kept(facts, entry):
    """Tell whether each process that had the entry was under a supervisor, and lived."""
    owners = {event.who for event in facts.of(entry, what="began")}
    return all(supervised(who) and who not in facts.fallen for who in owners)


def _nobody_ended(facts, event):
    """
    Tell whether a process ended although nobody told it to, and no order ended it.

    A supervisor may: if Redis does not answer when it starts, it says so, and a service manager starts it again.
    """
    if "." not in event.who and not any(other.who.startswith(f"{event.who}.") for other in facts.events):
        return False
    if any(signal.t <= event.t for signal in facts.signals(event.who)):
        return False
    own = [e for e in facts.events if e.who == event.who and e.entry in facts.added and e.what != "got"]
    runs = {e.entry: e.what == "began" for e in own}  # the last of its events wins
    return not any(facts.kind(entry) in DEADLY for entry, still in runs.items() if still)


def _was_shot(facts, entry, attempt, unheard):
    """
    Tell whether this attempt says nothing against the order.

    Its handler began, and its process fell; or the process was shot before that. Or it came to its end, and the ack
    was lost with its consumer. Or nobody got it: then the reply to a claim was lost at that time, one for each. Of the
    first attempt no more is asked than that it did not fail: it came in a batch, and may have waited behind an order
    that killed the process.
    """
    story = facts.of(entry, attempt=attempt)
    if any(event.what == "failed" for event in story):
        return facts.kind(entry) == "flaky"
    if attempt == 1 or any(event.what == "done" for event in story):
        return True
    if story:
        shot = {event.who for event in facts.of("", what="SIGKILL")}
        return any(event.who in facts.fallen and (event.what == "began" or event.who in shot) for event in story)
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
    owners |= {who.partition(".")[0] for who in owners}
    lines = sorted(own + [e for e in facts.of("") if e.who in owners or e.who == REDIS], key=lambda e: e.t)
    lines += [f"dead-lettered: {facts.reasons.get(entry)}"] * (entry in facts.dead)
    return "\n".join([f"    {entry} {facts.added.get(entry, '')}", *(f"    {event}" for event in lines)])
