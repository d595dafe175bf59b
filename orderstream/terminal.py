"""
What people see and press: tables, a progress bar, spans of time, Ctrl-C. Knows no Redis and no orders.

rich is imported where it is used: it would make every ``--help`` wait.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

ENDINGS = (signal.SIGINT, signal.SIGTERM)
UNITS = (("days", 86_400_000), ("hours", 3_600_000), ("min", 60_000), ("s", 1_000))
SHOW_CURSOR = "\x1b[?25h"

Table = Sequence[Sequence[str]]
"""Rows of cells, the headings first."""


def printable(text: str) -> str:
    """Escape what a terminal would obey: an order may hold anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def span(ms: float) -> str:
    """Say a span of time with the unit a person would use."""
    for unit, unit_ms in UNITS:
        if ms >= 2 * unit_ms:
            return f"{ms / unit_ms:.0f} {unit}"
    return f"{ms:.0f} ms"


def show(*tables: Table) -> None:
    """Print tables: drawn on a terminal, as plain columns elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_drawn(tables))
    else:
        click.echo("\n\n".join(map(_plain, tables)))


@contextmanager
def screen() -> Iterator[Callable[..., None]]:
    """Give a function like ``show`` that draws over what it drew before, if this is a terminal."""
    if sys.stdout.isatty():
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            yield lambda *tables: live.update(_drawn(tables), refresh=True)
    else:
        yield show


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that counts: it moves a bar towards *total*, if there is a terminal to see it on."""
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:,.0f} per second"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, rate=0)
        yield lambda more: bar.update(task, advance=more, rate=bar.tasks[0].speed or 0)


def leave_when_told(
    stop: Callable[[], None],
    grace_s: float,
    *,
    lifeline: int | None = None,
    last: Callable[[], None] = lambda: None,
) -> Callable[[], None]:
    """
    Call *stop* at the first Ctrl-C or SIGTERM. At the second, or *grace_s* seconds later, leave at once.

    A thread does it: in a signal handler *stop* could wait for a lock that the interrupted code holds, and
    while the main thread is busy in C code no signal handler runs at all.

    Args:
        stop: Must be quick.
        grace_s: Seconds.
        lifeline: A supervisor's child has one: when this file ends, *stop* is called as at a signal.
        last: To do before leaving at once.

    Returns:
        What to call when the work is done: the grace time was for the work, and what follows may take longer.
    """
    done = threading.Event()
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    for ending in ENDINGS:
        signal.signal(ending, lambda *_: None)

    def leave() -> None:
        watched, signals, deadline = [told] if lifeline is None else [told, lifeline], 0, None
        while signals < 2:
            ready, _, _ = select.select(watched, [], [], deadline and max(0.0, deadline - time.monotonic()))
            if not ready and done.is_set():
                return
            if not ready:
                break
            if lifeline in ready:
                watched = [told]
            elif os.read(told, 1)[0] in ENDINGS:
                signals += 1
            else:
                continue
            if deadline is None:
                if lifeline is None:
                    _say("Finishing what is in hand; Ctrl-C again leaves at once.")
                elif not signals:  # else the supervisor has said it, for all its children
                    _say("The supervisor is gone. Finishing what is in hand.")
                deadline = time.monotonic() + grace_s
                stop()
        last()
        cursor = SHOW_CURSOR if os.isatty(2) else ""  # a bar has hidden it
        _say(f"{cursor}Left at once. What was in hand stays pending; other consumers claim it.")
        os._exit(1)

    threading.Thread(target=leave, name="leave when told", daemon=True).start()
    return done.set


def _say(line: str) -> None:
    """Write a line where sys.stderr would, without its lock. Whether anybody reads it must not matter."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())


def _plain(table: Table) -> str:
    rows = [[printable(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _drawn(tables: Sequence[Table]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    drawn = []
    for headings, *rows in tables:
        columns = [Column(Text(printable(text)), no_wrap=True) for text in headings]
        columns[0].style = "cyan"
        columns[-1].no_wrap = False  # the others are there to be copied
        table = Table(*columns, box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        drawn.append(table)
    return Group(*drawn)
