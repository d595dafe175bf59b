"""The decision table: every error at every attempt, without Redis and without a clock."""

import pytest

from orderstream import Defer, Reject, RetryPolicy
from orderstream.errors import ConfigError, DecodeError
from orderstream.policy import Decision, Outcome, describe

RETRY, DEFER, DEAD_LETTER = Outcome.RETRY, Outcome.DEFER, Outcome.DEAD_LETTER
POLICY = RetryPolicy(max_attempts=3, backoff_ms=1000)


@pytest.mark.parametrize(
    ("error", "attempt", "outcome"),
    [
        (ValueError("x"), 1, RETRY),
        (ValueError("x"), 2, RETRY),
        (ValueError("x"), 3, DEAD_LETTER),
        (ValueError("x"), 4, DEAD_LETTER),
        (Reject("x"), 1, DEAD_LETTER),
        (Reject("x"), 3, DEAD_LETTER),
        (DecodeError("x"), 1, DEAD_LETTER),
        (DecodeError("x"), 2, DEAD_LETTER),
        (Defer(50), 1, DEFER),
        (Defer(50), 3, DEFER),
        (TimeoutError(), 1, RETRY),
        (RecursionError(), 1, RETRY),
        (MemoryError(), 1, RETRY),
    ],
)
def test_an_error_at_an_attempt_has_one_outcome(error, attempt, outcome):
    assert POLICY.decide(error, attempt, key="1-0").outcome is outcome


@pytest.mark.parametrize(("attempt", "exhausted"), [(1, False), (3, False), (4, True), (1_000_000_000, True)])
def test_a_delivery_beyond_the_last_attempt_does_not_run(attempt, exhausted):
    assert POLICY.exhausted(attempt) is exhausted


def test_one_attempt_means_no_retry():
    assert RetryPolicy(max_attempts=1).decide(ValueError(), 1).outcome is DEAD_LETTER


def test_a_deferred_order_waits_as_long_as_it_asked():
    assert POLICY.decide(Defer(1234), 2) == Decision(DEFER, 1234)


@pytest.mark.parametrize(("attempt", "outcome"), [(1, RETRY), (2, RETRY), (3, DEAD_LETTER)])
def test_an_order_that_is_too_old_is_deferred_no_more(attempt, outcome):
    """From then on it spends its attempts, and comes to an end."""
    policy = RetryPolicy(max_attempts=3, max_age_ms=60_000)
    assert policy.decide(Defer(50), attempt, age_ms=59_999).outcome is DEFER
    assert policy.decide(Defer(50), attempt, age_ms=60_000).outcome is outcome


def test_a_rejected_order_s_age_does_not_matter():
    assert POLICY.decide(Reject("no"), 1, age_ms=10**12).outcome is DEAD_LETTER
    assert POLICY.decide(ValueError(), 1, age_ms=10**12).outcome is RETRY


def test_a_decision_says_what_went_wrong():
    assert POLICY.decide(KeyError("price"), 1).reason == "KeyError: 'price'"
    assert POLICY.decide(KeyError("price"), 3).reason == "KeyError: 'price'"
    assert POLICY.decide(Reject("sold out"), 1).reason == "sold out"


@pytest.mark.parametrize(("attempt", "longest_ms"), [(1, 1000), (2, 2000), (3, 4000), (10, 512_000)])
def test_each_backoff_is_between_half_and_all_of_a_doubling_time(attempt, longest_ms):
    delays = [POLICY.delay_ms(attempt, f"{n}-0") for n in range(500)]
    assert longest_ms // 2 <= min(delays)
    assert max(delays) <= longest_ms


def test_the_same_question_gets_the_same_answer():
    error = ValueError("x")
    assert POLICY.decide(error, 2, key="7-0") == POLICY.decide(error, 2, key="7-0")


def test_orders_that_fail_together_do_not_come_back_together():
    delays = {POLICY.delay_ms(1, f"{n}-0") for n in range(100)}
    assert len(delays) > 50
    assert max(delays) - min(delays) > 400


def test_one_order_does_not_get_the_same_jitter_each_time():
    spreads = {POLICY.delay_ms(attempt, "7-0") / (1000 << (attempt - 1)) for attempt in range(1, 9)}
    assert len(spreads) > 4


def test_a_great_number_of_attempts_does_not_make_a_number_too_great():
    assert RetryPolicy(backoff_ms=30_000).delay_ms(1_000_000_000, "1-0") < 2**63


def test_no_backoff_is_no_backoff():
    assert RetryPolicy(backoff_ms=0).delay_ms(5, "1-0") == 0


@pytest.mark.row(43)
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\nlines\x1b[31m"), "ValueError: two\\nlines\\x1b[31m"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (ValueError("naïve ☕"), "ValueError: naïve ☕"),
        (ValueError(), "ValueError: "),
        (Reject("no\tthanks"), "no\\tthanks"),
    ],
)
def test_a_reason_is_one_printable_line(error, text):
    assert describe(error) == text


def test_a_reason_has_at_most_200_characters():
    assert len(describe(ValueError("é" * 10_000))) == 200


def test_an_error_that_cannot_be_printed_still_has_a_name():
    """Whatever a handler raises must not stop the consumer."""

    class SpeechlessError(Exception):
        def __str__(self):
            raise RuntimeError

    assert describe(SpeechlessError()) == "SpeechlessError"


@pytest.mark.row(82)
@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0}, {"max_attempts": 2.0}, {"max_attempts": True}, {"backoff_ms": -1}, {"backoff_ms": 500.0},
        {"backoff_ms": "1000"}, {"max_age_ms": -1}, {"max_age_ms": 1.5}, {"max_age_ms": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_when_it_is_made(values):
    """Redis refuses half milliseconds: such a policy would end the consumer at the first failure."""
    ((name, value),) = values.items()
    with pytest.raises(ConfigError, match=f"{name} must be a whole number, . or more, not {value!r}"):
        RetryPolicy(**values)
