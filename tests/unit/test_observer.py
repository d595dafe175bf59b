"""Without an SDK nobody observes, and nothing of what happened is kept. Whoever observes cannot harm."""

import gc
import weakref
from inspect import signature

import pytest

from orderstream.crew.observed import CrewDeliveries, _Together
from orderstream.harmless import Harmless
from orderstream.observer import NOBODY, UNOBSERVED_DELIVERIES, Deliveries, Observer, Step
from orderstream.tracing import ObservedDeliveries, ObservedStep, Telemetry

STEPS = {
    "sending": lambda: NOBODY.sending([]),
    "redriving": lambda: NOBODY.redriving(dict),
    "releasing": lambda: NOBODY.releasing("a", []),
    "settling": lambda: UNOBSERVED_DELIVERIES.settling("ack", []),
}


class Reply:
    """Something that a weak reference can follow."""


@pytest.mark.parametrize("begin", STEPS.values(), ids=STEPS)
def test_what_came_of_a_step_does_not_outlive_it(begin):
    """An error would keep its traceback, and so a whole batch of orders."""
    with begin() as step:
        step.result = result = Reply()
        step.problem = problem = ValueError(result)
    followed = weakref.ref(result)
    del step, result, problem
    gc.collect()
    assert followed() is None


HOOKS = [
    (seam, name)
    for seam in (Observer, Deliveries, Step)
    for name, method in vars(seam).items()
    if callable(method) and (name in ("__enter__", "__exit__") or not name.startswith("_"))
]


def failing(seam, *names):
    def fail(self, *args):
        raise SystemExit("a bug in somebody's telemetry")

    return type("Failing", (Harmless, seam), dict.fromkeys(names, fail))()


def test_whatever_observes_is_harmless():
    observers = [one for seam in (Observer, Deliveries, Step) for one in seam.__subclasses__()]
    assert {Telemetry, ObservedDeliveries, ObservedStep} <= set(observers)
    ours = {CrewDeliveries, _Together}  # these only pass on to the others
    assert [one for one in observers if not issubclass(one, Harmless) and one not in ours] == []


@pytest.mark.parametrize(("seam", "name"), HOOKS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_a_hook_that_raises_is_answered_by_the_one_that_does_nothing(seam, name):
    observer = failing(seam, name)
    arguments = [None] * (len(signature(getattr(seam, name)).parameters) - 1)
    answer = getattr(observer, name)(*arguments)
    nothing = getattr(seam(), name)(*arguments)
    assert type(answer) is (type(observer) if name == "__enter__" else type(nothing))


@pytest.mark.parametrize("error", [ValueError("no tea"), KeyboardInterrupt()], ids=repr)
def test_what_a_step_raises_passes_a_hook_that_fails_unchanged(error):
    passed = None
    try:
        with failing(Step, "__enter__", "__exit__"):
            raise error
    except BaseException as same:  # noqa: BLE001 - what passed is looked at
        passed = same
    assert passed is error
    assert (error.__cause__, error.__context__) == (None, None)


def test_only_ctrl_c_passes_a_hook():
    class Interrupted(Harmless, Observer):
        def lease_lost(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted().lease_lost()
