"""
The soak: orders of every kind flow while workers, the servers and replies are lost at random; then all is counted.

    make soak                                    one seed after the other, until Ctrl-C
    make soak SEEDS=30                           thirty seeds
    make soak SEEDS=1 ORDERSTREAM_SOAK_SEED=7    this one
    make soak ORDERSTREAM_SOAK_S=120             two minutes each
    make soak CREW=threads                       fifty handlers at once; or CREW=coroutines
    python -m tests.chaos.soak --help            the other choices

A row for each seed. If one breaks a promise, its records are kept, and the last line says where.
"""

import argparse
import os
import queue
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
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import redis

from orderstream import DeadLetterQueue, Order, OrderStream, Producer, SendUnknown, Settings, connect
from orderstream.connection import Trouble, open_client, trouble
from orderstream.errors import DecodeError
from orderstream.lab.lifeline import Child
from tests.chaos.judge import MARGIN_S, PROCESSES, REDIS, Event, Facts, broken, supervised
from tests.chaos.server import Pair

PRODUCERS = ("plain", "deduped")
CREWS = ("threads", "coroutines")
LOST_REPLIES = 0.01
PAUSE_S = 0.06  # between two orders of one producer
STOP_S = 30.0  # how long a program may take to end
ORDERS = {
    "hang": ["hang"],
    "gil": ["gil"],
    "pool": ["pool"],
    "exit": ["sysexit", "interrupt", "cancelled", "exit", "abort"],
}
"""Faults that an order makes: the kinds that are sent in turn."""
NOT_MEANWHILE = ("kill", "term", "crash", "failover", "oom")
"""Faults that wait until a failover was followed: after most of them clients connect anew, which would help them."""


@dataclass(frozen=True)
class Pace:
    """
    How quickly things go.

    Attributes:
        settings: Of the consumers; for the rest the defaults.
        slow_s: How long a slow handler runs: longer than ``claim_idle_ms``, shorter than ``handler_timeout_ms``.
        seconds: How long things go wrong.
        settle_s: How long all may take to settle after that.
        programs: Somebody's own programs around ``Consumer.run()``; a service manager would start them again at once.
        fleets: How many times ``orderstream consume --processes 2`` runs.
        kinds: Of the orders, in percent.
        faults: Seconds from one to the next, from and to.
    """

    settings: dict
    slow_s: float
    seconds: float
    settle_s: float
    programs: int
    fleets: int
    kinds: dict
    faults: dict


QUICK = Pace(
    settings={"claim_idle_ms": 1_000, "backoff_ms": 100, "block_ms": 200, "grace_s": 2.0, "handler_timeout_ms": 3_500},
    slow_s=2.5,
    seconds=20.0,
    settle_s=60.0,
    programs=2,
    fleets=1,
    kinds={"good": 85, "flaky": 6, "failing": 4, "malformed": 3, "slow": 1, "poison": 1},
    faults={
        "kill": (0.5, 2.0),
        "term": (1.0, 4.0),
        "crash": (4.0, 8.0),
        "failover": (5.0, 10.0),
        "oom": (4.0, 8.0),
        "hang": (6.0, 12.0),
        "exit": (1.5, 3.0),
        "gil": (5.0, 9.0),
        "pool": (1.5, 3.0),
    },
)
PRODUCTION = Pace(
    settings={"handler_timeout_ms": 40_000},
    slow_s=33.0,
    seconds=70.0,
    settle_s=300.0,
    programs=0,
    fleets=2,
    kinds={"good": 89.8, "flaky": 6, "failing": 3, "malformed": 1, "poison": 0.2},
    faults={
        "kill": (6.0, 12.0),
        "term": (25.0, 35.0),
        "crash": (20.0, 30.0),
        "failover": (15.0, 25.0),
        "oom": (20.0, 30.0),
        "hang": (35.0, 60.0),
        "exit": (8.0, 14.0),
        "gil": (40.0, 60.0),
        "pool": (5.0, 10.0),
    },
)


class Following:
    """
    A failover that clients have to follow by themselves, or until too late.

    It is done when each producer had an order confirmed, and each process that lived had an answer to a claim.
    """

    def __init__(self, soak):
        self._soak, self._at = soak, time.time()
        self._until = self._at + soak.claim_idle_s + 2 * MARGIN_S  # so late that the judge sees it
        self._heard = {who: _heard(soak.journals / who) for who in soak.alive()}

    def done(self):
        if time.time() > self._until:
            return True
        alive = self._soak.alive()
        return all(sent and sent[-1][0] > self._at for sent in self._soak.confirmed.values()) and all(
            _heard(self._soak.journals / who) > before for who, before in self._heard.items() if who in alive
        )


