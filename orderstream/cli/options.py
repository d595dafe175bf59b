"""The options that several commands have, the types of their values, and what the options change."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import click
from click.decorators import FC

from orderstream import Settings
from orderstream.cli.export import ENDPOINT, exporting
from orderstream.config import DAY_S, is_text


class Number(click.FloatRange):
    """A number in a range. Click takes nan for one that is in every range, because no comparison with it is true."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is no number.", param, ctx)
        return number


class Name(click.ParamType[str]):
    """A name that Redis gets as UTF-8."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if is_text(value) else self.fail("it must be UTF-8 text.", param, ctx)


AT_LEAST_0, AT_LEAST_1 = click.IntRange(0), click.IntRange(1)
SECONDS, PER_SECOND = Number(0, DAY_S), Number(0.001, 1_000_000)
MILLISECONDS = click.IntRange(0, DAY_S * 1000)

EMBEDDED = "orderstream.embedded"  # where a context notes that the option was given


def setting(flag: str, variable: str, metavar: str, help: str, default: object, **attrs: Any) -> Callable[[FC], FC]:
    """
    Make an option that stands in for an environment variable.

    A group and its commands may both have this option. If it is given twice, the last one on the command line wins.
    """

    def remember(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value == "":
            raise click.BadParameter("it is empty.")
        if value is not None:
            ctx.ensure_object(dict)[variable] = str(value)

    help += f"  [default: ${variable}, else {default}]"
    return click.option(flag, callback=remember, expose_value=False, metavar=metavar, help=help, **attrs)


def _remember(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.meta[EMBEDDED] = True


def which_stream(command: FC) -> FC:
    """Add the options that every command on a stream has: which Redis, which stream, which group."""
    for option in (
        setting("--group", "ORDERSTREAM_GROUP", "NAME", "Name of the consumer group.", Settings.group),
        setting("--stream", "ORDERSTREAM_STREAM", "KEY", "Key of the stream.", Settings.stream),
        click.option(
            "--embedded",
            is_flag=True,
            callback=_remember,
            expose_value=False,
            help="Use a Redis that your commands start and share. You need no other one.",
        ),
        setting(
            "--redis",
            "REDIS_URL",
            "URL",
            "redis://, rediss://, unix:// or redis+sentinel://",
            "$REDIS_ADDR or localhost:6379",
        ),
    ):
        command = option(command)
    return command


otlp = setting(
    "--otlp", ENDPOINT, "ENDPOINT", "Where to send traces and metrics, such as http://localhost:4317.", "nowhere"
)
json_wanted = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def environ() -> dict[str, str]:
    """Return the environment variables, with the values of the options that stand in for one."""
    return {**os.environ, **click.get_current_context().ensure_object(dict)}


def join_embedded() -> None:
    """If ``--embedded`` was given, start the shared server or join it. ``environ()`` then says where it is."""
    context = click.get_current_context()
    if not context.meta.get(EMBEDDED):
        return
    given = context.ensure_object(dict)
    if "REDIS_URL" in given:
        raise click.UsageError("--embedded and --redis name two servers: leave one out.", context)
    from orderstream.embedded import shared

    server = shared.join()
    given["REDIS_URL"] = server.url
    if server.started:
        line = f"Started {server.started} at {server.url}. It ends when nobody uses it, and keeps its orders."
        click.echo(line, err=True)


def export(settings: Settings) -> None:
    """If an option or a variable says where to, send spans and metrics until the command ends."""
    context = click.get_current_context()
    service, commands = f"orderstream-{context.command.name}", settings.trace_errors == "message"
    context.with_resource(exporting(service, environ().get(ENDPOINT), commands=commands))
