"""``orderstream produce``: send random orders, at a rate or at full speed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice

import click
import redis

from orderstream import Order, Producer, SendUnknown, Settings, random_orders
from orderstream.cli.connect import connect_or_explain, wait_out
from orderstream.cli.options import AT_LEAST_0, AT_LEAST_1, PER_SECOND, export, otlp, setting, which_stream
from orderstream.cli.terminal import counted, leave_when_told, line, pace, progress

DEFAULT_RATE = 10.0  # orders per second, without --count
CATCH_UP_S = 1.0  # a producer that fell behind its rate makes up for the last second only


@click.command()
@click.option("--count", type=AT_LEAST_0, metavar="N", help="Send N orders, then end.  [default: no end]")
@click.option(
    "--rate", type=PER_SECOND, metavar="PER_S", help="Orders per second.  [default: 10, or full speed with --count]"
)
@setting("--batch", "ORDERSTREAM_BATCH", "N", "The most orders in one round trip.", Settings.batch, type=AT_LEAST_1)
@click.option("--seed", type=int, metavar="S", help="The same S sends the same orders.  [default: always new ones]")
@otlp
@which_stream
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
    stream, stop, orders = connect_or_explain(), threading.Event(), random_orders(seed)
    export(stream.settings)
    done = leave_when_told(stop.set, stream.settings.grace_s)
    if rate is None and count is None:
        rate = DEFAULT_RATE
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
                    click.echo(f"{id}  {line(order)}")
    done()
    click.echo(f"Sent {pace(sent, began)}.", err=True)
    if unknown and not stop.is_set():
        more = counted(unknown, "more order is", "more orders are")
        raise click.ClickException(f"nobody knows whether {more} in the stream")


def _sizes(count: int | None, rate: float | None, batch: int, stop: threading.Event) -> Iterator[int]:
    """
    Yield how many orders to send next, each time it is due.

    Args:
        count: Orders in all. None: no end.
        rate: Orders per second. None: full speed.
        batch: The most orders at once.
        stop: When it is set, the sizes end.
    """
    left, due = sys.maxsize if count is None else count, time.monotonic()
    while left and not stop.is_set():
        size = min(batch, left)
        if rate:
            if stop.wait(due - time.monotonic()):
                return
            late_s = time.monotonic() - due
            size = min(size, 1 + int(late_s * rate))
            due = max(due + size / rate, time.monotonic() - CATCH_UP_S)
        yield size
        left -= size


def _send(producer: Producer, batch: list[Order], stop: threading.Event) -> list[str]:
    """
    Send *batch* and return its entry ids; return none if *stop* is set first.

    While Redis is away this waits and tries again. No order is sent twice: a Redis error means that nothing was
    sent, and a lost reply is not tried again, it raises ``SendUnknown``.
    """
    pause_s = 0.0
    while not stop.wait(pause_s):
        try:
            return producer.send_many(batch)
        except redis.RedisError as error:
            pause_s = wait_out(error, pause_s)
    return []
