"""
Many handlers at once in one process, for handlers that wait: for a database, for an answer over HTTP.

    Consumer(stream, handler, concurrency=100).run()

Three roles work together:

    reader    claims and reads, and never has more in hand than the crew can soon begin: `consumer`
    crew      runs the handlers, in threads or as coroutines: `threads`, `coroutines`
    keeper    acks what is done, settles what failed, sends heartbeats, gives back: `hand`

The keeper is a thread of its own because a reader that waits for new entries can do nothing else.

Read the code in this order: hand, threads, coroutines, observed, consumer, own_loop.
"""

from orderstream.crew.consumer import CrewConsumer

__all__ = ["CrewConsumer"]
