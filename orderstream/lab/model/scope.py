"""How far the checker looks: who takes part, which orders there are, and how often something goes wrong."""

from __future__ import annotations

from dataclasses import dataclass

from orderstream import Order

ENDS = {"tea": ("returns", "raises"), "failing": ("raises",), "poison": (), "slow": ()}
"""Item of an order -> how its handler may end, besides with the process. A poison order always ends the process; a slow
one is not done before everything else is."""


@dataclass(frozen=True)
class Scope:
    """
    Attributes:
        consumers: How many there are. When a process of one has died, another one takes its place.
        items: What is ordered, one entry for each: ``tea``, ``failing`` or ``poison``.
        sent: What a producer sends meanwhile.
        dedupe: Whether this producer is one with ``dedupe``.
        janitors: Who works beside them, once each: ``trim``, ``redrive``, ``reap``.
        ends: How a handler of ``tea`` may end.
        deaths: How often a process dies. What poison orders do comes on top.
        lost: How many replies are lost, before or after Redis has run the command.
        late: How many replies are lost of commands that are still under way then: Redis runs them some time later.
        times: How often time passes while something is going on: what is pending becomes due, whoever has it.
        stops: How often a consumer is told to stop.
        refuses: Whether no dead letter can be written at first. Once, somebody mends that.
        preemptions: How often another thread goes on although the last one could; None: as often as there is a way.
        impatient: Whether a handler has run for too long as soon as time has passed once.
        page: How many pending entries a consumer looks at in one turn.
        max_attempts, batch: As in the settings.
    """

    consumers: int = 1
    items: tuple[str, ...] = ("tea",)
    sent: tuple[str, ...] = ()
    dedupe: bool = False
    janitors: tuple[str, ...] = ()
    ends: tuple[str, ...] = ENDS["tea"]
    deaths: int = 0
    lost: int = 0
    late: int = 0
    times: int = 0
    stops: int = 0
    refuses: bool = False
    preemptions: int | None = None
    impatient: bool = False
    page: int = 16
    max_attempts: int = 2
    batch: int = 2

    @property
    def orders(self) -> list[Order]:
        return [Order(f"o-{n}", item, 1) for n, item in enumerate(self.items, 1)]

    @property
    def to_send(self) -> list[Order]:
        return [Order(f"s-{n}", item, 1) for n, item in enumerate(self.sent, 1)]

    @property
    def _ways(self) -> list[str]:
        words = {"returns": "return", "raises": "raise", "rejects": "reject", "defers": "defer"}
        return [words[end] for end in self.ends]

    def __str__(self) -> str:
        about = [_many(self.consumers, "consumer"), " + ".join(self.items + self.sent)]
        faults = (
            (self.deaths, "death"),
            (self.lost, "lost reply"),
            (self.late, "late command"),
            (self.stops, "stop"),
        )
        about += [_many(number, word) for number, word in faults if number]
        about += [_many(self.times, "passing") + " of time"] if self.times else []
        about += ["no dead letter can be written at first"] if self.refuses else []
        about += ["impatient"] if self.impatient else []
        about += [*self.janitors, f"handlers that {' or '.join(self._ways)}", _many(self.max_attempts, "attempt")]
        about += ["any preemptions" if self.preemptions is None else f"preemptions ≤ {self.preemptions}"]
        return " × ".join(about)


def _many(number: int, word: str) -> str:
    if number == 1:
        return f"1 {word}"
    return f"{number} {word[:-1]}ies" if word.endswith("y") else f"{number} {word}s"
