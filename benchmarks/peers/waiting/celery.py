"""
celery: AT_ONCE threads, which do more here than gevent. With late acks, an order of a dead worker comes again after
``visibility_timeout``; with those it is told to reserve no more than it can begin. The rest is as in
``peers/celery.py``.

https://docs.celeryq.dev/en/stable/userguide/optimizing.html
https://docs.celeryq.dev/en/stable/userguide/concurrency/index.html
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

from typing import Any

from benchmarks.peers import celery
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, handle


class Peer(celery.Peer):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.app.conf.update(
            task_acks_late=True,
            worker_prefetch_multiplier=1,
            broker_transport_options={"visibility_timeout": DEAD_AFTER_S},
        )
        self.handle = self.work

    def work(self, order: dict[str, Any]) -> None:
        handle(order["id"])

    def serve(self) -> None:
        options = ["--pool=threads", f"--concurrency={AT_ONCE}", "--without-gossip", "--without-mingle"]
        self.app.worker_main(["worker", "--loglevel=ERROR", *options])
