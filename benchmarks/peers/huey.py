"""
huey: a blocking pop, no results, one worker thread (its handler is plain Python, so more threads only take turns) and
no periodic tasks. It pickles a task, in which the order is a JSON text. It has no way to send many at once.

https://huey.readthedocs.io/en/latest/consumer.html
https://huey.readthedocs.io/en/latest/api.html
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from huey import RedisHuey

from benchmarks.peers.base import Base


class Peer(Base):
    distribution = "huey"

    def __init__(self, url: str) -> None:
        self.handle: Callable[[dict[str, Any]], None] = print
        self.huey = RedisHuey("orders", url=url, results=False, blocking=True)
        self.task = self.huey.task(name="work")(self.work)

    def work(self, text: str) -> None:
        self.handle(json.loads(text))

    def produce(self, orders: list[dict[str, Any]]) -> None:
        self.send(orders)

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        for order in orders:
            self.task(json.dumps(order))

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self.handle = handle
        self.huey.create_consumer(workers=1, periodic=False, check_worker_health=False).run()
