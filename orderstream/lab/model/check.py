"""Look at one scope, from a server that is started for it to a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orderstream.lab.model.play import Play
from orderstream.lab.model.scope import Scope
from orderstream.lab.model.search import Covered, Search
from orderstream.lab.model.stage import staged
from orderstream.lab.model.story import story
from orderstream.lab.model.world import World
from orderstream.lab.server.private import PrivateServer


@contextmanager
def open_world() -> Iterator[World]:
    """Start a server, and stage what the processes find in place of the world."""
    server = PrivateServer()
    world = World(server)
    try:
        with staged(world.quiet):
            yield world
    finally:
        world.close()
        server.close()


def check(
    scope: Scope, tell: Callable[[Covered], object] = lambda covered: None, most: int | None = None
) -> tuple[Covered, list[str]]:
    """
    Look at all that can happen in *scope*.

    Returns:
        What was covered, and the story of the first broken promise in lines; no line if none was broken.
    """
    with open_world() as world:
        play = Play(scope, world)
        try:
            covered = Search(play, tell).run(most=most)
            lines = []
            for each in covered.broken:
                lines += [f"broken: {each.promise}", f"{len(each.schedule)} choices: {' '.join(each.schedule)}"]
                lines += story(play, each.schedule)
            return covered, lines
        finally:
            play.cast.close()
