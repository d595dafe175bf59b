"""Lesson 05: move an order to the dead letters so that nothing is lost or doubled, and decide when to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from orderstream import Reject
from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Died, Witness

KEY, DLQ, GROUP = "check", "check-dlq", "order_group"
FIELDS = {"data": '{"id": "o-1", "item": "figs", "amount": 1}', "traceparent": f"00-{1:032x}-{1:016x}-01"}
CLAIM_IDLE_MS = 60_000
PATIENCE = 300  # commands after which an answer is ended


@contextmanager
def failed_order() -> Iterator[Witness]:
    """Make a stream with the order 1-0, delivered to ann once. Yield a witness of what the answer does with it."""
    server.current().fresh(KEY, DLQ)
    try:
        client = server.current().client
        client.xadd(KEY, FIELDS, id="1-0")
        client.xgroup_create(KEY, GROUP, id="0")
        client.xreadgroup(GROUP, "ann", {KEY: ">"})
        with Witness(KEY, GROUP, PATIENCE) as witness:
            yield witness
    finally:
        server.current().fresh(KEY, DLQ)


@exercise(
    "05.1",
    "Who may own the order by the time your command arrives, and what would Redis have to look at to know?",
    "EVAL. Inside: XPENDING key group id id 1 consumer, then XRANGE, XADD and XACK, in this order.",
    "local mine = redis.call('XPENDING', …)[1]; if not mine or mine[4] ~= tonumber(ARGV[3]) then return 0 end; "
    "then the three commands of MOVE",
)
def move(answer):
    commands = _moves(answer)
    for name in dict.fromkeys(commands):
        _killed_after(name, answer)
    _dlq_of_the_wrong_type(answer)
    _too_late(answer, "bob", "bob has claimed it since")
    _too_late(answer, "ann", "ann herself got it again since, and is at its second delivery")
    _too_late(answer, "bob", "bob took it over since, at the same count", justid=True)
    again = "ann gave it back since and got it again, so this is delivery 1"
    _too_late(answer, "ann", again, deliveries=2, justid=True)
    _among_others(answer)
    for name in dict.fromkeys(commands):
        _frozen_after(name, answer)
    _twice(answer)


def _moves(answer: Any) -> list[str]:
    with failed_order() as witness:
        moved = answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        trace = witness.trace()
        dead = _dead_letters()
        assert dead, f"the order is in the dead-letter queue: ann owned 1-0 at delivery 1, and it is not there{trace}"
        assert len(dead) == 1, f"one dead letter for one order, not {len(dead)}{trace}"
        lacks = [name for name, value in FIELDS.items() if dead[0].get(name) != value]
        assert not lacks, f"a dead letter keeps the fields as they were: {lacks[0]} is not in {dead[0]}{trace}"
        there = server.current().client.xlen(KEY)
        assert there, f"other groups read this stream: 1-0 is gone from it, for all of them{trace}"
        assert not _owner(), f"what was moved is acked: 1-0 is still pending{trace}"
        assert moved is True, f"return True when the order was moved, not {moved!r}"
        assert witness.calls, "use the client that your function gets: it never asked Redis for anything"
        return witness.commands()


def _killed_after(name: str, answer: Any) -> None:
    """Kill the process after its first command *name*. Then bob claims the order if it is pending, and moves it."""
    with failed_order() as witness:
        witness.die_after(name)
        with suppress(Died):
            answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        trace = witness.trace()
        where = f"killed after {name}"
        kept = _owner() or _dead_letters()
        assert kept, f"no order is lost: {where}, 1-0 is neither pending nor a dead letter{trace}"
        witness.die_after(None)
        if witness.client.xclaim(KEY, GROUP, "bob", 0, ["1-0"]):
            answer(witness.client, KEY, DLQ, "bob", "1-0", 2)
        copies, trace = len(_dead_letters()), witness.trace()
        assert copies == 1, f"one dead letter for one order: {where}, then bob took over, and there are {copies}{trace}"


def _dlq_of_the_wrong_type(answer: Any) -> None:
    with failed_order() as witness:
        server.current().client.set(DLQ, "a note")
        with suppress(redis.ResponseError):  # the answer may raise it
            answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        trace = witness.trace()
        note = server.current().client.type(DLQ) == "string"
        assert note, f"a key of somebody else is left alone: {DLQ} held a note, and it is gone{trace}"
        assert _owner(), f"no order is lost: the XADD failed, {DLQ} is no stream, and 1-0 was acked all the same{trace}"


def _among_others(answer: Any) -> None:
    """Ann holds 2-0 as well, and the dead-letter queue has letters, the last with a higher id than the order's."""
    with failed_order() as witness:
        client = server.current().client
        client.xadd(KEY, FIELDS, id="2-0")
        client.xreadgroup(GROUP, "ann", {KEY: ">"})
        for n in range(1, 121):
            client.xadd(DLQ, {"data": "an older dead letter"}, id=f"{n}-0")
        answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        held = [each["message_id"] for each in client.xpending_range(KEY, GROUP, "-", "+", 9)]
        assert held == ["2-0"], f"one order is moved: ann held 1-0 and 2-0, and now {held}{witness.trace()}"
        copies = len(_dead_letters())
        assert copies == 121, f"a dead letter is kept: 120 were in {DLQ}, one came, and now {copies}{witness.trace()}"


