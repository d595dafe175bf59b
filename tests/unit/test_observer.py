"""Without an SDK nobody observes, and nothing of what happened is kept."""

import gc
import weakref

import pytest

from orderstream.observer import NOBODY, UNOBSERVED_DELIVERIES

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
