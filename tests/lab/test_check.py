"""A check says one friendly line, whatever the answer is."""

import asyncio
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from orderstream.lab.lessons import exercises
from orderstream.lab.lessons.exercises import check, hint
from orderstream.lab.tutor import check as judges
from orderstream.lab.tutor.check import exercise

pytestmark = pytest.mark.any_server("verdicts about Python; no Redis is asked")

HINTS = ("What is twice?", "Look at *.", "return 2 * …")


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """Exercise 99.1: a function that doubles."""
    monkeypatch.setattr(judges, "exercises", {})
    monkeypatch.setattr(exercises, "exercises", judges.exercises)
    monkeypatch.setattr(exercises, "_hints_given", type(exercises._hints_given)())

    @exercise("99.1", *HINTS)
    def judge(answer):
        if answer(3) != 6:  # not `assert`: pytest adds its own words to those of a test file
            raise AssertionError(f"twice 3 is 6, not {answer(3)}")


def test_an_untouched_exercise_is_not_attempted_yet():
    assert repr(check("99.1")) == '○ 99.1: not attempted yet (lab.hint("99.1") helps)'
    assert check("99.1").state == "todo"


def test_a_right_answer_is_correct():
    assert repr(check("99.1", lambda n: 2 * n)) == "✓ 99.1: correct"


def test_a_wrong_answer_names_the_broken_invariant():
    assert repr(check("99.1", lambda n: n)) == "✗ 99.1: twice 3 is 6, not 3"


def raises(n):
    raise KeyError(n)


def gives_up(n):
    raise NotImplementedError


def leaves(n):
    sys.exit("bye")


def asserts(n):
    assert not n


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (raises, "✗ 99.1: your code raised KeyError: 3"),
        (leaves, "✗ 99.1: your code raised SystemExit: bye"),
        (gives_up, '○ 99.1: not attempted yet (lab.hint("99.1") helps)'),
        (42, "✗ 99.1: your code raised TypeError: 'int' object is not callable"),
        (None, "✗ 99.1: your code raised TypeError: 'NoneType' object is not callable"),
        (lambda: 1, "✗ 99.1: your code raised TypeError"),
    ],
)
def test_an_answer_may_do_anything(answer, line):
    """A cell of the course never ends in a traceback of the check."""
    assert repr(check("99.1", answer)).startswith(line)


def test_an_assertion_of_the_learner_without_words_is_told():
    said = check("99.1", asserts)
    assert said.state == "fail"
    assert said.message


def test_an_unknown_exercise_names_those_there_are():
    assert repr(check("99.7", 1)) == "? 99.7: there is no such exercise; lesson 99 has 99.1"
    assert repr(check("98.1", 1)) == "? 98.1: there is no such exercise"


def test_hints_come_one_by_one_and_the_last_one_stays(capsys):
    for _ in range(4):
        hint("99.1")
    assert capsys.readouterr().out.splitlines() == [
        "Hint 1 of 3 for 99.1: What is twice?",
        "Hint 2 of 3 for 99.1: Look at *.",
        "Hint 3 of 3 for 99.1: return 2 * …",
        "Hint 3 of 3 for 99.1: return 2 * …",
    ]
    hint("99.7")
    assert capsys.readouterr().out == "? 99.7: there is no such exercise; lesson 99 has 99.1\n"


def test_a_judge_needs_three_hints():
    with pytest.raises(ValueError, match="three hints: a question"):
        exercise("99.2", "only one")


def test_the_log_holds_every_verdict(tmp_path, monkeypatch):
    log = tmp_path / "checks"
    monkeypatch.setenv("ORDERSTREAM_CHECK_LOG", str(log))
    for answer in (..., lambda n: 2 * n, lambda n: 0):
        check("99.1", answer)
    verdicts = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [(each["id"], each["state"]) for each in verdicts] == [
        ("99.1", "todo"),
        ("99.1", "pass"),
        ("99.1", "fail"),
    ]
    assert verdicts[2]["message"] == "twice 3 is 6, not 0"


def test_a_log_that_cannot_be_written_does_not_disturb_the_learner(tmp_path, monkeypatch):
    monkeypatch.setenv("ORDERSTREAM_CHECK_LOG", str(tmp_path / "missing" / "checks"))
    assert check("99.1").state == "todo"


# Byte code differs between Python versions, so these run in every Python there is, without our packages.
BLANK = '''
def dots(a: int, b: str = "x") -> int:
    ...

def documented(order: dict) -> str:
    """Return the key."""
    ...

def passed():
    pass

def returned(): return None

def returns_dots(): return ...

async def waits(order):
    """Handle it."""
    ...

blank = [..., dots, documented, passed, returned, returns_dots, waits, (1, ...), [dots], {"a": ..., "b": 2}]

def constant(): return 0
def text(): return ""
def parameter(a): return a
def calls(a): print(a)
def loops(a):
    for _ in a: ...
def raises(): raise ValueError
def branches(a):
    if a: return None
async def answers(a): return 1
def generates(a): yield a

attempted = [constant, text, parameter, calls, loops, raises, branches, answers, generates, lambda a: a + 1,
             None, 0, "", [], {}, (), (1, 2), {"a": 1}, dots.__class__, object()]
'''
PYTHONS = sorted({Path(sys.executable).resolve(), *Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python3.1[1-9]")})


@pytest.mark.parametrize("python", PYTHONS, ids=str)
def test_a_stub_is_told_from_an_answer(python, tmp_path):
    """The unsolved exercise is blank and no answer is, in this Python's byte code."""
    script = f"{Path(judges.__file__).read_text('utf-8')}\n{BLANK}\n" + textwrap.dedent("""
        wrong = [each for each in blank if not is_blank(each)] + [each for each in attempted if is_blank(each)]
        assert not wrong, wrong
        print("told apart", len(blank), len(attempted))
    """)
    (tmp_path / "stubs.py").write_text(script, "utf-8")
    ran = subprocess.run([python, "-I", tmp_path / "stubs.py"], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("told apart 10 20\n", "")


def test_an_async_stub_is_blank_in_a_running_loop_too():
    """A kernel runs cells inside an event loop."""

    async def stub(order): ...

    async def cell():
        return check("99.1", stub)

    assert asyncio.run(cell()).state == "todo"
