"""
streaq: many orders go in one pipeline (``enqueue_many``); the worker runs 100 tasks at a time and keeps no results.

https://streaq.readthedocs.io/en/latest/worker.html
https://streaq.readthedocs.io/en/latest/task.html
"""

import json
from asyncio import Runner
from collections.abc import Callable, Iterable
from typing import Any

from streaq import Worker

from benchmarks.peers.base import Base
from benchmarks.peers.ideal import batches


class Peer(Base):
    distribution = "streaq"

    def __init__(self, url: str) -> None:
        self.handle: Callable[[dict[str, Any]], None] = print
        self.worker = Worker(
            redis_url=url, concurrency=100, handle_signals=False, serializer=json.dumps, deserializer=json.loads
        )
        self.task = self.worker.task(ttl=0)(self.work)

    async def work(self, order: dict[str, Any]) -> None:
        self.handle(order)

    def produce(self, orders: list[dict[str, Any]]) -> None:
        async def enqueue() -> None:
            async with self.worker:
                for batch in batches(orders):
                    await self.worker.enqueue_many([self.task.enqueue(order) for order in batch])

        Runner().run(enqueue())

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        async def enqueue() -> None:
            async with self.worker:
                for order in orders:
                    await self.task.enqueue(order)

        Runner().run(enqueue())

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self.handle = handle
        self.worker.run_sync()
