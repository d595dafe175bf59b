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
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from orderstream.errors import DecodeError, OrderError

MAX_BYTES = 1_000_000
"""The longest JSON that is an order. Do not send a file in an order: store it elsewhere, and send its address."""

_MAX_CHARS = MAX_BYTES // 8  # of the id and of the item together; JSON may need six bytes for one
_MAX_AMOUNT = 2**63 - 1  # what programs in other languages can hold
_ITEMS = ("tea", "coffee", "cocoa", "honey", "bread", "olives", "rice", "figs")


class _Checked(msgspec.StructMeta):
    """
    Checks every order that Python code makes. An order that is read from JSON is not checked here: msgspec checks it
    against the annotations while it reads.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Order:  # noqa: N805 - this class makes classes
        order: Order = super().__call__(*args, **kwargs)
        order.check()
        return order


class Order(msgspec.Struct, frozen=True, gc=False, metaclass=_Checked):
    """
    Somebody wants *amount* pieces of *item*.

    Raises:
        OrderError: The id or the item is empty, too long or no text that UTF-8 can hold, or the amount is not a
            whole number above 0 and below 2^63. So every order can be sent.
    """

    id: Annotated[str, Meta(min_length=1, max_length=_MAX_CHARS)]
    item: Annotated[str, Meta(min_length=1, max_length=_MAX_CHARS)]
    amount: Annotated[int, Meta(ge=1, le=_MAX_AMOUNT)]

    def check(self) -> None:
        """Raise ``OrderError`` if a value is not allowed; the class says which are."""
        id, item, amount = self.id, self.item, self.amount
        of_right_type = type(id) is type(item) is str and type(amount) is int
        if of_right_type and id and item and 0 < amount <= _MAX_AMOUNT:
            text = id + item
            if len(text) <= _MAX_CHARS and text.isascii():
                return  # nearly every order ends here; what follows is slower, and says what is wrong
        for name in ("id", "item"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise OrderError(f"an order needs a text as its {name}, not {value!r}")
            if not (value.isascii() or _is_utf8(value)):
                raise OrderError(f"an order's {name} must be text that UTF-8 can hold, not {value[:40]!r}")
        if (length := len(self.id) + len(self.item)) > _MAX_CHARS:
            raise OrderError(
                f"an order's id and item have {length:,} characters, {_MAX_CHARS:,} is the most; "
                "store the rest elsewhere and send where it is"
            )
        if type(self.amount) is not int or not 1 <= self.amount <= _MAX_AMOUNT:
            raise OrderError("an order's amount is a whole number above 0 and below 2^63")

    def to_fields(self) -> tuple[bytes, bytes]:
        """
        Return the order as the fields of a stream entry: a name and a value.

        Raises:
            OrderError: It was made by ``msgspec.structs.replace``, which checks nothing, and may not exist.
        """
        try:
            amount = self.amount
            if type(amount) is not int or not 0 < amount <= _MAX_AMOUNT or not (self.id and self.item):
                self.check()
            return b"data", _encode(self)
        except (ValueError, TypeError, OverflowError):
            self.check()  # says what is wrong
            raise

    @classmethod
    def from_fields(cls, fields: Sequence[bytes]) -> Order:
        """
        Read an order from the fields of a stream entry.

        Args:
            fields: Names and values in turn, as Redis replies them.

        Raises:
            DecodeError: No field ``data``, not JSON, or not an order. No other error is raised.
        """
        try:
            value = fields[1] if fields[0] == b"data" else fields[2 * fields[::2].index(b"data") + 1]
        except (ValueError, IndexError):
            raise DecodeError("no field named 'data'") from None
        if len(value) > MAX_BYTES:  # not even looked at: decoding it could take all memory
            raise DecodeError(f"{len(value):,} bytes, {MAX_BYTES:,} is the most")
        try:
            return _decode(value)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise DecodeError(str(error)) from error


def _is_utf8(text: str) -> bool:
    """Return whether UTF-8 can hold *text*. It cannot hold a lone surrogate, which JSON of others may contain."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


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
