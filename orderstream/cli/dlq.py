"""``orderstream dlq``: list and show dead letters, put them back into the stream, or delete them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from itertools import chain, islice
from typing import Any

import click
import msgspec

from orderstream import DeadLetter, DeadLetterQueue, Order
from orderstream.cli.connect import connect_or_explain
from orderstream.cli.options import AT_LEAST_1, export, json_wanted, otlp, which_stream
from orderstream.cli.terminal import counted, print_json, show, span
from orderstream.errors import DecodeError, NotRedriven


def entry_id(text: str) -> str:
    """Check the id of a dead letter: the type of an argument or option."""
    if not re.fullmatch("[0-9]{1,20}-[0-9]{1,20}", text):
        raise click.BadParameter(f"{text!r} is not like 1718000000000-0; `orderstream dlq list` shows the ids.")
    return text


some_ids = click.argument("ids", type=entry_id, metavar="[ID]...", nargs=-1)
all_now = click.option("--all", "all_", is_flag=True, help="All that are there now.")


@click.group()
@which_stream
def dlq() -> None:
    """
    Look after the dead-letter queue: what failed for good.

    \b
    Examples:
      orderstream dlq list
      orderstream dlq show 1718000000000-0
      orderstream dlq redrive --all
    """


# Look ---------------------------------------------------------------------------------------------------


@dlq.command("list")
@click.option("--count", type=AT_LEAST_1, metavar="N", default=100, show_default=True, help="The most to list.")
@click.option("--after", type=entry_id, metavar="ID", help="Begin behind this one: the next page.")
@json_wanted
@which_stream
def list_(count: int, after: str | None, as_json: bool) -> None:
    """List dead letters, oldest first, a page at a time."""
    queue = DeadLetterQueue(connect_or_explain())
    letters = [_about(letter) for letter in queue.list(count, start=f"({after}" if after else "-")]
    if as_json:
        print_json(letters)
        return
    if letters:
        rows = [(a["id"], a["order_id"] or "?", str(a["deliveries"]), _ago(a["at_ms"]), a["reason"]) for a in letters]
        show([("id", "order id", "deliveries", "when", "reason"), *rows])
    total = queue.stream.backlog().dead_lettered
    click.echo(f"{len(letters):,} of {_letters(total)} in {queue.stream.settings.dlq}.", err=True)
    if len(letters) == count < total:
        click.echo(f"The next page: orderstream dlq list --after {letters[-1]['id']}", err=True)


@dlq.command("show")
@click.argument("id", type=entry_id, metavar="ID")
@json_wanted
@which_stream
def show_(id: str, as_json: bool) -> None:
    """Show a dead letter: what went wrong, and its original fields."""
    queue = DeadLetterQueue(connect_or_explain())
    about = next((_about(letter) for letter in queue.list(1, start=id) if letter.id == id), None)
    if about is None:
        raise click.ClickException(f"not in {queue.stream.settings.dlq}: {id}")
    if as_json:
        print_json(about)
        return
    fields = about.pop("fields")
    about["when"] = _ago(about.pop("at_ms"))
    facts = [(name.replace("_", " "), str(value or "?")) for name, value in about.items()]
    show(facts, [("field", "value"), *fields.items()])


def _about(letter: DeadLetter) -> dict[str, Any]:
    """Return *letter* as values to print: bytes as text, and the order id if it holds an order."""
    try:
        order_id = Order.from_fields(list(chain.from_iterable(letter.fields.items()))).id
    except DecodeError:
        order_id = None
    text = [[part.decode(errors="backslashreplace") for part in field] for field in letter.fields.items()]
    return {"id": letter.id, "order_id": order_id} | msgspec.structs.asdict(letter) | {"fields": dict(text)}


def _ago(at_ms: int) -> str:
    return f"{span(max(0, time.time() * 1000 - at_ms))} ago" if at_ms else "?"


# Act ----------------------------------------------------------------------------------------------------


@dlq.command()
@some_ids
@all_now
@otlp
@which_stream
def redrive(ids: tuple[str, ...], all_: bool) -> None:
    """
    Put dead letters back into the stream.

    Each becomes a new entry with the same order id and a new set of attempts. Doing it twice is harmless. What cannot
    be put back stays, with a line that says why, and the exit code is 1.
    """
    queue = _queue(ids, all_)
    export(queue.stream.settings)
    _each(queue, ids, queue.redrive, "Redriven")


@dlq.command()
@some_ids
@all_now
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@which_stream
def purge(ids: tuple[str, ...], all_: bool, yes: bool) -> None:
    """Delete dead letters for good. On a terminal, --all asks first."""
    queue = _queue(ids, all_)
    if all_ and not yes and sys.stdin.isatty():
        there = f"{_letters(queue.stream.backlog().dead_lettered)} in {queue.stream.settings.dlq}"
        click.confirm(f"Delete {there} for good?", abort=True)
    _each(queue, ids, queue.purge, "Purged")


def _queue(ids: tuple[str, ...], all_: bool) -> DeadLetterQueue:
    """Connect, if the command line has either ids or ``--all``."""
    both, neither = ids and all_, not ids and not all_
    if both or neither:
        raise click.UsageError("give the ids, or --all.", click.get_current_context())
    return DeadLetterQueue(connect_or_explain())


def _each(queue: DeadLetterQueue, ids: tuple[str, ...], act: Callable[[str], object], done: str) -> None:
    """
    Call *act* for the dead letters *ids*, or without ids for all that are there now.

    Each that cannot go gets a line that says why, and the rest goes on. The sum comes last, also if Redis goes away.
    """
    asked_for = dict.fromkeys(ids) or (letter.id for letter in islice(queue, queue.stream.backlog().dead_lettered))
    went = problems = 0
    try:
        for id in asked_for:
            try:
                found = act(id)
                problem = f"not in {queue.stream.settings.dlq}" if ids and not found else ""
            except NotRedriven as refused:
                found, problem = False, refused.refused[id]
            went += bool(found)
            if problem:
                problems += 1
                click.echo(f"{id}: {problem}", err=True)
    finally:
        click.echo(f"{done} {_letters(went)}.")
    if problems:
        raise click.ClickException(f"not done for {_letters(problems)}; the lines above say why")


def _letters(count: int) -> str:
    return counted(count, "dead letter", "dead letters")
