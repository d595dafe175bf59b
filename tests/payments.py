"""A payment, as each kind of type that may be a message: more than 0 cents, and perhaps a rate."""

from dataclasses import dataclass
from typing import Annotated, TypedDict

import attrs
import pydantic
from msgspec import Meta, Struct

Cents = Annotated[int, Meta(gt=0)]


@dataclass
class OfDataclass:
    id: str
    cents: Cents
    rate: float | None = None


class OfStruct(Struct):
    id: str
    cents: Cents
    rate: float | None = None


class OfTypedDict(TypedDict):
    id: str
    cents: Cents
    rate: float | None


@attrs.define
class OfAttrs:
    id: str
    cents: int = attrs.field(validator=attrs.validators.gt(0))
    rate: float | None = None


class OfPydantic(pydantic.BaseModel):
    id: str
    cents: int = pydantic.Field(gt=0)
    rate: float | None = None


@pydantic.dataclasses.dataclass
class OfPydanticDataclass:
    id: str
    cents: int = pydantic.Field(gt=0)
    rate: float | None = None


KINDS = [OfDataclass, OfStruct, OfTypedDict, OfAttrs, OfPydantic, OfPydanticDataclass]


def paid(kind, id="p-1", cents=250, rate=None):
    return kind(id=id, cents=cents, rate=rate)


def spoilt(kind, **changes):
    """A payment that became wrong after it was made: nobody looks then."""
    payment = paid(kind)
    if kind is OfTypedDict:
        return payment | changes
    for name, value in changes.items():
        put = setattr if kind is OfStruct else object.__setattr__  # which no validator sees
        put(payment, name, value)
    return payment
