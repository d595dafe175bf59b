"""``orderstream doctor``: say whether this Redis is fit to keep orders. The questions are in orderstream/doctor.py."""

from __future__ import annotations

from dataclasses import asdict

import click

from orderstream.cli.connect import connect_or_explain
from orderstream.cli.options import json_wanted, which_stream
from orderstream.cli.terminal import print_json, printable
from orderstream.doctor import Level, examine

MARKS = {Level.OK: "✓", Level.ADVICE: "!", Level.LOSS: "✗", Level.UNKNOWN: "?"}
COLOURS = {Level.OK: "green", Level.ADVICE: "yellow", Level.LOSS: "red", Level.UNKNOWN: "cyan"}


@click.command()
@json_wanted
@which_stream
def doctor(as_json: bool) -> None:
    """
    Say whether this Redis is fit to keep orders.

    \b
    ✓  fine
    !  advice: it works, and could be better
    ✗  orders could be lost; the exit code is 1
    ?  this user is not allowed to look

    Each with its fix. Nothing is changed. Looks at the version, persistence, eviction, the two streams and their
    groups, and what the connected user may do.
    """
    findings = examine(connect_or_explain())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = click.style(MARKS[finding.level], fg=COLOURS[finding.level])
            click.echo(f"{mark} {finding.subject:{width}}  {printable(finding.found)}")
            if finding.fix:
                click.echo(f"  {'':{width}}  → {printable(finding.fix)}")
    if losing := [finding.subject for finding in findings if finding.level is Level.LOSS]:
        raise click.ClickException(f"orders could be lost: {', '.join(dict.fromkeys(losing))}")
