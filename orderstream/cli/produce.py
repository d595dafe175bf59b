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
    stream or not: that is said, and the order is not sent again. What Redis refused is sent again until it is in.

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
            added, doubtful = _send(Producer(stream), batch, stop)
            sent += len(added)
            unknown += len(doubtful)
            if advance:
                advance(len(added))
            else:
                for id, order in added:
                    click.echo(f"{id}  {line(order)}")
    done()
    click.echo(f"Sent {pace(sent, time.monotonic() - began)}.", err=True)
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


def _send(
    producer: Producer, batch: list[Order], stop: threading.Event
) -> tuple[list[tuple[str, Order]], list[Order]]:
    """
    Send *batch*. While Redis is away or full this waits, and tries again with the orders that are certainly not in the
    stream, until *stop* is set. No order is sent twice.

    Returns:
        The orders that are in the stream, each with its entry id; and those that may be: their replies were lost.
    """
    added: list[tuple[str, Order]] = []
    unknown: list[Order] = []
    left, pause_s = batch, 0.0
    while left and not stop.wait(pause_s):
        try:
            added += zip(producer.send_many(left), left, strict=True)
            break
        except SendUnknown as half:
            if half.unknown:
                click.echo(f"Warning: {half}. Those that may be in it are not sent again.", err=True)
            not_added = {order.id for order in half.unknown + half.refused}
            added += zip(half.sent, (order for order in left if order.id not in not_added), strict=False)
            unknown += half.unknown
            left = half.refused + left[len(half.sent) + len(half.unknown) + len(half.refused) :]
            if half.refused and isinstance(half.__cause__, redis.RedisError):
                pause_s = wait_out(half.__cause__, pause_s)
        except redis.RedisError as error:
            pause_s = wait_out(error, pause_s)
    return added, unknown
