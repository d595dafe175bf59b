"""Lesson 11: a handler that blocks nobody, places that are never empty, and one customer's orders in their order."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from orderstream.consumer import is_coroutine
from orderstream.lab import patience, server
from orderstream.lab.tutor.check import exercise
from orderstream.lab.tutor.witness import Witness

KEY, GROUP, NAME = "check", "kitchen", "ann"
PATIENCE = 300  # commands after which an answer is ended
STUCK_S = 1.0  # what waits for longer waits for something that does not come
MANY = 40


def in_a_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run *main* in an event loop and a thread of its own: the loop of the notebook runs already."""
    problems: list[BaseException] = []
    limit_s = patience.stretched(3 * STUCK_S)

    async def limited() -> None:
        async with asyncio.timeout(limit_s):
            await main

    def run() -> None:
        try:
            asyncio.run(limited())
        except BaseException as error:  # noqa: BLE001 - raised again below
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s + patience.stretched(STUCK_S))
    late = thread.is_alive() or any(isinstance(error, TimeoutError) for error in problems)
    assert not late, "your handler does not come to its end: is a lock kept, or is the event loop blocked?"
    if problems:
        raise problems[0]


def _check_async(handler: Any) -> None:
    kind = type(handler).__name__
    assert is_coroutine(handler), f"return an `async def` that takes an order; yours is of type {kind}"


def _not_wrapped(problem: object) -> None:
    wrapped = "the error is raised as it is: the handler raised ConnectionError, yours an ExceptionGroup around it"
    assert not isinstance(problem, ExceptionGroup), f"{wrapped}; nobody would find a Reject or a Defer in there"


# 11.1 ---------------------------------------------------------------------------------------------------------


@exercise(
    "11.1",
    "Who runs the event loop while ask(order) waits?",
    "loop.run_in_executor(pool, ask, order) runs it in a thread and can be awaited. Its default pool has few threads.",
    "pool = ThreadPoolExecutor(at_once); async def handler(order): "
    "await asyncio.get_running_loop().run_in_executor(pool, ask, order)",
)
def blocks_nobody(answer):
    for many in (2, MANY):
        _asks_together(answer, many)
    _waits_for_its_end(answer)
    _tells_of_errors(answer)


def _made(answer: Any, ask: Callable[[str], object], at_once: int) -> Any:
    handler = answer(ask, at_once)
    _check_async(handler)
    return handler


def _asks_together(answer: Any, many: int) -> None:
    """Each ask waits until all have begun."""
    counting, all_here = threading.Lock(), threading.Event()
    begun: list[str] = []

    stuck: list[int] = []

    def ask(order: str) -> None:
        with counting:
            begun.append(order)
            if len(begun) == many:
                all_here.set()
        if not (stuck or all_here.wait(patience.stretched(STUCK_S))):
            stuck.append(len(begun))

    handler = _made(answer, ask, many)

    async def main() -> None:
        await asyncio.gather(*(handler(f"o-{n}") for n in range(1, many + 1)))

    in_a_loop(main())
    assert sorted(begun) == sorted(f"o-{n}" for n in range(1, many + 1)), (
        f"each order is asked for once: {many} orders, and ask was called for {len(begun)}"
    )
    assert not stuck, f"{many} orders at once: ask was called for {stuck[0]}, and nobody else could begin meanwhile"


def _waits_for_its_end(answer: Any) -> None:
    done: list[str] = []
    go_on = threading.Event()

    def ask(order: str) -> None:
        go_on.wait(patience.stretched(STUCK_S))
        done.append(order)

    handler = _made(answer, ask, 2)

    async def main() -> None:
        task = asyncio.ensure_future(handler("o-1"))
        for _ in range(20):
            await asyncio.sleep(0)
        too_early = task.done()
        go_on.set()
        await task
        early = "an order is done when its ask is: the handler returned, and ask(o-1) still waited"
        assert not too_early, early
        assert done == ["o-1"], early

    in_a_loop(main())


