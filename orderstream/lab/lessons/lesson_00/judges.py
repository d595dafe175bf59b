"""Lesson 00: read the numbers that say whether all is well."""

from orderstream.lab.tutor.check import exercise


@exercise(
    "00.1",
    "Which of the four values tells you about single consumers?",
    "reply['consumers'] is a list of dictionaries, each with a name and a number.",
    "return {consumer['name']: … for consumer in reply['consumers']}",
)
def held(answer):
    two = {"pending": 3, "consumers": [{"name": "ann", "pending": 1}, {"name": "bob", "pending": 2}]}
    assert answer(two) == {"ann": 1, "bob": 2}, f"ann holds 1 and bob holds 2, but you say {answer(two)!r}"
    nobody = {"pending": 0, "consumers": []}
    assert answer(nobody) == {}, f"nothing is pending, so nobody holds anything, but you say {answer(nobody)!r}"


@exercise(
    "00.2",
    "An order can be in three places before it is done. Which two of your numbers count such places?",
    "XACK takes an entry off the pending list, and leaves it in the stream.",
    "return undelivered == … and pending == …",
)
def done(answer):
    assert answer(5, 0, 0) is True, "5 entries, all delivered and acknowledged: done, though the stream keeps them"
    assert answer(0, 0, 0) is True, "no order ever came: nothing is left to do"
    assert answer(5, 2, 0) is False, "2 orders were never delivered: not done"
    assert answer(5, 0, 1) is False, "1 order is pending, perhaps with a dead consumer: not done"