def _too_late(answer: Any, owner: str, since: str, deliveries: int = 1, justid: bool = False) -> None:
    with failed_order() as witness:
        witness.client.xclaim(KEY, GROUP, owner, 0, ["1-0"], justid=justid)
        moved = answer(witness.client, KEY, DLQ, "ann", "1-0", deliveries)
        trace = witness.trace()
        unfenced = f"only its owner, at its delivery count, may move an order: {since}"
        assert not _dead_letters(), f"{unfenced}, and ann put it aside{trace}"
        assert _owner() == owner, f"{unfenced}, and ann acked it{trace}"
        assert moved is False, f"return False when nothing was moved, not {moved!r}{trace}"


def _frozen_after(name: str, answer: Any) -> None:
    """Freeze the process after its first *name*. Bob then claims the order, unless the answer has moved it by then."""
    with failed_order() as witness:
        claimed: list[str] = []

        def bob_claims() -> None:
            claimed.extend(server.current().client.xclaim(KEY, GROUP, "bob", 0, ["1-0"], justid=True))
            witness.note("meanwhile", f"bob claims 1-0 → {claimed[0] if claimed else 'nothing'}")

        witness.freeze_after(name, bob_claims)
        answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        trace = witness.trace()
        between = f"ann was frozen after {name}, bob claimed the order, and she went on"
        assert not (claimed and _dead_letters()), f"look and move in one step: {between} and moved it{trace}"
        assert _owner() == ("bob" if claimed else ""), f"look and move in one step: {between} and acked it{trace}"


def _twice(answer: Any) -> None:
    with failed_order() as witness:
        answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        moved = answer(witness.client, KEY, DLQ, "ann", "1-0", 1)
        copies, trace = len(_dead_letters()), witness.trace()
        assert copies == 1, f"a move that is asked for twice happens once; there are {copies} dead letters{trace}"
        assert moved is False, f"the second call moves nothing and returns False, not {moved!r}{trace}"


def _owner() -> str:
    """Return the name of the consumer that holds the order; empty if it is not pending."""
    pending = server.current().client.xpending_range(KEY, GROUP, "-", "+", 1)
    return pending[0]["consumer"] if pending else ""


def _dead_letters() -> list[dict[str, str]]:
    client = server.current().client
    return [fields for _, fields in client.xrange(DLQ)] if client.type(DLQ) == "stream" else []


