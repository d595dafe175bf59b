"""
The learner's own consumer class as a real process: its source is copied from the notebook into a module.

    class MyConsumer:
        def __init__(self, client, stream, group, name, handler): ...
        def step(self) -> int: ...                   # one turn; 0: there was nothing to do

    Worker(source_of(MyConsumer), "ann", "orders")   # steps until there is nothing to do, or until it dies

`client` is a redis-py client whose replies are text. When no reply comes, it sends the command again: that is
redis-py's default, here without its pauses. `handler(order, key)` charges the customer of *order*, which is the JSON
object of an entry's ``data``. If *key* was charged before, nobody is charged. The handler may raise, and it may kill
the process.
"""

import argparse
import ast
import json
import linecache
import os
import random
import re
import symtable
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream import Consumer, Settings, connect
from orderstream.embedded.lifeline import lifeline
from orderstream.lab.tutor.witness import Witness, ids_in
from orderstream.lab.workers import faults
from orderstream.lab.workers.process import Process, begin
from orderstream.lab.workers.worker import say

SUSPECT_MS = 60_000
RETRIES = 10  # redis-py's own number
GROUP = "order_group"
KINDS = {"XREADGROUP": "new", "XCLAIM": "claimed", "XAUTOCLAIM": "claimed", "XACK": "acked"}
TURNS = 8  # of the package's consumer, at most: each looks at one page of what is pending
KNOBS = {"failure_rate": 0.0, "work_ms": 5.0}
PAUSE_S = 0.02  # between two steps of an endless worker that has nothing to do

MADE_TO_FAIL = "made to fail"
SOURCE, FILE = "ORDERSTREAM_CLASS", "<your class>"


class Packaged:
    """The package's ``Consumer`` in the form of the exercise. It claims after 60 s, and the key is the order id."""

    def __init__(self, client: redis.Redis, stream: str, group: str, name: str, handler: Callable[..., None]) -> None:
        settings = Settings(
            redis_url=os.environ["REDIS_URL"], stream=stream, group=group, claim_idle_ms=60_000, block_ms=1
        )

        def handle(order: Any) -> None:
            handler({"id": order.id, "item": order.item, "amount": order.amount}, order.id)

        self._consumer = Consumer(connect(settings), handle, name)

    def step(self) -> int:
        settled = next(filter(None, (self._consumer.step() for _ in range(TURNS))), 0)
        return settled or int(self._consumer.in_outage)  # an outage is waited out: there is more to do


# From the notebook into a module ------------------------------------------------------------------------


def source_of(answer: type) -> str:
    """
    Return the source of a module that defines *answer* and the functions, constants and imports that it uses.

    Raises:
        AssertionError: It uses something that exists in the notebook only, such as a client.
    """
    parts: list[str] = []
    seen: set[str] = set()
    known = vars(sys.modules[answer.__module__])

    def carry(name: str, value: Any) -> None:
        if name in seen or name.startswith("__"):
            return
        seen.add(name)
        if isinstance(value, ModuleType):
            parts.append(f"import {value.__name__} as {name}")
        elif isinstance(value, (type, FunctionType)) and value.__module__ == answer.__module__:
            text = _definition(value)
            for each in _names(symtable.symtable(text, name, "exec")):
                if each in known:
                    carry(each, known[each])
            parts.append(text)
            if name != value.__name__:
                parts.append(f"{name} = {value.__name__}")
        elif hasattr(value, "__qualname__"):
            parts.append(f"from {value.__module__} import {value.__qualname__} as {name}")
        else:
            parts.append(f"{name} = {_literal(name, value)}")

    carry(answer.__name__, answer)
    return "\n\n".join([*parts, f"ANSWER = {answer.__name__}\n"])


def _definition(value: type | FunctionType) -> str:
    """Return the source of a class or function. ``inspect.getsource`` does not find a class of a notebook."""
    function = value if isinstance(value, FunctionType) else next(filter(_is_function, vars(value).values()), None)
    lines = linecache.getlines(function.__code__.co_filename) if function else []
    for node in reversed(ast.parse("".join(lines)).body):  # a cell may define it twice: the last definition counts
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == value.__name__:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "".join(lines[first - 1 : node.end_lineno])
    raise AssertionError(f"the source of {value.__name__} cannot be found: define it at the left edge of a cell")


