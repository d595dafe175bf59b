"""
arq: AT_ONCE jobs at a time, the rest as in ``peers/arq.py``. A stop lets jobs end (``job_completion_wait``). A job of a
dead worker is free again ten seconds after the longest time that a job may take.

https://arq-docs.helpmanual.io/#reference
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

from arq.worker import Worker, func

from benchmarks.peers import arq
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, handle_async


async def work(context: dict[Any, Any], order: dict[str, Any]) -> None:
    await handle_async(order["id"])


class Peer(arq.Peer):
    def serve(self) -> None:
        self.run(self.start())

    async def start(self) -> None:
        worker = Worker(
            [func(work, name="work", keep_result=0, timeout=DEAD_AFTER_S)],
            redis_pool=self.pool,
            max_jobs=AT_ONCE,
            poll_delay=0.01,
            job_completion_wait=10,
            job_timeout=DEAD_AFTER_S,
            log_results=False,
            job_serializer=arq.encode,
            job_deserializer=json.loads,
        )
        with suppress(asyncio.CancelledError):  # that is how it stops
            await worker.async_run()
        await worker.close()
