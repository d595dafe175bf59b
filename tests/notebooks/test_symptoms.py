"""
The page of symptoms is data: a test makes each trouble on a real Redis, and the page's commands show it.

The commands are sent as they stand. The replies are compared value by value.
"""

import re
import shlex
from pathlib import Path

import nbformat
import pytest
import redis

from tests.notebooks import rules

FOLDER = Path(__file__).parents[2] / "notebooks"
PAGE = (FOLDER / "symptoms.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### (.+)\n\n((?:(?!^#).*\n)+)", PAGE, re.M))
GROUP = "order_group"


@pytest.fixture
def r(client):
    client.delete("orders")
    yield client
    client.delete("orders")


def fill(r, orders, start="0"):
    """A stream with that many orders, 1-0, 2-0, …, and a group that begins at *start*."""
    for n in range(1, orders + 1):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0")
    r.xgroup_create("orders", GROUP, start)


def read(r, name, count):
    return [entry_id for entry_id, _ in r.xreadgroup(GROUP, name, {"orders": ">"}, count=count)[0][1]]


def later(r, owner, *ids, **counted):
    """Let 90 seconds pass for these entries: the laboratory's trick."""
    r.xclaim("orders", GROUP, owner, 0, ids, idle=90_000, justid=True, **counted)


def dead(r):
    fill(r, 3)
    later(r, "ann", *read(r, "ann", 3))


def forgets_to_ack(r):
    fill(r, 4)
    later(r, "ann", *read(r, "ann", 2))
    read(r, "ann", 1)


def hoards(r):
    fill(r, 21)
    r.xack("orders", GROUP, *read(r, "bob", 1))
    read(r, "ann", 20)


def looks_at_the_first(r):
    fill(r, 200)
    later(r, "ann", read(r, "ann", 200)[-1])
    assert r.execute_command("XAUTOCLAIM", "orders", GROUP, "bob", 60_000, "0", "COUNT", 10)[:2] == [b"101-0", []]


def begins_at_the_end(r):
    fill(r, 3, "$")
    assert r.xreadgroup(GROUP, "bob", {"orders": ">"}) == []


def asks_with_0(r):
    fill(r, 3)
    assert r.xreadgroup(GROUP, "bob", {"orders": "0"})[0][1] == []


def forgets_the_group(r):
    fill(r, 3)
    r.delete("orders")
    r.xadd("orders", {"item": "tea"})
    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        read(r, "ann", 1)


def claims_too_early(r):
    fill(r, 1)
    read(r, "ann", 1)
    r.xclaim("orders", GROUP, "bob", 0, ["1-0"])


def sends_again(r):
    for n in (1, 2):
        r.xadd("orders", {"id": "o-1"}, id=f"{n}-0")


def poison(r):
    r.xadd("orders", {"item": "figs"}, id="1-0")
    r.xgroup_create("orders", GROUP, "0")
    read(r, "ann", 1)
    r.xclaim("orders", GROUP, "ann", 0, ["1-0"], retrycount=812, justid=True)


def restarts(r):
    fill(r, 200)
    for n in range(1, 201):
        ids = read(r, f"pod-{n}", 1)
        if n < 200:
            r.xack("orders", GROUP, *ids)


def nobody_trims(r):
    fill(r, 300)
    r.xack("orders", GROUP, *read(r, "ann", 300))


def trims_about(r):
    for n in range(1, 106):
        r.xadd("orders", {"item": "tea"}, id=f"{n}-0", maxlen=10, approximate=True)


def trims_what_is_pending(r):
    dead(r)
    r.xtrim("orders", maxlen=1, approximate=False)


def deletes_in_front_of_the_group(r):
    fill(r, 4)
    read(r, "ann", 1)
    r.xdel("orders", "3-0")


def acks_twice(r):
    fill(r, 1)
    read(r, "ann", 1)
    assert [r.xack("orders", GROUP, "1-0") for _ in "12"] == [1, 0]


TROUBLES = {
    "Pending grows, and nothing is handled": dead,
    "Everything is handled, and pending grows all the same": forgets_to_ack,
    "A consumer is idle while another hoards": hoards,
    "A claim finds nothing, though much is pending": looks_at_the_first,
    "A new group gets nothing, though the stream is full": begins_at_the_end,
    "XREADGROUP brings nothing, though the stream is full": asks_with_0,
    "NOGROUP, all of a sudden": forgets_the_group,
    "Orders come twice": claims_too_early,
    "One order is in the stream twice": sends_again,
    "One order comes again and again": poison,
    "There are hundreds of consumers": restarts,
    "Memory grows, though all is acknowledged": nobody_trims,
    "The stream is longer than its MAXLEN": trims_about,
    "An entry is pending, and its fields are gone": trims_what_is_pending,
    "Lag is null": deletes_in_front_of_the_group,
    "XACK answers 0": acks_twice,
}
"""Symptom -> what makes it."""

