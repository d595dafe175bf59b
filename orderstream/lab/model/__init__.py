"""
A checker: it looks at all that can happen to a few orders, and finds the shortest way to break a promise.

    python -m orderstream.lab.model                       every scope; `make model` does it, too
    python -m orderstream.lab.model poison --replay "a a a:dies a2"

The code is the package's own, the server a real one. What is made up is who goes next, what goes wrong, and when time
passes. Read it in this order:

    gate.py        a process that is let go one step at a time
    stage.py       what stands in for the world: the link to Redis, the clock, threads, chance
    programs.py    what runs in the processes: consumers, a producer, janitors
    likeness.py    what of a process decides how it goes on
    cast.py        processes as functions: a place in a program and an input give the next place
    world.py       Redis as a function: a state and commands give replies and the next state
    scope.py       who takes part, and how much may go wrong
    scopes.py      the scopes that are looked at
    judge.py       what must hold
    play.py        the rules: what can be chosen, and what comes of it
    mirror.py      two consumers are alike
    search.py      all choices, the short schedules first; and the way to rest from every state
    story.py       a schedule, told
    lanes.py       a schedule as a picture
    check.py       one scope, from its server to its verdict
    __main__.py    the command

It leaves out: Redis' own faults, and a server that restarts; the network below a round trip; memory; more than one
group; crews. A read that waits is one that does not. Time does not pass by waiting, only by the choice ``time``. While
there are suspects, no new entries are read on the 16th turn; consumers do not reap, a janitor does.
"""
