"""The error tree, and what the errors carry."""

import pytest

from orderstream import Defer, Order, Reject, SendUnknown
from orderstream.errors import ConfigError, DecodeError, OrderError, OrderStreamError

TEA = Order("o-1", "tea", 2)


@pytest.mark.parametrize("kind", [ConfigError, OrderError, DecodeError, SendUnknown, Reject, Defer])
def test_one_except_catches_everything_orderstream_raises(kind):
    assert issubclass(kind, OrderStreamError)


@pytest.mark.parametrize("kind", [ConfigError, OrderError, DecodeError])
def test_a_wrong_value_is_a_value_error_too(kind):
    assert issubclass(kind, ValueError)


def test_send_unknown_says_what_is_in_and_what_may_be():
    error = SendUnknown(("1-0", "2-0"), (TEA,))
    assert (error.sent, error.unknown) == (["1-0", "2-0"], [TEA])
    assert str(error) == "2 orders are in the stream, 1 may be (first: 'o-1'); their replies were lost"


def test_reject_keeps_its_reason():
    assert Reject("sold out").reason == str(Reject("sold out")) == "sold out"


def test_reject_takes_an_exception_as_its_reason():
    """`raise Reject(error)` is what people write, and a text is what the dead letter needs."""
    assert Reject(KeyError("price")).reason == "'price'"


def test_defer_keeps_its_delay():
    assert Defer(50).delay_ms == 50


def test_defer_takes_whole_milliseconds_of_a_float():
    """Redis knows no half milliseconds, and `Defer(1.5 * 1000)` is what people write."""
    delay_ms = Defer(1.5 * 1000).delay_ms
    assert (delay_ms, type(delay_ms)) == (1500, int)


@pytest.mark.parametrize("delay_ms", [-1, -0.5])
def test_nobody_defers_into_the_past(delay_ms):
    with pytest.raises(ValueError, match="0 or more"):
        Defer(delay_ms)
