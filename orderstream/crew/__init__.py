"""
Many handlers at once in one process, for handlers that wait: for a database, for an answer over HTTP.

    Consumer(stream, handler, concurrency=100).run()

Three roles share the work. The reader claims and reads, and never has more in hand than the crew can soon begin. The
crew runs the handlers. The keeper acks what is done, settles what failed, sends heartbeats and gives back. It is a
thread of its own, because a reader that waits for new entries can do nothing else. Read the files in this order:

    hand          what a crew has in hand, and the keeper
    ending        one that ends its process when a handler holds the interpreter
    threads       a crew of threads, for plain functions
    coroutines    a crew of coroutines, in our event loop or in yours
    observed      what telemetry knows of the entries in hand
    consumer      the reader
    own_loop      run it in an event loop of yours
"""

from orderstream.crew.consumer import CrewConsumer
from orderstream.crew.own_loop import run_in_this_loop

__all__ = ["CrewConsumer", "run_in_this_loop"]
