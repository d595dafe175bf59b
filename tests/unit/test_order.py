"""Orders: what may exist, and what travels."""

import json
import subprocess
import sys
from itertools import islice

import msgspec
import pytest

from orderstream import Order, random_orders
from orderstream import order as order_module
from orderstream.errors import DecodeError, OrderError

TEA = Order("o-1", "tea", 2)


@pytest.mark.parametrize(
    ("id", "item", "amount", "named"),
    [
        ("", "tea", 1, "id"),
        (None, "tea", 1, "id"),
        (b"o-1", "tea", 1, "id"),
        ("o-1", "", 1, "item"),
        ("o-1", 7, 1, "item"),
        ("o-1", "tea", 0, "amount"),
        ("o-1", "tea", -1, "amount"),
        ("o-1", "tea", 1.5, "amount"),
        ("o-1", "tea", "1", "amount"),
        ("o-1", "tea", True, "amount"),
        ("o-1", "tea", 2**63, "amount"),
        pytest.param("o-1", "tea", 10**5000, "amount", id="longer than Python prints"),
        ("o-\ud800", "tea", 1, "id"),
        ("o-1", "\udfff tea", 1, "item"),
        ("o-1", "x" * 200_000, 1, "item"),
    ],
)
def test_an_order_that_may_not_exist_names_the_field(id, item, amount, named):
    with pytest.raises(OrderError, match=rf"\b{named}\b"):
        Order(id, item, amount)


def test_an_order_cannot_be_changed():
    with pytest.raises(AttributeError):
        TEA.amount = 3


def test_the_wire_form_is_one_field_with_a_json_object():
    """Other programs rely on it: exactly this field, exactly these members."""
    name, value = TEA.to_fields()
    assert name == b"data"
    assert json.loads(value) == {"id": "o-1", "item": "tea", "amount": 2}


def test_an_order_survives_the_way_there_and_back():
    order = Order("ö-1", 'tea "green"\n', 2)
    assert Order.from_fields(order.to_fields()) == order


@pytest.mark.parametrize("letter", ["x", "ö", "🫖", "\x00"], ids=["ASCII", "two bytes", "four bytes", "escaped"])
def test_the_longest_order_is_not_too_long_to_be_read(letter):
    """What the constructor takes, the other side takes too, however many bytes a letter needs."""
    order = Order("o", letter * (order_module._MAX_CHARS - 1), 1)
    assert len(order.to_fields()[1]) <= order_module.MAX_BYTES
    assert Order.from_fields(order.to_fields()) == order


@pytest.mark.row(39)
def test_what_is_too_long_is_not_even_decoded():
    """It could take all the memory there is."""
    with pytest.raises(DecodeError, match="1,000,001 bytes, 1,000,000 is the most") as caught:
        Order.from_fields([b"data", b"[" * 1_000_001])
    assert caught.value.__cause__ is None


def test_an_order_written_by_another_program_is_read():
    fields = [b"data", b' {"amount": 1, "item": "b", "id": "a"} ']
    assert Order.from_fields(fields) == Order("a", "b", 1)


def test_unknown_fields_and_members_are_ignored():
    data = b'{"id":"a","item":"b","amount":1,"colour":{"deep":[1]}}'
    assert Order.from_fields([b"traceparent", b"00-1", b"data", data, b"\xff", b"\xfe"]) == Order("a", "b", 1)


def test_of_two_fields_with_the_same_name_the_first_counts():
    fields = [*TEA.to_fields(), b"data", b"junk"]
    assert Order.from_fields(fields) == TEA


@pytest.mark.row(42)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"null",
        b"[]",
        b"{}",
        b'{"id":"a","item":"b"}',
        b'{"id":"a","item":"b","amount":1}junk',
        b'{"id":"a","item":"b","amount":"1"}',
        b'{"id":"a","item":"b","amount":1.5}',
        b'{"id":"a","item":"b","amount":true}',
        b'{"id":"a","item":"b","amount":null}',
        b'{"id":1,"item":"b","amount":1}',
        b'{"id":"","item":"b","amount":1}',
        b'{"id":"a","item":"","amount":1}',
        b'{"id":"a","item":"b","amount":0}',
        b'{"id":"a","item":"b","amount":-1}',
        b'{"id":"a","item":"b","amount":9223372036854775808}',
        b'{"id":"a","item":"b","amount":' + b"9" * 10_000 + b"}",
        b'{"id":"\xff","item":"b","amount":1}',
        b'{"id":"\\ud800","item":"b","amount":1}',
        b"[" * 100_000,
        b'{"id":"a","item":"b","amount":1,"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda data: data[:45].decode("latin-1"),
)
def test_what_is_not_an_order_fails_in_one_way(data):
    with pytest.raises(DecodeError) as caught:
        Order.from_fields([b"data", data])
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("fields", [[], [b"Data", b"{}"], [b"body", TEA.to_fields()[1]]])
def test_an_entry_without_the_field_data_is_not_an_order(fields):
    with pytest.raises(DecodeError, match="no field named 'data'"):
        Order.from_fields(fields)


def test_the_same_seed_makes_the_same_orders():
    assert list(islice(random_orders(7), 50)) == list(islice(random_orders(7), 50))


def test_the_same_seed_makes_the_same_orders_in_another_process():
    code = "from orderstream import random_orders; print(next(random_orders(7)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(next(random_orders(7)))


def test_another_seed_or_none_makes_other_orders():
    assert len({next(random_orders(seed)).id for seed in (1, 2, None, None)}) == 4


def test_random_orders_are_valid_different_and_without_end():
    orders = list(islice(random_orders(1), 1000))
    assert len({order.id for order in orders}) == 1000
    assert all(Order(*msgspec.structs.astuple(order)) == order for order in orders)