def _tells_of_errors(answer: Any) -> None:
    def ask(order: str) -> None:
        raise ConnectionError("the bank is closed")

    handler = _made(answer, ask, 2)

    async def main() -> None:
        try:
            await handler("o-1")
        except ConnectionError:
            return
        except ExceptionGroup as problem:
            _not_wrapped(problem)
        raise AssertionError("a failed order is tried again: ask(o-1) raised ConnectionError, and your handler did not")

    in_a_loop(main())


# 11.2 ---------------------------------------------------------------------------------------------------------


@contextmanager
def stream(orders: int) -> Iterator[Witness]:
    """Yield a witness. There is a group, and so many orders: o-1 is the entry 1-0."""
    lesson = server.current()
    lesson.fresh(KEY)
    try:
        lesson.client.xgroup_create(KEY, GROUP, "0", mkstream=True)
        for n in range(1, orders + 1):
            lesson.client.xadd(KEY, {"data": f"o-{n}"}, id=f"{n}-0")
        with Witness(KEY, GROUP, PATIENCE) as watching:
            yield watching
    finally:
        lesson.fresh(KEY)


class Kitchen:
    """
    A handler that counts.

    Args:
        meanwhile: Called in each run, with the kitchen and the order.
        failing: This order raises.

    Attributes:
        began, ended: Order -> how often.
        failed: Orders that raised.
        now, most: How many are in it, and the most that were at the same time.
        held: The most that were pending when an order began, without those that have failed.
        gaps: Orders that were not pending any more when they ended.
        stuck: How many were in it when one waited in vain; 0: none did.
    """

    def __init__(self, meanwhile: Callable[["Kitchen", str], object] = lambda *told: None, failing: str = "") -> None:
        self.meanwhile, self.failing = meanwhile, failing
        self.began: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.now = self.most = self.held = self.stuck = 0
        self.gaps: list[str] = []
        self._change = threading.Condition()

    def __call__(self, order: Any) -> None:
        order_id = order["data"] if isinstance(order, dict) else str(order)
        with self._change:
            self.began[order_id] += 1
            self.now += 1
            self.most = max(self.most, self.now)
            self.held = max(self.held, len(_pending() - {_entry(order) for order in self.failed}))
            self._change.notify_all()
        try:
            self.meanwhile(self, order_id)
            if order_id == self.failing:
                self.failed.add(order_id)
                raise RuntimeError("made to fail")
        finally:
            with self._change:
                self.now -= 1
                self.ended[order_id] += 1
                if _entry(order_id) not in _pending():
                    self.gaps.append(order_id)
                self._change.notify_all()

    def wait_until(self, happens: Callable[[], bool]) -> None:
        """Wait in a handler. If it does not happen, nobody waits for anything any more."""
        with self._change:
            if not (self.stuck or self._change.wait_for(happens, patience.stretched(STUCK_S))):
                self.stuck = self.now

    def look_for(self, happens: Callable[[], bool]) -> None:
        """Give what must not happen the time to happen."""
        with self._change:
            self._change.wait_for(happens, patience.stretched(0.05))


@exercise(
    "11.2",
    "When is the next order read: when all three places are free, or when one is?",
    "pool.submit returns a future; concurrent.futures.wait(running, return_when=FIRST_COMPLETED) returns those that "
    "have ended; future.exception() tells whether the handler raised.",
    "loop: xreadgroup with count=at_once - len(running), if that is not 0; running[pool.submit(handler, fields)] = "
    "entry_id; nothing runs: return; wait for the first; pop the ended ones, xack those without an exception",
)
def no_empty_place(answer):
    _all_of_them(answer)
    _one_is_slow(answer)
    _each_place(answer)
    _one_fails(answer)


