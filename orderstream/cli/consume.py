"""``orderstream consume``: handle orders, in this process or in several that it supervises."""

from __future__ import annotations

import importlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import click
import redis

import orderstream
from orderstream import Consumer, Defer, Order
from orderstream.cli.connect import connect_as_child, connect_or_explain
from orderstream.cli.export import LAST_WORDS_S
from orderstream.cli.options import AT_LEAST_1, MILLISECONDS, SECONDS, Name, environ, export, otlp, which_stream
from orderstream.cli.supervisor import Supervisor
from orderstream.cli.terminal import leave_when_told, line, pace
from orderstream.connection import Trouble, trouble
from orderstream.consumer import Handler
from orderstream.policy import describe

KILL_MARGIN_S = 2.0 + LAST_WORDS_S  # beyond its grace time, a child needs up to LAST_WORDS_S; it is killed after that


@click.command()
@click.option(
    "--name", type=Name(), metavar="NAME", help="The consumer's name, unique in the group.  [default: always a new one]"
)
@click.option("--handler", "place", metavar="MODULE:FUNCTION", help="What gets each order.  [default: prints it]")
@click.option(
    "--work-ms", type=MILLISECONDS, metavar="N", default=0, show_default=True, help="Wait N ms before each order."
)
@click.option(
    "--processes", type=AT_LEAST_1, metavar="N", default=1, show_default=True, help="Work in N processes of their own."
)
@click.option(
    "--until-idle", type=SECONDS, metavar="S", help="End when nothing was left for S seconds.  [default: no end]"
)
@otlp
@click.option("--lifeline", type=int, hidden=True)  # the supervisor gives it to its children
@which_stream
def consume(
    name: str | None, place: str | None, work_ms: int, processes: int, until_idle: float | None, lifeline: int | None
) -> None:
    """
    Handle orders, as one consumer of the group.

    Your function gets an Order with id, item and amount. It returns: the order is done. It raises: the order comes
    again, three attempts in all, and then goes to the dead-letter queue. It may see an order twice, so key what it
    does by order.id. Ctrl-C or SIGTERM finishes the order in hand and gives the others back.

    With --processes they are several consumers, NAME-1 to NAME-N. A process that crashes is replaced; one that ends
    by itself is not.

    \b
    Examples:
      orderstream consume
      orderstream consume --until-idle 1
      orderstream consume --handler shop:handle --name till-1
      orderstream consume --processes 4 --handler shop:handle
    """
    handler = _handler(place)
    who = "" if lifeline is None else f"{name}: "  # the messages of several processes come to one terminal
    logging.basicConfig(format=who.replace("%", "%%") + "%(message)s", level=logging.INFO)
    if processes > 1:
        _supervise(processes, name, {"--handler": place, "--work-ms": work_ms, "--until-idle": until_idle})
        return
    stream = connect_or_explain() if lifeline is None else connect_as_child(lifeline)
    export(stream.settings)
    told, handled = threading.Event(), 0

    def stop() -> None:
        told.set()
        consumer.stop()

    def work(order: Order) -> None:
        nonlocal handled
        time.sleep(work_ms / 1000)
        try:
            try:
                handler(order)
            finally:
                print(end="", flush=True)  # write out what it printed before its order is acked
        except BrokenPipeError:
            if _somebody_reads():
                raise  # the handler has a pipe of its own, and that one broke
            stop()
            raise Defer(0) from None
        handled += 1

    consumer = Consumer(stream, work, name)
    done = leave_when_told(stop, stream.settings.grace_s, lifeline=lifeline)
    if lifeline is None:
        click.echo(f"{consumer.name} handles {stream.settings.stream} for {stream.settings.group}.", err=True)
    began = time.monotonic()
    if until_idle is not None:
        _step_until_idle(consumer, until_idle, told)
    consumer.run()
    done()
    click.echo(f"{who}Handled {pace(handled, began)}.", err=True)


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


def _step_until_idle(consumer: Consumer, idle_s: float, told: threading.Event) -> None:
    """Take turns until nothing was left for *idle_s* seconds, or until *told* is set. Then stop the consumer."""
    quiet_since = time.monotonic()
    while not told.is_set():
        settled = consumer.step()
        try:
            busy = settled or consumer.waiting or not consumer.stream.backlog().done
        except redis.RedisError as error:
            if trouble(error) is not Trouble.OUTAGE:
                raise
            busy = True  # nobody knows what is left
        if busy:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= idle_s:
            break
    consumer.stop()


def _somebody_reads() -> bool:
    """
    Return whether stdout still has a reader.

    If it has none, stdout goes to /dev/null from now on: when Python ends it writes what it still holds, and must
    not fail at that.
    """
    output = select.poll()
    output.register(1, 0)  # 0 asks for no event; poll tells in any case that the reader is gone
    if not output.poll(0):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return False


def _supervise(count: int, name: str | None, options: Mapping[str, object]) -> None:
    """Run this command in *count* processes, and end when they have ended."""
    stream = connect_or_explain()  # so a mistake is reported once, not by each child
    stream.close()
    export(stream.settings)
    settings, name = stream.settings, Consumer(stream, print, name).name
    names = [f"{name}-{n}" for n in range(1, count + 1)]
    # -P keeps Python from importing a file of the current folder, such as random.py, in place of a library. But if
    # the package itself lies in the current folder, -P would hide it.
    safe = [] if Path(orderstream.__file__).parents[1] == Path.cwd() else ["-P"]
    same = [f"{option}={value}" for option, value in options.items() if value is not None]
    command = [sys.executable, *safe, "-m", "orderstream", "consume", *same]
    supervisor = Supervisor({name: [*command, f"--name={name}"] for name in names}, environ())
    leave_when_told(supervisor.stop, settings.grace_s + KILL_MARGIN_S, last=supervisor.kill)
    click.echo(f"{names[0]} to {names[-1]} handle {settings.stream} for {settings.group}.", err=True)
    if failed := supervisor.run():
        raise click.ClickException(f"{failed} of {count} processes failed; each has said why")
    click.echo(f"All {count} processes have ended.", err=True)
