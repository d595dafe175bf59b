"""
What handles the soak's orders, and keeps the journal. A process runs it in one of two ways:

    orderstream consume --handler tests.chaos.worker:handle     under the supervisor, as most users do
    python -m tests.chaos.worker                                a program of somebody's own around ``Consumer.run()``

SOAK_NAME is what the soak calls the program, SOAK_FOLDER where the journals are, SOAK_SLOW_S how long a slow handler
runs. With SOAK_CREW=coroutines the handler is ``handle_async``; with that or SOAK_CREW=threads many run at once.

Each process appends to a journal of its own, NAME.PID, a line for whatever happens to an entry. A line is one write, so
it is whole and stays, even if the process is killed right after it:

    asked    a claim was sent
    heard    its reply came
    got      delivered, by a read or a claim
    began    its handler began
    done     its handler came to its end: the effect
    failed   its handler raised
    left     the process came to its own end
"""

import asyncio
import atexit
import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path

from orderstream import Consumer, OrderStream, Settings
from orderstream.cli.terminal import leave_when_told
from orderstream.connection import open_client
from orderstream.embedded.guard import die_with_parent
from orderstream.embedded.lifeline import lifeline
from orderstream.entries import Entry
from orderstream.errors import DecodeError
from orderstream.order import Order

NAME, FOLDER = os.environ["SOAK_NAME"], Path(os.environ["SOAK_FOLDER"])
SLOW_S = float(os.environ["SOAK_SLOW_S"])
CREW = os.environ["SOAK_CREW"]
AT_ONCE = 50  # handlers of a crew
NOTHING = Entry("-", (), 0)
MADE_TO = "made to fail"

entries = {}  # by order id: a handler is not told which entry its order came in


# The journal --------------------------------------------------------------------------------------


@cache
def journal():
    """Opened at the first note: the supervisor imports this file, too, and has nothing to say."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # os.abort() would leave a file
    atexit.register(note, "left")
    return os.open(FOLDER / f"{NAME}.{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what, entry=NOTHING):
    os.write(journal(), f"{time.time():.3f} {what} {entry.id} {entry.attempt}\n".encode())


def got(entry):
    note("got", entry)
    with suppress(DecodeError):  # the consumer finds that out by itself
        entries[Order.from_fields(entry.fields).id] = entry


def noting_reads(read_new):
    @wraps(read_new)
    def read(*args, **kwargs):
        batch = read_new(*args, **kwargs)
        for entry in batch:
            got(entry)
        return batch

    return read


def noting_claims(claim):
    @wraps(claim)
    def ask(*args, **kwargs):
        note("asked")
        claimed = claim(*args, **kwargs)
        if claimed.entry:
            got(claimed.entry)
        note("heard")
        return claimed

    return ask


OrderStream.read_new = noting_reads(OrderStream.read_new)
OrderStream.claim = noting_claims(OrderStream.claim)


# What an order does to its handler ----------------------------------------------------------------


def fail(kind=RuntimeError):
    raise kind(MADE_TO)


def fail_once(order):
    try:
        (FOLDER / "failed-before" / order.id).touch(exist_ok=False)
    except FileExistsError:
        return
    fail()


def work_in_a_pool(order):
    with multiprocessing.Pool(2, initializer=die_with_parent()) as pool:  # else they outlive a process that is shot
        assert pool.map(abs, [-order.amount]) == [order.amount]


DOES = {
    "good": lambda order: None,
    "slow": lambda order: time.sleep(SLOW_S),
    "gil": lambda order: ctypes.PyDLL(None).usleep(int(SLOW_S * 1e6)),  # no other thread runs meanwhile
    "pool": work_in_a_pool,
    "flaky": fail_once,
    "failing": lambda order: fail(),
    "sysexit": lambda order: sys.exit(MADE_TO),
    "interrupt": lambda order: fail(KeyboardInterrupt),
    "cancelled": lambda order: fail(asyncio.CancelledError),
    "exit": lambda order: os._exit(0),
    "abort": lambda order: os.abort(),
    "poison": lambda order: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda order: threading.Event().wait(),
}


def handle(order):
    entry = entries[order.id]
    note("began", entry)
    try:
        DOES[order.item](order)
    except BaseException:
        note("failed", entry)
        raise
    note("done", entry)


WAITS = {
    "good": lambda: asyncio.sleep(0.01),
    "slow": lambda: asyncio.sleep(SLOW_S),
    "hang": lambda: asyncio.Event().wait(),
}


async def handle_async(order):
    entry = entries[order.id]
    note("began", entry)
    try:
        if wait := WAITS.get(order.item):
            await wait()
        else:
            DOES[order.item](order)
    except BaseException:
        note("failed", entry)
        raise
    note("done", entry)


def main():
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    settings = Settings.from_env()
    handler, at_once = handle_async if CREW == "coroutines" else handle, AT_ONCE if CREW else 1
    consumer = Consumer(OrderStream(open_client(settings), settings), handler, NAME, concurrency=at_once)
    lifeline(consumer.stop)  # the soak's process is gone
    leave_when_told(consumer.stop, settings.grace_s)
    consumer.run()


if __name__ == "__main__":
    main()
