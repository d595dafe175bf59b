"""
Record the Redis commands of an answer, so that a verdict can show what happened to one order.

    witness = Witness("check")
    answer(witness.client, witness.handler(fail={"o-2"}))
    assert acked_late, f"an order is acked after its handler: o-2 was not{witness.trace('2-0', 'o-2')}"

prints, below the broken invariant,

      XREADGROUP > → 1-0, 2-0
      handler      o-2 began
      XACK 2-0 → 1
      handler      o-2 raised RuntimeError
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderstream.lab.server.client import Client
from orderstream.lab.tutor.check import Endless

QUIET = {"HELLO", "AUTH", "SELECT", "CLIENT", "UNWATCH"}  # redis-py sends these by itself
HIDDEN = {"ORDER_GROUP", "GROUP", "STREAMS"}
TIMEOUT_S = 5  # redis-py 8 has the same; with BLOCK 0, an answer would hang the cell
LINES = 12
"""The most lines of a trace. Of a longer one, the first and the last lines are shown."""


class Died(BaseException):
    """The process of the answer is gone. ``except Exception`` does not catch it, as it does not catch SIGKILL."""


class Witness:
    """
    A client for the answer, and a record of everything that goes through it.

    Args:
        key: The stream of the exercise. The lines of the record leave it out.
        group: Its group. The lines leave it out, too.
        patience: After so many commands, the next one raises `Endless`, which is a verdict.

    Attributes:
        client: Give it to the answer. Replies are text, and each command is sent once.
        round_trips: How often one command or several together were sent.
        calls: ``(words, reply)`` for every command so far, also for those of a pipeline.
    """

    def __init__(self, key: str, group: str = "order_group", patience: float = math.inf) -> None:
        self._known = {key, group}
        self._patience = patience
        self._lines: list[str] = []
        self._queued: list[tuple[str, ...]] = []  # commands after MULTI, whose replies come with EXEC
        self._deadly: str | None = None
        self._dead = False
        self._meanwhile: tuple[str, Callable[[], object]] | None = None
        self.round_trips = 0
        self.calls: list[tuple[tuple[str, ...], Any]] = []
        self.client: Client = redis.Redis.from_url(
            os.environ["REDIS_URL"],
            decode_responses=True,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            connection_class=_Link,
            witness=self,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def handler(self, fail: Collection[str] = (), then: Callable[[str], object] | None = None) -> Callable[..., None]:
        """
        Return a handler that notes each run. It takes an order, or an order's id.

        Args:
            fail: The ids of the orders whose runs raise ``RuntimeError``.
            then: Called with the order's id in each run that does not fail.
        """

        def handle(order: Any) -> None:
            order_id = order["id"] if isinstance(order, dict) else getattr(order, "id", order)
            self.note("handler", f"{order_id} began")
            if order_id in fail:
                self.note("handler", f"{order_id} raised RuntimeError")
                raise RuntimeError("made to fail")
            if then:
                then(order_id)
            self.note("handler", f"{order_id} done")

        return handle

    def note(self, who: str, what: str) -> None:
        """Write a line of your own into the record."""
        self._lines.append(f"{who:<12} {what}")

    def die_after(self, word: str | None) -> None:
        """
        Let the process be gone when a command with *word* in it was answered: the next command raises `Died`.

        With None, commands work again, as in a new process.
        """
        self._deadly, self._dead = word and word.upper(), False

    def freeze_after(self, word: str, meanwhile: Callable[[], object]) -> None:
        """Call *meanwhile* once, when a command with *word* in it was answered: others act while this one is frozen."""
        self._meanwhile = word.upper(), meanwhile

    def commands(self) -> list[str]:
        """Return the names of the commands so far, in order."""
        return [words[0] for words, _ in self.calls]

    def trace(self, *words: str) -> str:
        """Return the lines with one of *words* in them, to stand below a verdict. Without *words*: all lines."""
        told = [(line, line.replace(",", " ").split()) for line in self._lines]
        lines = [line for line, parts in told if not words or "killed" in parts or any(word in parts for word in words)]
        if len(lines) > LINES:
            lines = [*lines[: LINES // 2], f"… {len(lines) - LINES} more", *lines[-LINES // 2 :]]
        return "".join(f"\n    {line}" for line in lines)

    # Called by the connection -------------------------------------------------------------------------

    def asked(self) -> None:
        if self._dead:
            raise Died("the process is gone")
        if len(self.calls) > self._patience:
            raise Endless(f"a loop must end: your code asked Redis more than {self._patience} times{self.trace()}")

    def answered(self, words: tuple[str, ...], reply: Any) -> None:
        if words[0] in QUIET:
            return
        if reply == "QUEUED":
            self._queued.append(words)
            return
        if words[0] == "EXEC" and isinstance(reply, list):
            for asked, told in zip(self._queued, reply, strict=True):
                self._record(asked, told, "in MULTI: ")
        elif words[0] != "MULTI":
            self._record(words, reply)
        self._queued = []  # EXEC ran them, a WATCH refused them, or they were discarded

    def _record(self, words: tuple[str, ...], reply: Any, where: str = "") -> None:
        self.calls.append((words, reply))
        shown = [word for word in words if word not in self._known and word.upper() not in HIDDEN]
        if words[0] == "EVAL":
            shown[1] = "(script)"  # a line of the trace is one line
        told = _told(reply)
        if words[0] == "XAUTOCLAIM" and isinstance(reply, list):
            told = f"{_told(reply[1])}; cursor {reply[0]}"  # the cursor is no delivered entry
        self._lines.append(f"{where}{' '.join(shown)[:90]} → {told}")
        said = [word.upper() for word in words]
        if self._deadly and self._deadly in said:
            self._dead = True
            self.note("process", "killed")
        if self._meanwhile and self._meanwhile[0] in said:
            (_, meanwhile), self._meanwhile = self._meanwhile, None
            meanwhile()


class _Link(redis.Connection):
    """A connection that reports each command and each reply to its witness."""

    def __init__(self, *, witness: Witness, **options: Any) -> None:
        super().__init__(**options)
        self._witness = witness
        self._asked: deque[tuple[str, ...]] = deque()

    def send_command(self, *words: Any, **options: Any) -> None:
        self._ask(words)
        super().send_command(*words, **options)

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> Any:
        commands = [tuple(words) for words in commands]
        for words in commands:
            self._ask(words)
        return super().pack_commands(commands)

    def send_packed_command(self, *args: Any, **options: Any) -> None:
        self._witness.round_trips += bool(self._asked) and self._asked[-1][0] not in QUIET
        super().send_packed_command(*args, **options)

    def read_response(self, *args: Any, **options: Any) -> Any:
        words = self._asked.popleft() if self._asked else ("?",)
        try:
            reply = super().read_response(*args, **options)
        except redis.RedisError as error:
            self._witness.answered(words, error)
            raise
        self._witness.answered(words, reply)
        return reply

    def disconnect(self, *args: Any, **options: Any) -> None:
        self._asked.clear()  # their replies cannot come any more
        super().disconnect(*args, **options)

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect. The commands that redis-py sends for that are answered before the command that waits."""
        waiting, self._asked = self._asked, deque()
        super().connect_check_health(*args, **options)
        self._asked = waiting

    def _ask(self, words: Iterable[Any]) -> None:
        told = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in words]
        name, *rest = told[0].split() + told[1:]
        if name.upper() not in QUIET:
            self._witness.asked()
        self._asked.append((name.upper(), *rest))


def _told(reply: Any) -> str:
    """Return a reply in a few words. Of entries it has only the ids."""
    if isinstance(reply, Exception):
        return str(reply)[:60]
    if ids := ids_in(reply):
        return ", ".join(ids[:6]) + (f", … {len(ids)} in all" if len(ids) > 6 else "")
    return "nothing" if reply in (None, [], {}) else str(reply)[:60]


def ids_in(reply: Any) -> list[str]:
    """Return what looks like an entry id, wherever it stands in *reply*."""
    if isinstance(reply, str):
        milliseconds, dash, counter = reply.partition("-")
        return [reply] if dash and milliseconds.isdecimal() and counter.isdecimal() and reply != "0-0" else []
    if isinstance(reply, dict):
        reply = list(reply)
    return [found for each in reply for found in ids_in(each)] if isinstance(reply, (list, tuple)) else []
