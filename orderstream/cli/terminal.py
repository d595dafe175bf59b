"""
What people see and press: an order, a number, a span of time in words; tables, JSON, a progress bar; Ctrl-C.
And what may be wrong with the console: it is closed, full, or has no letter for what is to be printed.

It knows no Redis. rich is imported where it is used, because loading it would make every ``--help`` wait.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from orderstream import Order

ENDINGS = [
    ending
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (ending := getattr(signal, name, None))  # Windows has no SIGHUP
    and not (name == "SIGHUP" and signal.getsignal(ending) is signal.SIG_IGN)  # nohup: it stays ignored
]
PATIENCE_S = 0.1  # so long a message waits for whoever reads them
LONGEST_S = 20 * 86_400.0  # poll() takes no infinite time
URGENT = (signal.SIGINT, signal.SIGTERM)  # the second of these means: leave at once
BY_PYTHON = 0x80  # added to the number of a signal of which Python's handler tells, and not the C code before it
UNITS = (("days", 86_400_000), ("hours", 3_600_000), ("min", 60_000), ("s", 1_000))
SHOW_CURSOR = "\x1b[?25h"

Table = Sequence[Sequence[str]]
"""Rows of cells, the headings first."""


class Output(io.FileIO):
    """
    A file descriptor of the console. It remembers if it could not be written, and is silent from then on.

    Attributes:
        trouble: What went wrong.
    """

    trouble: OSError | None = None

    def close(self) -> None:
        """Stay open, and so does the text file above: it is this process's, not that of whoever closes sys.stdout."""

    def write(self, data: Any) -> int:
        if self.trouble or not data:  # Python writes out what it still holds when it ends, and must not fail at that
            return len(data)
        try:
            while (written := super().write(data)) is None:  # somebody made it non-blocking, and it is full
                has_room(self.fileno(), None)
        except OSError as error:
            self.trouble = error
            raise
        return written


class Messages(Output):
    """
    The console's stderr. What cannot be written there is dropped: no order may fail, or wait, because of a message.
    """

    def write(self, data: Any) -> int:
        with suppress(OSError):
            for start in range(0, len(data), select.PIPE_BUF):
                if self.trouble or not has_room(self.fileno(), PATIENCE_S):
                    break
                super().write(data[start : start + select.PIPE_BUF])
        return len(data)


class Buffer(io.BufferedWriter):
    """What stdout collects before it is written. It stays open as the output below it does."""

    def close(self) -> None:
        with suppress(OSError):  # ``output_trouble()`` tells it
            self.flush()


_output: Output | None = None  # what stdout writes to
_raw: dict[str, Output] = {}  # what sys.stdout and sys.stderr write to


def output_trouble() -> OSError | None:
    """Return why stdout could not be written; None if it could."""
    return _output.trouble if _output else None


def write_out() -> None:
    """
    Write out what was printed. It raises nothing: ``output_trouble()`` says what went wrong.

    A handler may have put anything in the place of sys.stdout and sys.stderr. One that cannot be written any more, such
    as a file that it has closed, is replaced by one like that at the start.
    """
    for name, raw in _raw.items():
        try:
            getattr(sys, name).flush()
        except OSError:
            pass
        except Exception:  # noqa: BLE001 - it may be any object
            setattr(sys, name, _text(raw, getattr(sys, f"__{name}__")))