def _run(answer: Any, orders: int, at_once: int, kitchen: Kitchen) -> tuple[Any, set[str], str]:
    """Return what the answer returned, the entries that are pending then, and what it sent."""
    with stream(orders) as watching:
        got = answer(watching.client, KEY, GROUP, NAME, kitchen, at_once)
        told = watching.trace()
        missing = [f"o-{n}" for n in range(1, orders + 1) if not kitchen.began[f"o-{n}"]]
        assert not missing, f"everything that is new is handled: {', '.join(missing)} was not{told}"
        assert not kitchen.now, f"return when all is done: {kitchen.now} handlers still run{told}"
        twice = [order for order, times in kitchen.began.items() if times > 1]
        assert not twice, f"each order is handled once: {', '.join(twice)} began twice{told}"
        assert kitchen.most <= at_once, f"at most {at_once} at once: {kitchen.most} orders were in handlers{told}"
        hoard = f"with {at_once} at once, {kitchen.held} orders were read and not acked when a handler began"
        assert kitchen.held <= at_once, f"nobody hoards: {hoard}; were too many read, or acked late?{told}"
        assert not kitchen.gaps, f"ack an order after its handler: {kitchen.gaps[0]} was acked before its end{told}"
        return got, _pending(), told


def _all_of_them(answer: Any) -> None:
    kitchen = Kitchen()
    got, pending, told = _run(answer, 7, 3, kitchen)
    assert not pending, f"what is done is acked: {', '.join(sorted(pending))} is still pending{told}"
    assert got == 7, f"return how many you have acked: 7, not {got!r}{told}"


def _one_is_slow(answer: Any) -> None:
    def slow(kitchen: Kitchen, order: str) -> None:
        if order == "o-1":
            kitchen.wait_until(lambda: len(kitchen.ended) == 6)

    kitchen = Kitchen(slow)
    _, pending, told = _run(answer, 7, 3, kitchen)
    assert not kitchen.stuck, f"a free place takes the next order: while o-1 was slow, the others had to wait{told}"
    assert not pending, f"what is done is acked: {', '.join(sorted(pending))} is still pending{told}"


def _each_place(answer: Any) -> None:
    """As long as orders wait, each handler waits until three are at work. At first it looks for a fourth."""

    def together(kitchen: Kitchen, order: str) -> None:
        kitchen.wait_until(lambda: kitchen.now >= min(3, 7 - len(kitchen.ended)))
        if not kitchen.ended:
            kitchen.look_for(lambda: kitchen.now > 3)

    kitchen = Kitchen(together)
    *_, told = _run(answer, 7, 3, kitchen)
    empty = f"no place stays empty: 3 at once, orders waited, and {kitchen.stuck} were in handlers{told}"
    assert not kitchen.stuck, empty


def _one_fails(answer: Any) -> None:
    kitchen = Kitchen(failing="o-2")
    got, pending, told = _run(answer, 7, 3, kitchen)
    assert pending == {"2-0"}, (
        f"an order that failed stays pending, and no other: o-2 failed, pending are {sorted(pending) or 'none'}{told}"
    )
    assert got == 6, f"return how many you have acked: 6 of 7, o-2 failed; not {got!r}{told}"


def _entry(order: str) -> str:
    return f"{order.removeprefix('o-')}-0"


def _pending() -> set[str]:
    return {entry["message_id"] for entry in server.current().client.xpending_range(KEY, GROUP, "-", "+", 99)}


# 11.3 ---------------------------------------------------------------------------------------------------------


@exercise(
    "11.3",
    "For whom does Ann's second order have to wait, and for whom not?",
    "An asyncio.Lock lets one coroutine in; the others wait in their order. How many locks do you need?",
    "locks = defaultdict(asyncio.Lock); async def one_by_one(order): async with locks[customer(order)]: "
    "await handler(order)",
)
def in_its_order(answer):
    _each_for_itself(answer)
    _one_comes_late(answer)
    _after_a_failure(answer)


def _customer(order: str) -> str:
    return order.split()[0]


