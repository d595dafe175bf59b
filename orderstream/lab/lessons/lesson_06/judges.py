"""Lesson 06: an effect that happens once, and orders that are sent again without a double."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import hiredis
import redis

from orderstream import Order, OrderStream, SendUnknown, Settings, connect
from orderstream.connection import ReplyLost
from orderstream.lab import server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Died, Witness
from orderstream.lab.workers.lossy_link import LossyLink

KEY = "check"
STOCK, AMOUNT = 10, 3
HOURS_MS = 6 * 3_600_000  # a dead letter may wait so long, and then the order comes again
PATIENCE = 100  # commands after which an answer is ended; a lock that nobody opens would keep it waiting
ORDERS = [{"id": f"x-{n}", "item": "tea", "amount": AMOUNT} for n in (1, 2)]


class Mortal(Witness):
    """The process of this client dies when *commands* of its commands were answered. A MULTI is sent whole or not."""

    def __init__(self, commands: int) -> None:
        super().__init__(KEY)
        self._commands = commands

    def asked(self) -> None:
        if len(self.calls) >= self._commands:
            raise Died("the process is gone")


class Met(Witness):
    """When *commands* of this client's commands were answered, *other* is called before the next one."""

    def __init__(self, commands: int, other: Callable[[], object]) -> None:
        super().__init__(KEY, patience=PATIENCE)
        self._commands, self._other = commands, other

    def answered(self, words: tuple[str, ...], reply: Any) -> None:
        super().answered(words, reply)
        if len(self.calls) >= self._commands:
            self._commands, other = 1_000_000, self._other
            other()


def quiet() -> Witness:
    """Return a client whose process lives on."""
    return Witness(KEY, patience=PATIENCE)


