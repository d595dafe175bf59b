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
}
