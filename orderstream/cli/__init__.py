"""
The command line, ``orderstream``. Each command is a file of its name. The package itself imports nothing from here.

Read the files in this order; each imports only from those before it, and no command imports another:

    terminal      what people see and press: tables, a progress bar, Ctrl-C
    supervisor    child processes, kept running
    ledger        what a child has in hand, in memory that its supervisor reads
    told_crew     a crew whose supervisor is told that it goes on
    keeper        the lease of what the children have in hand, and an end for each handler
    export        spans and metrics to a collector
    options       the options that several commands have
    child         what a child is given by its supervisor, and how it ends
    connect       the way to Redis, and what to do while it is away
    produce       send random orders
    consume       handle orders, in one process or several
    status        how much is still to do, once or again and again
    dlq           the dead letters: list, show, redrive, purge
    trim          remove what every group has acknowledged
    doctor        is this Redis fit to keep orders?
    server        the Redis that comes along, until Ctrl-C
    lab           open the course in JupyterLab
    main          the command ``orderstream``: all of these in one, and each error in one line
"""
