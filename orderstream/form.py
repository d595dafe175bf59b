"""
The form of a message: how it becomes the fields of an entry, how it is read from them, and what names it.

The lessons' message is an ``Order``. For a type of your own, ``message_types`` makes the form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic
from uuid import UUID

from typing_extensions import TypeVar

from orderstream.order import Order

T = TypeVar("T", default=Order)  # to a type checker, ``Consumer`` is ``Consumer[Order]``
KeyOf = Callable[[T], str | int | UUID] | None


@dataclass(frozen=True)
class Form(Generic[T]):
    """
    How messages of one type travel.

    Attributes:
        to_fields: Returns the fields of an entry, a name and a value. Raises ``OrderError`` if the message may not
            exist, so that each message that is sent can be read.
        from_fields: Reads a message from the fields of an entry, names and values in turn. Raises ``DecodeError`` if
            they hold none.
        key: Returns what names a message: it stays the same when the message is sent again.
    """

    to_fields: Callable[[T], tuple[bytes, bytes]]
    from_fields: Callable[[Sequence[bytes]], T]
    key: Callable[[T], str]

    def name(self, message: T) -> str | None:
        """Return the key of *message*; None if it has none. Whatever a key of yours raises, this raises nothing."""
        with suppress(Exception):
            return self.key(message)
        return None


ORDER = Order  # the type of messages where you name none
ORDERS = Form(Order.to_fields, Order.from_fields, attrgetter("id"))
