"""``orderstream trim``: remove what every group has acknowledged, and say which group keeps the rest."""

from __future__ import annotations

import click
import msgspec

from orderstream.cli.connect import connect_or_explain
from orderstream.cli.options import json_wanted, which_stream
from orderstream.cli.terminal import counted, print_json, printable, span
from orderstream.entries import Holder


@click.command()
@json_wanted
@which_stream
def trim(as_json: bool) -> None:
    """
    Remove what every group has acknowledged.

    An acknowledged entry stays in the stream, and in memory, until it is trimmed. This removes the oldest ones, up
    to the first that any group has pending or has not read yet. Run it from cron, or whenever you like: orders may
    come and go meanwhile. A group that is made later begins with what is left.

    Says which group keeps the rest. One that nobody uses any more keeps it for ever: orderstream doctor finds it.
    """
    stream = connect_or_explain()
    key, done = stream.settings.stream, stream.trim()
    if as_json:
        print_json({"stream": key} | msgspec.to_builtins(done))
        return
    removed = counted(done.removed, "entry", "entries")
    click.echo(f"Removed {removed} from {printable(key)}, {done.left:,} left.")
    if done.holder:
        click.echo(_keeps(done.holder))
    elif done.left:
        click.echo("It has no group, so nobody has read them: all are kept.")


def _keeps(holder: Holder) -> str:
    why = "is pending" if holder.pending else "is not read yet"
    return f"{printable(holder.group)} keeps them: {holder.id}, added {span(holder.age_s * 1000)} ago, {why}."
