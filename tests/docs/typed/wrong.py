"""A type checker finds one mistake in each line that says so, and no other. Nobody runs this."""

from dataclasses import dataclass
from typing import TypedDict
from uuid import uuid4

from orderstream import Consumer, Order, OrderStream, Producer, connect


@dataclass
class Payment:
    id: str
    cents: int


class Parcel(TypedDict):
    id: str


def handle(order: Order) -> None:
    print(order.item)


def pay(payment: Payment) -> None:
    print(payment.cents)


orders, payments, parcels = connect(), connect(message=Payment), connect(message=Parcel)

Producer(orders).send(Payment("p-1", 250))  # wrong
Producer(payments).send(Order("o-1", "tea", 1))  # wrong
Producer(payments).send("p-1")  # wrong
Producer(payments).send_many([Order("o-1", "tea", 1)])  # wrong
Producer(parcels).send({"number": "7"})  # wrong

Consumer(orders, pay)  # wrong
Consumer(connect(), pay)  # wrong
Consumer(OrderStream(orders.client, orders.settings), pay)  # wrong
Consumer(payments, handle)  # wrong
Consumer(payments, lambda payment: print(payment.amount))  # wrong
Consumer(parcels, lambda parcel: print(parcel["number"]))  # wrong
consumer: Consumer[Order] = Consumer(payments, print)  # wrong

connect(message=Payment("p-1", 250))  # wrong
connect(message=Payment, key="cents")  # wrong
connect(message=Payment, key=lambda payment: payment.number)  # wrong
connect(message=Payment, key=lambda payment: None)  # wrong
connect(message=Parcel, key=lambda parcel: [parcel["id"], uuid4()])  # wrong


def of_payments(stream: OrderStream[Payment]) -> None:
    print(stream)


of_payments(orders)  # wrong
Order("o-1", "tea", "two")  # wrong
Order("o-1", "tea")  # wrong
