"""
One file for each way to send and handle orders. Each holds a class ``Peer`` with the same four methods, see ``base``.

Nothing here imports orderstream but ``ours``: a peer's process holds that peer and the standard library.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What is known of a peer that may not be installed."""

    title: str
    orders: int
    """How many it handles in one measurement: what it does in half a second or more. Rates are compared, not times."""


PEERS = {
    "ours": Known("**orderstream**", 100_000),
    "ideal": Known("ideal redis-py loop", 100_000),
    "naive": Known("naive loop, one at a time", 6_000),
    "walrus": Known("walrus", 100_000),
    "faststream": Known("FastStream, per message", 6_000),
    "faststream_batch": Known("FastStream, batch of 500", 40_000),
    "taskiq": Known("taskiq-redis", 4_000),
    "streaq": Known("streaq", 3_000),
    "arq": Known("arq", 3_000),
    "huey": Known("huey", 4_000),
    "celery": Known("celery", 2_000),
}
