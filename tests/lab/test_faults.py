"""Handlers that fail on demand: each does what it says."""

import signal
import subprocess
import sys
import time
from itertools import islice

import pytest

from orderstream import Order, lab, random_orders
from orderstream.lab.workers import faults

FIGS, TEA = Order("o-1", "figs", 1), Order("o-2", "tea", 60)


def test_a_flaky_handler_decides_by_seed_order_and_run(scratch):
    """Whoever comes first: two consumers tell the same story."""
    orders = list(islice(random_orders(1), 100))
    one, other, another = faults.flaky(0.3, seed=1), faults.flaky(0.3, seed=1), faults.flaky(0.3, seed=2)
    first, second = outcomes(one, orders), outcomes(one, orders)
    assert 15 < first.count("failed") < 45
    assert first != second, "the second run of an order is another one"
    assert outcomes(other, orders[::-1]) == first[::-1]
    assert outcomes(other, orders) == second
    assert outcomes(another, orders) != first


def outcomes(handler, orders):
    """What became of each order."""
    ends = []
    for order in orders:
        try:
            handler(order)
            ends.append("handled")
        except RuntimeError:
            ends.append("failed")
    return ends


@pytest.mark.parametrize("which", ["figs", lambda order: order.amount < 50])
def test_a_failing_handler_fails_for_the_chosen_orders_alone(which):
    """By item, or as a function says."""
    done = []
    handler = faults.failing(which, done.append)
    assert outcomes(handler, [FIGS, TEA, FIGS]) == ["failed", "handled", "failed"]
    assert done == [TEA]


def test_a_slow_handler_takes_its_time_and_then_goes_on():
    done = []
    began = time.monotonic()
    faults.slow(50, then=done.append)(TEA)
    assert time.monotonic() - began >= 0.05
    assert done == [TEA]


def test_faults_follow_one_another():
    done = []
    handler = faults.slow(0, then=faults.failing("figs", then=faults.flaky(0, seed=1, then=done.append)))
    assert outcomes(handler, [FIGS, TEA]) == ["failed", "handled"]
    assert done == [TEA]


def test_a_flaky_handler_that_always_fails_and_one_that_never_does():
    assert outcomes(faults.flaky(1, seed=1), [TEA] * 20) == ["failed"] * 20
    assert outcomes(faults.flaky(0, seed=1), [TEA] * 20) == ["handled"] * 20


def test_a_poison_order_kills_its_process():
    """The orders before it are handled."""
    code = """
from orderstream import Order
from orderstream.lab.workers import faults
handler = faults.poison("figs", then=lambda order: print(order.item, flush=True))
handler(Order("o-1", "tea", 1))
handler(Order("o-2", "figs", 1))
print("outlived", flush=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGKILL, "tea\n", "")


def test_a_notebook_is_no_place_for_poison(monkeypatch):
    """Its own kernel would die; the message names the way."""
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with pytest.raises(RuntimeError, match=r"processes\.consumer"):
        faults.poison("figs")


def test_faults_are_loaded_when_first_used():
    assert lab.faults is faults
