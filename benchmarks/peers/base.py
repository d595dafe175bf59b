"""What each peer can do."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Protocol

STREAM, GROUP = "orders", "order_group"
BATCH = 500


class Base(Protocol):
    """
    One peer, connected to the Redis at *url*.

    An order is a dict with ``id``, ``item`` and ``amount`` and travels as JSON: by the library's own encoder if JSON
    is its format, else as one text. Each peer decodes it before it calls the handler.
    """

    distribution = "redis"  # whose version the table names
    make: Callable[..., Any] = dict  # makes an order, before the clock starts
    id_of: Callable[[Any], str] = itemgetter("id")

    def __init__(self, url: str) -> None: ...

    def produce(self, orders: list[Any]) -> None:
        """Send them all, in the quickest way that the peer's documentation shows."""

    def send(self, orders: Iterable[Any]) -> None:
        """Send one after the other; each is confirmed before the next is taken from *orders*."""

    def consume(self, handle: Callable[[Any], None]) -> None:
        """Call *handle* with each order, for ever: *handle* ends the process when it has seen enough."""
