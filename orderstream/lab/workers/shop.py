"""
The effect of an order in lesson 06: its amount is taken from the stock. There are two ways to write it.

The stock is a number in Redis, so that the learner sees what a second handler run does to it. The handler of a consumer
that was started with ``stock="stock"`` calls one of these functions.
"""

from __future__ import annotations

import redis
from redis.client import Pipeline

from orderstream import Order

REMEMBERED_S = 86_400  # an order may come again so late, because dead letters are redriven late


def sell(client: redis.Redis, stock: str, order: Order) -> None:
    """Take the order's amount from the stock each time the order comes."""
    client.decrby(stock, order.amount)


def sell_once(client: redis.Redis, stock: str, order: Order) -> None:
    """
    Take the order's amount from the stock, once, however often the order comes.

    The effect and its marker are one transaction. The marker has the order id in its name and not the entry id, because
    an order that was sent again, or redriven, has another entry id.
    """
    marker = f"sold:{order.id}"

    def step(tx: Pipeline) -> None:
        if tx.exists(marker):
            return
        tx.multi()
        tx.decrby(stock, order.amount)
        tx.set(marker, 1, ex=REMEMBERED_S)

    client.transaction(step, marker)
