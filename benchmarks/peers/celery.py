"""
celery: JSON, results ignored, no rate limits, no events, a large prefetch, and the solo pool, the quickest for short
tasks in one process. It has no way to send many at once.

https://docs.celeryq.dev/en/stable/userguide/optimizing.html
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery

from benchmarks.peers.base import Base


class Peer(Base):
    distribution = "celery"

    def __init__(self, url: str) -> None:
        self.handle: Callable[[dict[str, Any]], None] = print
        self.app = Celery("orders", broker=url)
        self.app.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            worker_prefetch_multiplier=100,
            worker_disable_rate_limits=True,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )

        @self.app.task(name="work")
        def work(order: dict[str, Any]) -> None:
            self.handle(order)

        self.task = work

    def produce(self, orders: list[dict[str, Any]]) -> None:
        self.send(orders)

    def send(self, orders: Iterable[dict[str, Any]]) -> None:
        with self.app.producer_pool.acquire() as producer:
            for order in orders:
                self.task.apply_async((order,), producer=producer)

    def consume(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self.handle = handle
        options = ["--pool=solo", "--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.app.worker_main(["worker", "--loglevel=ERROR", *options])
