"""
FastStream: a subscriber with AT_ONCE workers, which reads as many messages at a time. The read itself takes over what a
dead one left (``claim_min_idle_time``, Redis 8.4 and newer).

https://faststream.ag2.ai/latest/getting-started/subscription/
https://faststream.ag2.ai/latest/redis/streams/claiming/
"""

import os
from typing import Any

from faststream import FastStream
from faststream.redis import StreamSub

from benchmarks.peers import faststream
from benchmarks.peers.base import GROUP, STREAM
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, handle_async


class Peer(faststream.Peer):
    def serve(self) -> None:
        self.run(self.create_group())
        source = StreamSub(
            STREAM,
            group=GROUP,
            consumer=f"faststream-{os.getpid()}",
            max_records=AT_ONCE,
            claim_min_idle_time=DEAD_AFTER_S * 1000,
        )

        @self.broker.subscriber(stream=source, max_workers=AT_ONCE)
        async def one(order: dict[str, Any]) -> None:
            await handle_async(order["id"])

        self.run(FastStream(self.broker, logger=None).run())
