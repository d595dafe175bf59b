"""orderstream as it comes: validation, retries, heartbeat and claiming are on, all settings are the defaults."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter

from benchmarks.peers.base import Base
from orderstream import Consumer, Order, Producer, Settings, connect


class Peer(Base):
    distribution = "orderstream"
    make = Order
    id_of = attrgetter("id")

    def __init__(self, url: str) -> None:
        self.stream = connect(replace(Settings.from_env(), redis_url=url))
        self.producer = Producer(self.stream)

    def produce(self, orders: list[Order]) -> None:
        self.producer.send_many(orders)

    def send(self, orders: Iterable[Order]) -> None:
        for order in orders:
            self.producer.send(order)

    def consume(self, handle: Callable[[Order], None]) -> None:
        Consumer(self.stream, handle).run()
