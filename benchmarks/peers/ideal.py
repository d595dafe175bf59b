"""
The best loop that redis-py's documented interface allows, and the measure of all the others.

A pipeline of 500 XADDs; XREADGROUP COUNT 500, and the XACK for a batch travels with the next read. It has no retries,
no dead letters and no claiming: what it leaves out, it need not pay for.

https://redis.io/docs/latest/develop/clients/redis-py/transpipe/
https://redis.io/docs/latest/commands/xreadgroup/
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import redis

from benchmarks.peers.base import BATCH, GROUP, STREAM, Base


class Peer(Base):
    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, protocol=2)  # RESP3 is no faster, and its replies have another form
        self.name = f"ideal-{os.getpid()}"

    def produce(self, orders: list[dict[str, Any]]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for batch in batches(orders):
            for order in batch:
                pipe.xadd(STREAM, {"data": json.dumps(order)})
            pipe.execute()

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        for order in orders:
            self.client.xadd(STREAM, {"data": json.dumps(order)})

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        create_group(self.client)
        pipe = self.client.pipeline(transaction=False)
        acks: list[bytes] = []
        while True:
            if acks:
                pipe.xack(STREAM, GROUP, *acks)
            pipe.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=BATCH, block=1_000)
            acks = []
            for _, entries in pipe.execute()[-1] or ():
                for id, fields in entries:
                    handle(json.loads(fields[b"data"]))
                    acks.append(id)


def batches(orders: list[Any]) -> Iterator[list[Any]]:
    """Cut *orders* into lists of 500."""
    remaining = iter(orders)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def create_group(client: redis.Redis) -> None:
    """XGROUP CREATE, unless it is there."""
    with suppress(redis.ResponseError):
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
