"""How long no order was handled although there was one to handle."""

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

PROMPT = {"good", "flaky", "pool"}  # kinds of orders that any handler has done soon
STARTERS = {"poison", "exit", "abort", "hang", "gil", "pool", "sysexit", "interrupt", "cancelled"}  # orders as faults


@dataclass(frozen=True)
class Stall:
    """From *begin* to *end*, in Unix seconds, an order waited, and none was done."""

    begin: float
    end: float


def stalls(waits, done):
    """
    Return every time between two orders that were done, as far as one waited.

    Args:
        waits: For each order when it was added and when it was done first, in Unix seconds.
        done: When an order was done, whichever.
    """
    found = []
    for before, after in pairwise(sorted(done)):
        if since := [max(added, before) for added, first in waits if added < after <= first]:
            found.append(Stall(min(since), after))
    return found


def longest_after(faults, found):
    """
    Return how many seconds nothing was handled after faults of each kind, at most: {fault: seconds}.

    A stall counts from the fault on, for each fault whose time it falls into. The time of a fault ends with the next.

    Args:
        faults: ``(Unix seconds, fault)`` in order of time.
        found: What ``stalls`` returned.
    """
    longest = defaultdict(float)
    for (at, fault), (until, _) in pairwise([*faults, (math.inf, "")]):
        for stall in found:
            if at < stall.end and stall.begin < until:
                longest[fault] = max(longest[fault], stall.end - max(stall.begin, at))
    return dict(longest)
