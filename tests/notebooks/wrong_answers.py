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
    "03.1": [
        ("def sort_out(reply): return reply[0][1], []", "1-0 is gone, and you hand it on"),
        ("def sort_out(reply): return [e for e in reply[0][1] if e[1]], []", "a loss must not be silent: 1-0"),
        ("def sort_out(reply): return [], [entry_id for entry_id, _ in reply[0][1]]", "4-0 is still there"),
        ("def sort_out(reply): return [f['item'] for _, f in reply[0][1]], []", "KeyError: 'item'"),
        ("def sort_out(reply): return [e for e in reply[0][1] if e[1]]", "return two lists"),
    ],
    "03.2": [
        ("def keep_from(r, key): return '0-0'", "every group has acknowledged 1-0"),
        ("def keep_from(r, key): return r.xinfo_groups(key)[0]['last-delivered-id']", "3-0 is pending in books"),
        ("def keep_from(r, key): return r.xpending(key, 'books')['min'] or '99-0'", "5-0 was not read by books"),
        (
            "def keep_from(r, key):\n"
            "    groups = r.xinfo_groups(key)\n"
            "    return r.xpending(key, 'books')['min'] if groups[0]['pending'] else groups[0]['last-delivered-id']",
            "every group has acknowledged 4-0",
        ),
        (
            "def keep_from(r, key):\n"
            "    needed = []\n"
            "    for group in r.xinfo_groups(key):\n"
            "        if group['pending']:\n"
            "            needed.append(r.xpending(key, group['name'])['min'])\n"
            "        needed.append(group['last-delivered-id'].replace('-0', '-1'))\n"
            "    return min(needed, default='0-0')",
            "9-0 is pending in kitchen",
        ),
        (
            "def keep_from(r, key):\n"
            "    ends = [place(group['last-delivered-id']) for group in r.xinfo_groups(key)]\n"
            "    held = [place(p) for g in r.xinfo_groups(key) if (p := r.xpending(key, g['name'])['min'])]\n"
            "    least = min([(ms, n + 1) for ms, n in ends] + held, default=(0, 0))\n"
            "    return '9-0' if least == (6, 1) else '-'.join(map(str, least))",
            "the next order may come as 6-1",
        ),
    ],
    "03.3": [
        ("def safe_trim(r, key): return r.xtrim(key, maxlen=3, approximate=False)", "3-0 is pending in books"),
        ("def safe_trim(r, key): return r.xtrim(key, minid='5-0', approximate=False)", "XTRIM MINID"),
        ("def safe_trim(r, key): return r.xtrim(key, minid=keep_from(r, key))", "1-0 is still there"),
        ("def safe_trim(r, key): return r.xtrim(key, minid=keep_from(r, key), approximate=False) and 1", "return 1"),
        (
            "def safe_trim(r, key):\n"
            "    groups = r.xinfo_groups(key)\n"
            "    if groups and not any(g['pending'] or g['last-delivered-id'] < '6-0' for g in groups):\n"
            "        return r.xtrim(key, maxlen=0, approximate=False)\n"
            "    return r.xtrim(key, minid=keep_from(r, key), approximate=False)",
            "7-0 came between your look and your cut",
        ),
    ],
}
