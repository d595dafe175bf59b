"""orderstream with an ``async def`` handler, which runs in an event loop. Everything else is as with threads."""

from benchmarks.peers.waiting import ours_threads
from benchmarks.waiting.handler import AT_ONCE, handle_async
from orderstream import Order


async def handler(order: Order) -> None:
    await handle_async(order.id)


class Peer(ours_threads.Peer):
    handler = staticmethod(handler)

    def many(self) -> dict[str, int]:
        return {"concurrency": AT_ONCE}
