"""orderstream with a plain handler, which runs in threads. It promises all that it promises elsewhere."""

import signal
from dataclasses import replace

from benchmarks.peers import ours
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, handle
from orderstream import Consumer, Order, Settings, connect


def handler(order: Order) -> None:
    handle(order.id)


class Peer(ours.Peer):
    handler = staticmethod(handler)

    def serve(self) -> None:
        settings = replace(Settings(), redis_url=self.stream.settings.redis_url, claim_idle_ms=DEAD_AFTER_S * 1000)
        consumer = Consumer(connect(settings), self.handler, **self.many())
        signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
        consumer.run()

    def many(self) -> dict[str, int]:
        return {"concurrency": AT_ONCE} if AT_ONCE > 1 else {}  # one at a time is the consumer that you know
