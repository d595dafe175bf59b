"""
The handler that waits, in a process of a contender, and its notes. It needs nothing but the standard library.

The file of notes is mapped into memory. So a note costs no system call, hundreds of threads do not queue for it, and
``kill -9`` takes none of them away.
"""

import asyncio
import json
import mmap
import os
import time
from functools import cache
from itertools import count
from pathlib import Path

from benchmarks.waiting.notes import NOTE, VARIABLE

MOST = 1_000_000  # notes of one process; the file has holes, so room that nobody uses costs nothing

_given = json.loads(os.environ[VARIABLE])
URL: str = _given["url"]
AT_ONCE: int = _given["at_once"]
WAIT_S: float = _given["wait_s"]
_FOLDER = Path(_given["folder"])
_place = count()
_clock = time.monotonic_ns


def handle(id: str) -> None:
    began = _clock()
    time.sleep(WAIT_S)
    _note(id, began)


async def handle_async(id: str) -> None:
    began = _clock()
    await asyncio.sleep(WAIT_S)
    _note(id, began)


def _note(id: str, began: int) -> None:
    """An order's number is what stands behind the last ``-`` of its id."""
    NOTE.pack_into(_notes(), next(_place) * NOTE.size, int(id.rpartition("-")[2]), began, _clock())


@cache
def _notes() -> mmap.mmap:
    """Made at the first order, because only then do we know that nobody forks any more."""
    with (_FOLDER / str(os.getpid())).open("a+b") as file:
        file.truncate(MOST * NOTE.size)
        return mmap.mmap(file.fileno(), 0)