def _heard(journal):
    return journal.read_bytes().count(b" heard ")


class Soak:
    """
    One seed's run.

    Args:
        seed: Decides the orders, the lost replies and who is killed when, as far as two processors let it.
        folder: Where the records go.
        pace: How quickly things go.
        seconds: How long things go wrong; None: as the pace says.
        faults: Names of those to have; None: all of the pace.
        crew: ``threads`` or ``coroutines``: fifty handlers at once. Empty: one at a time.
    """

    def __init__(self, seed, folder, *, pace=QUICK, seconds=None, faults=None, crew=""):
        self.seed, self.folder, self.pace, self.crew = seed, folder, pace, crew
        self.seconds = pace.seconds if seconds is None else seconds
        self.faults = {name: pace.faults[name] for name in faults or pace.faults}
        self.claim_idle_s = pace.settings.get("claim_idle_ms", Settings.claim_idle_ms) / 1000
        self.journals = folder / "journals"
        (self.journals / "failed-before").mkdir(parents=True)
        self.chance = random.Random(seed)
        self.everybody, self.programs, self.told = [], {}, set()
        self.names = {"w": map("w{}".format, count(1)), "f": map("f{}".format, count(1))}
        self.seen, self.gone = {}, set()
        self.events = []
        self.unknown = 0
        self.confirmed = {name: [] for name in PRODUCERS}  # when it was confirmed, and the entry id
        self.to_send = queue.SimpleQueue()
        self.turns = {fault: self.chance.sample(kinds, len(kinds)) for fault, kinds in ORDERS.items()}
        self.full_until = self.following = None
        self.calm = threading.Event()

    def run(self):
        """Return the facts to judge."""
        with ExitStack() as stack:
            self.pair = Pair(self.folder)
            stack.callback(lambda: self.pair.close())
            self.link = self.pair.address
            self.link.lose_some(LOST_REPLIES, self.seed)
            stack.callback(self._stop_everybody)
            self._replace()
            with ThreadPoolExecutor() as threads:
                producers = [threads.submit(self._produce, name) for name in PRODUCERS]
                try:
                    self._go_wrong()
                finally:
                    self.calm_at = time.time()
                    self.calm.set()
            for producer in producers:
                producer.result()  # raises what it raised
            self.link.lose_some(0)
            left = self._settle()
            self._stop_everybody()
            with closing(connect(Settings(redis_url=self.pair.primary.url))) as stream:
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
                kind = chance.choices([*self.pace.kinds], self.pace.kinds.values())[0]
                with suppress(queue.Empty):
                    kind = self.to_send.get_nowait()
                order = Order(f"{kind}-{name}-{n}", kind, 1)
                try:
                    if kind == "malformed":
                        stream.add([[b"data", order.to_fields()[1][:-2]]])
                    else:
                        id = producer.send(order)
                        self.confirmed[name].append((time.time(), id))
                except SendUnknown:
                    self.unknown += 1  # if it is in the stream, the judge will find it there
                except redis.RedisError as error:
                    if trouble(error) is not Trouble.OUTAGE:
                        raise

    # What goes wrong ----------------------------------------------------------------------------------

    def _go_wrong(self):
        began = time.monotonic()
        due = {fault: began + self.chance.uniform(*pause) for fault, pause in self.faults.items()}
        while time.monotonic() < began + self.seconds:
            self._watch()
            for fault, pause in self.faults.items():
                if time.monotonic() > due[fault] and not (self.following and fault in NOT_MEANWHILE):
                    self._make(fault)
                    due[fault] += self.chance.uniform(*pause)
            if self.following and self.following.done():
                self._happened(REDIS, "all have followed")
                self.following = None
                self.link.lose_some(LOST_REPLIES, self.chance.random())
            if self.full_until and time.monotonic() > self.full_until:
                self._relieve()
            time.sleep(0.02)
        self._relieve()

    def _make(self, fault):
        if fault in ORDERS:
            self.turns[fault].append(kind := self.turns[fault].pop(0))
            self.to_send.put(kind)
        else:
            getattr(self, f"_{fault}")()

    def _kill(self):
        if alive := self.alive():
            who = self.chance.choice(alive)
            self._happened(who, "SIGKILL")
            with suppress(ProcessLookupError):
                os.kill(self.seen[who], signal.SIGKILL)

    def _term(self):
        if not self.told.intersection(self.programs):  # as in a deployment: one after the other
            name = self.chance.choice([*self.programs])
            self._happened(name, "SIGTERM")
            self.told.add(name)
            with suppress(ProcessLookupError):
                os.kill(self.programs[name].pid, signal.SIGTERM)

    def _crash(self):
        self._happened(REDIS, "kill -9")
        self.full_until = None  # it forgets that its memory was limited
        self.pair.crash()
        self._happened(REDIS, "answers again")

    def _failover(self):
        self._relieve()
        self.link.lose_some(0)
        self.following = Following(self)
        self._happened(REDIS, "failover")
        self.pair.fail_over()
        self._happened(REDIS, "is the promoted one")

    def _oom(self):
        self._happened(REDIS, "memory full")
        self.pair.fill()
        self.full_until = time.monotonic() + self.chance.uniform(1.0, 3.0)

    def _relieve(self):
        if self.full_until:
            self.full_until = None
            self.pair.relieve()
            self._happened(REDIS, "memory free")

    def _happened(self, who, what):
        self.events.append(Event(time.time(), who, what))

    # Those who handle ---------------------------------------------------------------------------------

    def _watch(self):
        self._replace()
        self._look_for_ends()

    def _look_for_ends(self):
        for path in self.journals.glob("*.*"):
            who = path.name
            if who not in self.seen:
                self.seen[who] = int(who.rpartition(".")[2])
            if who not in self.gone and not _runs(self.seen[who]):
                self.gone.add(who)
                self._happened(who, "ended")

    def _replace(self):
        for name, program in [*self.programs.items()]:
            if not program.alive:
                self._has_ended(name)
        for kind, wanted in (("w", self.pace.programs), ("f", self.pace.fleets)):
            while sum(name.startswith(kind) for name in self.programs) < wanted:
                self._start(next(self.names[kind]))

    def _start(self, name):
        environ = {"REDIS_URL": self.link.url}
        environ |= {f"ORDERSTREAM_{setting.upper()}": str(value) for setting, value in self.pace.settings.items()}
        environ |= {"SOAK_NAME": name, "SOAK_FOLDER": str(self.journals), "SOAK_SLOW_S": str(self.pace.slow_s)}
        environ |= {"SOAK_CREW": self.crew}
        if supervised(name):
            handler = "handle_async" if self.crew == "coroutines" else "handle"
            consume = ["consume", "--name", name, "--processes", str(PROCESSES)]
            consume += ["--handler", f"tests.chaos.worker:{handler}"]
            consume += ["--concurrency", "50"] if self.crew else []
            program = Child("tests.chaos.fleet", *consume, environ=environ)
        else:
            program = Child("tests.chaos.worker", environ=environ | {"ORDERSTREAM_ON_TIMEOUT": "exit"})
        self.programs[name] = program
        self.everybody.append(program)

    def _has_ended(self, name):
        program = self.programs.pop(name)
        code = program.stop()
        if supervised(name) and name not in self.told:  # it keeps no journal
            self._happened(name, "ended")
        self._happened(name, f"exited with {code}")
        (self.folder / f"{name}.log").write_bytes(program.output())

    def _stop_everybody(self):
        """Tell all to end, and wait until every process has."""
        self._look_for_ends()
        for name, program in self.programs.items():
            if name not in self.told:
                self._happened(name, "told to end")
                self.told.add(name)
                with suppress(ProcessLookupError):
                    os.kill(program.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for name in [*self.programs]:
            with suppress(TimeoutError):
                self.programs[name].wait(max(0.0, deadline - time.monotonic()))
            self._has_ended(name)
        while self.alive() and time.monotonic() < deadline:
            self._look_for_ends()
            time.sleep(0.02)

    def alive(self):
        return [who for who in self.seen if who not in self.gone]

    # The end ------------------------------------------------------------------------------------------

    def _settle(self):
        """Wait until nothing is left to do, and return what is left all the same."""
        deadline = time.monotonic() + self.pace.settle_s
        with closing(connect(Settings(redis_url=self.pair.primary.url))) as stream:
            while not (backlog := stream.backlog()).done:
                if time.monotonic() > deadline:
                    return backlog.remainder()
                self._watch()
                time.sleep(0.05)
        return ""

    def _facts(self, stream, left):
        added = {id.decode(): _order_id(fields) for id, fields in stream.client.xrange(stream.settings.stream)}
        letters = list(DeadLetterQueue(stream))
        events = self.events + [event for path in self.journals.glob("*.*") for event in _events(path)]
        events.sort(key=lambda event: event.t)
        return Facts(
            added=added,
            confirmed=[id for sent in self.confirmed.values() for _, id in sent],
            sent=[[t for t, _ in sent] + [self.calm_at] for sent in self.confirmed.values()],
            dead=[letter.source_id for letter in letters],
            reasons={letter.source_id: letter.reason for letter in letters},
            left=left,
            events=events,
            still_there=self.alive(),
            fallen=set(self.seen) - {event.who for event in events if event.what == "left"},
            claim_idle_s=self.claim_idle_s,
            handler_timeout_s=self.pace.settings["handler_timeout_ms"] / 1000,
        )


def row(soak, facts):
    """Return what there was of everything and how long nothing was handled, in one line."""
    faults = Counter(fault for _, fault in facts.faults)
    faults |= {"replies lost": soak.link.lost, "sends unknown": soak.unknown}
    return " | ".join(
        [
            f"seed {soak.seed:>6}",
            ", ".join(f"{fault} {times}" for fault, times in faults.items()),
            f"{len(facts.added)} orders, {len(facts.handled)} handled, {facts.handled_twice} twice",
            f"{len(facts.dead)} dead, {len(facts.innocents)} of them innocent",
            f"{len(facts.lost)} lost",
            f"longest without progress: {_longest_first(facts.without_progress)}",
            f"without sending: {_longest_first(facts.without_sending)}",
        ]
    )


def _longest_first(stalls_s):
    longest = sorted(stalls_s.items(), key=lambda item: -item[1])
    return ", ".join(f"{fault} {stall_s:.1f} s" for fault, stall_s in longest)


def _runs(pid):
    """Return whether a process runs. One that has ended, and whose parent has not noticed it, does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _order_id(fields):
    (data,) = fields.values()
    try:
        return Order.from_fields([b"data", data]).id
    except DecodeError:
        return data.split(b'"')[3].decode()


def _events(path):
    for line in path.read_text().splitlines():
        t, what, entry, attempt = line.split()
        yield Event(float(t), path.name, what, entry, int(attempt))


def main():
    """Run seed after seed: that of ORDERSTREAM_SOAK_SEED and those after it, or any."""
    options = argparse.ArgumentParser("python -m tests.chaos.soak", description="Soak: a row for each seed.")
    options.add_argument("--seeds", type=int, help="how many; default: until Ctrl-C")
    options.add_argument("--first", type=int, default=os.environ.get("ORDERSTREAM_SOAK_SEED"), help="the first seed")
    options.add_argument("--server", metavar="PATH", help="the redis-server to run")
    options.add_argument("--seconds", type=float, default=os.environ.get("ORDERSTREAM_SOAK_S"), help="of each seed")
    options.add_argument("--production", action="store_true", help="with the default of every timer; slow")
    options.add_argument("--faults", metavar="A,B", type=lambda names: names.split(","), help=", ".join(QUICK.faults))
    options.add_argument("--crew", choices=["", *CREWS], default="", help="fifty handlers at once")
    chosen = options.parse_args()
    if chosen.server:
        os.environ["ORDERSTREAM_REDIS_SERVER"] = chosen.server
    first = random.randrange(10**6) if chosen.first is None else int(chosen.first)
    pace = PRODUCTION if chosen.production else QUICK
    failed, seeds, total, longest = 0, 0, Counter(), Counter()
    for seed in count(first) if chosen.seeds is None else range(first, first + chosen.seeds):
        folder = Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
        try:
            soak = Soak(seed, folder, pace=pace, seconds=chosen.seconds, faults=chosen.faults, crew=chosen.crew)
            facts = soak.run()
        except KeyboardInterrupt:
            shutil.rmtree(folder)
            break
        problems = broken(facts)
        print(row(soak, facts), *problems, *[f"The records are in {folder}"] * bool(problems), sep="\n", flush=True)
        failed += bool(problems)
        seeds += 1
        total += Counter(orders=len(facts.added), dead=len(facts.dead), lost=len(facts.lost))
        longest |= Counter(facts.without_progress)
        if not problems:
            shutil.rmtree(folder)
    fault, stall_s = max(longest.items(), key=lambda item: item[1], default=("nothing", 0.0))
    print(
        f"{seeds} seeds, {failed} failed: {total['orders']} orders, {total['dead']} dead, {total['lost']} lost, "
        f"longest without progress {stall_s:.1f} s, after {fault}"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
