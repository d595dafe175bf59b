"""What runs in the processes: consumers, and who works beside them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import redis

from orderstream import Consumer, DeadLetterQueue, Defer, Order, OrderStream, Producer, Reject, SendUnknown, Settings
from orderstream.connection import ReplyLost, open_client
from orderstream.lab.model.gate import Process, wait

Program = Callable[[Process], object]


@cache
def _client(settings: Settings) -> redis.Redis:
    """Return a client. All processes can have the same one, because nothing is connected."""
    client = open_client(settings)
    client.connection_pool.max_connections = 2**31
    return client

def consume(settings: Settings) -> Program:
    """A consumer. How its handler ends is an input."""

    def program(process: Process) -> None:
        consumer = Consumer(OrderStream(_client(settings), settings), handle)
        process.on_stop = consumer.stop
        process.known_as = consumer.name
        consumer.run()

    return program


def handle(order: Order) -> None:
    match wait("handles", order.id):
        case "raises":
            raise RuntimeError("made to fail")
        case "rejects":
            raise Reject("made to be rejected")
        case "defers":
            raise Defer(60_000)


def produce(settings: Settings, orders: list[Order], dedupe: bool) -> Program:
    """A producer that sends *orders*, each once."""

    def program(process: Process) -> None:
        producer = Producer(OrderStream(_client(settings), settings), dedupe="till-1" if dedupe else None)
        for order in orders:
            with suppress(SendUnknown):
                producer.send(order)

    return program


def janitor(settings: Settings, what: str) -> Program:
    """Somebody who trims, redrives or reaps, once; and again if the reply was lost."""

    def program(process: Process) -> None:
        stream: OrderStream[Any] = OrderStream(_client(settings), settings)
        work: dict[str, Callable[[], object]] = {
            "trim": stream.trim,
            "redrive": DeadLetterQueue(stream).redrive_all,
            "reap": lambda: stream.reap(0),
        }
        while True:
            with suppress(ReplyLost):
                work[what]()
                return

    return program
