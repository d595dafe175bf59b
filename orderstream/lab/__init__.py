"""
What the notebooks use: a Redis for the lesson, experiments, predictions, checks and pictures.

    from orderstream import lab

    r = lab.start("01")                          # the only set-up cell; a raw redis-py client
    lab.environment()                            # will every lesson run here?
    lab.fresh("orders")                          # each experiment begins with it
    lab.predict("01.1", …), lab.reveal("01.1", …)
    lab.state("orders")
    with lab.wire(r): …                          # what the cell sends, and what comes back
    lab.check("01.1", …), lab.hint("01.1")
    lab.scoreboard()                             # what you believed, and what became of it
    lab.processes.consumer("c1")                 # processes, faults, Sampler, charts, live, Recorder, lanes,
                                                 # metrics: loaded when first used
"""

import importlib
from typing import Any

import redis

# A function that has the name of its module must be here before anybody imports the module alone.
from orderstream.lab.check import check, hint
from orderstream.lab.environment import environment
from orderstream.lab.predict import predict, reveal
from orderstream.lab.scoreboard import scoreboard
from orderstream.lab.state import state
from orderstream.lab.wire import wire

# Worker processes import this package as well, and must start fast: no pandas, matplotlib or ipywidgets for them.
_MODULES = (
    "charts", "eras", "faults", "lanes", "live", "metrics", "processes", "readers", "sharing", "spans"
)  # fmt: skip
_LATER = {"ControlRoom": "control_room", "Recorder": "spans", "Sampler": "sampler"} | {name: name for name in _MODULES}

__all__ = [
    "check", "environment", "fresh", "hint", "needs", "predict", "reveal", "scoreboard", "start", "state", "wire",
    *_LATER,
]  # fmt: skip


def start(lesson: str) -> redis.Redis:
    """
    Get a Redis for this lesson, and say so in one line.

    With ``REDIS_URL`` or ``REDIS_ADDR`` set, it is a logical database of its own on that server; else a private
    redis-server, which ends with this kernel. ``REDIS_URL`` leads to it from now on, so ``connect()`` does as
    well. Call it as often as you like.

    Args:
        lesson: Its number, such as ``"01"``.

    Returns:
        A redis-py client: replies are text, and each command is sent once.

    Raises:
        ServerError: There is no Redis to use. The message says the ways out.
    """
    from orderstream.lab import server

    client = server.start().client
    print(f"Lesson {lesson} is ready. Redis answers.")
    return client


def fresh(*keys: str) -> None:
    """
    Delete *keys*, so that an experiment can be run again from its start.

    Name every key that the experiment makes: on a server of your own, the lab removes at the end exactly the keys
    that were named here.

    Raises:
        ServerError: The lesson was not started.
    """
    from orderstream.lab import server

    server.current().fresh(*keys)


def needs(version: str) -> bool:
    """
    Tell whether Redis is new enough; if it is not, print which version this cell needs.

    Args:
        version: Such as ``"8.4"``. The cell carries the tag ``redis>=8.4``.

    Raises:
        ServerError: The lesson was not started.
    """
    from orderstream.lab import server

    found = server.version_of(server.current().client)
    if found >= server.parse_version(version):
        return True
    print(f"This cell needs Redis {version}; yours is {found[0]}.{found[1]}.")
    return False


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATER[name]}")
    return module if name == _LATER[name] else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
