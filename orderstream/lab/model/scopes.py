"""The scopes that are looked at: the quick ones in the tests, all of them in ``make model``."""

from __future__ import annotations

from orderstream.lab.model.scope import Scope

QUICK = {
    "one": Scope(deaths=1, lost=1),
    "pair": Scope(consumers=2, deaths=1),
    "failing": Scope(items=("failing",), lost=1, max_attempts=1),
    "refused": Scope(items=("failing",), max_attempts=1, refuses=True),
    "poison": Scope(items=("poison", "tea"), ends=("returns",), deaths=1, times=1),
    "batch": Scope(items=("tea", "poison", "tea"), ends=("returns",), times=1),
    "pages": Scope(consumers=2, items=("slow", "tea"), page=1, batch=1, deaths=1, ends=("returns",), preemptions=1),
    "late": Scope(items=("tea",), times=1),
    "sender": Scope(items=(), sent=("tea",), lost=1, ends=("returns",)),
    "twice": Scope(items=(), sent=("tea",), lost=1, dedupe=True, ends=("returns",)),
    "trimmed": Scope(items=("tea",), janitors=("trim",), deaths=1),
    "redriven": Scope(items=("failing",), janitors=("redrive",), max_attempts=1),
    "reaped": Scope(items=("tea",), janitors=("reap",), deaths=1),
}
"""Each in a few seconds."""

SLOW = {
    "one-time": Scope(deaths=1, lost=1, times=1),
    "pair-time": Scope(consumers=2, deaths=1, lost=1, times=1),
    "two-by-two": Scope(consumers=2, items=("tea", "tea"), deaths=1, lost=1, times=1, preemptions=2),
}

SCOPES = QUICK | SLOW
