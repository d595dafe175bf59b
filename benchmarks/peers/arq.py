"""
arq: JSON instead of pickle, no results kept, 100 jobs at a time, a short poll delay. Many orders are sent by many
calls at once, because it has no other way. It needs redis-py 5, so it has an environment of its own.

https://arq-docs.helpmanual.io/#reference
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.peers.base import Base
from benchmarks.peers.ideal import batches


def encode(job: dict[str, Any]) -> bytes:
    return json.dumps(job).encode()


class Peer(Base):
    distribution = "arq"

    def __init__(self, url: str) -> None:
        self.settings = RedisSettings.from_dsn(url)
        self.settings.max_connections = 50
        self.run = asyncio.Runner().run
        self.pool = self.run(create_pool(self.settings, job_serializer=encode, job_deserializer=json.loads))

    def produce(self, orders: list[dict[str, Any]]) -> None:
        async def enqueue() -> None:
            for batch in batches(orders):
                for some in (batch[start : start + 50] for start in range(0, len(batch), 50)):
                    await asyncio.gather(*(self.pool.enqueue_job("work", order) for order in some))

        self.run(enqueue())

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        async def enqueue() -> None:
            for order in orders:
                await self.pool.enqueue_job("work", order)

        self.run(enqueue())

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        async def work(context: dict[Any, Any], order: dict[str, Any]) -> None:
            handle(order)

        async def start() -> None:
            worker = Worker(
                [func(work, name="work", keep_result=0)],
                redis_pool=self.pool,
                max_jobs=100,
                poll_delay=0.01,
                handle_signals=False,
                job_serializer=encode,
                job_deserializer=json.loads,
            )
            await worker.main()

        self.run(start())
