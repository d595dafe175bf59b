"""
Known wrong answers, so that no judge passes everything: exercise -> [(answer, words its verdict must contain)].

An answer is code, like the printed solution: it replaces the exercise cell but for its last line, the check.
"""

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "00.1": [
        ("def held(reply): return reply['pending']", "ann holds 1 and bob holds 2"),
        ("def held(reply): return {c['name']: 1 for c in reply['consumers']}", "ann holds 1 and bob holds 2"),
    ],
    "00.2": [
        ("def done(length, undelivered, pending): return length == 0", "the stream keeps them"),
        ("def done(length, undelivered, pending): return undelivered == 0", "perhaps with a dead consumer"),
        ("def done(length, undelivered, pending): return pending == 0", "never delivered"),
    ],
    "01.1": [
        ("def latest(key, n): return r.xrange(key, count=n)", "the oldest entries"),
        ("def latest(key, n): return r.xrevrange(key, count=n)", "in the order they came"),
        ("def latest(key, n): return r.xrange(key)", "the newest two are 3-0 and 4-0"),
        ("def latest(key, n): return ids(r.xrange(key))", "a pair (id, fields)"),
    ],
    "01.2": [
        ("def read_on(key, last_id): return [], '$'", "1-0 was in the log"),
        ("def read_on(key, last_id): return r.xread({key: '0'})[0][1], '0'", "handed back '0'"),
        ("def read_on(key, last_id): return (e := r.xread({key: '0'})[0][1]), e[-1][0]", "came a second time"),
        ("def read_on(key, last_id): return (e := r.xread({key: last_id})[0][1]), e[-1][0]", "IndexError"),
        ("def read_on(key, last_id): return (e := r.xrange(key, last_id)), e[-1][0]", "2-0 came a second time"),
        (
            "def read_on(key, last_id):\n"
            "    reply = r.xread({key: last_id})\n"
            "    return (reply[0][1], reply[0][1][-1][0]) if reply else ([], '$')",
            "call 2 handed back '$'",
        ),
    ],
    "01.3": [
        ("def between(key, start_ms, end_ms): return r.xrange(key, start_ms, end_ms)", "3000-0, 3000-7 belongs"),
        ("def between(key, start_ms, end_ms): return r.xrange(key, start_ms, f'({end_ms}')", "in one report only"),
        ("def between(key, start_ms, end_ms): return r.xrange(key, '(2000-0', '(3000-0')", "2000-0 is missing"),
    ],
    "05.1": [
        ("def move(client, key, dlq, consumer, entry_id, deliveries): return False", "it is not there"),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    client.xack(key, 'order_group', entry_id)\n"
            "    client.xadd(dlq, client.xrange(key, entry_id, entry_id)[0][1])\n"
            "    return True",
            "killed after XACK, 1-0 is neither pending nor a dead letter\n",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    client.xadd(dlq, client.xrange(key, entry_id, entry_id)[0][1])\n"
            "    return client.xack(key, 'order_group', entry_id) == 1",
            "killed after XADD, then bob took over, and there are 2\n    XRANGE 1-0 1-0 → 1-0\n",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    both = client.pipeline()\n"
            "    both.xadd(dlq, client.xrange(key, entry_id, entry_id)[0][1]).xack(key, 'order_group', entry_id)\n"
            "    return both.execute()[1] == 1",
            "1-0 was acked all the same\n    XRANGE 1-0 1-0 → 1-0\n    in MULTI: XADD check-dlq",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    return client.eval(MOVE, 2, key, dlq, entry_id) == 1",
            "bob has claimed it since, and ann put it aside\n    XCLAIM bob 0 1-0 → 1-0\n    EVAL (script)",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    held = client.xpending_range(key, 'order_group', entry_id, entry_id, 1, consumer)\n"
            "    return bool(held) and client.eval(MOVE, 2, key, dlq, entry_id) == 1",
            "is at its second delivery, and ann put it aside\n    XCLAIM ann 0 1-0",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    held = client.xpending_range(key, 'order_group', entry_id, entry_id, 1, consumer)\n"
            "    if held and held[0]['times_delivered'] == deliveries:\n"
            "        return client.eval(MOVE, 2, key, dlq, entry_id) == 1\n"
            "    return False",
            "look and move in one step: ann was frozen after XPENDING, bob claimed",
        ),
    ],
    "05.2": [
        ("def decide(error, attempt, max_attempts=3): return 'retry', 59_000", "at attempt 1: the order is done"),
        ("def decide(error, attempt, max_attempts=3): return error is None", "a verdict and a number"),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if attempt >= max_attempts: return 'dead letter', 0\n"
            "    return ('retry', 60_000 - 1_000 * 2 ** (attempt - 1)) if error else ('ack', 0)",
            "returned at attempt 3: the order is done",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - 1_000 * 2 ** (attempt - 1)",
            "Reject at attempt 1: a further try cannot help",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if isinstance(error, (Reject, ValueError)) or attempt > max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - 1_000 * 2 ** (attempt - 1)",
            "at most 3 handler runs: attempt 3 failed, and the order goes on\n    handler      o-1 began\n",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if isinstance(error, (Reject, ValueError)) or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 1_000 * 2 ** (attempt - 1)",
            "with IDLE 1000 the order is due after 59000 ms\n",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if isinstance(error, (Reject, ValueError)) or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - 1_000 * 2 ** (attempt - 1)",
            "never negative: after attempt 7",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if isinstance(error, (Reject, ValueError)) or attempt >= 3: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - 1_000 * 2 ** (attempt - 1)",
            "of 100 failed: expected a retry, not 'dead letter'",
        ),
    ],
}
