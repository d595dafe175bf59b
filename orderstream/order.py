"""
An order, and its form on the wire: one field ``data`` that holds a JSON object.

    fields    [b"data", b'{"id":"o-1","item":"tea","amount":2}']

The order id is the idempotency key: it stays the same across retries, re-sends and redrives, while
the entry id in the stream does not. Programs in other languages share the stream through this form,
so unknown fields and unknown JSON members are ignored here and stay in the entry untouched.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from orderstream.errors import DecodeError, OrderError

_ITEMS = ("tea", "coffee", "cocoa", "honey", "bread", "olives", "rice", "figs")


class Order(msgspec.Struct, frozen=True):
    """
    Somebody wants *amount* pieces of *item*.

    Raises:
        OrderError: The id or the item is empty, or the amount is not a whole number above 0.
    """

    id: str
    item: str
    amount: int

    def __post_init__(self) -> None:
        for name in ("id", "item"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise OrderError(f"an order needs a text as its {name}, not {value!r}")
        if type(self.amount) is not int or self.amount < 1:
            raise OrderError(f"an order's amount is a whole number above 0, not {self.amount!r}")

    def to_fields(self) -> tuple[bytes, bytes]:
        """Return the order as the fields of a stream entry: a name and a value."""
        return b"data", _encode(self)

    @classmethod
    def from_fields(cls, fields: Sequence[bytes]) -> Order:
        """
        Read an order from the fields of a stream entry.

        Args:
            fields: Names and values in turn, as Redis replies them.

        Raises:
            DecodeError: No field ``data``, not JSON, or not an order. The only way to fail.
        """
        for name, value in zip(fields[::2], fields[1::2], strict=True):
            if name == b"data":
                try:
                    return _decode(value)
                except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                    raise DecodeError(str(error)) from error
        raise DecodeError("no field named 'data'")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Order).decode


def random_orders(seed: int | None = None) -> Iterator[Order]:
    """
    Make up orders without end.

    Args:
        seed: The same seed gives the same orders with the same ids; None gives new ones each time.
    """
    rng = random.Random(seed)
    while True:
        yield Order(f"o-{rng.getrandbits(64):016x}", rng.choice(_ITEMS), rng.randint(1, 99))