def open_console() -> None:
    """
    Make stdin, stdout and stderr safe to use.

    One that is closed becomes /dev/null: otherwise a connection to Redis gets its number, and the messages. For the
    same reason this process writes to numbers of its own: a handler may close 1 and 2. What the encoding has no letter
    for is escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    global _output
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as this process
    _output = Output(os.dup(1), "w", closefd=False)
    _raw.update(stdout=_output, stderr=Messages(os.dup(2), "w", closefd=False))
    sys.stdout, sys.stderr = _text(_output, sys.stdout), _text(_raw["stderr"], sys.stderr)


def _text(raw: Output, before: Any) -> io.TextIOWrapper:
    at_once = bool(before and before.write_through)  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        raw if at_once else Buffer(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=isinstance(raw, Messages) or raw.isatty(),
        write_through=at_once,
    )


def printable(text: str) -> str:
    """Escape the control characters in *text*. An order may hold anything, and a terminal would obey them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def coloured(text: str, colour: str) -> str:
    """Return *text* in a colour, unless who uses the terminal wants none or has none: NO_COLOR, TERM=dumb."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else click.style(text, fg=colour)


def span(ms: float) -> str:
    """Say a span of time with the unit a person would use."""
    for unit, unit_ms in UNITS:
        if ms >= 2 * unit_ms:
            return f"{ms / unit_ms:.0f} {unit}"
    return f"{ms:.0f} ms"


def counted(count: int, one: str, many: str) -> str:
    """Return a number and its noun, in the singular or the plural."""
    return f"{count:,} {one if count == 1 else many}"


def pace(count: int, took_s: float) -> str:
    """Say how many orders there were in *took_s* seconds, and how fast."""
    per_second = count / max(took_s, 1e-6)
    return f"{counted(count, 'order', 'orders')} in {took_s:.1f} s, {per_second:,.0f} per second"


def line(order: Order) -> str:
    """Say an order in one line."""
    return f"{printable(order.id)}  {order.amount:>3} {printable(order.item)}"


def print_json(value: Any) -> None:
    """Print JSON: indented on a terminal, in one line elsewhere."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def show(*tables: Table) -> None:
    """Print tables: drawn on a terminal, as plain columns elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(_drawn(tables))
    else:
        click.echo("\n\n".join(map(_plain, tables)))


@contextmanager
def screen() -> Iterator[Callable[..., None]]:
    """Yield a function like ``show``. On a terminal it draws over what it drew before."""
    if sys.stdout.isatty():
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            yield lambda *tables: live.update(_drawn(tables), refresh=True)
    else:
        yield show


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of orders that were just done. On a terminal it moves a bar."""
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
    at_work: Callable[[], bool] = lambda: True,
    code: int = 1,
) -> Callable[[], None]:
    """
    Call *stop* at the first Ctrl-C, SIGTERM or SIGHUP. At the second Ctrl-C or SIGTERM, or *grace_s* seconds later,
    leave at once.

    A thread waits for the signals and calls *stop*. A signal handler could not: *stop* may need a lock that the
    interrupted code holds, and Python runs no signal handler while the main thread is busy in C code.

    Args:
        stop: Called once. It must return quickly.
        grace_s: Seconds from the first signal to the end.
        lifeline: The file that a supervisor gave this process. A byte there means stop, and its end means that the
            supervisor is gone: *stop* is called as at a signal. Such a process counts all signals as one: a service
            manager may send them to the supervisor and to its children. Only the supervisor decides to kill it.
        last: Called before leaving at once.
        at_work: Returns whether something in hand is lost by leaving at once. If not, this process ends with 0.
        code: The exit code after leaving at once.

    Returns:
        A function to call when the work is done. From then on the end of the grace time is ignored, because what a
        command does after its work may take longer. A second signal still means: leave at once.
    """
    global _tell, _pipe
    done = threading.Event()
    told, _tell = os.pipe()
    _pipe = os.fstat(_tell)
    os.set_blocking(_tell, False)
    listen()
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_come, after_in_child=_forget_signals)

    def leave() -> None:
        watched = [told] if lifeline is None else [told, lifeline]
        heard, urgent, before = Counter[int](), 0, 0
        deadline: float | None = None
        while True:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait_for(watched, left_s)
            if not ready and done.is_set():
                return
            if not ready:
                break
            orphaned = False
            try:
                word = os.read(ready[0], 1)
            except OSError:  # somebody has closed our files, and listen() says so
                watched = []
                continue
            if ready[0] == lifeline:
                orphaned = not word
                watched = [told]  # nothing else comes there, and a file that has ended is ready for ever
            elif (byte := word[0]) & ~BY_PYTHON in ENDINGS:
                heard[byte] += 1
                urgent = sum(max(heard[number], heard[number | BY_PYTHON]) for number in URGENT)
            else:
                continue
            if deadline is not None:
                if lifeline is None and urgent > before:
                    break
                continue
            deadline, before = time.monotonic() + min(grace_s, LONGEST_S), urgent
            stop()
            if lifeline is None:
                say("Finishing what is in hand; Ctrl-C again leaves at once.")
            elif orphaned:  # else the supervisor has said so for all its children
                say("The supervisor is gone. Finishing what is in hand.")
        if not at_work():
            os._exit(0)
        last()
        cursor = SHOW_CURSOR if os.isatty(2) else ""  # a bar has hidden it
        say(f"{cursor}Left at once. If an order was in hand, this attempt counts, and the order is tried again.")
        os._exit(code)

    threading.Thread(target=leave, name="leave when told", daemon=True).start()
    return done.set


