"""
dramatiq: its command for gevent, with one process of AT_ONCE greenlets, which take less than threads. It takes a silent
worker for dead after ``heartbeat_timeout``, and looks for such workers at one of a thousand commands
(``maintenance_chance``, its default).

https://dramatiq.io/advanced.html
https://dramatiq.io/reference.html#dramatiq.brokers.redis.RedisBroker
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.base import Base
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, URL, handle

broker = RedisBroker(url=URL, heartbeat_timeout=DEAD_AFTER_S * 1000)
dramatiq.set_broker(broker)


@dramatiq.actor
def work(order: dict[str, Any]) -> None:
    handle(order["id"])


class Peer(Base):
    distribution = "dramatiq"

    def __init__(self, url: str) -> None: ...

    def produce(self, orders: list[dict[str, Any]]) -> None:
        self.send(orders)

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        for order in orders:
            work.send(order)

    def serve(self) -> None:
        command = Path(sys.executable).with_name("dramatiq-gevent")
        options = ["--processes", "1", "--threads", str(AT_ONCE), "--skip-logging"]
        os.execv(command, [str(command), __name__, *options])
