"""
Producers and consumers as real processes, and faults that are made on purpose. In reading order:

    lossy_link      a TCP proxy that loses replies
    faults          handlers that fail, and a process that kills itself
    shop            the effect of an order, once or for each run
    tell            a process writes down its spans
    tell_metrics    a process writes down its metrics
    worker          what runs in the worker process
    process         the worker process, seen from the notebook
"""
