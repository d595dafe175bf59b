"""Orders and handlers that the tests of the consumer share."""

from itertools import islice

from orderstream import Order, Producer, Reject, random_orders

ORDERS = list(islice(random_orders(1), 40))


class Record:
    """A handler that remembers what it was given, and does what it was told to do with it."""

    def __init__(self, do=lambda order: None):
        self.do = do
        self.runs = []

    def __call__(self, order):
        if order.id != "warm-up":
            self.runs.append(order.id)
            self.do(order)


def reject(order):
    raise Reject("sold out")


def warm(consumer):
    """Let a consumer learn that its handler is quick, so that it takes whole batches."""
    Producer(consumer.stream).send(Order("warm-up", "tea", 1))
    consumer.drain()