class Till:
    """An async handler that notes what happens. An order in *slow* waits until *until* orders have begun."""

    def __init__(self, slow: str = "", until: int = 0, failing: str = "") -> None:
        self.slow, self.until, self.failing = slow, until, failing
        self.story: list[str] = []
        self.stuck = False
        self.changed = asyncio.Event()

    @property
    def begun(self) -> list[str]:
        return [line.removesuffix(" begins") for line in self.story if line.endswith(" begins")]

    async def __call__(self, order: str) -> None:
        self.story.append(f"{order} begins")
        self.changed.set()
        for _ in range(3):
            await asyncio.sleep(0)
        if order == self.slow:
            try:
                await asyncio.wait_for(self._enough(), patience.stretched(STUCK_S))
            except TimeoutError:
                self.stuck = True
        if order == self.failing:
            self.story.append(f"{order} fails")
            raise ConnectionError("the bank is closed")
        self.story.append(f"{order} ends")

    async def _enough(self) -> None:
        while len(self.begun) < self.until:
            self.changed.clear()
            await self.changed.wait()

    def told(self) -> str:
        return "".join(f"\n    {line}" for line in self.story)


async def _all(answer: Any, till: Till, orders: list[str]) -> list[Any]:
    """Let the answer handle *orders*, which begin in this order. Return what came of each."""
    handler = answer(till, _customer)
    _check_async(handler)
    found = await asyncio.gather(*(handler(order) for order in orders), return_exceptions=True)
    for error in found:
        if isinstance(error, Exception) and not isinstance(error, ConnectionError | ExceptionGroup):
            raise error
    missing = [order for order in orders if order not in till.begun]
    assert not missing, f"each order is handled: {missing[0]} was not{till.told()}"
    for customer in dict.fromkeys(map(_customer, orders)):
        theirs = [line for line in till.story if _customer(line) == customer]
        expected = [order for order in orders if _customer(order) == customer]
        begun = [order for order in till.begun if _customer(order) == customer]
        wrong = f"{customer}'s orders begin in their order: they began as {', '.join(begun)}{till.told()}"
        assert begun == expected, wrong
        begins = [line.endswith(" begins") for line in theirs]
        assert begins == [True, False] * len(expected), (
            f"one order of a customer after the other: two of {customer}'s ran at once{till.told()}"
        )
    return found


def _each_for_itself(answer: Any) -> None:
    async def main() -> None:
        orders = ["ann placed", "ann paid", "bob placed", "ann shipped", "bob paid", "carl placed"]
        till = Till(slow="ann placed", until=4)  # hers, both of bob's and carl's
        await _all(answer, till, orders)
        waited = f"other customers need not wait: one order of ann was slow, and bob or carl had to{till.told()}"
        assert not till.stuck, waited

    in_a_loop(main())


def _one_comes_late(answer: Any) -> None:
    """Ann's third order comes when her first one has ended and her second one runs."""

    async def main() -> None:
        late: list[asyncio.Task[None]] = []

        async def till(order: str) -> None:
            story.append(f"{order} begins")
            if order == "ann paid":
                late.append(asyncio.ensure_future(handler("ann shipped")))
            for _ in range(20):
                await asyncio.sleep(0)
            story.append(f"{order} ends")

        story: list[str] = []
        handler = answer(till, _customer)
        await asyncio.gather(handler("ann placed"), handler("ann paid"))
        await asyncio.gather(*late)
        told = "".join(f"\n    {line}" for line in story)
        began_late = f"her third order came while her second one ran, and did not wait for it{told}"
        assert [line.endswith(" begins") for line in story] == [True, False] * 3, began_late

    in_a_loop(main())


def _after_a_failure(answer: Any) -> None:
    async def main() -> None:
        till = Till(failing="ann placed")
        first, second = await _all(answer, till, ["ann placed", "ann paid"])
        _not_wrapped(first)
        assert isinstance(first, ConnectionError), (
            f"a failed order is tried again: the handler raised for ann's, and yours did not{till.told()}"
        )
        assert second is None, f"after a failure the next one may begin: ann's second raised {second!r}{till.told()}"

    in_a_loop(main())
