"""
One file for each way to keep many orders in flight. Each holds a class ``Peer`` that sends as the one in ``peers``
does. It has one method more: ``serve()`` handles orders, ``AT_ONCE`` at a time, until it is told to stop.

Whoever can be told after how many seconds a silent process counts as dead is told ``DEAD_AFTER_S``.
"""

import signal
from dataclasses import dataclass

DEAD_AFTER_S = 5


@dataclass(frozen=True)
class Contender:
    """What is known of a contender that may not be installed."""

    title: str
    most: int
    """Orders a second that it certainly does not reach: more than that need not wait for it."""
    at_once: int = 500
    """The most that it is asked to keep in flight."""
    many_processes: bool = False
    """Each order in flight has a process of its own."""
    stop: int = signal.SIGTERM
    """The signal that its documentation names for a clean stop."""


CONTENDERS = {
    "ours_async": Contender("**orderstream**, `async def`", 50_000),
    "ours_threads": Contender("**orderstream**, threads", 30_000),
    "ours_processes": Contender("**orderstream**, up to 16 processes", 3_000, at_once=16, many_processes=True),
    "bare": Contender("bare asyncio loop", 50_000),
    "bare_threads": Contender("bare thread pool", 30_000),
    "bullmq": Contender("BullMQ (node)", 30_000),
    "dramatiq": Contender("dramatiq", 6_000),
    "faststream": Contender("FastStream", 6_000),
    "taskiq": Contender("taskiq-redis", 6_000),
    "huey": Contender("huey", 5_000, stop=signal.SIGINT),
    "arq": Contender("arq", 5_000),
    "streaq": Contender("streaq", 3_000),
    "celery": Contender("celery", 3_000),
}
