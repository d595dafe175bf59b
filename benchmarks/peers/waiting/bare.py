"""
The bare asyncio loop, and the measure of all the others: one task for each order, one connection, and the acks of all
that is done travel with the next read. It promises nothing: no retries, no dead letters, no claiming, no heartbeat.

https://redis.io/docs/latest/develop/clients/redis-py/async/
https://redis.io/docs/latest/commands/xreadgroup/
"""

import asyncio
import json
import signal

import redis

from benchmarks.peers import ideal
from benchmarks.peers.base import GROUP, STREAM
from benchmarks.waiting.handler import AT_ONCE, URL, handle_async


class Peer(ideal.Peer):
    def serve(self) -> None:
        ideal.create_group(self.client)
        asyncio.run(self.loop())

    async def loop(self) -> None:
        free, stopping, done = AT_ONCE, False, []
        tasks: set[asyncio.Task[None]] = set()
        changed = asyncio.Event()

        def stop() -> None:
            nonlocal stopping
            stopping = True
            changed.set()

        async def work(id: bytes, text: bytes) -> None:
            nonlocal free
            await handle_async(json.loads(text)["id"])
            done.append(id)
            free += 1
            changed.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        async with redis.asyncio.Redis.from_url(URL, protocol=2) as client:
            while not stopping:
                if not free:
                    changed.clear()
                    await changed.wait()
                    continue
                pipe = client.pipeline(transaction=False)
                if done:
                    pipe.xack(STREAM, GROUP, *done)
                    done.clear()
                pipe.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=free, block=1_000)
                for _, entries in (await pipe.execute())[-1] or ():
                    for id, fields in entries:
                        free -= 1
                        task = asyncio.create_task(work(id, fields[b"data"]))
                        tasks.add(task)  # the loop itself keeps no task alive
                        task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
            if done:
                await client.xack(STREAM, GROUP, *done)
