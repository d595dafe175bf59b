"""
The soak: orders of every kind flow while workers, the server and replies are lost at random; then all is counted.

    make soak                                    one seed after the other, until Ctrl-C
    make soak SEEDS=30                           thirty seeds
    make soak SEEDS=1 ORDERSTREAM_SOAK_SEED=7    this one
    make soak ORDERSTREAM_SOAK_S=120             two minutes each

A line for each seed. If one breaks a promise, its records are kept, and the last line says where.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path

import redis

from orderstream import DeadLetterQueue, Order, OrderStream, Producer, SendUnknown, Settings, connect
from orderstream.connection import Trouble, open_client, trouble
from orderstream.errors import DecodeError
from orderstream.lab.lifeline import Child
from orderstream.lab.workers.lossy_link import LossyLink
from tests.chaos.judge import Event, Facts, broken, kind_of
from tests.chaos.server import Server

SECONDS = 20.0
WORKERS = 3
LOST_REPLIES = 0.01
PAUSE_S = 0.06  # between two orders of one producer
SETTLE_S = 60.0
KINDS = {"good": 84, "flaky": 6, "failing": 4, "malformed": 3, "slow": 2, "poison": 1}  # percent
KILL_S, TERM_S, CRASH_S = (0.5, 2.0), (1.0, 4.0), (4.0, 8.0)  # from one to the next
SETTINGS = {"claim_idle_ms": 1_000, "backoff_ms": 100, "block_ms": 200, "grace_s": 2.0}


class Soak:
    """
    One seed's run.

    Args:
        seed: Decides the orders, the lost replies and who is killed when, as far as two processors let it.
        seconds: How long things go wrong.
        folder: Where the records go.
    """

    def __init__(self, seed, seconds, folder):
        self.seed, self.seconds, self.folder = seed, seconds, folder
        (folder / "failed-before").mkdir(parents=True)
        self.chance = random.Random(seed)
        self.everybody, self.workers, self.ended, self.told = [], {}, {}, set()
        self.names = (f"w{n}" for n in count(1))
        self.events = []
        self.tally = Counter()
        self.confirmed = []
        self.calm = threading.Event()

    def run(self):
        """Return the facts to judge, and what there was of everything in one line."""
        with ExitStack() as stack:
            self.server = Server(self.folder)
            stack.callback(lambda: self.server.kill())
            self.link = stack.enter_context(LossyLink(self.server.url))
            self.link.lose_some(LOST_REPLIES, self.seed)
            stack.callback(self._stop_workers)
            with ThreadPoolExecutor() as threads:
                producers = [threads.submit(self._produce, name) for name in ("plain", "deduped")]
                try:
                    self._go_wrong()
                finally:
                    self.calm.set()
            for producer in producers:
                producer.result()  # raises what it raised
            self.link.lose_some(0)
            with closing(connect(Settings(redis_url=self.server.url))) as stream:
                left = self._settle(stream)
                self._stop_workers()
                return self._facts(stream, left)

    # Sending ------------------------------------------------------------------------------------------

    def _produce(self, name):
        """Send until all is calm. Nothing is sent twice, unless Redis was told to remember it."""
        chance = random.Random(f"{self.seed} {name}")
        settings = Settings(redis_url=self.link.url)
        with closing(OrderStream(open_client(settings), settings)) as stream:
            producer = Producer(stream, dedupe=name) if name == "deduped" else Producer(stream)
            for n in count():
                if self.calm.wait(PAUSE_S * chance.uniform(0, 2)):
                    break
                kind = chance.choices([*KINDS], KINDS.values())[0]
                order = Order(f"{kind}-{name}-{n}", kind, 1)
                try:
                    if kind == "malformed":
                        stream.add([[b"data", order.to_fields()[1][:-2]]])
                    else:
                        self.confirmed.append(producer.send(order))
                except SendUnknown:
                    self.tally["unknown"] += 1  # if it is in the stream, the judge will find it there
                except redis.RedisError as error:
                    if trouble(error) is not Trouble.OUTAGE:
                        raise

    # What goes wrong ----------------------------------------------------------------------------------

    def _go_wrong(self):
        faults = {self._kill: KILL_S, self._term: TERM_S, self._crash: CRASH_S}
        began = time.monotonic()
        due = {fault: began + self.chance.uniform(*pause) for fault, pause in faults.items()}
        while time.monotonic() < began + self.seconds:
            self._replace_workers()
            for fault, pause in faults.items():
                if time.monotonic() > due[fault]:
                    fault()
                    due[fault] += self.chance.uniform(*pause)
            time.sleep(0.02)

    def _kill(self):
        name = self.chance.choice([*self.workers])
        self._happened(name, "SIGKILL")
        self.tally["killed"] += 1
        self.workers[name].kill()

    def _term(self):
        if waiting := [name for name in self.workers if name not in self.told]:
            name = self.chance.choice(waiting)
            self._happened(name, "SIGTERM")
            self.tally["terminated"] += 1
            self.told.add(name)
            with suppress(ProcessLookupError):
                os.kill(self.workers[name].pid, signal.SIGTERM)

    def _crash(self):
        self._happened("redis", "kill -9")
        self.tally["crashes"] += 1
        self.server.kill()
        self.server.start()
        self._happened("redis", "answers again")

    def _happened(self, who, what):
        self.events.append(Event(time.time(), who, what))

    # Workers ------------------------------------------------------------------------------------------

    def _replace_workers(self):
        for name, worker in [*self.workers.items()]:
            if not worker.alive:
                self._has_ended(name)
        while len(self.workers) < WORKERS:
            name = next(self.names)
            environ = {"REDIS_URL": self.link.url, "ORDERSTREAM_SOAK": "1"}
            environ |= {f"ORDERSTREAM_{setting.upper()}": str(value) for setting, value in SETTINGS.items()}
            self.workers[name] = Child("tests.chaos.worker", name, str(self.folder), environ=environ)
            self.everybody.append(self.workers[name])

    def _has_ended(self, name):
        worker = self.workers.pop(name)
        self.ended[name] = worker.stop()
        self._happened(name, f"ended with {self.ended[name]}")
        (self.folder / f"{name}.log").write_bytes(worker.output())

    def _stop_workers(self):
        for name, worker in self.workers.items():
            self.told.add(name)
            worker.let_go()
        for name in [*self.workers]:
            self._has_ended(name)

    # The end ------------------------------------------------------------------------------------------

    def _settle(self, stream):
        """Wait until nothing is left to do, and return what is left all the same."""
        deadline = time.monotonic() + SETTLE_S
        while not (backlog := stream.backlog()).done:
            if time.monotonic() > deadline:
                return backlog.remainder()
            self._replace_workers()
            time.sleep(0.05)
        return ""

    def _facts(self, stream, left):
        added = {id.decode(): _order_id(fields) for id, fields in stream.client.xrange(stream.settings.stream)}
        dead = [letter.source_id for letter in DeadLetterQueue(stream)]
        events = self.events + [event for path in self.folder.glob("w*") for event in _events(path)]
        # 0: told to stop and done. 1: told to stop, and out of patience. Below 0: killed.
        fallen = {name for name, code in self.ended.items() if code != 0}
        facts = Facts(
            added=added,
            confirmed=self.confirmed,
            dead=dead,
            left=left,
            events=sorted(events, key=lambda event: event.t),
            fallen=fallen,
            crashed={name for name in fallen if self.ended[name] > 0 and name not in self.told},
        )
        kinds = Counter(map(kind_of, added.values()))
        line = (
            f"seed {self.seed}: {len(added)} orders ({', '.join(f'{n} {what}' for what, n in kinds.items())}), "
            f"{self.tally['killed']} workers killed, {self.tally['terminated']} terminated, "
            f"{self.tally['crashes']} server kills, {self.link.lost} replies lost, "
            f"{self.tally['unknown']} sends unknown, {len(dead)} dead-lettered, "
            f"{facts.handled_twice} handled twice, {len(facts.innocents)} innocents dead-lettered"
        )
        return facts, line


def _order_id(fields):
    (data,) = fields.values()
    try:
        return Order.from_fields([b"data", data]).id
    except DecodeError:
        return data.split(b'"')[3].decode()


def _events(path):
    if path.suffix != ".log":
        for line in path.read_text().splitlines():
            t, what, entry, attempt = line.split()
            yield Event(float(t), path.name, what, entry, int(attempt))


def main(seeds=None):
    """Run seed after seed: that of ORDERSTREAM_SOAK_SEED and those after it, or any."""
    first = int(os.environ.get("ORDERSTREAM_SOAK_SEED", random.randrange(10**6)))
    seconds = float(os.environ.get("ORDERSTREAM_SOAK_S", SECONDS))
    failed = 0
    for seed in count(first) if seeds is None else range(first, first + int(seeds)):
        folder = Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
        try:
            facts, line = Soak(seed, seconds, folder).run()
        except KeyboardInterrupt:
            shutil.rmtree(folder)
            break
        problems = broken(facts)
        print(line, *problems, *[f"The records are in {folder}"] * bool(problems), sep="\n", flush=True)
        failed += bool(problems)
        if not problems:
            shutil.rmtree(folder)
    sys.exit(f"{failed} seeds failed." if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
