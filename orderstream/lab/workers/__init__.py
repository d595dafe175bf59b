"""
Producers and consumers as real processes, and what goes wrong with them on purpose. In reading order:

    lossy_link      a TCP proxy that loses replies
    faults          handlers that fail, and a process that kills itself
    shop            the effect of an order, once or for each run
    tell            how a process tells its spans
    tell_metrics    how it tells its metrics
    worker          what runs in the worker process
    process         the worker process, seen from the notebook
"""
