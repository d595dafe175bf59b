"""
Judge an exercise and help with it, one friendly line at a time.

In a lesson, the exercise cell holds the stub and ends with ``lab.check("01.1", answer)``. The judge stands in
`orderstream.lab.exercises`, which says how to write one.
"""

import dis
import importlib
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Result", "check", "exercise", "hint"]

Judge = Callable[[Any], None]


@dataclass(frozen=True)
class Exercise:
    judge: Judge
    hints: tuple[str, ...]


_exercises: dict[str, Exercise] = {}
_hints_given: Counter[str] = Counter()


def exercise(number: str, *hints: str) -> Callable[[Judge], Judge]:
    """
    Register the decorated function as the judge of exercise *number*.

    Args:
        number: Lesson and number, such as ``"01.1"``.
        hints: Three, growing: a question, the command's name, nearly the code.
    """
    if len(hints) != 3:
        raise ValueError(f"exercise {number} needs three hints: a question, the command's name, nearly the code")

    def register(judge: Judge) -> Judge:
        _exercises[number] = Exercise(judge, hints)
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


def check(number: str, answer: Any = ...) -> Result:
    """
    Say in a line whether *answer* solves exercise *number*. Never raises, whatever the answer does.

    `ORDERSTREAM_CHECK_LOG` names a file that receives every verdict as a JSON line: ``id, state, message``.
    """
    result = _judge(number, answer)
    if path := os.environ.get("ORDERSTREAM_CHECK_LOG"):
        with suppress(OSError), Path(path).open("a", encoding="utf-8") as log:
            print(json.dumps({"id": number, "state": result.state, "message": result.message}), file=log)
    return result


def hint(number: str) -> None:
    """Print the next of the three hints to exercise *number*; after the third, the third again."""
    found = _find(number)
    if found is None:
        print(f"? {number}: {_no_exercise(number)}")
        return
    _hints_given[number] = step = min(_hints_given[number] + 1, len(found.hints))
    print(f"Hint {step} of {len(found.hints)} for {number}: {found.hints[step - 1]}")


def _judge(number: str, answer: Any) -> Result:
    try:
        found = _find(number)
        if found is None:
            return Result(number, "unknown", _no_exercise(number))
        if is_blank(answer):
            raise NotImplementedError
        found.judge(answer)
    except NotImplementedError:
        return Result(number, "todo", f'not attempted yet (lab.hint("{number}") helps)')
    except AssertionError as exc:
        return Result(number, "fail", str(exc) or "an assertion without a message failed")
    except (Exception, SystemExit) as exc:  # noqa: BLE001  the judge runs the learner's code, which may do anything
        return Result(number, "fail", f"your code raised {type(exc).__name__}: {' '.join(str(exc).split())}")
    return Result(number, "pass", "correct")


def _find(number: str) -> Exercise | None:
    """Import the lesson's judges when they are first asked for: a kernel needs those of one lesson only."""
    module = f"orderstream.lab.exercises.lesson_{number.partition('.')[0]}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != module:
            raise
    return _exercises.get(number)


def _no_exercise(number: str) -> str:
    lesson = number.partition(".")[0]
    known = sorted(each for each in _exercises if each.partition(".")[0] == lesson)
    return "there is no such exercise" + (f"; lesson {lesson} has {', '.join(known)}" if known else "")


# What the byte code of a function consists of whose body is a docstring, `...`, `pass` or `return None`.
# Byte code changes with Python: tests/lab/test_check.py asks every Python it can find.
_NOTHING = {
    "RESUME", "NOP", "RETURN_CONST", "RETURN_VALUE", "LOAD_CONST", "RETURN_GENERATOR", "POP_TOP",
    "CALL_INTRINSIC_1", "RERAISE", "STOPITERATION_ERROR", "JUMP_FORWARD",
}  # fmt: skip


def is_blank(answer: Any) -> bool:
    """Is this still the stub: `...`, a collection that holds one, or a function whose body is one?"""
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
