"""
FastStream, 500 messages at a time: its handler gets them as one list, and they are acked together.

https://faststream.ag2.ai/latest/redis/streams/
"""

from collections.abc import Callable
from typing import Any

from faststream.redis import StreamSub

from benchmarks.peers import faststream


class Peer(faststream.Peer):
    batch = True

    def subscribe(self, source: StreamSub, handle: Callable[[dict[str, Any]], None]) -> None:
        @self.broker.subscriber(stream=source)
        async def many(orders: list[dict[str, Any]]) -> None:
            for order in orders:
                handle(order)
