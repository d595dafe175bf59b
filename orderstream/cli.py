"""
The commands: ``orderstream produce | consume | status | dlq | trim | doctor``, or ``python -m orderstream …``.

Orders and state go to stdout, all that is said about the work to stderr. What goes wrong is one line and exit code 1,
or 2 for a wrong command line. Ctrl-C and SIGTERM end every command with 0.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
import redis
from click.decorators import FC

import orderstream
from orderstream import Consumer, DeadLetterQueue, OrderStream, Producer, SendUnknown, Settings, connect, random_orders
from orderstream.connection import Trouble, trouble
from orderstream.consumer import Handler
from orderstream.deadletter import DeadLetter
from orderstream.doctor import Level, examine
from orderstream.entries import Holder
from orderstream.errors import DecodeError, Defer, OrderStreamError
from orderstream.export import ENDPOINT, LAST_WORDS_S, exporting
from orderstream.order import Order
from orderstream.policy import describe
from orderstream.supervisor import Supervisor
from orderstream.terminal import ENDINGS, leave_when_told, printable, progress, screen, show, span

DEFAULT_RATE = 10.0  # orders per second, without --count
CATCH_UP_S = 1.0  # the most a producer that fell behind its rate makes up for
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # between two tries to reach a Redis that went away
WATCH_S = 1.0
KILL_MARGIN_S = 2.0 + LAST_WORDS_S  # children leave by themselves after the grace time; a supervisor waits longer
AT_LEAST_0, AT_LEAST_1 = click.IntRange(0), click.IntRange(1)
MARKS = {Level.OK: "✓", Level.ADVICE: "!", Level.LOSS: "✗", Level.UNKNOWN: "?"}
COLOURS = {Level.OK: "green", Level.ADVICE: "yellow", Level.LOSS: "red", Level.UNKNOWN: "cyan"}
SECONDS, MORE_THAN_0 = click.FloatRange(0), click.FloatRange(0, min_open=True)


def main() -> None:
    """Run the command that ``sys.argv`` asks for, and end the process."""
    for ending in ENDINGS:
        signal.signal(ending, signal.default_int_handler)  # raises KeyboardInterrupt, which click makes an Abort
    try:
        sys.exit(cli.main(prog_name="orderstream", standalone_mode=False))
    except click.Abort:
        sys.exit(0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        see = f" See: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        line, code = error.format_message() + see, error.exit_code
    except OrderStreamError as error:
        line, code = str(error), 1
    except redis.RedisError as error:
        line, code = f"Redis: {error}", 1
    click.echo(click.style("Error: ", fg="red") + printable(" ".join(line.split())), err=True)
    sys.exit(code)


# What every command needs -------------------------------------------------------------------------------


def _setting(flag: str, variable: str, metavar: str, help: str, default: object, **attrs: Any) -> Callable[[FC], FC]:
    """Make an option that stands in for an environment variable. The last one on the command line wins."""

    def remember(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value == "":
            raise click.BadParameter("it is empty.")
        if value is not None:
            ctx.ensure_object(dict)[variable] = str(value)

    help += f"  [default: ${variable}, else {default}]"
    return click.option(flag, callback=remember, expose_value=False, metavar=metavar, help=help, **attrs)


def _which_stream(command: FC) -> FC:
    for option in (
        _setting("--group", "ORDERSTREAM_GROUP", "NAME", "Name of the consumer group.", Settings.group),
        _setting("--stream", "ORDERSTREAM_STREAM", "KEY", "Key of the stream.", Settings.stream),
        _setting("--redis", "REDIS_URL", "URL", "redis://, rediss:// or unix://", "$REDIS_ADDR or localhost:6379"),
    ):
        command = option(command)
    return command


_otlp = _setting(
    "--otlp", ENDPOINT, "ENDPOINT", "Where to send traces and metrics, such as http://localhost:4317.", "nowhere"
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _environ() -> dict[str, str]:
    """Return the environment with the options that stand in for a variable."""
    return {**os.environ, **click.get_current_context().ensure_object(dict)}


def _connect() -> OrderStream:
    """Connect as the options and the environment say. No Redis there, or no way in, is an error of one line."""
    settings = Settings.from_env(_environ())
    try:
        return connect(settings)
    except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
        problem = f"Redis at {_where(settings)} does not take this user and password: {error}"
    except redis.BusyLoadingError:
        problem = f"Redis at {_where(settings)} is still loading its data; try again in a moment"
    except (redis.ConnectionError, redis.TimeoutError, UnicodeError) as error:  # UnicodeError: no name of a host
        problem = (
            f"no Redis answers at {_where(settings)} ({getattr(error.__context__, 'strerror', None) or error}). "
            "Start one with `docker compose up -d` or `redis-server`; or type `make lab`, the lab brings its own"
        )
    raise click.ClickException(problem)


def _export(settings: Settings) -> None:
    """Send spans and metrics until the command ends, if an option or a variable says where to."""
    context = click.get_current_context()
    commands = settings.trace_errors == "message"
    context.with_resource(
        exporting(f"orderstream-{context.command.name}", _environ().get(ENDPOINT), commands=commands)
    )


def _where(settings: Settings) -> str:
    """Say where Redis is, without user and password."""
    url = urlsplit(settings.redis_url)
    return url.path if url.scheme == "unix" else f"{url.hostname or 'localhost'}:{url.port or 6379}"


def _wait_out(error: redis.RedisError, pause_s: float) -> float:
    """Raise *error* unless it passes by itself; say so the first time. Return how many seconds to wait."""
    if trouble(error) is not Trouble.OUTAGE:
        raise error
    if not pause_s:
        click.echo(f"Redis does not answer ({describe(error)}); waiting for it.", err=True)
    return min(max(FIRST_PAUSE_S, 2 * pause_s), LONGEST_PAUSE_S)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def _line(order: Order) -> str:
    return f"{printable(order.id)}  {order.amount:>3} {printable(order.item)}"


def _pace(count: int, began: float) -> str:
    took_s = time.monotonic() - began
    return f"{count:,} order{'s' * (count != 1)} in {took_s:.1f} s, {count / max(took_s, 1e-6):,.0f} per second"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@_which_stream
@click.version_option(orderstream.__version__)
def cli() -> None:
    """
    Send orders through a Redis stream, handle them, and look after those that failed.

    \b
    Try it in three terminals:
      orderstream produce             sends ten random orders a second
      orderstream consume             prints and acknowledges them
      orderstream status --watch      shows how much is left, and who has it

    All other settings are environment variables, ORDERSTREAM_…; config.py explains them. Keep a password in
    REDIS_URL: the options of a command are visible to others on this machine.
    """


# produce ------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--count", type=AT_LEAST_0, metavar="N", help="Send N orders, then end.  [default: no end]")
@click.option(
    "--rate", type=MORE_THAN_0, metavar="PER_S", help="Orders per second.  [default: 10, or full speed with --count]"
)
@_setting("--batch", "ORDERSTREAM_BATCH", "N", "The most orders in one round trip.", Settings.batch, type=AT_LEAST_1)
@click.option("--seed", type=int, metavar="S", help="The same S sends the same orders.  [default: always new ones]")
@_otlp
@_which_stream
def produce(count: int | None, rate: float | None, seed: int | None) -> None:
    """
    Send random orders.

    Prints each order with its entry id; with --count, only a summary. If a reply is lost, the order may be in the
    stream or not: that is said, and the order is not sent again.

    \b
    Examples:
      orderstream produce
      orderstream produce --count 10000
      orderstream produce --rate 200 --seed 1
    """
    stream, stop, orders = _connect(), threading.Event(), random_orders(seed)
    _export(stream.settings)
    done = leave_when_told(stop.set, stream.settings.grace_s)
    rate = rate or (DEFAULT_RATE if count is None else None)
    began, sent, unknown = time.monotonic(), 0, 0
    with progress(count) if count else nullcontext() as advance:
        for size in _sizes(count, rate, stream.settings.batch, stop):
            batch = list(islice(orders, size))
            try:
                ids = _send(Producer(stream), batch, stop)
            except SendUnknown as lost:
                click.echo(f"Warning: {lost}. They are not sent again.", err=True)
                ids, batch = lost.sent, [order for order in batch if order not in lost.unknown]
                unknown += len(lost.unknown)
            sent += len(ids)
            if advance:
                advance(len(ids))
            else:
                for id, order in zip(ids, batch, strict=False):
                    click.echo(f"{id}  {_line(order)}")
    done()
    click.echo(f"Sent {_pace(sent, began)}.", err=True)
    if unknown and not stop.is_set():
        more = f"{unknown:,} more orders are" if unknown > 1 else "1 more order is"
        raise click.ClickException(f"nobody knows whether {more} in the stream")


def _sizes(count: int | None, rate: float | None, batch: int, stop: threading.Event) -> Iterator[int]:
    """Yield how many orders to send next, when it is time to: at most *batch* at once and *count* in all."""
    left, due = sys.maxsize if count is None else count, time.monotonic()
    while left and not stop.is_set():
        size = min(batch, left)
        if rate:
            if stop.wait(due - time.monotonic()):
                return
            size = min(size, 1 + int((time.monotonic() - due) * rate))
            due = max(due + size / rate, time.monotonic() - CATCH_UP_S)
        yield size
        left -= size


def _send(producer: Producer, batch: list[Order], stop: threading.Event) -> list[str]:
    """Send *batch*. While Redis is away, which means that nothing was sent, wait for it."""
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            return producer.send_many(batch)
        except redis.RedisError as error:
            pause_s = _wait_out(error, pause_s)
    return []


# consume ------------------------------------------------------------------------------------------------


def _handler(place: str | None) -> Handler:
    """Import the function that *place* names, from the current folder too."""
    if place is None:
        return lambda order: print(f"{_line(order)}\n", end="")  # in one piece: processes may share the output
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


@cli.command()
@click.option("--name", metavar="NAME", help="The consumer's name, unique in the group.  [default: always a new one]")
@click.option("--handler", "place", metavar="MODULE:FUNCTION", help="What gets each order.  [default: prints it]")
@click.option(
    "--work-ms", type=AT_LEAST_0, metavar="N", default=0, show_default=True, help="Wait N ms before each order."
)
@click.option(
    "--processes", type=AT_LEAST_1, metavar="N", default=1, show_default=True, help="Work in N processes of their own."
)
@click.option(
    "--until-idle", type=SECONDS, metavar="S", help="End when nothing was left for S seconds.  [default: no end]"
)
@_otlp
@click.option("--lifeline", type=int, hidden=True)  # makes it a supervisor's child
@_which_stream
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
    who = "" if lifeline is None else f"{name}: "  # which of the processes says it
    logging.basicConfig(format=who.replace("%", "%%") + "%(message)s", level=logging.INFO)
    if processes > 1:
        _supervise(processes, name, {"--handler": place, "--work-ms": work_ms, "--until-idle": until_idle})
        return
    stream, told, handled = _connect() if lifeline is None else _connect_again(lifeline), threading.Event(), 0
    _export(stream.settings)

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
                print(end="", flush=True)  # what it printed is out before its order is acked
        except BrokenPipeError:
            if _somebody_reads():
                raise  # a pipe of the handler's own
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
    click.echo(f"{who}Handled {_pace(handled, began)}.", err=True)


def _supervise(count: int, name: str | None, options: Mapping[str, object]) -> None:
    """Run this command in *count* processes, and end when they have ended."""
    stream = _connect()  # one process finds out for all of them
    stream.close()
    _export(stream.settings)
    settings, name = stream.settings, Consumer(stream, print, name).name
    names = [f"{name}-{n}" for n in range(1, count + 1)]
    # -P: unless the package itself lies in this folder, no file there, random.py say, may be taken for another.
    safe = [] if Path(orderstream.__file__).parents[1] == Path.cwd() else ["-P"]
    same = [f"{option}={value}" for option, value in options.items() if value is not None]
    command = [sys.executable, *safe, "-m", "orderstream", "consume", *same]
    supervisor = Supervisor({name: [*command, f"--name={name}"] for name in names}, _environ())
    leave_when_told(supervisor.stop, settings.grace_s + KILL_MARGIN_S, last=supervisor.kill)
    click.echo(f"{names[0]} to {names[-1]} handle {settings.stream} for {settings.group}.", err=True)
    if failed := supervisor.run():
        raise click.ClickException(f"{failed} of {count} processes failed; each has said why")
    click.echo(f"All {count} processes have ended.", err=True)


def _connect_again(lifeline: int) -> OrderStream:
    """Connect where the supervisor has been before: an outage is waited out, unless it ends meanwhile."""
    settings, pause_s = Settings.from_env(_environ()), 0.0
    while not select.select([lifeline], [], [], pause_s)[0]:
        try:
            return connect(settings)
        except redis.RedisError as error:
            pause_s = _wait_out(error, pause_s)
    raise click.Abort


def _somebody_reads() -> bool:
    """Tell whether our output still has a reader. If not, what Python has yet to write goes nowhere, quietly."""
    output = select.poll()
    output.register(1, 0)  # asks for no event: that the reader left is told in any case
    if not output.poll(0):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return False


def _step_until_idle(consumer: Consumer, idle_s: float, told: threading.Event) -> None:
    """Take turns until nothing was left for *idle_s* seconds. Ends with a stopped consumer."""
    quiet_since = time.monotonic()
    while not told.is_set():
        settled = consumer.step()
        try:
            busy = settled or not consumer.stream.backlog().done
        except redis.RedisError as error:
            if trouble(error) is not Trouble.OUTAGE:
                raise
            busy = True  # for all we know
        if busy:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= idle_s:
            break
    consumer.stop()


# status -------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@_json
@_which_stream
def status(watch: bool, as_json: bool) -> None:
    """
    Show how much is left to do, and who has it.

    \b
    lag            entries no consumer was given yet; Redis may not know it
    pending        entries delivered, and not yet acknowledged
    dead letters   what failed for good, see: orderstream dlq list
    """
    stream, pause_s = _connect(), 0.0
    if not watch:
        _look(stream, as_json, show)
        return
    with nullcontext(show) if as_json else screen() as draw:
        while True:
            try:
                _look(stream, as_json, draw)
                pause_s = 0.0
            except redis.RedisError as error:
                pause_s = _wait_out(error, pause_s)
            time.sleep(WATCH_S)


def _look(stream: OrderStream, as_json: bool, draw: Callable[..., None]) -> None:
    names, now = stream.settings, stream.backlog()
    if as_json:
        _print_json({"stream": names.stream, "group": names.group, "dlq": names.dlq} | msgspec.to_builtins(now))
        return
    draw(
        [
            ("stream", names.stream, f"group {names.group}"),
            ("entries", f"{now.length:,}", ""),
            ("lag", "unknown" if now.lag is None else f"{now.lag:,}", _oldest(now.oldest_undelivered_s)),
            ("pending", f"{now.pending:,}", _oldest(now.oldest_pending_s)),
            ("dead letters", f"{now.dead_lettered:,}", f"in {names.dlq}"),
        ],
        [("consumer", "pending", "idle"), *((c.name, f"{c.pending:,}", span(c.idle_ms)) for c in now.consumers)],
    )


def _oldest(age_s: float | None) -> str:
    return "none" if age_s is None else f"oldest {span(age_s * 1000)} ago"


# dlq ----------------------------------------------------------------------------------------------------


@cli.group()
@_which_stream
def dlq() -> None:
    """
    Look after the dead-letter queue: what failed for good.

    \b
    Examples:
      orderstream dlq list
      orderstream dlq show 1718000000000-0
      orderstream dlq redrive --all
    """


def _entry_id(*given: Any) -> Any:
    """Check an id, as the type of an argument or as the callback of an option."""
    text = given[-1]
    if text is not None and not re.fullmatch(r"\d+-\d+", text):
        raise click.BadParameter(f"{text!r} is not like 1718000000000-0; `orderstream dlq list` shows the ids.")
    return text


_ids = click.argument("ids", type=_entry_id, metavar="[ID]...", nargs=-1)
_all = click.option("--all", "all_", is_flag=True, help="All that are there now.")


@dlq.command("list")
@click.option("--count", type=AT_LEAST_1, metavar="N", default=100, show_default=True, help="The most to list.")
@click.option("--after", callback=_entry_id, metavar="ID", help="Begin behind this one: the next page.")
@_json
@_which_stream
def list_(count: int, after: str | None, as_json: bool) -> None:
    """List dead letters, oldest first, a page at a time."""
    queue = DeadLetterQueue(_connect())
    letters = [_about(letter) for letter in queue.list(count, start=f"({after}" if after else "-")]
    if as_json:
        _print_json(letters)
        return
    if letters:
        rows = [(a["id"], a["order_id"] or "?", str(a["deliveries"]), _ago(a["at_ms"]), a["reason"]) for a in letters]
        show([("id", "order id", "deliveries", "when", "reason"), *rows])
    total = queue.stream.backlog().dead_lettered
    click.echo(f"{len(letters):,} of {total:,} dead letters in {queue.stream.settings.dlq}.", err=True)
    if len(letters) == count < total:
        click.echo(f"The next page: orderstream dlq list --after {letters[-1]['id']}", err=True)


@dlq.command("show")
@click.argument("id", type=_entry_id, metavar="ID")
@_json
@_which_stream
def show_(id: str, as_json: bool) -> None:
    """Show a dead letter: what went wrong, and its original fields."""
    queue = DeadLetterQueue(_connect())
    about = next((_about(letter) for letter in queue.list(1, start=id) if letter.id == id), None)
    if about is None:
        raise click.ClickException(f"not in {queue.stream.settings.dlq}: {id}")
    if as_json:
        _print_json(about)
        return
    fields, about["when"] = about.pop("fields"), _ago(about.pop("at_ms"))
    facts = [(name.replace("_", " "), str(value or "?")) for name, value in about.items()]
    show(facts, [("field", "value"), *fields.items()])


def _about(letter: DeadLetter) -> dict[str, Any]:
    """Return what is known of *letter*: bytes as text, and the order id if it holds an order."""
    try:
        order_id = Order.from_fields(list(chain.from_iterable(letter.fields.items()))).id
    except DecodeError:
        order_id = None
    text = [[part.decode(errors="backslashreplace") for part in field] for field in letter.fields.items()]
    return {"id": letter.id, "order_id": order_id} | msgspec.structs.asdict(letter) | {"fields": dict(text)}


def _ago(at_ms: int) -> str:
    return f"{span(max(0, time.time() * 1000 - at_ms))} ago" if at_ms else "?"


@dlq.command()
@_ids
@_all
@_otlp
@_which_stream
def redrive(ids: tuple[str, ...], all_: bool) -> None:
    """
    Put dead letters back into the stream.

    Each becomes a new entry with the same order id and a new set of attempts. Doing it twice is harmless.
    """
    queue = _queue(ids, all_)
    _export(queue.stream.settings)
    _each(queue, ids, queue.redrive, "Redriven")


@dlq.command()
@_ids
@_all
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@_which_stream
def purge(ids: tuple[str, ...], all_: bool, yes: bool) -> None:
    """Delete dead letters for good. On a terminal, --all asks first."""
    queue = _queue(ids, all_)
    if all_ and not yes and sys.stdin.isatty():
        there = f"{queue.stream.backlog().dead_lettered:,} dead letters in {queue.stream.settings.dlq}"
        click.confirm(f"Delete all {there} for good?", abort=True)
    _each(queue, ids, queue.purge, "Purged")


def _queue(ids: tuple[str, ...], all_: bool) -> DeadLetterQueue:
    if bool(ids) is all_:
        raise click.UsageError("give the ids, or --all.", click.get_current_context())
    return DeadLetterQueue(_connect())


def _each(queue: DeadLetterQueue, ids: tuple[str, ...], act: Callable[[str], object], done: str) -> None:
    """Do *act* to the dead letters named, or without *ids* to all there are now, and say to how many."""
    all_now = (letter.id for letter in islice(queue, queue.stream.backlog().dead_lettered))
    results = {id: act(id) for id in ids or all_now}
    missing = ", ".join(id for id in ids if not results[id])
    count = sum(map(bool, results.values()))
    click.echo(f"{done} {count:,} dead letter{'s' * (count != 1)}.")
    if missing:
        raise click.ClickException(f"not in {queue.stream.settings.dlq}: {missing}")


# trim ---------------------------------------------------------------------------------------------------


@cli.command()
@_json
@_which_stream
def trim(as_json: bool) -> None:
    """
    Remove what every group has acknowledged.

    An acknowledged entry stays in the stream, and in memory, until it is trimmed. This removes the oldest ones, up
    to the first that any group has pending or has not read yet. Run it from cron, or whenever you like: orders may
    come and go meanwhile. A group that is made later begins with what is left.

    Says which group keeps the rest. One that nobody uses any more keeps it for ever: orderstream doctor finds it.
    """
    stream = _connect()
    key, done = stream.settings.stream, stream.trim()
    if as_json:
        _print_json({"stream": key} | msgspec.to_builtins(done))
        return
    click.echo(f"Removed {_entries(done.removed)} from {printable(key)}, {done.left:,} left.")
    if done.holder:
        click.echo(_keeps(done.holder))
    elif done.left:
        click.echo("It has no group, so nobody has read them: all are kept.")


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _keeps(holder: Holder) -> str:
    why = "is pending" if holder.pending else "is not read yet"
    return f"{printable(holder.group)} keeps them: {holder.id}, added {span(holder.age_s * 1000)} ago, {why}."


# doctor -------------------------------------------------------------------------------------------------


@cli.command()
@_json
@_which_stream
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
    findings = examine(_connect())
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = click.style(MARKS[finding.level], fg=COLOURS[finding.level])
            click.echo(f"{mark} {finding.subject:{width}}  {printable(finding.found)}")
            if finding.fix:
                click.echo(f"  {'':{width}}  → {printable(finding.fix)}")
    if losing := [finding.subject for finding in findings if finding.level is Level.LOSS]:
        raise click.ClickException(f"orders could be lost: {', '.join(dict.fromkeys(losing))}")