_tell: int | None = None  # where the signals of this process are told
_pipe: os.stat_result | None = None  # what that file is


def listen() -> bool:
    """
    Hear the signals that mean stop, after ``leave_when_told()``. In another thread than the main one it only looks at
    the files: code that ran there cannot have changed what the process does at a signal.

    Call it again after code that is not ours: it may have changed what this process does at a signal. When
    ``asyncio.run()`` ends, for one, it takes away the file that signals are told to.

    Returns:
        False if somebody has closed our files: no signal can be heard any more.
    """
    if _tell is None or _pipe is None:
        return True
    try:
        if not os.path.samestat(os.fstat(_tell), _pipe):
            return False
        if threading.current_thread() is not threading.main_thread():
            return True
        for ending in ENDINGS:
            if signal.getsignal(ending) is not _hear:
                signal.signal(ending, _hear)
        signal.set_wakeup_fd(_tell)
    except (OSError, ValueError):
        return False
    return True


def _hear(number: int, _: Any) -> None:
    """Tell of a signal. C code tells, too, and earlier; but not while somebody else's file is the one it tells to."""
    with suppress(OSError, TypeError):
        os.write(_tell, bytes([number | BY_PYTHON]))  # type: ignore[arg-type]  # None in a process that was forked


def wait_for(files: Sequence[int], within_s: float | None = None) -> list[int]:
    """Return those of *files* that can be read, once one can; none after *within_s* seconds. None: wait for ever."""
    poll = select.poll()  # select() takes no file above number 1023
    for file in files:
        poll.register(file, select.POLLIN)
    return [file for file, _ in poll.poll(None if within_s is None else within_s * 1000)]


def has_room(file: int, within_s: float | None) -> bool:
    """Return whether *file* takes a few bytes at once, or within *within_s* seconds. None: wait for ever."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return bool(poll.poll(None if within_s is None else within_s * 1000))


_mask = threading.local()


def _hold_signals() -> None:
    """Let none come before ``_forget_signals``: whoever sends one to the copy would tell this process to stop."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)


def _let_signals_come() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _forget_signals() -> None:
    """Let signals do in a process that a handler forked what they do in every process, such as end it."""
    global _tell
    _tell = None
    signal.set_wakeup_fd(-1)
    for ending in ENDINGS:
        signal.signal(ending, signal.default_int_handler if ending == signal.SIGINT else signal.SIG_DFL)
    _let_signals_come()


def say(line: str) -> None:
    """
    Write a line to stderr. If nobody reads it, do nothing.

    It does not use sys.stderr: another thread may hold its lock, or a handler has closed the file behind it.
    """
    with suppress(OSError):
        if has_room(2, PATIENCE_S):
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
        columns[-1].no_wrap = False  # only the last one wraps: ids and names are copied, and must stay in one line
        table = Table(*columns, box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        drawn.append(table)
    return Group(*drawn)
