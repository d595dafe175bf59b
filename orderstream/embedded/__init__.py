"""
A Redis that comes along: found on this machine, started for a while, and ended with whoever uses it. In reading order:

    find            which redis-server it is: yours, one on PATH, or one that came with a Python package
    folder          where a server has its data, and that no second server uses the same
    lifeline        a process that ends with the one that started it
    guard           the process that starts a redis-server, and ends it in time
    private         a redis-server that ends with this process
    shared_guard    the guard of the shared server: it ends the server when nobody is connected
    shared          one redis-server for all commands of a user, who may come and go

The commands ``orderstream server`` and ``--embedded`` use it, and so do the lessons.
"""
