"""
The scopes that are looked at: the quick ones in the tests, all of them in ``make model``.

Each is a question. Where preemptions are bounded, the bound was chosen before the search.
"""

from __future__ import annotations

from orderstream.lab.model.scope import Scope

ALL_ENDS = ("returns", "raises", "rejects", "defers")

QUICK = {
    # one consumer, and the one that takes its place
    "one": Scope(deaths=1, lost=1),
    "late": Scope(ends=("returns", "raises", "defers"), late=1, times=1, max_attempts=1),
    "time": Scope(ends=ALL_ENDS, times=1),
    "stopped": Scope(items=("tea", "tea"), stops=1, deaths=1),
    "impatient": Scope(items=("tea", "tea"), impatient=True, times=1, max_attempts=1),
    "failing": Scope(items=("failing",), lost=1, max_attempts=1),
    "refused": Scope(items=("failing",), refuses=True, max_attempts=1),
    "poison": Scope(items=("poison", "tea"), ends=("returns",), deaths=1, times=1),
    "batch": Scope(items=("tea", "poison", "tea"), ends=("returns",), times=1),
    # two
    "pair": Scope(consumers=2, deaths=1),
    "pages": Scope(consumers=2, items=("slow", "tea"), ends=("returns",), deaths=1, page=1, batch=1),
    # somebody beside them
    "sender": Scope(items=(), sent=("tea",), ends=("returns",), lost=1),
    "dedupe": Scope(items=(), sent=("tea", "tea"), ends=("returns",), dedupe=True, lost=1, late=1),
    "redrive": Scope(items=("failing",), janitors=("redrive",), lost=1, max_attempts=1),
    "janitors": Scope(ends=("returns",), janitors=("reap", "trim"), deaths=1, times=1),
}
"""Each in a few seconds."""

SLOW = {
    "deferred": Scope(ends=("returns", "defers"), lost=1, late=1, times=1),
    "one-of-each": Scope(ends=ALL_ENDS, deaths=1, lost=1, late=1, times=1),
    "pair-of-each": Scope(consumers=2, deaths=1, lost=1, times=1),
    "pair-raises": Scope(consumers=2, items=("failing", "tea"), lost=1, times=1, preemptions=1),
    "pair-late": Scope(consumers=2, ends=ALL_ENDS, late=1, times=1, preemptions=2),
    "pair-impatient": Scope(consumers=2, impatient=True, lost=1, times=1, preemptions=2),
    "pair-redrive": Scope(
        consumers=2, items=("failing",), janitors=("redrive", "trim"), late=1, max_attempts=1, preemptions=2
    ),
    "pair-poison": Scope(consumers=2, items=("poison", "tea"), deaths=1, lost=1, times=1, preemptions=1),
    "two-by-two": Scope(consumers=2, items=("tea", "tea"), deaths=1, lost=1, times=1, preemptions=2),
}
"""Each in seconds to minutes; the last one is the largest."""

SCOPES = QUICK | SLOW
