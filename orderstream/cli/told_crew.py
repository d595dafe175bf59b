"""
A crew whose supervisor is told that it goes on.

What it has in hand is not written down. If this process dies, its entries stay pending in its name, and others claim
them after ``claim_idle_ms``. If a handler runs too long, its crew takes the order from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from orderstream.cli.ledger import ALIVE, STARTED, WAITS, Ledger, Told
from orderstream.consumer import Handler
from orderstream.crew import CrewConsumer
from orderstream.entries import Entry
from orderstream.policy import RetryPolicy
from orderstream.stream import OrderStream


class ToldCrew(Told, CrewConsumer):
    """
    See ``CrewConsumer``.

    Args:
        ledger: Where to write it down.
        stream, handler, name, policy, concurrency: See ``Consumer``.
    """

    def __init__(
        self,
        ledger: Ledger,
        stream: OrderStream,
        handler: Handler,
        name: str | None,
        policy: RetryPolicy | None,
        concurrency: int,
    ) -> None:
        CrewConsumer.__init__(self, stream, handler, name, policy, concurrency=concurrency)
        self._words, self._times = ledger.words, ledger.times

    def _take(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._words[STARTED] = 1
        self._times[WAITS] = math.inf  # Redis has answered: it gave these
        super()._take(entries)

    def still_here(self) -> None:
        if not self._crew.stuck:  # else its supervisor shall end this process, because nobody can end its handlers
            self._times[ALIVE] = time.monotonic()
