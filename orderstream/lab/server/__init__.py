"""
The Redis of the lesson: yours if you name one, else a private redis-server. In reading order:

    client      a redis-py client of it, and what is wrong with a server in one line
    guard       the process that ends a private redis-server as soon as the notebook's process is gone
    private     a redis-server that only this notebook uses
    reserved    a logical database of our own on a server of yours
    session     which of the two this kernel has: find it, start it, leave it

Whoever needs the lesson's Redis asks here: ``server.current().client``.
"""

from orderstream.lab.server.session import close, current, on_close, start, version

__all__ = ["close", "current", "on_close", "start", "version"]
