"""``orderstream status``: how much is left to do, and who has it; with ``--watch``, again every second."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict

import click
import msgspec
import redis

from orderstream import OrderStream
from orderstream.cli.connect import connect_or_explain, wait_out
from orderstream.cli.options import json_wanted, which_stream
from orderstream.cli.terminal import print_json, screen, show, span
from orderstream.doctor.streams import stuck

WATCH_S = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@json_wanted
@which_stream
def status(watch: bool, as_json: bool) -> None:
    """
    Show how much is left to do, and who has it.

    \b
    lag            entries no consumer was given yet; Redis may not know it
    pending        entries delivered, and not yet acknowledged
    waiting        pending and in no hand, because they are to be tried again
    stuck          nobody works on these, and nobody claims them
    dead letters   what failed for good, see: orderstream dlq list
    """
    stream, pause_s = connect_or_explain(), 0.0
    if not watch:
        _look(stream, as_json, show)
        return
    with nullcontext(show) if as_json else screen() as draw:
        while True:
            try:
                _look(stream, as_json, draw)
                pause_s = 0.0
            except redis.RedisError as error:
                pause_s = wait_out(error, pause_s)
            time.sleep(WATCH_S)


def _look(stream: OrderStream, as_json: bool, draw: Callable[..., None]) -> None:
    names, now, held = stream.settings, stream.backlog(), stuck(stream.client, stream.settings)
    if as_json:
        about = {"stream": names.stream, "group": names.group, "dlq": names.dlq}
        print_json(about | msgspec.to_builtins(now) | {"stuck": [asdict(some) for some in held]})
        return
    tables = [
        [
            ("stream", names.stream, f"group {names.group}"),
            ("entries", f"{now.length:,}", ""),
            ("lag", "unknown" if now.lag is None else f"{now.lag:,}", _oldest(now.oldest_undelivered_s)),
            ("pending", f"{now.pending:,}", _oldest(now.oldest_pending_s)),
            ("waiting", f"{now.waiting:,}", "of the pending, to be tried again"),
            ("dead letters", f"{now.dead_lettered:,}", f"in {names.dlq}"),
        ],
        [("consumer", "pending", "idle"), *((c.name, f"{c.pending:,}", span(c.idle_ms)) for c in now.consumers)],
    ]
    if held:
        tables += [[("stuck", "entries", "oldest"), *((h.consumer, f"{h.count:,}", h.oldest) for h in held)]]
    draw(*tables)


def _oldest(age_s: float | None) -> str:
    return "none" if age_s is None else f"oldest {span(age_s * 1000)} ago"
