"""
The form of a message: how it becomes the fields of an entry, how it is read from them, and its key.

The lessons' message is an ``Order``. For a type of your own, ``message_types`` makes the form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any, Generic
from uuid import UUID

from orderstream.order import Order

if TYPE_CHECKING:  # to a type checker ``Consumer`` is ``Consumer[Order]``; at run time that takes Python 3.13
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Order)
else:
    from typing import TypeVar

    T = TypeVar("T")

Key = str | int | UUID


@dataclass(frozen=True)
class Form(Generic[T]):
    """
    Attributes:
        message: The type of the messages.
        to_fields: Returns the fields of an entry, a name and a value. Raises ``OrderError`` if the message may not
            exist, so that each message that is sent can be read.
        from_fields: Reads a message from the fields of an entry, names and values in turn. Raises ``DecodeError`` if
            they hold none.
        key: Returns what names a message: it stays the same when the message is sent again.
    """

    message: type[T]
    to_fields: Callable[[T], tuple[bytes, bytes]]
    from_fields: Callable[[Sequence[bytes]], T]
    key: Callable[[T], str]


ORDERS = Form(Order, methodcaller("to_fields"), Order.from_fields, attrgetter("id"))


def form_of(message: type[T], key: Callable[[T], Key] | None) -> Form[Any]:
    """
    Return the form of messages of this type.

    Args:
        message: The type.
        key: Returns what names a message; None: its ``id`` does.

    Raises:
        ConfigError: The type cannot be a message, or its messages have no ``id``.
    """
    if message is Order and key is None:
        return ORDERS
    from orderstream.message_types import own_form  # not needed for orders

    return own_form(message, key)