class Shop:
    """A hash with the stock, into which the answer writes. ``close`` also removes the markers that the answer made."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.client = server.current().client
        self._answer = answer
        self._before = set(self.client.scan_iter())
        self._words = {KEY}

    def open(self) -> None:
        """Begin with a full stock, and without markers of an earlier run."""
        self.close()
        self.client.hset(KEY, mapping={"stock": STOCK, "sold": 0})

    def close(self) -> None:
        server.current().fresh(KEY, *self._markers())

    def _markers(self) -> list[str]:
        """Return the keys that the answer made."""
        made = set(self.client.scan_iter()) - self._before
        return sorted(key for key in made if key in self._words or any(order["id"] in key for order in ORDERS))

    def wait(self, passed_ms: int = HOURS_MS) -> list[str]:
        """Let time pass for the markers: remove each that does not live so long. Return their names."""
        left = {key: self.client.pttl(key) for key in self._markers()}
        gone = [key for key, ms in left.items() if 0 <= ms <= passed_ms]
        for key, ms in left.items():
            if ms > passed_ms:
                self.client.pexpire(key, ms - passed_ms)
        if gone:
            server.current().fresh(*gone)
        return gone

    def run(self, witness: Witness, order: dict[str, Any] = ORDERS[0]) -> int:
        """
        Let the answer handle *order* until it is done or dead. Return how many commands it sent.

        Then ``returned`` tells whether the answer came to its end, so that its caller acks the order.
        """
        self.returned = False
        try:
            # A WatchError is no mistake: another consumer was faster, and the order comes again.
            with witness, suppress(Died, redis.WatchError):
                self._answer(witness.client, KEY, dict(order))
                self.returned = True
        finally:
            self._words |= {word for words, _ in witness.calls for word in words}
        return len(witness.calls)

    def must_hold(self, sold: int, how: str, trace: str = "") -> None:
        """Fail unless *sold* is in the hash and the stock agrees. *how* says how x-1 was handled, for the message."""
        told = {field: int(value) for field, value in self.client.hgetall(KEY).items() if field in ("stock", "sold")}
        book = f"stock {told.get('stock')}, sold {told.get('sold')}"
        assert told.get("sold", 0) <= sold, f"an order has its effect once: x-1 was sold again {how}: {book}{trace}"
        whole = sum(told.values()) == STOCK
        assert whole, f"an effect is whole: what left the stock was not all sold {how}: {book}{trace}"
        part = f"an effect is whole: x-1 is {sold} packets, {told['sold']} of them were sold {how}: {book}{trace}"
        assert told["sold"] in (0, sold), part
        assert told["sold"] == sold, f"an effect is not lost: x-1 was not sold {how}: {book}{trace}"


@contextmanager
def shop(answer: Callable[..., Any]) -> Iterator[Shop]:
    opened = Shop(answer)
    try:
        yield opened
    finally:
        opened.close()


@exercise(
    "06.1",
    "Between which two of your commands may the process die, and what would the second run find then?",
    "Look for the marker under WATCH, then put both HINCRBY and the marker's SET between MULTI and EXEC.",
    "def step(tx): return if tx.exists(marker); then tx.multi(), tx.hincrby twice, tx.set(marker, 1); and then "
    "client.transaction(step, marker)",
)
def sell(answer):
    with shop(answer) as our:
        our.open()
        once = quiet()
        commands = our.run(once)
        our.must_hold(AMOUNT, "in a quiet run", once.trace())
        assert commands, "use the client that your function gets: it never asked Redis for anything"
        our.run(quiet(), ORDERS[1])
        sold = int(our.client.hget(KEY, "sold") or 0)
        assert sold == 2 * AMOUNT, f"x-2 is another order of the same tea, and was not sold: sold {sold} after both"
        for happen in (_is_killed, _is_met, _meets_another):
            for number in range(1, commands + 1):
                happen(our, number)
        _comes_late(our)
        _comes_after_others(our)


def _is_killed(our: Shop, commands: int) -> None:
    our.open()
    first, second = Mortal(commands), quiet()
    our.run(first)
    first.note("process", "killed; the order comes again")
    our.run(second)
    our.must_hold(AMOUNT, "when the order came again after a crash", first.trace() + second.trace())


def _comes_late(our: Shop) -> None:
    our.open()
    first, second = quiet(), quiet()
    our.run(first)
    gone = our.wait()
    first.note("six hours", f"pass, and Redis removes {', '.join(gone)}; the order comes again" if gone else "pass")
    our.run(second)
    our.must_hold(AMOUNT, "when the order came again hours later", first.trace() + second.trace())


def _is_met(our: Shop, commands: int) -> None:
    our.open()
    bob = quiet()

    def meet() -> None:
        ann.note("bob", "handles x-1, too")
        our.run(bob)
        for line in bob.trace().splitlines()[1:]:
            ann.note("  bob", line.strip())

    ann = Met(commands, meet)
    our.run(ann)
    our.run(quiet())  # the order comes again to the consumer whose transaction failed
    our.must_hold(AMOUNT, "while two consumers had it at once", ann.trace())


def _meets_another(our: Shop, commands: int) -> None:
    our.open()
    bob = quiet()

    def meet() -> None:
        ann.note("bob", "handles x-2")
        our.run(bob, ORDERS[1])
        our.returned = False  # ann goes on

    ann = Met(commands, meet)
    our.run(ann)
    if not our.returned:
        our.run(quiet())  # her transaction failed, so the order comes again
    book = our.client.hgetall(KEY)
    sold, stock = int(book.get("sold", 0)), int(book.get("stock", 0))
    told = f"ann handled x-1, bob meanwhile x-2, of {AMOUNT} packets each: stock {stock}, sold {sold}"
    assert (sold, stock) == (2 * AMOUNT, STOCK - 2 * AMOUNT), f"an order has its effect, once: {told}{ann.trace()}"


def _comes_after_others(our: Shop) -> None:
    """x-2 is sold. 20 hours later x-1 is, and many others. 6 hours later x-1 comes again."""
    our.open()
    our.client.hset(KEY, mapping={"stock": 100 * AMOUNT, "sold": 0})
    our.run(quiet(), ORDERS[1])
    our.wait(20 * 3_600_000)
    our.run(quiet())
    for n in range(60):
        our.run(quiet(), ORDERS[1] | {"id": f"x-2{n:02}"})
    our.wait()
    before, late = our.client.hget(KEY, "sold"), quiet()
    our.run(late, ORDERS[0] | {"note": "redriven"})
    again = int(our.client.hget(KEY, "sold")) - int(before)
    told = f"x-1 was sold again, 6 hours and 60 orders after it was sold first{late.trace()}"
    assert again == 0, f"an order has its effect once: {told}"


# Sending ------------------------------------------------------------------------------------------------

LOSSES = ((0, 1), (1, 1), (3, 1), (0, 2))
"""How many replies get through, and how many are lost after them."""
FOUR = [Order(f"x-{n}", "tea", n) for n in range(1, 5)]
ALIKE = [Order(f"x-{n}", "tea", 1) for n in (3, 4, 2, 1)]
"""Orders that differ in their ids only, and do not come in the order of their ids."""


@exercise(
    "06.2",
    "What must Redis know about the first try, so that it can tell the second one from a new order?",
    "Producer has an argument for it: dedupe. With it, a second send adds nothing.",
    'return Producer(stream, dedupe=…).send_many(…), with one name for all tries, such as "shop-1"',
)
def send_all(answer):
    for through, lost in ((99, 0), *LOSSES):
        _loses(answer, through, lost)
    _loses(answer, 3, 1, handled_at_once=True)
    _loses(answer, 99, 0, orders=ALIKE)


def _loses(
    answer: Callable[..., Any],
    through: int,
    lost: int,
    handled_at_once: bool = False,
    orders: Sequence[Order] = FOUR,
) -> None:
    with LossyLink() as link:
        _fresh()
        stream = connect(Settings(redis_url=link.url, stream=KEY, dlq=f"{KEY}-dlq"))
        try:
            link.lose_reply(KEY, lost, through)
            _sends(answer, stream, handled_at_once, orders)
        finally:
            stream.close()
            _fresh()


def _fresh() -> None:
    client = server.current().client
    server.current().fresh(KEY, *client.scan_iter(f"{{{KEY}}}:sent:*"))


def _sends(answer: Callable[..., Any], stream: OrderStream, handled_at_once: bool, orders: Sequence[Order]) -> None:
    """Let the answer send. With *handled_at_once*, a consumer has handled and removed what came in by then."""
    client, removed = server.current().client, []

    def consume() -> str:
        if not handled_at_once:
            return ""
        removed.extend(client.xrange(KEY))
        client.xtrim(KEY, maxlen=0, approximate=False)
        return f"a consumer handled and removed {', '.join(_orders_in([fields['data'] for _, fields in removed]))}"

    lines = _watched(stream, consume)
    try:
        said = answer(stream, list(orders))
    except SendUnknown:
        raise AssertionError(f"no order stays unknown: it ended with SendUnknown{_trace(lines)}") from None
    entries = [(entry_id, _orders_in([fields["data"]])) for entry_id, fields in (*removed, *client.xrange(KEY))]
    for order in orders:
        copies = [entry_id for entry_id, ids in entries if ids == [order.id]]
        assert copies, f"no order is lost: {order.id} is not in the stream{_trace(lines)}"
        assert len(copies) == 1, f"an order is one entry: {order.id} came in {len(copies)} times{_trace(lines)}"
    found = {ids[0]: entry_id for entry_id, ids in entries}
    ids = [found[order.id] for order in orders]
    assert said == ids, f"return the entry ids in order: {len(ids)} of them, not {str(said)[:80]}"
    told = f"{', '.join(order.id for order in orders)} came in as {', '.join(found)}{_trace(lines)}"
    assert list(found) == [order.id for order in orders], f"orders stay in order: {told}"


def _watched(stream: OrderStream, consume: Callable[[], str]) -> list[str]:
    """
    Return a list that gets a line for each exchange of *stream*: what it sends, and what comes back.

    Args:
        stream: Its exchange is replaced by one that tells.
        consume: Called after a lost reply. What it returns is another line, if there is any.
    """
    lines: list[str] = []
    exchange = stream._exchange

    def tell(commands: Any) -> Any:
        words = [word for command in commands for word in _words(command)]
        asked = f"{_words(commands[-1])[0]} {', '.join(_orders_in(words))}"
        try:
            replies = exchange(commands)
        except ReplyLost as lost:
            lines.append(f"{asked} → {len(lost.replies)} replies, then the line broke")
            if told := consume():
                lines.append(told)
            raise
        if _orders_in(words):
            lines.append(f"{asked} → {len(replies)} replies")
        return replies

    stream._exchange = tell
    return lines


def _words(command: Any) -> Sequence[str]:
    """Return the words of a command as text, even if it is already packed."""
    if isinstance(command, bytes):
        wire = hiredis.Reader()
        wire.feed(command)
        command = wire.gets()
    return [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in command]


def _orders_in(words: Sequence[str]) -> list[str]:
    return [found[1] for found in (re.search(r'"id": ?"(x-\d)"', word) for word in words) if found]


def _trace(lines: list[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)
