"""
Handlers that wait for something else, as most do: how many orders can one process keep in flight, and at what price?

    make bench WAITING=1              # everything in forty minutes, into a section of benchmarks/results.md
    make bench WAITING=1 QUICK=1      # in five, into results-quick.md

Read peers/waiting/bare.py first, then handler.py and notes.py (what a handler does and leaves behind), serving.py (all
processes of one contender), measures.py (what is measured) and report.py.
"""
