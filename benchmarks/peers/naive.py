"""
What most of us write first: one XADD for each order; read one, handle it, ack it. A failed order is tried again at
once, in the same process, three times in all.

https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import redis

from benchmarks.peers import ideal
from benchmarks.peers.base import GROUP, STREAM

ATTEMPTS, PAUSE_S = 3, 1.0


class Peer(ideal.Peer):
    def produce(self, orders: list[dict[str, Any]]) -> None:
        self.send(orders)

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        ideal.create_group(self.client)
        while True:
            for _, entries in self.read_one():
                for id, fields in entries:
                    attempt(handle, json.loads(fields[b"data"]))
                    self.client.xack(STREAM, GROUP, id)

    def read_one(self) -> Any:
        return self.client.xreadgroup(GROUP, f"naive-{os.getpid()}", {STREAM: ">"}, count=1, block=1_000) or ()


def attempt(handle: Callable[[Any], None], order: Any) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            return handle(order)
        except redis.RedisError:
            raise
        except Exception:  # whatever a handler raises
            if not left:
                raise
            time.sleep(PAUSE_S)
    return None
