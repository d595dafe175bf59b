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
    "04.1": [
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [entry_id for entry_id, _ in r.xautoclaim(key, group, 'ann', min_idle_ms)[1]]",
            "the delivery count of 1-0 was 1, now it is 2\n    XAUTOCLAIM ann 60000 0-0 → 1-0, 2-0",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [entry_id for entry_id, _ in r.xautoclaim(key, group, 'watch', min_idle_ms)[1]]",
            "1-0 was ann's, now it is watch's",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return r.xautoclaim(key, group, 'ann', min_idle_ms, justid=True)",
            "1-0 was idle for 90 s, now its clock is back at 0",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [entry_id for entry_id, _ in r.xreadgroup(group, 'ann', {key: '0'})[0][1]]",
            "the delivery count of 1-0",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 100)]",
            "3-0 was given to carl a moment ago",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 10, idle=min_idle_ms)]",
            "11-0 is missing, 10 of 20 found",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return r.xpending_range(key, group, '-', '+', 100, idle=min_idle_ms)",
            "return ids such as '1-0'",
        ),
    ],
    "04.2": [
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    return r.xautoclaim(key, group, me, min_idle_ms)[1][0]",
            "1-0, 2-0, 3-0 would all go down with bob\n    XAUTOCLAIM bob 60000 0-0 → 1-0, 2-0, 3-0",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    entries = r.xautoclaim(key, group, me, min_idle_ms, count=1)[1]\n"
            "    return entries[0] if entries else None",
            "ann's 41-0 stands behind 40 that are in work, and you returned None",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    entries = r.xautoclaim(key, group, me, 0, count=1)[1]\n"
            "    return entries[0] if entries else None",
            "carl works on 1-0, now it is bob's",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    late = r.xpending_range(key, group, '-', '+', 1, idle=min_idle_ms)\n"
            "    return r.xclaim(key, group, me, 0, [late[0]['message_id']])[0] if late else None",
            "carl         claims 1-0 and begins\n    XCLAIM bob 0 1-0 → 1-0",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    late = r.xpending_range(key, group, '-', '+', 1, idle=min_idle_ms)\n"
            "    return r.xrange(key, late[0]['message_id'], count=1)[0] if late else None",
            "bob claimed none",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    late = r.xpending_range(key, group, '-', '+', 1, idle=min_idle_ms)\n"
            "    r.xclaim(key, group, me, min_idle_ms, [late[0]['message_id']], justid=True)\n"
            "    return r.xrange(key, late[0]['message_id'], count=1)[0]",
            "1-0 came a second time, the count says 1",
        ),
    ],
    "04.3": [
        (
            "def retire(r, key, group, dead, heir):\n    return r.xgroup_delconsumer(key, group, dead)",
            "1-0 was ann's, now it is nobody's\n    XGROUP DELCONSUMER ann → 3",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 100, consumername=dead)]\n"
            "    moved = len(r.xclaim(key, group, heir, 0, ids, justid=True))\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return moved",
            "101-0 was ann's, now it is nobody's\n    XGROUP DELCONSUMER ann → 150",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 999, consumername=dead)]\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return len(r.xclaim(key, group, heir, 0, ids, force=True)) if ids else 0",
            "1-0 was ann's, now it is nobody's",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    moved = len(r.xautoclaim(key, group, heir, 0, count=999)[1])\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return moved",
            "4-0 was carl's, now it is bob's",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 999, consumername=dead)]\n"
            "    return len(r.xclaim(key, group, heir, 0, ids)) if ids else 0",
            "ann still stands in the group",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    held = r.xpending_range(key, group, '-', '+', 999, consumername=dead)\n"
            "    r.xack(key, group, *[e['message_id'] for e in held])\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return len(held)",
            "XACK 1-0 2-0 3-0 → 3",
        ),
    ],
}
