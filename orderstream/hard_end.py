"""
A hand that ends its process when a handler runs too long. A consumer has one with ``ORDERSTREAM_ON_TIMEOUT=exit``.

Something must start the process again, such as systemd. ``orderstream consume`` needs none of this: its supervisor ends
and replaces a process that hangs.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from orderstream.entries import Entry
from orderstream.hand import Hand
from orderstream.stream import OrderStream

STDERR = 2
SETTLE_S = 1.0  # beyond the timeout: so long the heartbeat's thread has to tell Redis why the order failed


class EndingHand(Hand):
    """
    See ``Hand``. If a handler holds the interpreter, no thread of Python can end the process: so C code waits for it.

    The C code is set up when a handler begins after a rest. That is not for each order: a rest comes every 10 ms.
    It has one timer for the whole process: so run only one such consumer there.
    """

    def __init__(
        self, stream: OrderStream[Any], consumer: str, flush: Callable[[], None], overrun: Callable[[Entry], None]
    ) -> None:
        def end(entry: Entry) -> None:
            overrun(entry)
            faulthandler.dump_traceback(STDERR)
            os._exit(1)

        super().__init__(stream, consumer, flush, end)
        self._end_in_s = stream.settings.handler_timeout_ms / 1000 + SETTLE_S
        self._armed = False

    def begin(self, entry: Entry, now: float) -> bool:
        if not self._armed:
            self._armed = True
            with suppress(RuntimeError):  # the system has no thread for it: that passes
                faulthandler.dump_traceback_later(self._end_in_s, exit=True, file=STDERR)
        return super().begin(entry, now)

    def rest(self) -> None:
        super().rest()
        if self._armed:
            self._armed = False
            faulthandler.cancel_dump_traceback_later()