@exercise(
    "05.2",
    "Which of the three questions comes first: did it work, is it final, was it the last attempt?",
    "isinstance(error, (Reject, ValueError)) tells what is final. A retry is XCLAIM … IDLE: what is idle for the claim "
    "limit is due.",
    "error is None: ack. Final, or attempt >= max_attempts: dead letter. Else retry, with IDLE 60_000 - min(60_000, …)",
)
def decide(answer):
    for attempt in (1, 2, 3):
        _verdict(answer(None, attempt), "ack", f"the handler returned at attempt {attempt}: the order is done")
    no_json = json.JSONDecodeError("no JSON", "{", 0)  # a ValueError, as json.loads raises it
    no_text = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text")  # also one
    final: tuple[Exception, ...] = (Reject("we do not sell figs"), ValueError("no JSON"), no_json, no_text)
    for error in final:
        said = f"{type(error).__name__} at attempt 1: a further try cannot help"
        _verdict(answer(error, 1), "dead letter", said)
    _runs(answer)
    no_figs = RuntimeError("no figs left")
    for attempt in (6, 7, 50):
        _waits(answer(no_figs, attempt, 100), attempt, "")
    _verdict(answer(no_figs, 1, 1), "dead letter", "with max_attempts=1, the first failure is the last")
    _verdict(answer(no_figs, 4), "dead letter", "three processes died over it, and attempt 4 failed: it was the last")
    for error in (KeyError("figs"), TypeError("no figs"), ConnectionError("card service is down"), Exception()):
        said = f"{type(error).__name__} is neither Reject nor ValueError"
        _verdict(answer(error, 1), "retry", f"{said}: attempt 1 is not the last")
        _verdict(answer(error, 3), "dead letter", f"{said}: attempt 3 is the last")


def _runs(answer: Any) -> None:
    """Let the answer decide about an order that always fails, from its first delivery to its end."""
    with failed_order() as witness:
        handle, attempt = witness.handler(fail={"o-1"}), 1
        while True:
            try:
                handle("o-1")
            except RuntimeError as error:
                decision = answer(error, attempt)
            verdict, idle_ms = _pair(decision)
            witness.note(f"attempt {attempt}", f"o-1: {verdict}, {idle_ms}")
            story = witness.trace("1-0", "o-1", "o-1:")
            if verdict != "retry":
                break
            assert attempt < 3, f"at most 3 handler runs: attempt {attempt} failed, and the order goes on{story}"
            _waits(decision, attempt, story)
            witness.client.xclaim(KEY, GROUP, "ann", 0, ["1-0"], idle=idle_ms, justid=True)
            witness.client.xclaim(KEY, GROUP, "ann", 0, ["1-0"])  # the delay has passed
            attempt += 1
        _verdict(decision, "dead letter", f"the handler raised at attempt {attempt}: this order is not done{story}")
        assert attempt == 3, f"an order has 3 attempts: it was given up after attempt {attempt}{story}"


def _waits(decision: Any, attempt: int, story: str) -> None:
    verdict, idle_ms = _pair(decision)
    delay_ms = min(CLAIM_IDLE_MS, 1000 * 2 ** (attempt - 1))
    assert verdict == "retry", f"attempt {attempt} of 100 failed: expected a retry, not {verdict!r}"
    assert idle_ms >= 0, f"an idle time is never negative: after attempt {attempt} you set {idle_ms}"
    waits_ms = CLAIM_IDLE_MS - idle_ms
    assert waits_ms == delay_ms, (
        f"attempt {attempt} is followed by a wait of {delay_ms} ms: with IDLE {idle_ms} the order is due after "
        f"{waits_ms} ms{story}"
    )


def _verdict(decision: Any, expected: str, why: str) -> None:
    verdict, _ = _pair(decision)
    reason, newline, trace = why.partition("\n")
    assert verdict == expected, f"{reason}; expected {expected!r}, not {verdict!r}{newline}{trace}"


def _pair(decision: Any) -> tuple[str, int]:
    good = isinstance(decision, tuple) and len(decision) == 2 and isinstance(decision[1], int)
    assert good, f"return two things, a verdict and a number of milliseconds, not {decision!r}"
    assert decision[0] in ("ack", "retry", "dead letter"), f"{decision[0]!r} is no verdict: ack, retry, dead letter"
    return decision[0], decision[1]
