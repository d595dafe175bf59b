"""
Judge an answer, in one friendly line.

A judge registers itself for an exercise. `orderstream.lab.lessons` says how to write one.
"""

import dis
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

Judge = Callable[[Any], None]


class Endless(BaseException):
    """An answer would never end. ``except Exception`` does not catch this, so the answer's loop ends."""


@dataclass(frozen=True)
class Exercise:
    judge: Judge
    hints: tuple[str, ...]


exercises: dict[str, Exercise] = {}
"""Number -> exercise, for all that were registered so far."""


def exercise(number: str, *hints: str) -> Callable[[Judge], Judge]:
    """
    Register the decorated function as the judge of exercise *number*.

    Args:
        number: Lesson and number, such as ``"01.1"``.
        hints: Three, each saying more than the one before: a question, the command's name, nearly the code.
    """
    if len(hints) != 3:
        raise ValueError(f"exercise {number} needs three hints: a question, the command's name, nearly the code")

    def register(judge: Judge) -> Judge:
        exercises[number] = Exercise(judge, hints)
        return judge

    return register


@dataclass(frozen=True, repr=False)
class Result:
    """The verdict on one answer; `state` is ``todo``, ``pass``, ``fail`` or ``unknown``."""

    id: str
    state: str
    message: str

    def __repr__(self) -> str:
        return f"{ {'todo': '○', 'pass': '✓', 'fail': '✗'}.get(self.state, '?') } {self.id}: {self.message}"


def verdict(number: str, answer: Any) -> Result:
    """Say whether *answer* solves the registered exercise *number*. This never raises, whatever the answer does."""
    try:
        if is_blank(answer):
            raise NotImplementedError
        exercises[number].judge(answer)
    except NotImplementedError:
        return Result(number, "todo", f'not attempted yet (lab.hint("{number}") helps)')
    except (AssertionError, Endless) as exc:
        return Result(number, "fail", str(exc) or "an assertion without a message failed")
    except (Exception, SystemExit) as exc:  # noqa: BLE001  the judge runs the learner's code, which may do anything
        return Result(number, "fail", f"your code raised {type(exc).__name__}: {' '.join(str(exc).split())}")
    return Result(number, "pass", "correct")


# The byte code instructions of a function whose body is a docstring, `...`, `pass` or `return None`.
# They differ between versions of Python: tests/lab/test_check.py tries every Python that it finds.
_NOTHING = {
    "RESUME", "NOP", "RETURN_CONST", "RETURN_VALUE", "LOAD_CONST", "RETURN_GENERATOR", "POP_TOP",
    "CALL_INTRINSIC_1", "RERAISE", "STOPITERATION_ERROR", "JUMP_FORWARD",
}  # fmt: skip


def is_blank(answer: Any) -> bool:
    """Return whether this is still the stub: `...`, a collection with a stub in it, or a function that does nothing."""
    if isinstance(answer, (tuple, list)):
        return any(is_blank(each) for each in answer)
    if isinstance(answer, dict):
        return any(is_blank(each) for each in answer.values())
    if not isinstance(getattr(answer, "__code__", None), CodeType):
        return answer is ...
    return all(
        step.opname in _NOTHING
        and (step.opname not in ("LOAD_CONST", "RETURN_CONST") or step.argval is None or step.argval is ...)
        for step in dis.get_instructions(answer)
    )
