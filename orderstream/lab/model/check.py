"""Look at one scope, from a server that is started for it to a verdict in words."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from orderstream.lab.model.gate import end_all
from orderstream.lab.model.play import Play
from orderstream.lab.model.scope import Scope
from orderstream.lab.model.search import REST, STUCK, Broken, Covered, Search
from orderstream.lab.model.stage import staged
from orderstream.lab.model.story import story
from orderstream.lab.model.world import World
from orderstream.lab.server.private import PrivateServer

MOST_STATES = 100_000  # to look at for a shorter schedule


@contextmanager
def open_world(page: int = 16) -> Iterator[World]:
    """Start a server, and stage what the processes find in place of the world."""
    server = PrivateServer()
    world = World(server)
    try:
        with staged(world.quiet, page):
            try:
                yield world
            finally:
                end_all()
    finally:
        world.close()
        server.close()


@contextmanager
def _ctrl_c(call: Callable[..., object]) -> Iterator[None]:
    """Let Ctrl-C call *call*, where this program may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, call)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check(
    scope: Scope, tell: Callable[[Covered], object] = lambda covered: None, most: int | None = None
) -> tuple[Covered, list[str]]:
    """
    Look at all that can happen in *scope*.

    Returns:
        What was covered, and the story of the first broken promise in lines; no line if none was broken.
    """
    with open_world(scope.page) as world:
        play = Play(scope, world)
        try:
            search = Search(play, tell)
            with _ctrl_c(search.interrupt):
                covered = search.run(most=most)
            lines: list[str] = []
            for each in covered.broken:
                shortest, shorter = _shortest(scope, world, each)
                lines += [f"broken: {shortest.promise}", f"{shortest.choices} choices: {' '.join(shortest.schedule)}"]
                lines += story(shorter or play, shortest.schedule)
            return covered, lines
        finally:
            play.cast.close()


def _shortest(scope: Scope, world: World, broken: Broken) -> tuple[Broken, Play | None]:
    """
    Find the shortest schedule that breaks the same promise.

    What broke on the way to rest broke by turns that were fair, and not few. Time passes as often as it did there, and
    the search begins anew without the ways to rest.
    """
    if REST not in broken.schedule or broken.promise.startswith(STUCK):
        return broken, None
    play = Play(replace(scope, times=broken.schedule.count("time")), world)
    found = Search(play, rest=False).run(most=MOST_STATES).broken
    if found and found[0].choices < broken.choices:
        return found[0], play
    return broken, None
