"""
What Redis says about a stream, as values: entries, consumers, the backlog.

    stream     a log of entries; ours has the key `orders`
    entry      an id such as 1718000000000-0, and fields: names and values, all bytes
    group      remembers how far its consumers have read, and which entries they have not acked
    pending    delivered to a consumer and not yet acked
    deliveries how often an entry was handed out; the attempt is the number of the delivery in hand
    waiting    pending, and nobody has it: it was retried, deferred or given back, and is due in a while
    suspect    pending and idle for claim_idle_ms: it has waited long enough, or its consumer is probably dead
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

UNOWNED = "(nobody)"
"""Redis needs a name for the owner of each pending entry. This is the name for entries that no consumer has in hand."""

METADATA = ("dlq-stream", "dlq-group", "dlq-id", "dlq-deliveries", "dlq-error", "dlq-at")
"""The fields that a dead letter has behind its original ones: where it came from, and why it failed."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    An entry that was delivered to a consumer.

    Attributes:
        id: Entry id.
        fields: Names and values in turn, as Redis replied them.
        attempt: Number of this delivery, 1 for the first. It fences a consumer off: with an older attempt,
            or under another name than the owner's, it changes nothing.
    """

    id: str
    fields: Sequence[bytes]
    attempt: int

    @property
    def age_ms(self) -> float:
        """Milliseconds since the entry was added, by this machine's clock."""
        return age_s(self.id) * 1000


class Claimed(msgspec.Struct, frozen=True):
    """
    What one look at the pending entries found.

    Attributes:
        entry: The suspect taken over; None if nothing on this page was due.
        cursor: Where to go on; ``-`` when the walk is over.
        lost: Ids that were pending although their entry had been deleted or trimmed away. Now they are not pending.
        soonest_ms: Milliseconds until the next entry on this page becomes due.
        left_by: The consumer that had the suspect and told nothing more of it: it died, or it could not reach Redis.
            None: the suspect was handed over properly: retried, deferred or given back.
        alone: True if a suspect was found and not taken, because it shall be handled alone.
    """

    entry: Entry | None
    cursor: str
    lost: tuple[str, ...]
    soonest_ms: int
    left_by: str | None = None
    alone: bool = False


class ConsumerState(msgspec.Struct, frozen=True):
    """A consumer of the group: its name, how many entries it holds, milliseconds since it last did something."""

    name: str
    pending: int
    idle_ms: int


class Backlog(msgspec.Struct, frozen=True):
    """
    How much is still to do.

    Attributes:
        length: Entries in the stream; acked ones stay in it until it is trimmed.
        lag: Entries not yet delivered; None where Redis does not know it (before 7.0, and after
            deletions ahead of the group). Trust ``oldest_undelivered_s`` then.
        pending: Entries delivered and not yet acked.
        oldest_undelivered_s: Seconds since the oldest undelivered entry was added; None if all are delivered.
        oldest_pending_s: Seconds since the oldest pending entry was added; None if nothing is pending.
        dead_lettered: Entries in the dead-letter stream.
        consumers: The group's consumers, by name.
        waiting: How many of the pending entries no consumer has in hand: they were retried, deferred or given back.
    """

    length: int
    lag: int | None
    pending: int
    oldest_undelivered_s: float | None
    oldest_pending_s: float | None
    dead_lettered: int
    consumers: tuple[ConsumerState, ...]
    waiting: int = 0

    @property
    def done(self) -> bool:
        """True if every entry was delivered and settled."""
        return self.oldest_undelivered_s is None and not self.pending

    def remainder(self) -> str:
        """Say in one line what is left and who holds it."""
        undelivered = 0 if self.oldest_undelivered_s is None else self.lag or "some"
        parts = [f"{c.name} holds {c.pending}" for c in self.consumers if c.pending]
        if self.waiting:
            parts.append(f"nobody has {self.waiting}, to be tried again")
        return f"{undelivered} undelivered, {self.pending} pending" + (f" ({', '.join(parts)})" if parts else "")


class Holder(msgspec.Struct, frozen=True):
    """
    The group that needs the oldest entry, and so keeps it and all that came after it in the stream.

    Attributes:
        group: Its name.
        id: The entry that it needs.
        pending: True if the entry was delivered and not acked; False if the group has not read it yet.
        age_s: Seconds since the entry was added.
    """

    group: str
    id: str
    pending: bool
    age_s: float


class Trimmed(msgspec.Struct, frozen=True):
    """
    What trimming did.

    Attributes:
        removed: How many entries were removed: every group was given them, and acked them.
        left: How many entries are in the stream now.
        holder: The group that keeps them there; None if no group needs any, or if the stream has no group at all.
    """

    removed: int
    left: int
    holder: Holder | None


def age_s(id: str) -> float:
    """Return the seconds since the entry was added, by this machine's clock."""
    return max(0.0, time.time() - int(id.split("-")[0]) / 1000)
