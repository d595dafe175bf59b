"""
Look at all that can happen, scope by scope.

    python -m orderstream.lab.model                       all scopes
    python -m orderstream.lab.model --quick               the small ones
    python -m orderstream.lab.model failing poison        these
    python -m orderstream.lab.model failing --replay "a a a~ a~ a:raises"
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from orderstream.lab.model.check import check, open_world
from orderstream.lab.model.play import Play
from orderstream.lab.model.scope import Scope
from orderstream.lab.model.scopes import QUICK, SCOPES
from orderstream.lab.model.search import Covered
from orderstream.lab.model.story import story

SERVER = "ORDERSTREAM_REDIS_SERVER"


def main() -> int:
    """Look, and return the exit code: 1 if a promise was broken."""
    parser = argparse.ArgumentParser("python -m orderstream.lab.model", description="Look at all that can happen.")
    parser.add_argument("scopes", nargs="*", choices=[*SCOPES, []], help="names of scopes; none: all of them")
    parser.add_argument("--quick", action="store_true", help="only the scopes that take seconds")
    parser.add_argument("--servers", nargs="+", default=[os.environ.get(SERVER, "")], help="redis-server programs")
    parser.add_argument("--replay", metavar="SCHEDULE", help="tell one schedule of one scope")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="with --replay: draw it, too, as a PNG")
    parser.add_argument("--most", type=int, help="end a search after so many states")
    given = parser.parse_args()
    names = given.scopes or [*(QUICK if given.quick else SCOPES)]
    broken = False
    for server in given.servers:
        if server:
            os.environ[SERVER] = server
        print(f"on {server or 'the usual server'}")
        for name in names:
            if given.replay:
                try:
                    _replay(SCOPES[name], given.replay.split(), given.picture)
                except ValueError as error:
                    parser.error(str(error))
                continue
            print(f"{name}: {SCOPES[name]}")
            covered, told = check(SCOPES[name], _progress, given.most)
            broken = broken or bool(told)
            print(f"    {covered}", *told, sep="\n    ")
            if covered.interrupted:
                return 130
    return int(broken)


def _replay(scope: Scope, schedule: list[str], picture: Path | None) -> None:
    with open_world(scope.page) as world:
        play = Play(scope, world)
        print(*story(play, schedule), sep="\n")
        if picture:
            from orderstream.lab.model.lanes import marks  # what draws takes a second to load
            from orderstream.lab.pictures import charts

            picture.write_bytes(charts.swim_lanes(marks(play, schedule)).png)


def _progress(covered: Covered) -> None:
    states = f"{covered.states:,} states, {covered.waiting:,} wait"
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"    {states}, {covered.depth} choices deep, {covered.seconds:.0f} s", end=end, flush=True)


if __name__ == "__main__":
    sys.exit(main())
