"""The error tree, and what the errors carry."""

from copy import copy, deepcopy
from pickle import dumps, loads

import pytest

from orderstream import Defer, Order, Reject, SendUnknown
from orderstream.connection import ReplyLost
from orderstream.errors import ConfigError, DecodeError, HandlerTimeout, NotRedriven, OrderError, OrderStreamError

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
    assert str(error) == "2 orders are in the stream, 1 may be (first: 'o-1'; their replies were lost)"


COFFEE = Order("o-2", "coffee", 1)


@pytest.mark.parametrize(
    ("unknown", "refused", "reason", "said"),
    [
        ([], [TEA], "OOM", "1 order is in the stream, 1 is not (first: 'o-1'): OOM"),
        ([TEA], [COFFEE], "OOM", "1 order is in the stream, 1 may be (first: 'o-1'; their replies were lost), "
                                 "1 is not (first: 'o-2'): OOM"),
        ([], [], "LookupError: no row", "1 order is in the stream: LookupError: no row"),
    ],
)  # fmt: skip
@pytest.mark.row(78)
def test_send_unknown_says_of_a_refusal_that_it_was_one(unknown, refused, reason, said):
    error = SendUnknown(["1-0"], unknown, refused, reason)
    assert (error.refused, error.reason, str(error)) == (refused, reason, said)


ERRORS = [
    OrderStreamError("x"),
    ConfigError("x"),
    OrderError("x"),
    DecodeError("x"),
    Reject("sold out"),
    Defer(50),
    SendUnknown(["1-0"], [TEA], [COFFEE], "OOM"),
    HandlerTimeout("handler ran longer than 300 s"),
    NotRedriven(["2-0"], {"1-0": "too many fields"}),
]


def pickled(error):
    return loads(dumps(error))


@pytest.mark.parametrize("again", [copy, deepcopy, pickled])
@pytest.mark.parametrize("error", [*ERRORS, ReplyLost(OSError("gone"), [b"1-0"])], ids=lambda e: type(e).__name__)
def test_an_error_is_the_same_in_another_process(error, again):
    """A handler that works in a process pool gets its errors this way."""
    other = again(error)
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_every_kind_of_error_is_among_these():
    def kinds(kind):
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    core = {kind for kind in kinds(OrderStreamError) if kind.__module__ == "orderstream.errors"}
    assert core == {type(error) for error in ERRORS}


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
