"""
Show the state of a stream as small tables: what it holds, who reads it, what is pending.

The text depends only on what the learner did, so it is the same on Redis 6.2 and on the newest version. It has no
times and no lag, which 6.2 does not know. It names only consumers that hold entries: on some versions an empty read
registers a consumer, on others it does not.
"""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from orderstream.entries import UNOWNED
from orderstream.lab import server

__all__ = ["State", "state"]

SECTIONS = ("stream", "entries", "groups", "pending")
ROWS = 10
"""The most rows of a table. If there are more, a last row that begins with '…' says how many."""


def state(key: str, *sections: str, client: Any = None) -> "State":
    """
    Return the tables of stream *key*, as the result of a cell or for `print`.

    Args:
        key: The stream.
        sections: Which tables: ``"stream"``, ``"entries"``, ``"groups"``, ``"pending"``. Without any: all of them.
        client: A redis-py client; None takes that of `lab.start`.

    Raises:
        ValueError: A section that does not exist, or a key that holds no stream.
    """
    if unknown := set(sections) - set(SECTIONS):
        raise ValueError(f"no section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    if client is None:
        client = server.current().client
    kind = _text(client.type(key))
    if kind == "none":
        return State([Table(key, (), [], "there is no such stream")])
    if kind != "stream":
        raise ValueError(f"{key} holds a {kind}, not a stream")
    make = {"stream": _stream, "entries": _entries, "groups": _groups, "pending": _pending}
    return State([table for name in sections or SECTIONS for table in make[name](client, key)])


def held_by(pending: Any) -> dict[str, int]:
    """Return name -> entries that it holds, from the summary of XPENDING; last ``UNOWNED``, if nobody has some."""
    held = {_text(each["name"]): each["pending"] for each in pending["consumers"]}
    held.pop(UNOWNED, None)
    nobodys = pending["pending"] - sum(held.values())  # the summary leaves out what was handed back with XNACK
    return held | ({UNOWNED: nobodys} if nobodys else {})


class Table(NamedTuple):
    """A caption, the column names, the rows, and the text to show if there are no rows."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    empty: str = ""


class State(list[Table]):
    """The tables of one moment, as text and as HTML."""

    def __repr__(self) -> str:
        return "\n\n".join(_as_text(table) for table in self)

    def _repr_html_(self) -> str:
        return "\n".join(_as_html(table) for table in self)


def _stream(client: Any, key: str) -> list[Table]:
    first, last = client.xrange(key, count=1), client.xrevrange(key, count=1)
    row = (
        str(client.xlen(key)),
        _text(first[0][0]) if first else "–",
        _text(last[0][0]) if last else "–",
        _text(client.xinfo_stream(key)["last-generated-id"]),
    )
    return [Table(f"{key}: stream", ("length", "first id", "last id", "last generated id"), [row])]


def _entries(client: Any, key: str) -> list[Table]:
    rows = [(_text(entry_id), _fields(fields)) for entry_id, fields in client.xrange(key, count=ROWS)]
    more = _more(client.xlen(key), 2)
    return [Table(f"{key}: entries", ("id", "fields"), [*rows, *more], "no entries")]


def _groups(client: Any, key: str) -> list[Table]:
    rows = []
    for group in client.xinfo_groups(key):
        pending = client.xpending(key, group["name"])
        held = ", ".join(f"{name} {count}" for name, count in held_by(pending).items())
        name, last = _text(group["name"]), _text(group["last-delivered-id"])
        rows.append((name, last, str(pending["pending"]), held or "–"))
    return [Table(f"{key}: groups", ("group", "last delivered id", "pending", "held by"), rows, "no groups")]


def _pending(client: Any, key: str) -> list[Table]:
    tables = []
    for group in client.xinfo_groups(key):
        rows = [
            (_text(each["message_id"]), _owner(each["consumer"]), str(each["times_delivered"]))
            for each in client.xpending_range(key, group["name"], "-", "+", ROWS)
        ]
        more = _more(group["pending"], 3)
        caption = f"{key}: pending in {_text(group['name'])}"
        tables.append(Table(caption, ("id", "consumer", "deliveries"), [*rows, *more], "nothing pending"))
    return tables or [Table(f"{key}: pending", (), [], "no groups")]


def _more(total: int, width: int) -> list[tuple[str, ...]]:
    return [(f"… {total - ROWS} more", *[""] * (width - 1))] if total > ROWS else []


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _owner(name: Any) -> str:
    return _text(name) or UNOWNED  # an entry handed back with XNACK has no owner


def _fields(fields: dict[Any, Any]) -> str:
    text = "  ".join(f"{_text(name)}={_text(value)}" for name, value in fields.items())
    return text if len(text) <= 72 else text[:71] + "…"


def _as_text(table: Table) -> str:
    if not table.rows:
        return f"{table.caption}: {table.empty}"
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    grid = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (table.columns, ["-" * width for width in widths], *table.rows)
    ]
    return "\n".join([table.caption, *grid])


# JupyterLab's variables follow its theme. GitHub, which drops styles, and nbviewer show their own colours.
_CELL = 'style="text-align: left; padding: 2px 12px 2px 0"'
_BOLD = "text-align: left; white-space: nowrap; font-weight: bold"
_CAPTION = f'style="caption-side: top; {_BOLD}; color: var(--jp-content-font-color1, inherit)"'


def _as_html(table: Table) -> str:
    caption, empty = html.escape(table.caption), html.escape(table.empty)
    if not table.rows:
        return f"<p><strong>{caption}</strong>: {empty}</p>"
    head = "".join(f'<th scope="col" {_CELL}>{html.escape(column)}</th>' for column in table.columns)
    body = "\n".join(
        f'<tr><th scope="row" {_CELL}>{html.escape(first)}</th>'
        + "".join(f"<td {_CELL}>{html.escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table.rows
    )
    return (
        f"<table>\n<caption {_CAPTION}>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    )
