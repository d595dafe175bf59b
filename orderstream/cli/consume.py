"""
``orderstream consume``: handle orders, in one child process or in several, which a supervisor keeps running.

The supervisor is the process that you start. It imports no handler and takes no order, and it believes no exit code.
So neither what a handler raises nor how it ends its process stops the service; a handler that looks for the supervisor
to kill it can, as any process of the same user. ``--processes 0`` is for a debugger: the orders are handled in the
process that you start.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
import redis

import orderstream
from orderstream import Consumer, Order, OrderStream, RetryPolicy, Settings
from orderstream.cli import child as process
from orderstream.cli.child import LAST_S, Child
from orderstream.cli.connect import connect_as_child, connect_or_explain
from orderstream.cli.export import LAST_WORDS_S
from orderstream.cli.keeper import Keeper
from orderstream.cli.ledger import FIRST, READY, Ledger, ToldConsumer
from orderstream.cli.options import (
    AT_LEAST_0,
    AT_LEAST_1,
    MILLISECONDS,
    SECONDS,
    Name,
    environ,
    export,
    otlp,
    which_stream,
)
from orderstream.cli.supervisor import DONE, FAILED, LEFT, WRONG_COMMAND, Supervisor
from orderstream.cli.terminal import leave_when_told, line, listen, output_trouble, pace, say, write_out
from orderstream.connection import Trouble, trouble
from orderstream.consumer import Handler, is_coroutine
from orderstream.errors import OrderStreamError
from orderstream.policy import Decision, Outcome, describe

CLOSED = "A handler has closed the files of its process."
OUTAGE_S = 20.0  # with --until-idle somebody waits for the end: after an outage of so long it comes as an error
KILL_MARGIN_S = 1.0 + LAST_WORDS_S + LAST_S  # beyond its grace time, a child needs the last two; then it is killed


class Inherited(click.ParamType[int]):
    """The number of a file that a supervisor gives its child."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            os.fstat(number := int(str(value)))
        except (ValueError, OverflowError, OSError):
            self.fail("only a supervisor gives it.", param, ctx)
        return number


@click.command()
@click.option(
    "--name", type=Name(), metavar="NAME", help="The consumer's name, unique in the group.  [default: always a new one]"
)
@click.option("--handler", "place", metavar="MODULE:FUNCTION", help="What gets each order.  [default: prints it]")
@click.option(
    "--work-ms", type=MILLISECONDS, metavar="N", default=0, show_default=True, help="Wait N ms before each order."
)
@click.option(
    "--processes",
    type=AT_LEAST_0,
    metavar="N",
    default=1,
    show_default=True,
    help="Work in N processes, and replace one that ends. 0: in this one, for a debugger.",
)
@click.option(
    "--concurrency",
    type=AT_LEAST_1,
    metavar="N",
    default=1,
    show_default=True,
    help="Handle N orders at once in each process: for a function that waits.",
)
@click.option(
    "--until-idle",
    type=SECONDS,
    metavar="S",
    help=f"End when nothing was left for S seconds. Fail after an outage of S seconds, {OUTAGE_S:g} at least."
    "  [default: no end]",
)
@otlp
@click.option("--lifeline", type=Inherited(), hidden=True)  # the supervisor gives these two to its children
@click.option("--ledger", "file", type=Inherited(), hidden=True)
@which_stream
def consume(
    name: str | None,
    place: str | None,
    work_ms: int,
    processes: int,
    concurrency: int,
    until_idle: float | None,
    lifeline: int | None,
    file: int | None,
) -> None:
    """
    Handle orders, as one consumer of the group.

    Your function gets an Order with id, item and amount. It returns: the order is done. It raises: the order comes
    again, three attempts in all, and then goes to the dead-letter queue. It may see an order twice, so key what it
    does by order.id. Ctrl-C or SIGTERM finishes the order in hand and gives the others back.

    The orders are handled in a process of their own. If your function ends it, or runs for longer than
    ORDERSTREAM_HANDLER_TIMEOUT_MS, that is the failure of this order, and the process is replaced.

    With --processes they are several consumers, NAME-1 to NAME-N. With --processes 0 nothing is replaced, and your
    function can read the terminal.

    With --concurrency many orders are handled at once: by a function in threads, by an async def in an event loop.
    Then orders are not handled in their order.

    \b
    Examples:
      orderstream consume
      orderstream consume --until-idle 1
      orderstream consume --handler shop:handle --name till-1
      orderstream consume --processes 4 --handler shop:handle
      orderstream consume --concurrency 100 --handler shop:handle
    """
    child = None if lifeline is None or file is None else _become_child(lifeline, file, processes)
    who = f"{name}: " if child and processes > 1 else ""  # the messages of several processes come to one terminal
    logging.basicConfig(format=who.replace("%", "%%") + "%(message)s", level=logging.INFO)
    if processes and not child:
        same = {"--handler": place, "--work-ms": work_ms, "--concurrency": concurrency, "--until-idle": until_idle}
        _supervise(processes, name, same)
        return
    handler = _handler(place)
    with _final_failures() if child else nullcontext():
        stream = connect_as_child(child.still_here) if child else connect_or_explain()
        export(stream.settings)
        finished = _work(stream, handler, name, work_ms, concurrency, until_idle, child)
    if child and finished:
        click.get_current_context().exit(DONE)


