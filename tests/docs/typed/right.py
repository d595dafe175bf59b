"""A type checker finds nothing here. Nobody runs this."""

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type
from uuid import UUID

import attrs
import msgspec
import pydantic

from orderstream import Consumer, DeadLetterQueue, Order, OrderStream, Producer, Settings, connect, random_orders
from orderstream.doctor import examine


@dataclass
class Payment:
    id: str
    cents: int


class Refund(msgspec.Struct):
    number: UUID


class Parcel(TypedDict):
    id: int


@attrs.define
class Letter:
    id: str


class Event(pydantic.BaseModel):
    id: str


def handle(order: Order) -> None:
    print(order.item)


def pay(payment: Payment) -> None:
    print(payment.cents)


def handle_anything(message: object) -> None:
    print(message)


# Without a type of yours, everything is of orders, also where nothing is said of it.
orders = connect()
assert_type(orders, OrderStream[Order])
assert_type(connect(Settings()), OrderStream[Order])
assert_type(OrderStream(orders.client, orders.settings), OrderStream[Order])
assert_type(Producer(orders), Producer[Order])
assert_type(Consumer(orders, handle), Consumer[Order])
Producer(orders).send_many(random_orders())
Consumer(orders, print).run()
Consumer(orders, lambda order: print(order.amount)).run()


def as_before(stream: OrderStream, producer: Producer, consumer: Consumer) -> None:
    assert_type(stream, OrderStream[Order])
    producer.send(Order("o-1", "tea", 1))
    consumer.run()


as_before(orders, Producer(orders), Consumer(connect(), handle))

# With one, all that is made of the stream is of that type.
payments = connect(message=Payment)
assert_type(payments, OrderStream[Payment])
assert_type(OrderStream(orders.client, orders.settings, Payment), OrderStream[Payment])
assert_type(Producer(payments, dedupe="till-1"), Producer[Payment])
assert_type(Consumer(payments, pay), Consumer[Payment])
Producer(payments).send(Payment("p-1", 250))
Producer(payments).send_many(Payment(f"p-{n}", n) for n in range(9))
Consumer(payments, handle_anything).run()
Consumer(payments, lambda payment: print(payment.cents)).run()
consumer: Consumer[Payment] = Consumer(payments, pay, name="ann")

assert_type(connect(message=Refund, key=lambda refund: refund.number), OrderStream[Refund])
assert_type(connect(message=Parcel), OrderStream[Parcel])
assert_type(connect(message=Letter), OrderStream[Letter])
assert_type(connect(Settings(), message=Event, key=lambda event: event.id), OrderStream[Event])
assert_type(connect(message=Order, key=lambda order: order.item), OrderStream[Order])


# What needs no type takes each.
DeadLetterQueue(payments).redrive_all()
examine(payments)


def of_any(stream: OrderStream[Any]) -> None:
    print(stream.backlog())


of_any(payments)
of_any(orders)