WELL = {"XACK answers 0"}
"""The page says that this is no trouble."""


def sent(r, command):
    """Send a line of the page as it stands, and return the values of the reply in their order, whatever holds them."""
    connection = r.connection_pool.get_connection()
    try:
        connection.send_command(*shlex.split(command))
        return list(values(connection.read_response()))
    finally:
        r.connection_pool.release(connection)


def values(reply):
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    if isinstance(reply, list):
        for part in reply:
            yield from values(part)
    else:
        yield reply.decode() if isinstance(reply, bytes) else reply


def matches(value, word):
    if word[0] in "<>":
        return isinstance(value, int) and (value < int(word[1:]) if word[0] == "<" else value > int(word[1:]))
    return word == ("nil" if value is None else str(value))


def has(reply, words):
    """Tell whether these words stand in the reply, next to each other."""
    places = range(len(reply) - len(words) + 1)
    return any(all(map(matches, reply[n:], words)) for n in places)


def asked(symptom):
    """Return the commands of a symptom: [(command, [(what the reply has, the first version that has it)])]."""
    rows = [line.strip("| ").split(" | ") for line in re.findall(r"^\| `.*$", SECTIONS[symptom], re.M)]
    found = r"`([^`]+)`(?: \(from (\d+\.\d+) on\))?"
    return [(command.strip("` "), re.findall(found, said.split(": ")[0])) for command, said in rows]


@pytest.mark.parametrize("symptom", SECTIONS)
def test_the_two_commands_show_the_trouble(r, symptom, server_version):
    TROUBLES[symptom](r)
    commands = asked(symptom)
    assert len(commands) == 2
    for command, said in commands:
        assert said
        reply = sent(r, command)
        for words, since in said:
            if since and server_version < tuple(map(int, since.split("."))):
                assert words.split()[0] not in reply
            elif words == "(empty)":
                assert reply == []
            else:
                assert has(reply, words.split()), f"{command}: {words!r} is not in {reply}"


@pytest.mark.parametrize("symptom", [symptom for symptom in SECTIONS if symptom not in WELL])
def test_without_the_trouble_one_of_the_commands_shows_another_reply(r, symptom):
    """Else the page would call a healthy stream ill: Ann and Bob have handled two of three orders, and are at work."""
    fill(r, 3)
    r.xack("orders", GROUP, *read(r, "ann", 1), *read(r, "bob", 1))
    read(r, "ann", 1)
    replies = [(sent(r, command), words) for command, said in asked(symptom) for words, _ in said]
    assert not all(reply == [] if words == "(empty)" else has(reply, words.split()) for reply, words in replies)


def test_lag_comes_back_when_the_group_has_read_all_there_is(r, server_version):
    deletes_in_front_of_the_group(r)
    lags = []
    for _ in range(2):
        read(r, "ann", 1)
        lags.append(r.xinfo_groups("orders")[0].get("lag"))
    assert lags == ([None, 0] if server_version >= (7, 0) else [None, None])


def test_each_trouble_is_made_once():
    assert list(SECTIONS) == list(TROUBLES)


@pytest.mark.parametrize("symptom", SECTIONS)
def test_a_symptom_leads_to_a_section_of_a_lesson(symptom):
    text = " ".join(SECTIONS[symptom].split())
    [*links] = re.findall(r"\[[Ll]esson (\d\d)\]\((\S+?)\)(?:, (?:experiment (\d)|\*(.+?)\*))?", text)
    assert links
    for number, name, experiment, other in links:
        assert name.startswith(number)
        titles = [title for _, level, title in rules.headings(nbformat.read(FOLDER / name, 4)) if level == 2]
        assert [title for title in titles if title.startswith(f"Experiment {experiment}" if experiment else other)]


def test_the_line_for_a_notebook_works(r):
    fill(r, 1)
    [line] = re.findall(r"^```python\n(.*)\n```", PAGE, re.M)
    assert eval(line, {"r": r})["pending"] == 0
