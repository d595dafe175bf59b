"""
huey: AT_ONCE workers, the rest as in ``peers/huey.py``. It has no acknowledgement: what a dead one had in hand is gone.

https://huey.readthedocs.io/en/latest/consumer.html
"""

import json

from benchmarks.peers import huey
from benchmarks.waiting.handler import AT_ONCE, handle


class Peer(huey.Peer):
    def work(self, text: str) -> None:
        handle(json.loads(text)["id"])

    def serve(self) -> None:
        self.huey.create_consumer(workers=AT_ONCE, periodic=False, check_worker_health=False).run()