def _become_child(lifeline: int, file: int, processes: int) -> Child:
    """Note that this process is a child. It comes before a handler is imported, which must not find the file."""
    ledger = Ledger(file, Settings.from_env(environ()).batch)
    ledger.close()
    process.this = Child(lifeline, ledger, processes)
    process.this.leave_unless_ready()
    return process.this


class Failed(click.ClickException):
    """The end of a child that is final, because a person has to act."""

    exit_code = FAILED


class Unprinted(Exception):
    """What the handler of an order printed could not be written."""


class Forgiving(RetryPolicy):
    """An order is not to blame if the console fails."""

    def decide(self, error: BaseException, attempt: int, *, age_ms: float = 0, key: str = "") -> Decision:
        if isinstance(error, Unprinted):
            return Decision(Outcome.DEFER)
        return super().decide(error, attempt, age_ms=age_ms, key=key)


class Work:
    """
    Calls the handler, and looks after what it prints. Several threads may use it at once.

    Args:
        handler: What gets each order.
        work_ms: Milliseconds to wait before.
        stop: Stops the consumer.
        in_child: Whether this process is a child: its files were good when it began.
        many: Whether many handlers run at once.

    Attributes:
        running: How many handlers run.
        handled: How many returned.
        handled_at: When the last one returned, by the monotonic clock.
        files_closed: True if a handler has closed the files of this process.
    """

    def __init__(
        self, handler: Handler, work_ms: int, stop: Callable[[], None], *, in_child: bool, many: bool
    ) -> None:
        self.running = self.handled = 0
        self.handled_at = 0.0
        self.files_closed = False
        self._handler = handler
        self._wait_s = work_ms / 1000
        self._stop = stop
        self._in_child = in_child
        self._many = many
        self._counting = threading.Lock()

    def call(self, order: Order) -> Any:
        """Call the handler. It returns None, or what the consumer must see and refuse."""
        self._begin()
        try:
            time.sleep(self._wait_s)
            result = self._handler(order)
        finally:
            self._end()
        self._returned()
        return result

    async def wait_for(self, order: Order) -> Any:
        """Call the handler and wait for it, in its event loop."""
        self._begin()
        try:
            await asyncio.sleep(self._wait_s)
            result = await self._handler(order)  # type: ignore[misc]  # it is an async def
        finally:
            self._end()
        self._returned()
        return result

    def _begin(self) -> None:
        with self._counting:
            self.running += 1

    def _returned(self) -> None:
        with self._counting:
            self.handled += 1
        self.handled_at = time.monotonic()

    def _end(self) -> None:
        """Write out what the handler printed, before its order is acked."""
        try:
            write_out()
        finally:
            with self._counting:
                self.running -= 1
            if not listen():
                self.files_closed = True
                self._stop()
            if problem := output_trouble():
                self._stop()
                # A child's files were good when it began: so only a handler can have closed them.
                closed = problem.errno == errno.EBADF and (self.files_closed or self._in_child)
                self.files_closed = self.files_closed or closed
                self._leave_if_nobody_knows_who()
                raise problem if closed else Unprinted
            self._leave_if_nobody_knows_who()

    def _leave_if_nobody_knows_who(self) -> None:
        """
        End this process if one of many handlers has closed its files. All of them have lost an attempt then, as if it
        had died. On its last attempt each order is alone, and so the one that does it is found.
        """
        if self.files_closed and self._many:
            say(CLOSED)
            os._exit(1)


