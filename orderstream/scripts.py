"""The Lua scripts. Redis runs each as one step: nobody else's command comes in between."""

from __future__ import annotations

import hashlib
from pathlib import Path


class Script:
    """
    A script of the folder ``lua``.

    Attributes:
        source: Its text, which Redis is given once.
        sha: Its SHA-1 digest. Redis knows the script by it from then on.
    """

    def __init__(self, name: str) -> None:
        self.source = Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


CLAIM = Script("claim")
LEASE = Script("lease")
DEAD = Script("dead")
LATE = Script("late")
REDRIVE = Script("redrive")
REAP = Script("reap")
TRIM = Script("trim")
ONCE = Script("once")
