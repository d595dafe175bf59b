"""
taskiq-redis: its own command with one worker process and AT_ONCE tasks at a time. It takes over what a dead one left
(``idle_timeout``) after it has read something new.

https://taskiq-python.github.io/guide/cli.html
https://github.com/taskiq-python/taskiq-redis
"""

import os
import sys
from typing import Any

from taskiq_redis import RedisStreamBroker

from benchmarks.peers import taskiq
from benchmarks.peers.base import GROUP, STREAM
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, URL, handle_async

broker = RedisStreamBroker(
    URL,
    queue_name=STREAM,
    consumer_group_name=GROUP,
    consumer_id="0",
    xread_count=AT_ONCE,
    idle_timeout=DEAD_AFTER_S * 1000,
    unacknowledged_batch_size=AT_ONCE,
    unacknowledged_lock_timeout=DEAD_AFTER_S,
)


@broker.task("work")
async def work(order: dict[str, Any]) -> None:
    await handle_async(order["id"])


class Peer(taskiq.Peer):
    def serve(self) -> None:
        options = ["--workers", "1", "--max-async-tasks", str(AT_ONCE), "--log-level", "ERROR"]
        os.execv(sys.executable, [sys.executable, "-P", "-m", "taskiq", "worker", f"{__name__}:broker", *options])