def _work(
    stream: OrderStream,
    handler: Handler,
    name: str | None,
    work_ms: int,
    concurrency: int,
    until_idle: float | None,
    child: Child | None,
) -> bool:
    """
    Handle orders until it is told to stop, or nothing was left for *until_idle* seconds, or nobody reads stdout.

    Returns:
        False if it was told to stop, or if a handler has closed its files: then another child would do better.

    Raises:
        click.ClickException: stdout cannot be written, or with *until_idle* an outage was too long.
    """
    settings = stream.settings
    ledger = child.ledger if child else None
    told = threading.Event()

    def stop() -> None:
        told.set()
        consumer.stop()

    work = Work(handler, work_ms, lambda: consumer.stop(), in_child=bool(child), many=concurrency > 1)
    policy = Forgiving(settings.max_attempts, settings.backoff_ms, settings.defer_max_age_ms)
    consumer = _consumer(ledger, stream, handler, name, policy, concurrency)
    # Not before: the consumer looks whether the handler is one that it can call.
    consumer.handler = work.wait_for if is_coroutine(handler) else work.call
    done = leave_when_told(
        stop,
        settings.grace_s,
        lifeline=child.lifeline if child else None,
        last=child.had_to_leave if child else lambda: None,
        at_work=lambda: work.running > 0,
        code=LEFT if child else 1,
    )
    several = child.processes if child and child.processes > 1 else 0
    if not ledger or ledger.words[FIRST]:
        all_of = f"to {consumer.name.removesuffix('1')}{several} handle" if several else "handles"
        click.echo(f"{consumer.name} {all_of} {settings.stream} for {settings.group}.", err=True)
    if ledger:
        ledger.words[READY] = 1
    began = work.handled_at = time.monotonic()
    outage_s = _step_until_idle(consumer, until_idle, told) if until_idle is not None else 0
    consumer.run()
    done()
    who = f"{consumer.name}: " if several else ""
    # With --until-idle the wait for more was asked for. It is no work.
    ended = time.monotonic() if until_idle is None else work.handled_at
    click.echo(f"{who}Handled {pace(work.handled, ended - began)}.", err=True)
    problem = output_trouble()
    if work.files_closed:
        say(f"{who}{CLOSED}")
        if not child:
            click.get_current_context().exit(1)
        return False
    if problem and not isinstance(problem, BrokenPipeError):
        raise click.ClickException(f"the output cannot be written: {problem.strerror}; what was in hand is given back")
    if outage_s:
        raise click.ClickException(f"orders may be left: for {outage_s:.0f} s Redis did not let this consumer work")
    return not told.is_set()


def _consumer(
    ledger: Ledger | None,
    stream: OrderStream,
    handler: Handler,
    name: str | None,
    policy: RetryPolicy,
    concurrency: int,
) -> Consumer:
    if not ledger:
        return Consumer(stream, handler, name, policy, concurrency=concurrency)
    if concurrency == 1 and not is_coroutine(handler):
        return ToldConsumer(ledger, stream, handler, name, policy)
    from orderstream.cli.told_crew import ToldCrew

    return ToldCrew(ledger, stream, handler, name, policy, concurrency)


