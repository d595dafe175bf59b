"""
A consumer in a process of its own, for the soak: ``python -m tests.chaos.worker NAME FOLDER``.

It appends a line to the file NAME in FOLDER for whatever happens to an entry. A line is one write, so it is whole
and stays, even if the process is killed right after it:

    asked    a claim was sent
    heard    its reply came
    got      delivered, by a read or a claim
    began    its handler began
    done     its handler came to its end: the effect
    failed   its handler raised
"""

import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from orderstream import Consumer, OrderStream, Settings
from orderstream.cli.terminal import leave_when_told
from orderstream.connection import open_client
from orderstream.entries import Entry
from orderstream.errors import DecodeError
from orderstream.lab.lifeline import lifeline
from orderstream.order import Order

NOTHING = Entry("-", (), 0)


class Worker(OrderStream):
    """The stream as a worker sees it, which notes what it is given, and the handler."""

    def __init__(self, name, folder):
        settings = Settings.from_env()
        super().__init__(open_client(settings), settings)
        self.failed_before = folder / "failed-before"
        self.slow_s = 2.5 * settings.claim_idle_ms / 1000
        self._record = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._entries = {}

    def note(self, what, entry=NOTHING):
        os.write(self._record, f"{time.time():.3f} {what} {entry.id} {entry.attempt}\n".encode())

    def _got(self, entry):
        self.note("got", entry)
        with suppress(DecodeError):  # the consumer finds that out by itself
            self._entries[Order.from_fields(entry.fields).id] = entry

    def read_new(self, *args, **kwargs):
        entries = super().read_new(*args, **kwargs)
        for entry in entries:
            self._got(entry)
        return entries

    def claim(self, *args, **kwargs):
        self.note("asked")
        claimed = super().claim(*args, **kwargs)
        if claimed.entry:
            self._got(claimed.entry)
        self.note("heard")
        return claimed

    def handle(self, order):
        entry = self._entries[order.id]
        self.note("began", entry)
        if order.item == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if order.item == "slow":
            time.sleep(self.slow_s)
        if order.item == "failing" or (order.item == "flaky" and self._is_first_failure(order.id)):
            self.note("failed", entry)
            raise RuntimeError("made to fail")
        self.note("done", entry)

    def _is_first_failure(self, order_id):
        try:
            (self.failed_before / order_id).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def main(name, folder):
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    worker = Worker(name, Path(folder))
    consumer = Consumer(worker, worker.handle, name)
    lifeline(consumer.stop)  # the soak's process is gone
    leave_when_told(consumer.stop, worker.settings.grace_s)
    consumer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
