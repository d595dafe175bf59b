"""Run a consumer beside other things, in an event loop of yours."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

from orderstream.consumer import Consumer
from orderstream.crew.consumer import CrewConsumer


async def run_in_this_loop(consumer: Consumer[Any]) -> None:
    """
    Run *consumer*. Its ``async def`` handler runs in this loop, its reader and its keeper in threads. To cancel this is
    to stop: it ends when the handlers in hand have ended.
    """
    loop = asyncio.get_running_loop()
    if isinstance(consumer, CrewConsumer):
        consumer.use_loop(loop)
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    def run() -> None:
        problem = None
        try:
            consumer.run()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            problem = error
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(tell, problem)

    threading.Thread(target=run, name=f"reader of {consumer.name}", daemon=True).start()
    cancelled = False
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:  # each of them means the same
            cancelled = True
            consumer.stop()
    if cancelled and not ended.exception():
        raise asyncio.CancelledError
    ended.result()
