"""``orderstream consume --processes N``, as you type it: a supervisor, and one order at a time in each process."""

import os
import sys

from benchmarks.peers import ours
from benchmarks.peers.waiting import DEAD_AFTER_S
from benchmarks.waiting.handler import AT_ONCE, URL, handle
from orderstream import Order


def handler(order: Order) -> None:
    handle(order.id)


class Peer(ours.Peer):
    def serve(self) -> None:
        command = ["consume", "--redis", URL, "--processes", str(AT_ONCE), "--handler", f"{__name__}:handler"]
        os.environ["ORDERSTREAM_CLAIM_IDLE_MS"] = str(DEAD_AFTER_S * 1000)
        os.execv(sys.executable, [sys.executable, "-P", "-m", "orderstream", *command])
