"""
How much longer than usual this machine takes. A deadline is multiplied by it.

A deadline says how long something takes at most on a machine with nothing else to do. If other processes want the
processors, everything takes longer, and what is only late is not wrong. So before the first deadline a small piece of
work is timed. It has to share the processors with the others, as everything after it has.

    patience.stretched(20)      20 on an idle machine, 60 if two other processes want each of its processors
"""

import time
from functools import cache

ROUNDS = 5
USUAL_S = 0.06
"""What the piece of work takes on an idle machine. A faster one gets no shorter deadlines."""


@cache
def factor() -> float:
    """Return how much longer than usual this machine takes, measured once for each process; at least 1."""
    began = time.perf_counter()
    for _ in range(ROUNDS):
        sum(number * number for number in range(150_000))
        time.sleep(0)  # what has just begun is preferred; after this it waits for its turn like the others
    return max(1.0, (time.perf_counter() - began) / USUAL_S)


def stretched(seconds: float) -> float:
    """Return how long to wait here for what takes *seconds* at most on an idle machine."""
    return seconds * factor()
