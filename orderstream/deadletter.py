"""
Look after what failed: list it, put it back, or throw it away.

A dead letter holds the original fields of its entry, then six more that say what happened:
``dlq-stream dlq-group dlq-id dlq-deliveries dlq-error dlq-at``. An entry that another program put into
the dead-letter stream may lack them; it is listed and redriven all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

import msgspec
import redis

from orderstream.entries import METADATA
from orderstream.errors import OrderStreamError
from orderstream.stream import OrderStream

PAGE = 100
LONGEST_NUMBER = 15  # digits; more of them are no time and no count
STAYS = "this dead letter "  # so lua/redrive.lua begins to say why a dead letter cannot be put back


class NotRedriven(OrderStreamError):
    """
    Some dead letters cannot be put back. They stay in the dead-letter stream; all the others were put back.

    Attributes:
        redriven: The new entry ids of the others, in order.
        refused: The ids that stay, each with the reason.
    """

    def __init__(self, redriven: Sequence[str], refused: Mapping[str, str]) -> None:
        self.redriven = list(redriven)
        self.refused = dict(refused)
        super().__init__(self.redriven, self.refused)  # what pickle calls this with

    def __str__(self) -> str:
        id, reason = next(iter(self.refused.items()))
        return f"redriven: {len(self.redriven)}, cannot be: {len(self.refused)} (first: {id}, {reason})"


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
        pairs = _pairs(fields)
        cut = len(pairs) - len(METADATA)
        about = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in pairs[max(cut, 0) :]}
        if tuple(about) != METADATA or not all(_is_number(about[name]) for name in ("dlq-deliveries", "dlq-at")):
            return cls(id, dict(pairs), "", 0, "", "", 0)
        _, group, source_id, deliveries, reason, at_ms = about.values()
        original = pairs[:cut]
        if [name for name, _ in original] == [b"dlq-packed"]:
            with suppress(ValueError, RecursionError):  # another program's field of that name
                original = _pairs(_unpack(original[0][1]))
        return cls(id, dict(original), reason, int(deliveries), group, source_id, int(at_ms))


def _is_number(text: str) -> bool:
    return len(text) <= LONGEST_NUMBER and text.isascii() and text.isdecimal()


def _pairs(fields: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(fields[::2], fields[1::2], strict=True))


# Of a string or of bytes in MessagePack, by its first byte.
_HEADER_BYTES = dict.fromkeys(range(0xA0, 0xC0), 1) | {0xD9: 2, 0xDA: 3, 0xDB: 5} | {0xC4: 2, 0xC5: 3, 0xC6: 5}


def _unpack(packed: bytes) -> list[bytes]:
    """
    Return the names and values that lua/dead.lua packed with MessagePack.

    It packs them as strings, and they may be any bytes: a decoder of strings would refuse what is not UTF-8. So each
    string is taken as it stands, and its header is cut off.

    Raises:
        ValueError, RecursionError: Nothing that dead.lua could have packed.
    """
    strings = list(map(bytes, msgspec.msgpack.decode(packed, type=list[msgspec.Raw])))
    if not strings or not all(string[0] in _HEADER_BYTES for string in strings):
        raise ValueError("dead.lua packs strings, and at least two")
    return [string[_HEADER_BYTES[string[0]] :] for string in strings]


Ids = list[str]  # named here because inside the class ``list`` is the method
Letters = list[DeadLetter]


class DeadLetterQueue:
    """
    The dead-letter stream beside *stream*.

    Args:
        stream: From ``connect()``.
    """

    def __init__(self, stream: OrderStream) -> None:
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
            NotRedriven: Some cannot be put back, and stay: they have more than 3,990 fields, which a script cannot add,
                or none at all. The others were put back.

        Redis: lua/redrive.lua = XRANGE, XADD, XDEL; O(size of the entry) for each id.
        """
        return self._redrive_each(ids)

    def _redrive_each(self, ids: Iterable[str]) -> Ids:
        redriven, refused = [], {}
        for id in ids:
            try:
                if new := self._redrive(id):
                    redriven.append(new)
            except redis.ResponseError as error:
                if not str(error).startswith(STAYS):  # it is no matter of this dead letter: all would be refused
                    raise
                refused[id] = str(error).removeprefix(STAYS)
        if refused:
            raise NotRedriven(redriven, refused)
        return redriven

    def _redrive(self, id: str) -> str | None:
        with self.stream.observer.redriving(lambda: self._fields_of(id)) as step:
            step.result = new = self.stream.redrive(id)
        return new

    def _fields_of(self, id: str) -> dict[bytes, bytes] | None:
        return next((letter.fields for letter in self.list(1, start=id) if letter.id == id), None)

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
