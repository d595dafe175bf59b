"""One thing that was found, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import redis
from redis.exceptions import BusyLoadingError

ANSWERS = (redis.ResponseError, BusyLoadingError)  # the second is a ConnectionError to redis-py, but Redis is there


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    ADVICE = "advice"
    LOSS = "orders could be lost"
    BLOCKED = "orders do not get through"
    UNKNOWN = "could not look"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was found.

    Attributes:
        subject: What was looked at.
        level: How bad it is.
        found: What was found and what it costs, one line.
        fix: What to do about it, commands in backticks; empty if there is nothing to do.
    """

    subject: str
    level: Level
    found: str
    fix: str = ""
