"""
What is measured. ``plan`` lists all steps in their order; a step is one peer doing one thing once.

Machines are noisy, and busy for minutes at a time. So each round asks every peer, in another order than the round
before, and only numbers of the same run are compared.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import redis

from benchmarks import recovery, tracing
from benchmarks.peers import PEERS, Known
from benchmarks.peers.base import BATCH, GROUP, STREAM
from benchmarks.peers.waiting import Contender
from benchmarks.process import ROOT, Failed, Process
from benchmarks.report import CONSUME, IMPORT, MEMORY, P50, P99, PRODUCE, RECOVERY, SEND, Measure, Results, traced
from orderstream import Producer, Settings, connect, random_orders
from orderstream.stream import OrderStream

PAIR = ("ideal", "ours")
RATE = 500  # orders a second, where latency is measured
CHUNK = 10_000
DAY_MS = "86400000"  # what "busy" holds must not become due while we measure, in the last round neither
NOT_DUE = {"ORDERSTREAM_CLAIM_IDLE_MS": DAY_MS, "ORDERSTREAM_HANDLER_TIMEOUT_MS": DAY_MS}

Numbers = dict[Measure, float]


@dataclass(frozen=True)
class Step:
    """One peer does one thing once. *run* returns its numbers, or raises ``Failed``."""

    doing: str
    peer: str
    run: Callable[[], Numbers]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int = 5
    part: float = 1.0  # of each peer's number of orders
    latency_s: float = 3.0
    first: int = 10_000  # handled of each backlog
    backlogs: tuple[int, ...] = (10_000, 1_000_000, 3_000_000)
    pending: int = 1_000_000
    consumers: tuple[int, ...] = (1, 2, 4, 8)
    abandoned: int = 100_000
    traced: int = 100 * BATCH  # of 100 batches one is sampled
    imports: int = 4  # in each round; they are short
    limit_s: int = 60  # for one process


QUICK = Size(
    2, 0.2, 1.0, backlogs=(10_000, 100_000, 300_000), pending=100_000, consumers=(1, 4), abandoned=5_000, limit_s=20
)


def rate_with(backlog: int) -> Measure:
    return Measure(f"handle orders with a backlog of {backlog:,}", "/s")


def memory_with(backlog: int) -> Measure:
    return Measure(f"peak memory with a backlog of {backlog:,}", "MB")


class Bench:
    """
    Measures on one private Redis.

    Args:
        url: Of its database 0; it is emptied again and again. Databases 1 and up hold the large backlogs.
        size: How much.
        peers: Who takes part in the comparison; None: everybody.
    """

    known: Mapping[str, Known | Contender] = PEERS

    def __init__(self, url: str, size: Size, peers: tuple[str, ...] | None = None) -> None:
        self.root, self.url, self.size, self.peers = url.removesuffix("/0"), url, size, peers or tuple(self.known)
        self.results = Results()
        self.client = redis.Redis.from_url(url)

    def close(self) -> None:
        self.client.close()

    def plan(self) -> list[Step]:
        """Return all steps in their order."""
        steps = [Step("preparing", "ours", self.prepare)]
        for turn in range(self.size.rounds):
            for peer in rotated(self.peers, turn):
                steps += self.compare(peer)
            for peer in rotated(PAIR, turn):
                steps += self.scale(peer, turn)
        return steps

    def take(self, step: Step) -> None:
        """Run a step and keep its numbers. Who failed at something once is not asked again."""
        if (step.peer, step.doing) not in self.results.failures:
            try:
                self.results.add(step.peer, step.run())
            except (Failed, redis.RedisError) as problem:
                reason = (str(problem).splitlines() or [type(problem).__name__])[0]
                self.results.failures[step.peer, step.doing] = reason

    # Every peer --------------------------------------------------------------------------------------------

    def compare(self, peer: str) -> Iterator[Step]:
        count = max(500, int(PEERS[peer].orders * self.size.part))
        yield Step("produce", peer, lambda: self.produce(peer, count))
        yield Step("consume", peer, lambda: self.consume(peer, count))
        yield Step("send", peer, lambda: self.send(peer, min(count, 5_000)))
        yield Step("latency", peer, lambda: self.latency(peer, int(RATE * self.size.latency_s)))

    def produce(self, peer: str, count: int) -> Numbers:
        self.client.flushdb()
        return {PRODUCE: count / self.ask(peer, "produce", n=count)["seconds"]}

    def consume(self, peer: str, count: int) -> Numbers:
        """Handle what ``produce`` left."""
        if (peer, "produce") in self.results.failures:
            raise Failed("nothing was sent")
        done = self.ask(peer, "consume", n=count)
        return {CONSUME: done["rate"], MEMORY: done["peak_mb"]}

    def send(self, peer: str, count: int) -> Numbers:
        self.client.flushdb()
        return {SEND: count / self.ask(peer, "produce", n=count, single=True)["seconds"]}

    def latency(self, peer: str, count: int) -> Numbers:
        self.client.flushdb()
        with (
            self.process(peer, "latency", n=count) as consumer,
            self.process(peer, "pace", n=count, rate=RATE) as producer,
        ):
            for process in (consumer, producer):
                process.ready()
                process.go()
            consumer.result()  # the first order is through, both are warm
            producer.result()
            producer.go()
            took = consumer.result()
        return {P50: took["p50"], P99: took["p99"]}

    # Ours and the ideal loop only --------------------------------------------------------------------------

    def prepare(self) -> Numbers:
        for db, backlog in enumerate(self.size.backlogs, 1):
            with closing(self.stream(db)) as stream:
                fill(stream, backlog)
        with closing(self.stream(self.pending_db)) as stream:
            each = self.size.first + BATCH  # a process that ends in the middle of a batch keeps the rest of it
            fill(stream, self.size.pending + each * len(PAIR) * self.size.rounds)
            stream.create_group()
            for held in range(0, self.size.pending, CHUNK):
                stream.read_new("busy", min(CHUNK, self.size.pending - held), None)
        return {}

    @property
    def pending_db(self) -> int:
        return len(self.size.backlogs) + 1

    def stream(self, db: int, key: str = STREAM) -> OrderStream:
        return connect(replace(Settings(), redis_url=f"{self.root}/{db}", stream=key, group=GROUP))

    def scale(self, peer: str, turn: int) -> Iterator[Step]:
        size = self.size
        for db, backlog in enumerate(size.backlogs, 1):
            yield Step(f"backlog {backlog:,}", peer, lambda db=db, backlog=backlog: self.backlog(peer, db, backlog))
        yield Step("pending", peer, lambda: self.pending(peer))
        yield Step("warm-up", peer, lambda: self.warm_up(peer))
        for count in size.consumers:
            yield Step("consumers", peer, lambda count=count: self.consumers(peer, count, 0))
        for count in size.consumers:
            yield Step("1 ms consumers", peer, lambda count=count: self.consumers(peer, count, 0.001))
        yield Step("recovery", peer, lambda: self.recover(peer))
        if peer == "ours":
            yield Step("tracing", peer, self.trace)
        for _ in range(size.imports):
            yield Step("import", peer, lambda: import_time(peer))

    def backlog(self, peer: str, db: int, backlog: int) -> Numbers:
        with closing(redis.Redis.from_url(f"{self.root}/{db}")) as client:
            client.execute_command("XGROUP", "DESTROY", STREAM, GROUP)  # the peer makes it again, at the first entry
        done = self.ask(peer, "consume", n=self.size.first, url=f"{self.root}/{db}")
        numbers = {rate_with(backlog): done["rate"]}
        if backlog == max(self.size.backlogs):
            numbers |= {
                Measure(f"time to the first order of {backlog:,}", "ms"): done["first_s"] * 1000,
                memory_with(backlog): done["peak_mb"],
            }
        return numbers

    def pending(self, peer: str) -> Numbers:
        url = f"{self.root}/{self.pending_db}"
        done = self.ask(peer, "consume", n=self.size.first, url=url, environ=NOT_DUE)
        return {Measure(f"handle orders while {self.size.pending:,} others are pending", "/s"): done["rate"]}

    def warm_up(self, peer: str) -> Numbers:
        """How soon is a consumer at full speed? The clock starts before its first read."""
        self.fill_afresh(3_000)
        rates, numbers = self.ask(peer, "warm_up", n=2_000)["rates"], {}
        for begin, end in ((0, 1), (1, 5), (5, 10), (10, 20)):
            part = rates[begin:end]
            name = f"a new consumer: orders {begin * 100 + 1:,} to {end * 100:,}"
            numbers[Measure(name, "/s")] = len(part) / sum(1 / rate for rate in part)
        return numbers

    def consumers(self, peer: str, count: int, work_s: float) -> Numbers:
        orders = int(2_000 * count * self.size.part) if work_s else int(100_000 * self.size.part)
        self.fill_afresh(orders)
        with ExitStack() as stack:
            processes = [
                stack.enter_context(self.process(peer, "share", work_s=work_s)) for _ in range(count)
            ]
            for process in processes:
                process.ready()
            for process in processes:
                process.go()
            deadline = time.monotonic() + self.size.limit_s / 2
            while not self.all_acked():
                if time.monotonic() > deadline:
                    raise Failed(f"not all orders were handled within {self.size.limit_s / 2:.0f} s")
                time.sleep(0.05)
            for process in processes:
                process.terminate()
            did = [one for one in (process.result() for process in processes) if one["seen"]]
        took = max(one["last"] for one in did) - min(one["first"] for one in did)
        handler = "1 ms of work" if work_s else "counting"
        measure = Measure(f"{count} consumer{'s' * (count > 1)}, {handler}", "/s")
        return {measure: sum(one["seen"] for one in did) / took}

    def recover(self, peer: str) -> Numbers:
        with closing(self.stream(0, "recovery")) as stream:
            if peer != "ours":
                return {RECOVERY: recovery.bare(stream, self.size.abandoned)}
            rate, share = recovery.consumer(stream, self.size.abandoned)
        return {RECOVERY: rate, Measure("abandoned ones recovered when the last new one was handled", "%"): 100 * share}

    def trace(self) -> Numbers:
        with closing(self.stream(0, "tracing")) as stream:
            shares = tracing.shares(stream, self.size.traced)
        return {traced(*key): 100 * share for key, share in shares.items()}

    # What they share ---------------------------------------------------------------------------------------

    def process(self, peer: str, action: str, **options: Any) -> Process:
        return Process(peer, action, **{"url": self.url, "limit_s": self.size.limit_s, **options})

    def ask(self, peer: str, action: str, **options: Any) -> dict[str, Any]:
        """Let a process of this peer do one thing alone."""
        with self.process(peer, action, **options) as process:
            process.ready()
            self.results.versions[peer] = process.version
            process.go()
            return process.result()

    def fill_afresh(self, count: int) -> None:
        self.client.flushdb()
        with closing(self.stream(0)) as stream:
            fill(stream, count)

    def all_acked(self) -> bool:
        try:
            [group] = self.client.xinfo_groups(STREAM)
        except ValueError:  # nobody has made it yet
            return False
        last = self.client.xinfo_stream(STREAM)["last-generated-id"]
        return group["last-delivered-id"] == last and not group["pending"]


def rotated(peers: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """Let another one begin in each round; the steps are as far apart as they can be."""
    start = turn * max(1, len(peers) // 2 + 1) % len(peers)
    return peers[start:] + peers[:start]


def fill(stream: OrderStream, count: int) -> None:
    producer, orders = Producer(stream), random_orders(seed=1)
    while some := min(CHUNK, count):
        producer.send_many(islice(orders, some))
        count -= some


def import_time(peer: str) -> Numbers:
    module = "orderstream" if peer == "ours" else "redis"
    program = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return {IMPORT: float(done.stdout) * 1000}
