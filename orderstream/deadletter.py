"""
Look after what failed: list it, put it back, or throw it away.

A dead letter holds the original fields of its entry, then six more that say what happened:
``dlq-stream dlq-group dlq-id dlq-deliveries dlq-error dlq-at``. An entry that another program put into
the dead-letter stream may lack them; it is listed and redriven all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from orderstream.entries import METADATA
from orderstream.errors import NotRedriven
from orderstream.stream import OrderStream

PAGE = 100
MOST_FIELDS = 3_990  # that a script can add


class DeadLetter(msgspec.Struct, frozen=True):
    """
    An order that failed for good.

    Attributes:
        id: Its entry id in the dead-letter stream. ``redrive`` and ``purge`` take it.
        fields: The original fields, bytes as they were.
        reason: What went wrong, one line.
        deliveries: How often it was delivered; 0 if unknown.
        group: The group whose consumer gave up on it.
        source_id: The entry id it had in the stream.
        at_ms: When it was moved, in Unix milliseconds; 0 if unknown.
    """

    id: str
    fields: dict[bytes, bytes]
    reason: str
    deliveries: int
    group: str
    source_id: str
    at_ms: int

    @classmethod
    def from_entry(cls, id: str, fields: list[bytes]) -> DeadLetter:
        """Read an entry of the dead-letter stream: names and values in turn, the metadata last."""
        original, about = _split(fields)
        pairs = dict(zip(original[::2], original[1::2], strict=True))
        if not about:
            return cls(id, pairs, "", 0, "", "", 0)
        _, group, source_id, deliveries, reason, at_ms = about
        return cls(id, pairs, reason, int(deliveries), group, source_id, int(at_ms))


def _split(fields: list[bytes]) -> tuple[list[bytes], list[str]]:
    """
    Return the original fields of a dead letter, and the values of its metadata.

    What another program wrote is all original, and has no metadata: not these six names in this order, or not a number
    where there should be one.
    """
    cut = max(0, len(fields) - 2 * len(METADATA))
    original, names = fields[:cut], [name.decode(errors="replace") for name in fields[cut::2]]
    about = [value.decode(errors="replace") for value in fields[cut + 1 :: 2]]
    if names != [*METADATA] or not all(re.fullmatch("[0-9]{1,15}", number) for number in (about[3], about[5])):
        return fields, []
    if len(original) == 2 and original[0] == b"dlq-packed":
        with suppress(ValueError, RecursionError):  # another program's field of that name
            original = _unpack(original[1])
    return original, about


# Of a string in MessagePack, by its first byte.
_HEADER_BYTES = dict.fromkeys(range(0xA0, 0xC0), 1) | {0xD9: 2, 0xDA: 3, 0xDB: 5}


def _unpack(packed: bytes) -> list[bytes]:
    """
    Return the names and values that lua/dead.lua packed with MessagePack.

    It packs them as strings, and they may be any bytes: a decoder of strings would refuse what is not UTF-8. So each
    string is taken as it stands, and its header is cut off.

    Raises:
        ValueError, RecursionError: Nothing that lua/dead.lua packed.
    """
    strings = [bytes(raw) for raw in msgspec.msgpack.decode(packed, type=list[msgspec.Raw])]
    if not strings or len(strings) % 2 or not all(string[0] in _HEADER_BYTES for string in strings):
        raise ValueError("not names and values")
    return [string[_HEADER_BYTES[string[0]] :] for string in strings]


Ids = list[str]  # named here because inside the class ``list`` is the method
Letters = list[DeadLetter]


class DeadLetterQueue:
    """
    The dead-letter stream beside *stream*.

    Args:
        stream: From ``connect()``.
    """

    def __init__(self, stream: OrderStream[Any]) -> None:
        self.stream = stream

    def list(self, count: int = 100, *, start: str = "-") -> Letters:
        """
        Return dead letters, oldest first.

        Args:
            count: The most to return.
            start: The first id to look at. With ``(`` in front of it, begin after this id.

        Redis: XRANGE, O(count).
        Source: https://redis.io/docs/latest/commands/xrange/
        """
        return [DeadLetter.from_entry(id, fields) for id, fields in self.stream.dead_letters(start, count)]

    def __iter__(self) -> Iterator[DeadLetter]:
        """Go through all dead letters, oldest first, a page at a time."""
        page = self.list(PAGE)
        yield from page
        while len(page) == PAGE:  # not until it is empty: Redis refuses to look behind the highest id there is
            page = self.list(PAGE, start=f"({page[-1].id}")
            yield from page

    def redrive(self, *ids: str) -> Ids:
        """
        Put dead letters back into the stream as new entries, with the same order id and a new set of attempts.

        Returns:
            The new entry ids. An id that is not there (any more) has none, so it is harmless to redrive twice.

        Raises:
            NotRedriven: Some cannot be put back, and stay: they have more than 3,990 fields, or none because their
                entries were deleted before they were dead-lettered. The others were put back.

        Redis: XRANGE; lua/redrive.lua = XRANGE, XADD, XDEL; O(size of the entry) for each id.
        """
        return self._redrive_each(ids)

    def _redrive_each(self, ids: Iterable[str]) -> Ids:
        redriven, refused = [], {}
        for id in ids:
            entry = next(iter(self.stream.dead_letters(id, 1)), None)
            if entry is None or entry[0] != id:
                continue
            original, _ = _split(entry[1])
            if reason := _unfit(len(original) // 2):
                refused[id] = reason
            elif new := self._redrive(id, original):
                redriven.append(new)
        if refused:
            raise NotRedriven(redriven, refused)
        return redriven

    def _redrive(self, id: str, fields: Sequence[bytes]) -> str | None:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        with self.stream.observer.redriving(lambda: named) as step:
            step.result = new = self.stream.redrive(id, fields)
        return new

    def redrive_all(self) -> int:
        """Redrive every dead letter that is there now, as ``redrive`` does. Returns how many were put back."""
        there_now = self.stream.backlog().dead_lettered  # what fails again meanwhile comes behind these
        return len(self._redrive_each(letter.id for letter in islice(self, there_now)))

    def purge(self, *ids: str) -> int:
        """
        Delete dead letters for good.

        Returns:
            How many of them were there.

        Redis: XDEL, O(1) for each id.
        Source: https://redis.io/docs/latest/commands/xdel/
        """
        return self.stream.purge(ids) if ids else 0


def _unfit(fields: int) -> str:
    """Say why a dead letter of so many fields cannot be put back; nothing if it can."""
    if fields == 0:
        return "has no fields to put back: its entry was deleted before it was dead-lettered; purge it"
    if fields > MOST_FIELDS:
        return f"has {fields} fields, and a script can add {MOST_FIELDS} at most; add it with XADD, then purge it"
    return ""
