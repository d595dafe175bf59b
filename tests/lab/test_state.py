"""The tables of a stream say the same on every Redis version."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import redis

from orderstream.entries import UNOWNED
from orderstream.lab.pictures.state import held_by, state


@pytest.fixture
def client(redis_server):
    """A database of our own on the tests' server, so that the stream is called `orders` as in a lesson."""
    client = redis.Redis.from_url(redis_server, db=9, protocol=2)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def orders(client):
    """Three orders; c1 holds one twice delivered, c2 another."""
    for number in (1, 2, 3):
        client.xadd("orders", {"item": f"tea-{number}"}, id=f"{number}-0")
    client.xgroup_create("orders", "order_group", id="0")
    client.xreadgroup("order_group", "c1", {"orders": ">"}, count=1)
    client.xreadgroup("order_group", "c1", {"orders": "0"}, count=1)
    client.xreadgroup("order_group", "c2", {"orders": ">"}, count=1)
    return client


def test_the_whole_state_of_a_stream(orders):
    assert (
        repr(state("orders", client=orders))
        == """\
orders: stream
length  first id  last id  last generated id
------  --------  -------  -----------------
3       1-0       3-0      3-0

orders: entries
id   fields
---  ----------
1-0  item=tea-1
2-0  item=tea-2
3-0  item=tea-3

orders: groups
group        last delivered id  pending  held by
-----------  -----------------  -------  ----------
order_group  2-0                2        c1 1, c2 1

orders: pending in order_group
id   consumer  deliveries
---  --------  ----------
1-0  c1        2
2-0  c2        1"""
    )


def test_sections_come_in_the_order_asked_for(orders):
    captions = [table.caption for table in state("orders", "pending", "stream", client=orders)]
    assert captions == ["orders: pending in order_group", "orders: stream"]


def test_a_consumer_that_holds_nothing_is_left_out(orders):
    """Some versions register a consumer for an empty read, some do not."""
    orders.xreadgroup("order_group", "c3", {"orders": ">"}, count=5)
    orders.xack("orders", "order_group", "1-0", "2-0", "3-0")
    orders.xreadgroup("order_group", "c4", {"orders": ">"}, count=5)
    (table,) = state("orders", "groups", client=orders)
    assert table.rows == [("order_group", "3-0", "0", "–")]
    assert repr(state("orders", "pending", client=orders)) == "orders: pending in order_group: nothing pending"


def test_what_waits_for_its_next_try_is_held_by_nobody(orders):
    """It stands behind those who have orders in hand."""
    orders.xclaim("orders", "order_group", UNOWNED, 0, ["1-0"], justid=True)
    groups, pending = state("orders", "groups", "pending", client=orders)
    assert groups.rows == [("order_group", "2-0", "2", "c2 1, (nobody) 1")]
    assert pending.rows == [("1-0", "(nobody)", "2"), ("2-0", "c2", "1")]


def test_what_was_handed_back_with_xnack_is_held_by_nobody_too():
    """Redis lists no owner for it: the owners' counts do not add up to the sum."""
    assert held_by({"pending": 3, "consumers": []}) == {UNOWNED: 3}
    both = [{"name": b"(nobody)", "pending": 2}, {"name": b"c1", "pending": 1}]
    assert list(held_by({"pending": 4, "consumers": both}).items()) == [("c1", 1), (UNOWNED, 3)]
    assert held_by({"pending": 0, "consumers": []}) == {}


def test_long_tables_count_what_they_leave_out(client):
    for number in range(1, 14):
        client.xadd("orders", {"n": number}, id=f"{number}-0")
    client.xgroup_create("orders", "order_group", id="0")
    client.xreadgroup("order_group", "c1", {"orders": ">"}, count=11)
    entries, pending = state("orders", "entries", "pending", client=client)
    assert (len(entries.rows), entries.rows[-1]) == (11, ("… 3 more", ""))
    assert (len(pending.rows), pending.rows[-1]) == (11, ("… 1 more", "", ""))


def test_a_stream_that_was_emptied_remembers_its_last_id(client):
    client.xadd("orders", {"a": 1}, id="7-0")
    client.xdel("orders", "7-0")
    assert state("orders", "stream", client=client)[0].rows == [("0", "–", "–", "7-0")]
    assert repr(state("orders", "entries", "groups", "pending", client=client)) == (
        "orders: entries: no entries\n\norders: groups: no groups\n\norders: pending: no groups"
    )


def test_an_entry_trimmed_under_its_reader_is_still_pending(orders):
    orders.xtrim("orders", maxlen=0, approximate=False)
    (table,) = state("orders", "pending", client=orders)
    assert table.rows == [("1-0", "c1", "2"), ("2-0", "c2", "1")]


def test_no_stream_and_no_stream_type(client):
    assert repr(state("missing", client=client)) == "missing: there is no such stream"
    client.lpush("list", "x")
    with pytest.raises(ValueError, match="list holds a list, not a stream"):
        state("list", client=client)
    with pytest.raises(ValueError, match=r"no section lag; choose from stream, entries, groups, pending"):
        state("orders", "lag", client=client)


def test_raw_bytes_and_long_values_are_shown_readably(client):
    client.xadd("orders", {b"\xff": b"\xfe", "note": "x" * 100}, id="1-0")
    ((_, fields),) = state("orders", "entries", client=client)[0].rows
    assert fields.startswith(r"\xff=\xfe  note=xxx")
    assert (len(fields), fields[-1]) == (72, "…")


def test_without_a_client_the_lesson_s_own_is_asked(orders, monkeypatch):
    """lab.start made one; a cell does not hand it over."""
    from orderstream.lab.server import session

    monkeypatch.setattr(session, "_current", SimpleNamespace(client=orders))
    assert state("orders", "stream")[0].rows == [("3", "1-0", "3-0", "3-0")]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_client_that_decodes_sees_the_same(orders, redis_server, protocol):
    decoding = redis.Redis.from_url(redis_server, db=9, protocol=protocol, decode_responses=True)
    assert repr(state("orders", client=decoding)) == repr(state("orders", client=orders))


class Outline(HTMLParser):
    """Collect the tags that a screen reader goes by."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes).get("scope")))


def test_the_html_is_a_table_with_caption_and_scopes(orders):
    html = state("orders", "stream", "groups", client=orders)._repr_html_()
    tags = Outline(html).tags
    assert tags.count(("table", None)) == tags.count(("caption", None)) == 2
    assert tags.count(("th", "col")) == 8
    assert tags.count(("th", "row")) == 2


def test_the_html_sets_no_colour_of_its_own(orders):
    """Text in a fixed colour is lost in one of JupyterLab's themes."""
    html = state("orders", client=orders)._repr_html_()
    assert set(re.findall(r"(?<!-)\bcolor: ([^;\"]+)", html)) == {"var(--jp-content-font-color1, inherit)"}
    assert "background" not in html


def test_fields_are_escaped(client):
    client.xadd("orders", {"note": "<b>&"}, id="1-0")
    assert "note=&lt;b&gt;&amp;" in state("orders", "entries", client=client)._repr_html_()
