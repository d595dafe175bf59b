"""
Orders through a Redis stream: sent, shared, handled at least once, retried, dead-lettered, redriven.

    from orderstream import Consumer, Producer, connect, random_orders

    stream = connect()                                  # REDIS_ADDR or REDIS_URL, default localhost:6379
    Producer(stream).send(next(random_orders()))
    Consumer(stream, print).drain()

Read the code in this order: errors, order, form, config, policy, connection, entries, observer, scripts with lua,
stream, producer, hand, consumer, deadletter. Each file knows only those before it.
"""

from orderstream.config import Settings
from orderstream.consumer import Consumer
from orderstream.deadletter import DeadLetter, DeadLetterQueue
from orderstream.entries import Backlog
from orderstream.errors import Defer, Reject, SendUnknown
from orderstream.order import Order, random_orders
from orderstream.policy import RetryPolicy
from orderstream.producer import Producer
from orderstream.stream import OrderStream, connect

__version__ = "0.1.0"

__all__ = [
    # the domain
    "Order",
    "random_orders",
    # the stream
    "Settings",
    "connect",
    "OrderStream",
    "Backlog",
    # sending
    "Producer",
    "SendUnknown",
    # handling
    "Consumer",
    "RetryPolicy",
    "Reject",
    "Defer",
    # looking after what failed
    "DeadLetterQueue",
    "DeadLetter",
]
