"""Lesson 12: the first invariant, and a consumer that keeps them all."""

from __future__ import annotations

from typing import Any

from orderstream.lab.lessons.lesson_12 import chaos
from orderstream.lab.tutor.check import exercise, is_blank


@exercise(
    "12.1",
    "In which three places can an order be that is safe? Is one that is handled lost because it is also pending?",
    "Sets: an order is lost if it is in none of handled, dead and pending. Keep the order of sent.",
    "[order for order in dict.fromkeys(sent) if order not in handled and …]",
)
def lost(answer):
    sent = ["o-1", "o-2", "o-3"]
    _names(answer(sent, sent, [], []), [], "o-1 to o-3 are handled")
    _names(answer(sent, ["o-1"], ["o-2"], ["o-3"]), [], "o-2 is a dead letter, o-3 is pending, and both are safe")
    once_more = answer(sent, ["o-1"], [], ["o-1", "o-3"])
    _names(once_more, ["o-2"], "o-1 is handled and pending: a kill came before the ack")
    _names(answer(sent, [], [], []), sent, "nobody handled anything, and nothing is left")
    _names(answer(sent, ["o-3", "o-3"], ["o-3"], []), ["o-1", "o-2"], "o-3 came twice, which makes up for no other")
    _names(answer(["o-1", "o-2", "o-1"], ["o-2"], [], []), ["o-1"], "o-1 was sent twice, and is one order")
    _names(answer(["o-1", "o-2", "o-1"], ["o-1"], [], []), ["o-2"], "o-1 was sent twice, is one order, and handled")
    _names(answer(["o-1", "o-10"], ["o-10"], [], []), ["o-1"], "o-10 is handled, and o-1 is another order")
    _names(answer(["o-9", "o-10", "o-2"], ["o-10"], [], []), ["o-9", "o-2"], "o-9 was sent before o-2")


def _names(got: Any, expected: list[str], why: str) -> None:
    assert isinstance(got, list), f"return a list of order ids, not {got!r}"
    assert got == expected, f"{why}: lost are {expected}, you say {got}"


@exercise(
    "12.2",
    "Read the story line by line: at which line was the order still safe, and what did your consumer ask for next?",
    "XPENDING with idle=60_000 and count 1 finds a suspect and its delivery count; XCLAIM takes it, and has no fields "
    "if it was deleted; XACK behind the handler; EVAL for the move: XADD, then XACK.",
    "step: one suspect, or else new ones; work: above attempt 3: move; handler(order, order['id']) returned: "
    "xack; it raised, or the entry holds no order: at attempt 3 move, before that leave it pending",
)
def survive(answer):
    assert isinstance(answer, type), f"hand in the class itself, not {answer!r}"
    step = getattr(answer, "step", None)
    assert callable(step), "the class needs a method step(self)"
    if is_blank(step):
        raise NotImplementedError
    score, run = chaos.challenge(answer)
    print(f"score    {'★' * score}{'☆' * (len(chaos.LEVELS) - score)}")
    if verdict := run.verdict:
        _draw(run.picture(verdict.order))
        raise AssertionError(f"{verdict}\n{run.story(verdict.order)}")


def _draw(picture: Any) -> None:
    from IPython.display import display

    display(picture)
