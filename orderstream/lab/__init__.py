"""
What the notebooks use: a Redis for the lesson, experiments, predictions, checks and pictures.

    from orderstream import lab

    r = lab.start("01")                          # the only set-up cell; a raw redis-py client
    lab.environment()                            # will every lesson run here?
    lab.fresh("orders")                          # each experiment begins with it
    lab.predict("01a"), lab.reveal("01a", …)
    lab.state("orders")
    lab.OwnServer()                              # for an experiment that configures a server, or kills it
    with lab.wire(r): …                          # what the cell sends, and what comes back
    lab.check("01.1", …), lab.hint("01.1")
    lab.score("01")                              # how many predictions of this lesson were right
    lab.scoreboard()                             # what you believed, and what became of it
    lab.hand_in("http://…")                      # the same, and it goes to your teacher
    lab.processes.consumer("c1")                 # producers and consumers as real processes
    lab.reset("04")                              # the lesson as it was; yours is kept under another name

Its wings, in reading order. Each knows only those above it:

    patience.py    how much longer than usual this machine takes, for every deadline
    lifeline.py    a process that the notebook talks with, and that cannot outlive it: the ground of workers
    server/        the Redis of the lesson: yours, or a private one
    workers/       producers and consumers as real processes, and what goes wrong with them on purpose
    pictures/      what is seen of a stream: tables, charts, swim lanes, spans and metrics
    tutor/         predictions, judged answers, and what a learner believed
    model/         a checker: all that can happen to a few orders, and the shortest way to break a promise
    lessons/       what belongs to one lesson: its predictions, its judges and its moving picture
    edition/       the author's lessons with their results, and the learner's copy without them
    author/        for authors of lessons: refresh notebooks, gate cells; and the check of a machine before an install
"""

import importlib
from typing import Any

import redis

from orderstream.lab import server
from orderstream.software import software_of

_FOUND_IN = {
    "chaos": "lessons.lesson_12.chaos",
    "charts": "pictures.charts",
    "check": "lessons.exercises:check",
    "ControlRoom": "lessons.lesson_09.control_room:ControlRoom",
    "crews": "lessons.lesson_11.crews",
    "environment": "tutor.environment:environment",
    "eras": "lessons.lesson_10.eras",
    "faults": "workers.faults",
    "hand_in": "tutor.collector:hand_in",
    "hint": "lessons.exercises:hint",
    "lanes": "pictures.lanes",
    "learner": "lessons.lesson_12.learner",
    "ledger": "lessons.lesson_03.ledger",
    "live": "pictures.live",
    "metrics": "pictures.metrics",
    "OwnServer": "server.private:PrivateServer",
    "predict": "lessons.questions:predict",
    "processes": "workers.process",
    "readers": "lessons.lesson_01.readers",
    "Recorder": "pictures.spans:Recorder",
    "reset": "edition.learner:reset",
    "reveal": "tutor.predict:reveal",
    "Sampler": "pictures.sampler:Sampler",
    "score": "lessons.questions:score",
    "scoreboard": "tutor.scoreboard:scoreboard",
    "sharing": "lessons.lesson_02.sharing",
    "spans": "pictures.spans",
    "state": "pictures.state:state",
    "wire": "pictures.wire:wire",
}
"""
A name that notebooks use -> its file and, behind a colon, its name in that file. A file is loaded when it is first
used: worker processes import this package, too, and must start fast.
"""

__all__ = ["fresh", "needs", "start", *_FOUND_IN]

NEWER = "type with Docker: make services, then: REDIS_ADDR=localhost:6379 make lab. Or install the newest redis-server."

_lesson = ""  # the one that was started last


def start(lesson: str) -> redis.Redis:
    """
    Get a Redis for this lesson, and say so in one line.

    If ``REDIS_URL`` or ``REDIS_ADDR`` is set, the lesson gets a logical database of its own on that server. Otherwise
    it gets a private redis-server, which ends with this kernel. ``REDIS_URL`` then names it, so ``connect()`` uses it,
    too. You may call this as often as you like.

    Args:
        lesson: Its number, such as ``"01"``.

    Returns:
        A redis-py client: replies are text, and each command is sent once.

    Raises:
        ServerError: There is no Redis to use. The message says what to do.
    """
    global _lesson
    client: redis.Redis = server.start().client
    _lesson = lesson
    print(f"Lesson {lesson} is ready. {software_of(client).name} answers.")
    return client


def fresh(*keys: str) -> None:
    """
    Delete *keys*, so that an experiment can be run again from its start.

    Name every key that the experiment makes. On a server of your own, the lab removes at the end exactly the keys
    that were named here.

    Raises:
        ServerError: The lesson was not started.
    """
    server.current().fresh(*keys)


def needs(version: str, client: redis.Redis | None = None) -> bool:
    """
    Tell whether the server has the commands of this Redis. If not, say so, and show the cell's stored result.

    Args:
        version: Such as ``"8.4"``. The cell carries the tag ``redis>=8.4``.
        client: Of the server that the cell uses, ``own.client`` of an ``OwnServer``. None: that of the lesson.

    Raises:
        ServerError: The lesson was not started.
    """
    found = software_of(client or server.current().client)
    if found.level >= tuple(map(int, version.split("."))):
        return True
    from orderstream.lab.edition import author

    print(f"This cell needs Redis {version}; yours is {found}.")
    print(f"To get it, {NEWER}")
    if stored := author.stored_result(_lesson):
        print(f"\nRedis {author.REDIS} answers:")
        author.show(stored)
    return False


def __getattr__(name: str) -> Any:
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file, _, attribute = _FOUND_IN[name].partition(":")
    module = importlib.import_module(f"{__name__}.{file}")
    return getattr(module, attribute) if attribute else module


def __dir__() -> list[str]:
    return __all__
