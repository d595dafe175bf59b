"""
The effect of an order in lesson 06: its amount leaves the stock. Written down twice.

The stock is a number in Redis, so that the learner sees what a second handler run does to it. A consumer that is
told ``stock="stock"`` calls one of these in its handler.
"""

from __future__ import annotations

import redis
from redis.client import Pipeline

from orderstream import Order

REMEMBERED_S = 86_400  # as long as an order may come again, and dead letters are redriven late


def sell(client: redis.Redis, stock: str, order: Order) -> None:
    """Take the order's amount from the stock: once for each time the order comes."""
    client.decrby(stock, order.amount)


def sell_once(client: redis.Redis, stock: str, order: Order) -> None:
    """
    Take the order's amount from the stock, once, however often the order comes.

    The effect and the marker that tells of it are one transaction, and the marker is named after the order: an order
    that was sent again, or redriven, has another entry id.
    """
    marker = f"sold:{order.id}"

    def step(tx: Pipeline) -> None:
        if tx.exists(marker):
            return
        tx.multi()
        tx.decrby(stock, order.amount)
        tx.set(marker, 1, ex=REMEMBERED_S)

    client.transaction(step, marker)
