"""The witness of the judges: it hears every command, tells an order's story, and ends a process between two of them."""

from contextlib import suppress

import pytest
import redis

from orderstream.lab.tutor.check import Exercise, exercises, verdict
from orderstream.lab.tutor.witness import Died, Witness

GROUP = "order_group"


@pytest.fixture
def witness(lesson):
    """A stream with two orders, read by ann."""
    with Witness("check") as watching:
        r = watching.client
        r.xgroup_create("check", GROUP, "0", mkstream=True)
        for n in (1, 2):
            r.xadd("check", {"item": "tea"}, id=f"{n}-0")
        r.xreadgroup(GROUP, "ann", {"check": ">"})
        yield watching


def test_the_trace_of_an_order_has_its_lines_and_no_others(witness):
    """What Redis gave, what the handler did, what was asked of Redis then; key and group are known anyway."""
    handle = witness.handler(fail={"o-2"})
    handle("o-1")
    witness.client.xack("check", GROUP, "1-0")
    with pytest.raises(RuntimeError):
        handle("o-2")
    assert witness.trace("2-0", "o-2").splitlines() == [
        "",
        "    XADD 2-0 item tea → 2-0",
        "    XREADGROUP ann > → 1-0, 2-0",
        "    handler      o-2 began",
        "    handler      o-2 raised RuntimeError",
    ]
    assert "XACK 1-0 → 1" in witness.trace()


def test_the_cursor_of_a_claim_is_told_apart_from_what_was_claimed(witness):
    """It looks like an entry, and a learner must not take it for one that was given to somebody."""
    witness.client.xautoclaim("check", GROUP, "bob", 0, count=1)
    witness.client.xautoclaim("check", GROUP, "bob", 60_000, start_id="2-0")
    assert [line.strip() for line in witness.trace("XAUTOCLAIM").splitlines()[1:]] == [
        "XAUTOCLAIM bob 0 0-0 COUNT 1 → 1-0; cursor 2-0",
        "XAUTOCLAIM bob 60000 2-0 → nothing; cursor 0-0",
    ]


def test_commands_of_a_transaction_are_heard_with_their_replies(witness):
    """An error is a reply as well."""
    witness.client.set("text", "x")
    both = witness.client.pipeline()
    both.xadd("text", {"a": "b"}).xack("check", GROUP, "2-0")
    with pytest.raises(redis.ResponseError):
        both.execute()
    lines = witness.trace("2-0", "text").splitlines()
    assert lines[-2].startswith("    in MULTI: XADD text * a b → WRONGTYPE")
    assert lines[-1] == "    in MULTI: XACK 2-0 → 1"
    assert witness.commands()[-2:] == ["XADD", "XACK"]
    witness.client.delete("text")


def test_a_script_is_one_line(witness):
    """Its text would be many, and the learner has just written it."""
    witness.client.eval("local id = ARGV[1]\nreturn redis.call('XACK', KEYS[1], 'order_group', id)", 1, "check", "1-0")
    assert witness.trace("1-0").splitlines()[-1] == "    EVAL (script) 1 1-0 → 1"


def test_others_go_on_while_a_process_is_frozen(witness):
    """Between two of its commands, once."""
    r, moments = witness.client, []
    witness.freeze_after("XLEN", lambda: moments.append(witness.commands()[-1]))
    r.xlen("check")
    r.xrange("check")
    r.xlen("check")
    assert moments == ["XLEN"]


def test_a_transaction_that_a_watch_stopped_leaves_nothing_behind(witness):
    """The next one is heard with its own replies."""
    with witness.client.pipeline() as both:
        both.watch("text")
        witness.client.set("text", "x")
        both.multi()
        with pytest.raises(redis.WatchError):
            both.xack("check", GROUP, "1-0").execute()
    witness.client.pipeline().xack("check", GROUP, "2-0").execute()
    assert [line.strip() for line in witness.trace("EXEC", "XACK").splitlines()[1:]] == [
        "EXEC → nothing",
        "in MULTI: XACK 2-0 → 1",
    ]
    witness.client.delete("text")


def test_commands_of_a_pipeline_are_heard_one_by_one(witness):
    """As if they had been sent alone."""
    before = witness.round_trips
    witness.client.pipeline(transaction=False).xlen("check").xack("check", GROUP, "1-0").execute()
    assert witness.round_trips == before + 1
    assert witness.commands()[-2:] == ["XLEN", "XACK"]


def test_a_process_that_died_says_nothing_more_to_redis(witness):
    """The deadly command was run; of what came behind it, nothing."""
    witness.die_after("xack")
    witness.client.xack("check", GROUP, "1-0")
    with pytest.raises(Died):
        witness.client.xack("check", GROUP, "2-0")
    with pytest.raises(Died):
        witness.client.ping()
    witness.die_after(None)
    assert [held["message_id"] for held in witness.client.xpending_range("check", GROUP, "-", "+", 9)] == ["2-0"]
    assert witness.trace("1-0").splitlines()[-2:] == ["    XACK 1-0 → 1", "    process      killed"]


def test_death_cannot_be_caught_as_an_error(witness):
    """An answer that catches everything would otherwise go on living."""
    assert not issubclass(Died, Exception)


def test_a_loop_without_an_end_is_ended_with_a_verdict(lesson):
    """Also one that catches every error and goes on. The notebook would hang."""
    with Witness("check", patience=20) as watching:

        def endless(r):
            while True:
                with suppress(Exception):
                    r.xlen("check")

        exercises["99.9"] = Exercise(lambda answer: answer(watching.client), ())
        try:
            said = verdict("99.9", endless)
        finally:
            del exercises["99.9"]
    assert said.state == "fail"
    assert said.message.startswith("a loop must end: your code asked Redis more than 20 times\n    XLEN → 0")


def test_a_long_story_is_cut_in_the_middle(witness):
    """A verdict is to be read."""
    for _ in range(40):
        witness.client.xlen("check")
    lines = witness.trace().splitlines()[1:]
    assert len(lines) == 13
    assert lines[6] == "    … 32 more"
