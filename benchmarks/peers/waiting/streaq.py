"""
streaq: AT_ONCE tasks at a time, the rest as in ``peers/streaq.py``. A stop waits for them (``grace_period``).

https://streaq.readthedocs.io/en/latest/worker.html
"""

import json
from typing import Any

from streaq import Worker

from benchmarks.peers import streaq
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, handle_async


class Peer(streaq.Peer):
    def __init__(self, url: str) -> None:
        self.worker = Worker(
            redis_url=url,
            concurrency=AT_ONCE,
            idle_timeout=DEAD_AFTER_S,
            grace_period=10,
            serializer=json.dumps,
            deserializer=json.loads,
        )
        self.task = self.worker.task(ttl=0)(self.work)

    async def work(self, order: dict[str, Any]) -> None:
        await handle_async(order["id"])

    def serve(self) -> None:
        self.worker.run_sync()
