"""
Everything that can go wrong, and what is expected then. ``@pytest.mark.row(13)`` says: this test shows row 13.

    grep -rn 'mark.row(13' tests        what shows row 13
"""

ROWS = {
    # Processes
    1: ("SIGKILL in the handler", "another process runs it again, attempt + 1; nothing lost"),
    2: ("SIGKILL between handler and XACK, also with buffered acks", "handled twice; one effect per order id"),
    # Replies
    3: ("XREADGROUP reply lost", "delivered again after claim_idle_ms at attempt 2; none lost or skipped"),
    4: ("CLAIM reply lost", "the next claim is one attempt further; never more handler runs than max_attempts"),
    5: ("XACK reply lost", "acked once, no exception"),
    6: ("DEAD reply lost, once or often", "exactly one dead letter"),
    7: ("XADD reply lost", "SendUnknown and no silent second entry; with deduplication one entry and its id"),
    8: ("a default redis.Redis is passed in", "refused; no XADD travels four times"),
    # Handlers
    9: ("poison among ten orders", "only it is dead-lettered, nine are handled; at most max_attempts deaths"),
    10: ("the handler always raises", "max_attempts runs, growing delays, a dead letter with type and count"),
    11: ("the handler takes more than 3 claim_idle_ms", "one run, heartbeats, attempt 1"),
    12: ("the handler hangs beyond its timeout", "others claim the order; at last it is dead-lettered"),
    13: ("SIGSTOP for 3 claim_idle_ms, then SIGCONT", "taken over; the zombie changes nothing, its ack is harmless"),
    14: ("the handler blocks the GIL", "a second run is allowed, a second dead letter is not"),
    # The server
    15: ("XDEL or MAXLEN of a pending entry", "no more pending, its id in a warning; the loop goes on"),
    16: ("DEL or FLUSHALL while a read blocks", "the group is made again at 0; later entries are handled"),
    17: ("XGROUP DESTROY while a read blocks", "the same; what is still in the stream is delivered again"),
    18: ("kill -9 of a server with AOF", "nothing lost; attempts kept"),
    19: ("restart of a server without persistence", "the consumer goes on; doctor had warned"),
    20: ("demotion to a replica, also inside a script", "no crash; it goes on after the promotion"),
    21: ("LOADING, MASTERDOWN, MISCONF", "it waits and goes on"),
    22: ("maxmemory reached", "a typed error at the producer; acks and reads go on; dead letters wait for relief"),
    23: ("the dead-letter key has the wrong type", "the entry stays pending, the error is raised"),
    24: ("Redis Cluster", "{orders}-dlq works, orders-dlq is refused at start with the reason"),
    25: ("BLOCK not shorter than the socket timeout", "refused at construction"),
    26: ("SIGTERM when idle, in a handler, with a buffer", "a clean end; acks flushed, the buffer begins at attempt 1"),
    27: ("second SIGTERM, or grace exceeded", "it ends; the entry is recovered by a claim"),
    28: ("a consumer is removed while it is given an entry", "never with something pending; it comes back"),
    29: ("trim under load, two groups", "nothing pending or undelivered goes; a dead group holds it, and is named"),
    30: ("100,000 pending, none due", "a claim below 5 ms; new entries are still read"),
    31: ("SCRIPT FLUSH", "loaded again, unnoticed"),
    32: ("redrive twice, at once by two, its reply lost", "one new entry as the original; no dead letter left"),
    33: ("XNACK by an operator (8.8)", "claimed at once, FATAL is dead-lettered unrun; neighbours unaffected"),
    34: ("a clock jump", "second runs at most"),
    35: ("random kill, loss and restart", "lost 0, dead-lettered twice 0, pending 0"),
    36: ("an async read at shutdown", "there is no async API"),
    # Security
    37: ("names and values that are no text, empty, repeated", "dead-lettered byte by byte; neighbours are handled"),
    38: ("an entry of 100,000 fields", "dead-lettered; redrive refuses in clear words and it stays"),
    39: ("an order that is too long", "refused before it is sent; dead-lettered undecoded; memory bounded"),
    40: ("an entry with fields named like our metadata", "told apart by place; redrive restores the original"),
    41: ("pickle as data", "never unpickled"),
    42: ("deeply nested JSON, huge integers", "dead-lettered"),
    43: ("control characters in errors and ids", "escaped; an error is cut at 200 characters"),
    44: ("a password in the URL", "in no repr, str, exception, log, output"),
    45: ("payload values", "in no log, span or metric"),
    46: ("a hostile traceparent", "ignored, no exception"),
    47: ("baggage in the producer's context", "not written to the entry"),
    48: ("wrong password, missing permission", "it fails at once with an exit code"),
    49: ("minimal ACL users", "each role works; what is forbidden is refused"),
    50: ("TLS: self-signed, wrong host", "refused"),
    51: ("an entry with the highest id there is", "the producer is told; doctor had warned"),
    52: ("scripts", "never built from strings"),
    # The service
    63: ("a handler ends its process, raises SystemExit or KeyboardInterrupt", "its failure; the process is replaced"),
    64: ("a handler hangs under a supervisor", "ended at its timeout; a dead letter says so; the others go on"),
    65: ("a handler holds the interpreter under a supervisor", "one run, acked; those before it are acked, too"),
    66: ("a handler forks, or uses multiprocessing", "its processes can be ended; the consumer goes on"),
    67: ("one signal to all processes, SIGHUP, nohup", "one stop; no order is cut"),
    68: ("SIGTERM while Redis hangs; an endless grace time", "it ends with 0 within the grace time; the second leaves"),
    69: ("a console that is full, closed, without a letter", "escaped, or given back with a line; no dead letter"),
}
