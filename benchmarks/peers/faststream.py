"""
FastStream, one message at a time: a stream subscriber of a consumer group that acks each message, and reads 500 at a
time. Many are sent through its pipeline. Message format: the binary one, its default.

https://faststream.ag2.ai/latest/redis/streams/groups/
https://faststream.ag2.ai/latest/redis/pipeline/
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from redis import ResponseError

from benchmarks.peers.base import BATCH, GROUP, STREAM, Base
from benchmarks.peers.ideal import batches


class Peer(Base):
    distribution = "faststream"
    batch = False

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker(url, logger=None)
        self.run = asyncio.Runner().run
        self.run(self.broker.connect())

    def produce(self, orders: list[dict[str, Any]]) -> None:
        async def publish() -> None:
            client = await self.broker.connect()
            for batch in batches(orders):
                async with client.pipeline(transaction=False) as pipe:
                    for order in batch:
                        await self.broker.publish(order, stream=STREAM, pipeline=pipe)
                    await pipe.execute()

        self.run(publish())

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        async def publish() -> None:
            for order in orders:
                await self.broker.publish(order, stream=STREAM)

        self.run(publish())

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self.run(self.create_group())
        name = f"faststream-{os.getpid()}"
        source = StreamSub(STREAM, group=GROUP, consumer=name, batch=self.batch, max_records=BATCH)
        self.subscribe(source, handle)
        self.run(FastStream(self.broker, logger=None).run())

    async def create_group(self) -> None:
        """FastStream would create it at the stream's end, and never see what was sent before."""
        client = await self.broker.connect()
        with suppress(ResponseError):  # it is there
            await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    def subscribe(self, source: StreamSub, handle: Callable[[dict[str, Any]], None]) -> None:
        @self.broker.subscriber(stream=source)
        async def one(order: dict[str, Any]) -> None:
            handle(order)
