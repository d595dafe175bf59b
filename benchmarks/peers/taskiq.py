"""
taskiq-redis: its stream broker, the one that acknowledges, reading 500 at a time; no result backend. Many orders are
sent by many calls at once, because it has no other way.

https://github.com/taskiq-python/taskiq-redis
https://taskiq-python.github.io/guide/cli.html
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.peers.base import BATCH, GROUP, STREAM, Base
from benchmarks.peers.ideal import batches

AT_ONCE = 50


class Peer(Base):
    distribution = "taskiq-redis"

    def __init__(self, url: str) -> None:
        self.handle: Callable[[dict[str, Any]], None] = print
        self.broker = RedisStreamBroker(
            url,
            queue_name=STREAM,
            consumer_group_name=GROUP,
            consumer_name=f"taskiq-{os.getpid()}",
            consumer_id="0",
            xread_count=BATCH,
            max_connection_pool_size=AT_ONCE,
        )

        @self.broker.task("work")
        async def work(order: dict[str, Any]) -> None:
            self.handle(order)

        self.task = work
        self.run = asyncio.Runner().run
        self.run(self.broker.startup())

    def produce(self, orders: list[dict[str, Any]]) -> None:
        async def kick() -> None:
            for batch in batches(orders):
                await asyncio.gather(*(self.task.kiq(order) for order in batch))

        self.run(kick())

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        async def kick() -> None:
            for order in orders:
                await self.task.kiq(order)

        self.run(kick())

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self.handle = handle
        self.run(run_receiver_task(self.broker, max_prefetch=BATCH))
