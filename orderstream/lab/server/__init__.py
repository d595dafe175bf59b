"""
The Redis of the lesson: yours if you name one, otherwise a private redis-server. In reading order:

    client      a redis-py client of it, and one line that says what is wrong with a server
    private     a redis-server that only this notebook uses
    reserved    a logical database of our own on a server of yours
    session     the server that this kernel has, one of these two: find it, start it, leave it

Other files get the lesson's Redis here: ``server.current().client``.
"""

from orderstream.lab.server.session import close, current, on_close, software, start

__all__ = ["close", "current", "on_close", "software", "start"]
