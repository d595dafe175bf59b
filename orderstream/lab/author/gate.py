"""
Tell which cells of a notebook need the commands of a newer Redis.

A cell that begins with ``if lab.needs("8.4"):`` has the tag ``redis>=8.4``. On an older Redis it says so and shows
its stored result, is not compared, and keeps its result in a refresh. A Valkey counts as Redis 7.2.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["needed"]


def needed(cell: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the Redis version that the tags of *cell* ask for; None if they ask for none."""
    for tag in cell["metadata"].get("tags", []):
        if found := re.fullmatch(r"redis>=(\d+)\.(\d+)", tag):
            return int(found[1]), int(found[2])
    return None
