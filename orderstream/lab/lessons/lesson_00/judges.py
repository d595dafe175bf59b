"""Lesson 00: read the numbers that say whether all is well."""

from orderstream.lab import server
from orderstream.lab.tutor.check import exercise

KEY, GROUP = "check", "order_group"


@exercise(
    "00.1",
    "Which of the four values tells you about single consumers?",
    "reply['consumers'] is a list of dictionaries, each with a name and a number.",
    "return {consumer['name']: … for consumer in reply['consumers']}",
)
def held(answer):
    client = server.current().client
    server.current().fresh(KEY)
    try:
        client.xgroup_create(KEY, GROUP, id="0", mkstream=True)
        nobody = answer(client.xpending(KEY, GROUP))
        for n in range(1, 5):
            client.xadd(KEY, {"order": f"o-{n}"}, id=f"{n}-0")
        for name, count in (("ann", 3), ("bob", 1)):
            client.xreadgroup(GROUP, name, {KEY: ">"}, count=count)
        two = answer(client.xpending(KEY, GROUP))
        for n, name in enumerate(("carl", "dora"), 5):
            client.xadd(KEY, {"order": f"o-{n}"}, id=f"{n}-0")
            client.xreadgroup(GROUP, name, {KEY: ">"}, count=1)
        four = answer(client.xpending(KEY, GROUP))
    finally:
        server.current().fresh(KEY)
    assert isinstance(two, dict), f"return a dictionary, the names and their numbers, not {two!r}"
    for name, count in (("ann", 3), ("bob", 1)):
        assert name in two, f"each consumer that holds any is named: {name} holds {count}, and is not in {two!r}"
    assert two == {"ann": 3, "bob": 1}, f"ann holds 3 and bob holds 1, but you say {two!r}"
    told = f"carl and dora have taken an order each, as bob did before, but you say {four!r}"
    assert four == {"ann": 3, "bob": 1, "carl": 1, "dora": 1}, told
    assert nobody == {}, f"nothing is pending, so nobody holds anything, but you say {nobody!r}"


@exercise(
    "00.2",
    "An order that is not done was given to nobody, or to somebody who did not acknowledge it. Which numbers count?",
    "XACK takes an entry off the pending list, and leaves it in the stream.",
    "return undelivered == … and pending == …",
)
def done(answer):
    cases = {
        (5, 0, 0): (True, "5 entries, all delivered and acknowledged: done, though the stream keeps them"),
        (0, 0, 0): (True, "no order ever came: nothing is left to do"),
        (5, 1, 0): (False, "1 order was never delivered: not done"),
        (5, 0, 1): (False, "1 order is pending, perhaps with a dead consumer: not done"),
        (9, 2, 2): (False, "2 orders were never delivered, 2 others are pending, and these make up for nothing"),
    }
    for numbers, (right, why) in cases.items():
        got = answer(*numbers)
        assert isinstance(got, bool), f"say True or False, not {got!r}"
        assert got is right, why
