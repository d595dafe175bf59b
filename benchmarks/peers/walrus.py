"""
walrus: its consumer group reads 500 at a time, and acks each batch with one XACK. Many are sent through its pipeline.

https://walrus.readthedocs.io/en/latest/streams.html
"""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from walrus import Database

from benchmarks.peers.base import BATCH, GROUP, STREAM, Base
from benchmarks.peers.ideal import batches


class Peer(Base):
    distribution = "walrus"

    def __init__(self, url: str) -> None:
        self.db = Database.from_url(url, protocol=2)
        self.stream = self.db.Stream(STREAM)

    def produce(self, orders: list[dict[str, Any]]) -> None:
        with self.db.pipeline(transaction=False) as pipe:
            for batch in batches(orders):
                for order in batch:
                    pipe.xadd(STREAM, {"data": json.dumps(order)})
                pipe.execute()

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        for order in orders:
            self.stream.add({"data": json.dumps(order)})

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        group = self.db.consumer_group(GROUP, [STREAM], consumer=f"walrus-{os.getpid()}")
        group.create(ensure_keys_exist=False, mkstream=True)  # its default fails if a producer is just a bit quicker
        while True:
            for _, entries in group.read(count=BATCH, block=1_000) or ():
                for _, fields in entries:
                    handle(json.loads(fields[b"data"]))
                group.streams[STREAM].ack(*(id for id, _ in entries))
