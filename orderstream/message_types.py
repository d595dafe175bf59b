"""
Messages of your own type, in place of ``Order``.

    connect(message=Payment)                                          a payment has an ``id``, which names it
    connect(message=Payment, key=lambda payment: payment.number)      its number names it

A message may be a dataclass, a msgspec ``Struct``, a ``TypedDict`` or an attrs class, which msgspec reads and writes.
Or it may be a model or a dataclass of pydantic 2, which pydantic reads and writes. An entry holds it as it holds an
order: one field ``data`` with JSON.

Python makes objects without a look at the types of their values, and JSON has no ``nan``. So a sender reads each
message back before it sends it: what cannot be read is refused there, and is not left for a consumer to find.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any
from uuid import UUID

import msgspec
from msgspec.inspect import CustomType, Field, Type, TypedDictType, type_info

from orderstream.config import is_text
from orderstream.errors import ConfigError, DecodeError, OrderError
from orderstream.form import ORDERS, Form, KeyOf, T
from orderstream.order import MAX_BYTES, Order

WRONG = (ValueError, TypeError, AssertionError, OverflowError, RecursionError)
"""What says that a message is wrong. Anything else that code of its type raises may pass: a consumer tries it again."""

FIT = "a dataclass, a msgspec Struct, a TypedDict, an attrs class, or a pydantic 2 model"

_refuse_nan = json.JSONEncoder(allow_nan=False, check_circular=False).encode

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


def form_of(message: type[T], key: KeyOf[T] = None) -> Form[Any]:
    """
    Return the form of messages of this type.

    Args:
        message: The type.
        key: Returns what names a message: text, a whole number or a UUID. None: its ``id`` does.

    Raises:
        ConfigError: The type cannot be a message, or its messages have no ``id``.
    """
    name = getattr(message, "__name__", str(message))
    if not (key is None or callable(key)):
        raise ConfigError(f"key={key!r} must be a function of a message, such as key=lambda {name.lower()}: …")
    if message is Order:
        return replace(ORDERS, key=_checked(key, name)) if key else ORDERS
    of_pydantic = hasattr(message, "__pydantic_validator__")
    try:
        encode, decode, of_id = _by_pydantic(message) if of_pydantic else _by_msgspec(message)
    except (TypeError, ValueError, NameError) as error:
        raise ConfigError(f"{name} cannot be a message: {error}; use {FIT}") from error
    if (named_by := key or of_id) is None:
        raise ConfigError(
            f"{name} has no `id`; say which field names a message: "
            f"connect(message={name}, key=lambda {name.lower()}: {name.lower()}.…)"
        )

    def to_fields(one: T) -> tuple[bytes, bytes]:
        try:
            data = encode(one)
            if len(data) <= MAX_BYTES:
                decode(data)
                return b"data", data
        except WRONG as error:
            raise OrderError(f"this {name} cannot be sent: {error}") from error
        raise OrderError(
            f"this {name} has {len(data):,} bytes as JSON, {MAX_BYTES:,} is the most; "
            "store the rest elsewhere and send where it is"
        )

    def from_fields(fields: Sequence[bytes]) -> Any:  # as Order.from_fields does it
        try:
            value = fields[1] if fields[0] == b"data" else fields[2 * fields[::2].index(b"data") + 1]
        except (ValueError, IndexError):
            raise DecodeError("no field named 'data'") from None
        if len(value) > MAX_BYTES:
            raise DecodeError(f"{len(value):,} bytes, {MAX_BYTES:,} is the most")
        try:
            return decode(value)
        except WRONG as error:
            raise DecodeError(str(error)) from error

    return Form(to_fields, from_fields, _checked(named_by, name))


def _checked(key: Callable[[Any], Any], name: str) -> Callable[[Any], str]:
    """Return *key* as a function whose result is text and not empty: two messages must not share a key by accident."""

    def named(one: Any) -> str:
        found = key(one)
        if isinstance(found, int | UUID) and not isinstance(found, bool):
            return str(found)
        if isinstance(found, str) and found and is_text(found):
            return str(found)
        raise OrderError(f"the key of this {name} must be text, a whole number or a UUID, not {found!r:.40}")

    return named


# Who reads and writes ---------------------------------------------------------------------------------------


def _by_msgspec(message: Any) -> tuple[Encode, Decode, Callable[[Any], Any] | None]:
    """Return how to write a message and how to read it, and how to find its ``id``; None: it has none."""
    decode, write = msgspec.json.Decoder(message).decode, msgspec.json.Encoder().encode
    about = type_info(message)
    for part in _parts(about, set()):
        kind = getattr(part, "cls", None)
        if hasattr(kind, "__pydantic_validator__") or (isinstance(part, CustomType) and kind is not object):
            inside = "" if part is about else " in it"
            raise TypeError(f"msgspec cannot read the type {getattr(kind, '__name__', kind)}{inside}")

    def encode(one: Any) -> bytes:
        data = write(one)
        if b"null" in data:  # msgspec writes nan as null, and null may be allowed
            _refuse_nan(msgspec.to_builtins(one, str_keys=True))
        return data

    has_id = "id" in {field.name for field in getattr(about, "fields", ())}
    if isinstance(about, TypedDictType):
        return encode, decode, itemgetter("id") if has_id else None
    return encode, decode, attrgetter("id") if has_id or hasattr(message, "id") else None


def _parts(node: Any, seen: set[int]) -> Iterator[Type]:
    """Go through a type and all types that it is made of. It may hold itself."""
    if isinstance(node, tuple):
        for part in node:
            yield from _parts(part, seen)
    elif isinstance(node, Type | Field) and id(node) not in seen:
        seen.add(id(node))
        if isinstance(node, Type):
            yield node
        yield from _parts(msgspec.structs.astuple(node), seen)


def _by_pydantic(message: Any) -> tuple[Encode, Decode, Callable[[Any], Any] | None]:
    """Return the same as ``_by_msgspec``. Whoever has such a type has imported pydantic."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(message)
    fields = getattr(message, "model_fields", None) or message.__pydantic_fields__  # a dataclass has only the latter

    def encode(one: Any) -> bytes:
        data: bytes = adapter.dump_json(one, by_alias=True)
        if b"null" in data:  # as above
            _refuse_nan(adapter.dump_python(one, mode="json", by_alias=True))
        return data

    def decode(data: bytes) -> Any:
        try:
            return adapter.validate_json(data)
        except ValidationError as error:  # its own text has many lines, and shows what the message holds
            found = error.errors(include_url=False, include_context=False, include_input=False)
            places = [".".join(map(str, ("$", *one["loc"]))) for one in found]
            told = [f"{one['msg']} - at `{place}`" for one, place in zip(found, places, strict=True)]
            raise ValueError("; ".join(told)) from error

    return encode, decode, attrgetter("id") if "id" in fields or hasattr(message, "id") else None
