"""
How fast is it? orderstream against the best redis-py loop and eight other libraries, the same work for each.

    make bench              # everything, into benchmarks/results.md and results.png
    make bench QUICK=1      # under three minutes, into results-quick.md and results-quick.png
    make bench WAITING=1    # handlers that wait, see waiting/

Read peers/ideal.py first, then worker.py (one process of one peer), measures.py (what is measured) and report.py.
"""
