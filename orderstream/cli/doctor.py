"""``orderstream doctor``: say whether this Redis is fit to keep orders. The questions are in orderstream/doctor."""

from __future__ import annotations

from dataclasses import asdict

import click

from orderstream.cli.connect import connect_or_explain
from orderstream.cli.options import json_wanted, which_stream
from orderstream.cli.terminal import coloured, print_json, printable
from orderstream.doctor import Finding, Level, examine

MARKS = {Level.OK: "✓", Level.ADVICE: "!", Level.LOSS: "✗", Level.BLOCKED: "✗", Level.UNKNOWN: "?"}
COLOURS = {"✓": "green", "!": "yellow", "✗": "red", "?": "cyan"}


@click.command()
@json_wanted
@which_stream
def doctor(as_json: bool) -> None:
    """
    Say whether this Redis is fit to keep orders.

    \b
    ✓  fine
    !  advice: it works, and could be better
    ✗  orders could be lost, or do not get through; the exit code is 1
    ?  this user is not allowed to look

    Each with its fix. Nothing is changed. Looks at the version, replicas, persistence, memory, eviction, the two
    streams and their groups, and what the connected user may do.
    """
    findings = examine(connect_or_explain())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = MARKS[finding.level]
            click.echo(f"{coloured(mark, COLOURS[mark])} {finding.subject:{width}}  {printable(finding.found)}")
            if finding.fix:
                click.echo(f"  {'':{width}}  → {printable(finding.fix)}")
    faults = [_fault(level, findings) for level in (Level.LOSS, Level.BLOCKED)]
    if any(faults):
        raise click.ClickException("; ".join(filter(None, faults)))


def _fault(level: Level, findings: list[Finding]) -> str:
    subjects = dict.fromkeys(finding.subject for finding in findings if finding.level is level)
    return f"{level}: {', '.join(subjects)}" if subjects else ""