@contextmanager
def _final_failures() -> Iterator[None]:
    """Say by the exit code of a child that a person has to act, and that no other child would do better."""
    try:
        yield
    except (click.ClickException, OrderStreamError, redis.RedisError) as error:
        if isinstance(error, click.ClickException):
            problem = error.format_message()
        else:
            problem = f"Redis: {error}" if isinstance(error, redis.RedisError) else str(error)
        raise Failed(problem) from error


def _handler(place: str | None) -> Handler:
    """Return the function that *place* names, also from the current folder. None: a function that prints the order."""
    if place is None:
        return lambda order: print(f"{line(order)}\n", end="")  # in one piece: processes may share the output
    module, _, name = place.partition(":")
    sys.path.insert(0, "")
    try:
        handler: Handler = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - importing runs code of yours, which may raise anything
        problem = f"{place!r} is no MODULE:FUNCTION to be found here: {describe(error)}."
    else:
        if callable(handler):
            return handler
        problem = f"{place!r} is not a function."
    raise click.BadParameter(problem, param_hint="'--handler'")


def _step_until_idle(consumer: Consumer, idle_s: float, told: threading.Event) -> float:
    """
    Take turns until nothing was left for *idle_s* seconds, or until *told* is set, or stdout fails, or an outage is too
    long. Then stop the consumer.

    Returns:
        How long the outage was that ended it, in seconds; otherwise 0.
    """
    worked_at = quiet_since = time.monotonic()
    outage_s, too_long_s = 0.0, max(idle_s, OUTAGE_S)
    while not (told.is_set() or output_trouble() or outage_s > too_long_s):
        settled = consumer.step()
        outage = consumer.in_outage
        try:
            busy = settled or outage or not consumer.stream.backlog().done
        except redis.RedisError as error:
            if trouble(error) is not Trouble.OUTAGE:
                raise
            busy = outage = True  # nobody knows what is left
        now = time.monotonic()
        worked_at = worked_at if outage else now
        outage_s = now - worked_at
        if busy:
            quiet_since = now
        elif now - quiet_since >= idle_s:
            break
    consumer.stop()
    return outage_s if outage_s > too_long_s else 0


def _supervise(count: int, name: str | None, options: Mapping[str, object]) -> None:
    """Run this command in *count* processes, and end when they have ended."""
    stream = connect_or_explain()  # so a mistake is reported once, not by each child
    settings, name = stream.settings, Consumer(stream, print, name).name
    names = [name] if count == 1 else [f"{name}-{n}" for n in range(1, count + 1)]
    # -P keeps Python from importing a file of the current folder, such as random.py, in place of a library. But if
    # the package itself lies in the current folder, -P would hide it.
    safe = [] if Path(orderstream.__file__).parents[1] == Path.cwd() else ["-P"]
    same = [f"{option}={value}" for option, value in options.items() if value is not None]
    command = [sys.executable, *safe, "-m", "orderstream", "consume", f"--processes={count}", *same]
    commands = {name: [*command, f"--name={name}"] for name in names}
    keeper = Keeper(stream)
    # The keeper ends a process whose handler hangs, and says so. A child that ended itself would say less.
    supervisor = Supervisor(commands, environ() | {"ORDERSTREAM_ON_TIMEOUT": "log"}, keeper)
    leave_when_told(supervisor.stop, settings.grace_s + KILL_MARGIN_S, last=supervisor.kill)
    codes = supervisor.run()
    keeper.close()
    if WRONG_COMMAND in codes:
        click.get_current_context().exit(WRONG_COMMAND)  # the child has said why
    failed = codes.count(FAILED) + codes.count(LEFT)
    if len(codes) > 1 and failed:
        raise click.ClickException(f"{failed} of {len(codes)} processes failed; each has said why")
    if failed:
        click.get_current_context().exit(1)
    if count > 1:
        click.echo(f"All {count} processes have ended.", err=True)
