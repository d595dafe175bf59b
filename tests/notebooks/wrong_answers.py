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
    "07.1": [
        ("def consumers_needed(rate_per_s, work_ms): return round(rate_per_s * work_ms / 1000)", "must not grow"),
        ("def consumers_needed(rate_per_s, work_ms): return max(1, -(-rate_per_s * work_ms // 1000))", "a fifth of"),
        ("def consumers_needed(rate_per_s, work_ms): return int(rate_per_s * work_ms / 800) + 1", "no more than"),
        ("def consumers_needed(rate_per_s, work_ms): return max(1, rate_per_s * work_ms / 800)", "are whole"),
        ("def consumers_needed(rate_per_s, work_ms): return -(-rate_per_s * work_ms // 800)", "must not grow"),
    ],
    "07.2": [
        ("def send_all(r, key, bodies, size): return [r.xadd(key, body) for body in bodies]", "you made 7"),
        (
            "def send_all(r, key, bodies, size):\n"
            "    pipe = r.pipeline(transaction=False)\n"
            "    for body in bodies:\n"
            "        pipe.xadd(key, body)\n"
            "    return pipe.execute()",
            "you made 1",
        ),
        (
            "def send_all(r, key, bodies, size):\n"
            "    ids = []\n"
            "    for batch in zip(*[iter(bodies)] * size):\n"
            "        pipe = r.pipeline(transaction=False)\n"
            "        for body in batch:\n"
            "            pipe.xadd(key, body)\n"
            "        ids += pipe.execute()\n"
            "    return ids",
            "o-7 of o-1 to o-7 is not in the stream",
        ),
    ],
    "07.3": [
        ("def all_done(r, key, group): return r.xpending(key, group)['pending'] == 0", "o-3 was not handed out"),
        ("def all_done(r, key, group): return r.xlen(key) == 0", "something is left"),
        ("def all_done(r, key, group): return True", "o-3 was not handed out"),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    return not r.xrange(key, '(' + here['last-delivered-id'], count=1)",
            "o-2 was handed out and not acked",
        ),
        (
            "def all_done(r, key, group): return r.xinfo_groups(key)[0]['pending'] == 0",
            "you say that all is done",
        ),
    ],
}
