"""A crew's hand that ends its process when a handler holds the interpreter. See ``hard_end``: C code waits for that."""

from __future__ import annotations

import faulthandler
from contextlib import suppress

from orderstream.crew.hand import CrewHand

STDERR = 2
ARM_EVERY_S = 1.0  # how often the keeper says that it goes on


class EndingCrewHand(CrewHand):
    """See ``CrewHand``. While the keeper goes on, the C code is told again and again to wait from the beginning."""

    _armed_at = 0.0

    def look(self, now: float) -> None:
        if now - self._armed_at > ARM_EVERY_S:
            self._armed_at = now
            limit_s = self._stream.settings.handler_timeout_ms / 1000 + ARM_EVERY_S
            with suppress(RuntimeError):  # the system has no thread for it: that passes
                faulthandler.dump_traceback_later(limit_s, exit=True, file=STDERR)
        super().look(now)

    def _is_empty(self) -> bool:
        empty = super()._is_empty()
        if empty and self._armed_at:
            self._armed_at = 0.0
            faulthandler.cancel_dump_traceback_later()
        return empty
