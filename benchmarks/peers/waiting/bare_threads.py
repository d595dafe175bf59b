"""
The bare thread pool: one thread reads and acks, AT_ONCE threads handle. It promises as little as ``bare``.

https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor
https://redis.io/docs/latest/commands/xreadgroup/
"""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from benchmarks.peers import ideal
from benchmarks.peers.base import GROUP, STREAM
from benchmarks.waiting.handler import AT_ONCE, handle


class Peer(ideal.Peer):
    def serve(self) -> None:
        ideal.create_group(self.client)
        done: SimpleQueue[bytes | None] = SimpleQueue()  # None wakes the loop when it has to stop
        free, stopping, acks = AT_ONCE, False, []

        def stop(*_: object) -> None:
            nonlocal stopping
            stopping = True
            done.put(None)

        def work(id: bytes, text: bytes) -> None:
            handle(json.loads(text)["id"])
            done.put(id)

        def wait_for_one() -> None:
            nonlocal free
            if id := done.get():
                acks.append(id)
                free += 1

        signal.signal(signal.SIGTERM, stop)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not stopping:
                while not (free or stopping) or not done.empty():
                    wait_for_one()
                pipe = self.client.pipeline(transaction=False)
                if acks:
                    pipe.xack(STREAM, GROUP, *acks)
                    acks.clear()
                if free and not stopping:
                    pipe.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=free, block=1_000)
                    for _, entries in pipe.execute()[-1] or ():
                        for id, fields in entries:
                            free -= 1
                            pool.submit(work, id, fields[b"data"])
            while free < AT_ONCE:
                wait_for_one()
            if acks:
                self.client.xack(STREAM, GROUP, *acks)