def _names(scope: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that a source uses and does not define, and no parameter or local variable of such a name."""
    for symbol in scope.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or scope.get_type() == "module"):
            yield symbol.get_name()
    for inner in scope.get_children():
        yield from _names(inner)


def _is_function(member: Any) -> bool:
    return isinstance(member, FunctionType)


def _literal(name: str, value: Any) -> str:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    rule = "your class runs in a process of its own"
    assert same, f"{rule}, and {name!r} of this notebook does not go along: use self.client, or make it in the class"
    return text


# The worker, seen from the notebook -------------------------------------------------------------------------


class Worker(Process):
    """
    A process that runs the class in *source*.

    Args:
        source: The source of a module, see `source_of`.
        name: Name of the consumer.
        stream: Key of the stream that it reads, in the group ``order_group``.
        url: The URL of its Redis; None takes the lesson's.
        fates: Order id -> what happens in the next runs of its handler, one after the other: the point at which the
            process kills itself, see `worker.Point`; ``"busy"``, it begins and then waits for `go_on`; or ``"raises"``.
        endless: True: it goes on when there is nothing to do, and its knobs have an effect, as a panel needs it.
        rival: True: when it has seen a suspect with XPENDING, Gina claims that one before the next command.
    """

    def __init__(
        self,
        source: str,
        name: str,
        stream: str,
        url: str | None = None,
        fates: Mapping[str, list[str]] | None = None,
        endless: bool = False,
        rival: bool = False,
    ) -> None:
        told = [name, stream, f"--fates={json.dumps(fates or {})}", *["--endless"] * endless, *["--rival"] * rival]
        environ = {"REDIS_URL": url or os.environ["REDIS_URL"], SOURCE: source}
        super().__init__(__name__, "consumer", name, dict(KNOBS), {"stream": stream}, told, environ)

    def go_on(self) -> None:
        """Let the handler of the busy order go on."""
        self.tell(b'{"go_on": 1}')


def consumer(answer: type, name: str, stream: str = "orders") -> Worker:
    """
    Start a process that runs *answer* until you stop it, beside the consumers of `process`.

    Its handler charges nobody. It takes ``work_ms``, and the part ``failure_rate`` of its runs fail.
    """
    source = source_of(answer)
    return begin("consumer", name, lambda: Worker(source, name, stream, endless=True))


# In the worker process: `python -m orderstream.lab.lessons.lesson_12.learner NAME STREAM …` ---------------


class _Reporter(Witness):
    """Prints an event for each command of the class, with the reply."""

    def __init__(self, stream: str, name: str, rival: bool) -> None:
        super().__init__(stream, GROUP)
        self._stream, self._rival = stream, rival
        self._known.add(name)
        self.client.set_retry(Retry(NoBackoff(), RETRIES))
        self.client.connection_pool.connection_kwargs["socket_timeout"] = None  # only a lost reply is one, no slow one

    def _record(self, words: tuple[str, ...], reply: Any, where: str = "") -> None:
        super()._record(words, reply, where)
        line = re.sub(r"\b\d{13}-\d+\b", "(an id)", self._lines.pop())  # a real id depends on the clock
        got = [] if isinstance(reply, Exception) else ids_in(reply[1] if words[0] == "XAUTOCLAIM" else reply)
        acked = words[0] == "XACK" and reply not in (0, "0") and not isinstance(reply, Exception)
        kind = KINDS.get(words[0], "asked") if got or acked else "asked"
        if words[0] == "XPENDING" and len(got) == 1:
            line += f", delivery {reply[0][3]}"
        asked = [*ids_in(words), *re.findall(r'"id": "([^"]+)"', " ".join(words))]
        error = {"error": str(reply)} if isinstance(reply, Exception) else {}  # the line shows its beginning only
        say(kind, text=line, ids=got if kind in ("new", "claimed") else [*got, *asked], **error)
        if self._rival and words[0] == "XPENDING" and isinstance(reply, list):
            suspects = [row[0] for row in reply if isinstance(row, list) and len(row) == 4 and row[2] >= SUSPECT_MS]
            self._gina_claims(suspects[:1])

    def _gina_claims(self, suspects: list[str]) -> None:
        with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as gina:
            for entry_id in suspects:
                self._rival = False
                gina.xclaim(self._stream, GROUP, "gina", SUSPECT_MS, [entry_id])
                say("rival", ids=[entry_id], text=f"XCLAIM {SUSPECT_MS} {entry_id}, and works on it")


def _class_of(source: str) -> type:
    """Run *source* as a module, and return its class. ``linecache`` gets its lines, so that a traceback shows them."""
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    module = ModuleType("my_consumer")
    sys.modules[module.__name__] = module
    exec(compile(source, FILE, "exec"), vars(module))
    answer: type = module.ANSWER
    return answer


def work(name: str, stream: str, fates: dict[str, list[str]], endless: bool, rival: bool) -> None:
    """Call ``step`` until there is nothing to do; an endless worker goes on until its lifeline ends."""
    knobs, going_on, gone = dict(KNOBS), threading.Event(), threading.Event()
    chance = random.Random(name)

    def on_line(line: bytes) -> None:
        knobs.update(json.loads(line))
        if "go_on" in knobs:
            going_on.set()

    def handler(order: Any, key: Any) -> None:
        if not isinstance(order, dict) or not {"id", "item"} <= order.keys():
            say("misused", text=f"handler(order, key) takes the order, a dict with its id, and got {order!r:.60}")
            os._exit(1)
        order_id = order["id"]
        fate = fates[order_id].pop(0) if fates.get(order_id) else ""
        say("began", id=order_id, text=f"handler begins with {order_id}")
        if fate == "before effect":
            say("dies", id=order_id)
            faults.die()
        if order["item"] == "poison":
            faults.die()
        if fate == "busy":
            say("busy", id=order_id)
            going_on.wait()
        time.sleep(knobs["work_ms"] / 1000 * endless)
        if fate == "raises" or order["item"] == "failing" or chance.random() < knobs["failure_rate"]:
            say("failed", id=order_id, consumer=name, text=f"handler raises for {order_id}")
            raise RuntimeError(MADE_TO_FAIL)
        say("handled", id=order_id, consumer=name, key=str(key), text=f"handler charges {order_id}, key {key}")
        if fate == "after effect":
            say("dies", id=order_id)
            faults.die()

    lifeline(gone.set if endless else lambda: os._exit(1), on_line)  # nobody watches any more: leave at once
    try:
        client = _Reporter(stream, name, rival).client
        consumer = _class_of(os.environ.pop(SOURCE))(client, stream, GROUP, name, handler)
        say("ready")
        while not gone.is_set():
            if not consumer.step():
                if not endless:
                    break
                gone.wait(PAUSE_S)
    except Exception as error:  # noqa: BLE001 - the learner's code may raise anything, and the learner must see it
        lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
        said = f"{type(error).__name__}: {error}"
        say("raised", text=f"ends with {said:.80}", error=said, line=(lines or ["its definition"])[-1])
        sys.exit(said)  # as text, too: ``process`` shows the last line of a worker that does not start
    say("ended", text="ends: nothing to do")


def main() -> None:
    """Run one worker."""
    program = "python -m orderstream.lab.lessons.lesson_12.learner"
    parser = argparse.ArgumentParser(prog=program, description=main.__doc__)
    for word in ("name", "stream"):
        parser.add_argument(word)
    parser.add_argument("--fates", type=json.loads)
    for option in ("--endless", "--rival"):
        parser.add_argument(option, action="store_true")
    given = parser.parse_args()
    work(given.name, given.stream, given.fates, given.endless, given.rival)


if __name__ == "__main__":
    main()
