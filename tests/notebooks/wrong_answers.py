"""
Known wrong answers, so that no judge passes everything: exercise -> [(answer, words its verdict must contain)].

An answer is code, like the printed solution: it replaces the exercise cell but for its last line, the check. The first
one of an exercise is what a hasty learner writes who has read the lesson. Three or more fail for different reasons: the
words of each of these stand in no other verdict of the exercise.
"""

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "00.1": [
        ("def held(reply): return reply['pending']", "a dictionary, the names and their numbers"),
        ("def held(reply): return {c['name']: 1 for c in reply['consumers']}", "ann holds 3 and bob holds 1"),
        (
            "def held(reply): return {c['name']: c['pending'] for c in reply['consumers'] if c['pending'] > 1}",
            "bob holds 1, and is not in",
        ),
        (
            "def held(reply):\n"
            "    names = [c['name'] for c in reply['consumers']]\n"
            "    return {name: reply['pending'] // len(names) for name in names} or None",
            "ann holds 3 and bob holds 1",
        ),
        (
            "def held(reply): return {c['name']: c['pending'] for c in reply['consumers']} or None",
            "nobody holds anything",
        ),
        (
            "def held(reply):\n"
            "    by_count = {c['pending']: c['name'] for c in reply['consumers']}\n"
            "    return {name: count for count, name in by_count.items()}",
            "carl and dora have taken an order each",
        ),
    ],
    "00.2": [
        ("def done(length, undelivered, pending): return length == 0", "the stream keeps them"),
        ("def done(length, undelivered, pending): return undelivered == 0", "perhaps with a dead consumer"),
        ("def done(length, undelivered, pending): return pending == 0", "never delivered"),
        (
            "def done(length, undelivered, pending): return not (undelivered or pending) or 0",
            "say True or False, not 0",
        ),
        ("def done(length, undelivered, pending): return undelivered == pending", "make up for nothing"),
        (
            "def done(length, undelivered, pending): return undelivered == 0 or pending == 0",
            "1 order was never delivered",
        ),
    ],
    "01.1": [
        ("def latest(r, key, n): return r.xrange(key, count=n)", "the oldest entries"),
        ("def latest(r, key, n): return r.xrevrange(key, count=n)", "in the order they came"),
        ("def latest(r, key, n): return r.xrange(key)", "the newest two are 3-0 and 4-0"),
        ("def latest(r, key, n): return ids(r.xrange(key))", "a pair (id, fields)"),
        ("def latest(r, key, n): return r.xrange(key)[-n:]", "Redis sent 101 entries, and 3 were needed"),
        ("def latest(r, key, n): return r.xrevrange(key)[:n][::-1]", "read only what is asked for"),
        ("def latest(r, key, n): return sorted(r.xrevrange(key, count=n))", "the newest three, not 101-0, 102-0, 99-0"),
        (
            "def latest(r, key, n): return r.xrange(key, max(0, int(r.xrevrange(key, count=1)[0][0][:-2]) - n + 1))",
            "not 101-0, 102-0",
        ),
        (
            "def latest(r, key, n):\n"
            "    return sorted(r.xrevrange(key, count=n), key=lambda entry: int(entry[0].split('-')[0]))",
            "1-9 and 1-10 came in one millisecond",
        ),
        (
            "def latest(r, key, n):\n"
            "    newest = r.xrevrange(key, count=n)\n"
            "    return r.xrange(key, newest[-1][0]) if newest else []",
            "3-0 came while your function was at work",
        ),
        (
            "def latest(r, key, n):\n"
            "    last = r.xinfo_stream(key)['last-entry'][0]\n"
            "    return r.xrevrange(key, last, '-', count=n)[::-1]",
            "no such key",
        ),
        (
            "def latest(r, key, n): return [(entry[0], entry[1]['item']) for entry in r.xrevrange(key, count=n)[::-1]]",
            "an entry comes as it was added",
        ),
    ],
    "01.2": [
        (
            "def read_on(r, key, last_id):\n"
            "    reply = r.xread({key: last_id})\n"
            "    return (reply[0][1], reply[0][1][-1][0]) if reply else ([], '$')",
            "call 2 handed back '$'",
        ),
        ("def read_on(r, key, last_id): return [], '$'", "no entry is lost: 1-0 was in the log"),
        ("def read_on(r, key, last_id): return r.xread({key: '0'})[0][1], '0'", "handed back '0'"),
        ("def read_on(r, key, last_id): return (e := r.xread({key: '0'})[0][1]), e[-1][0]", "came a second time"),
        ("def read_on(r, key, last_id): return (e := r.xread({key: last_id})[0][1]), e[-1][0]", "IndexError"),
        (
            "def read_on(r, key, last_id): return (e := r.xrange(key, last_id)), e[-1][0]",
            "98-0 came a second time, in call 2",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    new = [e for e in r.xrange(key) if e[0] > last_id]\n"
            "    return new, (new[-1][0] if new else last_id)",
            "100-0 was in the log, and call 4 did not return it",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    place = lambda text: [int(number) for number in text.split('-')]\n"
            "    new = [e for e in r.xrange(key) if place(e[0]) > place(last_id)]\n"
            "    return new, (new[-1][0] if new else last_id)",
            "read only what is asked for",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    new = r.xrange(key, last_id)[0 if last_id == '0' else 1 :]\n"
            "    return new, (new[-1][0] if new else last_id)",
            "101-1 was in the log, and call 5 did not return it",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    reply = r.xread({key: last_id}, block=0)\n"
            "    return reply[0][1], reply[0][1][-1][0]",
            "call 2 waits, and never comes back",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    reply = r.xread({key: last_id})\n"
            "    return (reply[0][1] if reply else []), r.xinfo_stream(key)['last-generated-id']",
            "103-0 came while call 6 was at work, and call 7 missed it",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    entries = r.xrange(key, int(last_id.split('-')[0]) + 1)\n"
            "    return entries, (entries[-1][0] if entries else last_id)",
            "101-1 was in the log, and call 5 did not return it",
        ),
        (
            "def read_on(r, key, last_id):\n"
            "    entries = r.xrange(key, '(' + last_id)\n"
            "    return entries, (entries[-1][0].split('-')[0] + '-0' if entries else last_id)",
            "call 5 handed back '102-0'",
        ),
        (
            "def read_on(r, key, last_id, mine=['0']):\n"
            "    entries = r.xrange(key, '(' + mine[0])\n"
            "    mine[0] = entries[-1][0] if entries else mine[0]\n"
            "    return entries, mine[0]",
            "a second reader begins at 0",
        ),
    ],
    "01.3": [
        ("def between(r, key, start_ms, end_ms): return r.xrange(key, start_ms, end_ms)", "3000-0, 3000-7 belongs"),
        ("def between(r, key, start_ms, end_ms): return r.xrange(key, start_ms, f'({end_ms}')", "in one report only"),
        ("def between(r, key, start_ms, end_ms): return r.xrange(key, '(2000-0', '(3000-0')", "2000-0 is missing"),
        (
            "def between(r, key, start_ms, end_ms): return r.xrange(key, f'({start_ms - 1}', end_ms - 1)",
            "the one before",
        ),
        (
            "def between(r, key, start_ms, end_ms): return r.xrange(key, start_ms, f'{end_ms - 1}-999')",
            "2999-12345 is missing",
        ),
        (
            "def between(r, key, start_ms, end_ms):\n"
            "    return [e for e in r.xrange(key) if str(start_ms) <= e[0] < str(end_ms)]",
            "came 9990-0 and 10000-0, you return nothing",
        ),
        (
            "def between(r, key, start_ms, end_ms):\n"
            "    return [e for e in r.xrange(key) if start_ms <= int(e[0].split('-')[0]) < end_ms]",
            "Redis sent 150 entries, and 2 were needed",
        ),
        (
            "def between(r, key, start_ms, end_ms):\n"
            "    return [e for e in r.xrange(key, start_ms) if int(e[0].split('-')[0]) < end_ms]",
            "Redis sent 51 entries, and 2 were needed",
        ),
        (
            "def between(r, key, start_ms, end_ms): return r.xrange(key, start_ms, f'({end_ms}-0', count=100)",
            "150 came, and you return",
        ),
        (
            "def between(r, key, start_ms, end_ms):\n"
            "    return r.xrange(key, f'({start_ms - 1}-{2**64 - 1}', f'({end_ms}-0')",
            "Invalid stream ID",
        ),
    ],
    "02.1": [
        ("def ensure_group(r, key, group): r.xgroup_create(key, group, id='0')", "before the first order"),
        ("def ensure_group(r, key, group): r.xgroup_create(key, group, mkstream=True)", "ann was given nothing"),
        ("def ensure_group(r, key, group): r.xgroup_create(key, group, id='0', mkstream=True)", "BUSYGROUP"),
        (
            "def ensure_group(r, key, group):\n"
            "    r.xgroup_create(key, 'other', mkstream=True) if not r.exists(key) else None\n"
            "    r.xgroup_destroy(key, group)\n"
            "    r.xgroup_create(key, group, id='0')",
            "ann held 1-0 and 2-0 before it, and 0 orders after it",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError: r.xgroup_setid(key, group, '0')",
            "3-0 alone was left to hand out",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError: pass",
            "kept quiet about it",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    if not r.exists(key) or group not in [each['name'] for each in r.xinfo_groups(key)]:\n"
            "        r.xgroup_create(key, group, id='0', mkstream=True)",
            "and yours raised BUSYGROUP",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    if not r.exists(key): r.xadd(key, {'order': 'first'})\n"
            "    try: r.xgroup_create(key, group, id='0')\n"
            "    except redis.ResponseError as error:\n"
            "        if 'BUSYGROUP' not in str(error): raise",
            "no order came yet, and now one is in the stream",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    there = r.exists(key) and group in [each['name'] for each in r.xinfo_groups(key)]\n"
            "    if not there:\n"
            "        r.xgroup_destroy(key, group) if r.exists(key) else None\n"
            "        r.xgroup_create(key, group, id='0', mkstream=True)",
            "bob had read 1-0, and now holds nothing",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, 'order_group', id='0', mkstream=True)\n"
            "    except redis.ResponseError as error:\n"
            "        if 'BUSYGROUP' not in str(error): raise",
            "kitchen, and not order_group",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    if r.type(key) == 'stream' and r.xinfo_groups(key): return\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError as error:\n"
            "        if 'BUSYGROUP' not in str(error): raise",
            "there is no group order_group, only books",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError as error:\n"
            "        if 'WRONGTYPE' in str(error): raise",
            "Redis did not allow the XGROUP",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError as error:\n"
            "        if 'BUSYGROUP' not in str(error): raise\n"
            "        if not r.xpending(key, group)['pending']: r.xgroup_setid(key, group, '0')",
            "a third call changes nothing",
        ),
        (
            "def ensure_group(r, key, group):\n"
            "    try: r.xgroup_create(key, group, id='0', mkstream=True)\n"
            "    except redis.ResponseError as error:\n"
            "        if 'BUSYGROUP' not in str(error): raise\n"
            "    for other in r.xinfo_groups(key):\n"
            "        if other['name'] != group and not other['consumers']: r.xgroup_destroy(key, other['name'])",
            "books is gone",
        ),
    ],
    "02.2": [
        ("def hoarders(reply): return [c['name'] for c in reply if c['pending'] > 1]", "everybody has work"),
        ("def hoarders(reply): return [c['name'] for c in reply if c['pending']]", "everybody has work"),
        (
            "def hoarders(reply):\n"
            "    idle = [c for c in reply if not c['pending']]\n"
            "    return [c['name'] for c in reply if idle and c['pending']]",
            "only the order she works on",
        ),
        ("def hoarders(reply): return 'ann'", "a list of names"),
        (
            "def hoarders(reply):\n"
            "    most = max(reply, key=lambda c: c['pending'], default={'pending': 0})\n"
            "    return [most['name']] if most['pending'] > 1 and min(c['pending'] for c in reply) == 0 else []",
            "what ann and carl keep",
        ),
        (
            "def hoarders(reply):\n"
            "    return [a['name'] for a in reply for b in reply if a['pending'] > 1 and not b['pending']]",
            "ann is one consumer",
        ),
        (
            "def hoarders(reply):\n"
            "    least = min((c['pending'] for c in reply), default=0)\n"
            "    return [c['name'] for c in reply if c['pending'] > least + 1]",
            "{'ann': 5, 'bob': 1}: everybody has work",
        ),
    ],
    "02.3": [
        (
            "def work_off(client, key, group, name, handle):\n"
            "    for entry_id, fields in client.xreadgroup(group, name, {key: '>'})[0][1]:\n"
            "        handle(fields['order'])\n"
            "        client.xack(key, group, entry_id)",
            "hold one order at a time: now ann has 1-0, 2-0",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        client.xack(key, group, reply[0][1][0][0])\n"
            "        handle(reply[0][1][0][1]['order'])",
            "1-0 was acked before the handler of o-1 had finished",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        try: handle(reply[0][1][0][1]['order'])\n"
            "        finally: client.xack(key, group, reply[0][1][0][0])",
            "handler      o-2 raised RuntimeError",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        handle(reply[0][1][0][1]['order'])",
            "a handled order is acked: 1-0 is still pending",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    done = []\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        handle(reply[0][1][0][1]['order'])\n"
            "        done.append(reply[0][1][0][0])\n"
            "    client.xack(key, group, *done)",
            "hold one order at a time: now ann has 1-0, 2-0",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    reply = client.xreadgroup(group, name, {key: '>'}, count=1)\n"
            "    handle(reply[0][1][0][1]['order'])\n"
            "    client.xack(key, group, reply[0][1][0][0])",
            "o-2 was handled 0 times",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '0'}, count=1):\n"
            "        for entry_id, fields in reply[0][1]:\n"
            "            handle(fields['order'])\n"
            "            client.xack(key, group, entry_id)",
            "your code asked Redis more than 60 times",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1, block=0):\n"
            "        handle(reply[0][1][0][1]['order'])\n"
            "        client.xack(key, group, reply[0][1][0][0])",
            "when nothing is left, it ends",
        ),
        ("def work_off(client, key, group, name, handle): handle('o-1')", "it never asked Redis for anything"),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1, noack=True):\n"
            "        handle(reply[0][1][0][1]['order'])",
            "Redis keeps no note of 1-0",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1, noack=True):\n"
            "        handle(reply[0][1][0][1]['order'])\n"
            "        client.xack(key, group, reply[0][1][0][0])",
            "Redis keeps no note of 1-0",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    for _ in range(client.xlen(key)):\n"
            "        [(entry_id, fields)] = client.xreadgroup(group, name, {key: '>'}, count=1)[0][1]\n"
            "        handle(fields['order'])\n"
            "        client.xack(key, group, entry_id)",
            "o-4 came while o-2 was handled, and nobody handled it",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, 'ann', {key: '>'}, count=1):\n"
            "        handle(reply[0][1][0][1]['order'])\n"
            "        client.xack(key, group, reply[0][1][0][0])",
            "carl asked, and ann read",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while reply := client.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        [(entry_id, fields)] = reply[0][1]\n"
            "        handle(fields['order'])\n"
            "        client.xack(key, group, entry_id)\n"
            "        client.xdel(key, entry_id)",
            "5 of 5 orders are gone from it",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while True:\n"
            "        entries = client.xautoclaim(key, group, name, 0, count=1)[1]\n"
            "        if not entries:\n"
            "            reply = client.xreadgroup(group, name, {key: '>'}, count=1)\n"
            "            if not reply: return\n"
            "            entries = reply[0][1]\n"
            "        handle(entries[0][1]['order'])\n"
            "        client.xack(key, group, entries[0][0])",
            "bob works on 1-0, and now it is",
        ),
        (
            "def work_off(client, key, group, name, handle):\n"
            "    while not client.xpending(key, group)['pending']:\n"
            "        reply = client.xreadgroup(group, name, {key: '>'}, count=1)\n"
            "        if not reply: return\n"
            "        handle(reply[0][1][0][1]['order'])\n"
            "        client.xack(key, group, reply[0][1][0][0])",
            "o-2 and o-3 are new, and ann handled []",
        ),
    ],
    "03.1": [
        ("def sort_out(reply): return reply[0][1], []", "1-0 is gone, and you hand it on"),
        ("def sort_out(reply): return [e for e in reply[0][1] if e[1]], []", "a loss must not be silent: 1-0"),
        ("def sort_out(reply): return [], [entry_id for entry_id, _ in reply[0][1]]", "4-0 is still there"),
        ("def sort_out(reply): return [f['item'] for _, f in reply[0][1]], []", "KeyError: 'item'"),
        ("def sort_out(reply): return [e for e in reply[0][1] if e[1]]", "return two lists"),
        (
            "def sort_out(reply):\n"
            "    return [e for e in reply[0][1] if 'item' in e[1]], [i for i, f in reply[0][1] if not f]",
            "7-0 are there and can be handled",
        ),
        (
            "def sort_out(reply):\n"
            "    full = [e for e in reply[0][1] if any(e[1].values())]\n"
            "    return full, [e[0] for e in reply[0][1] if e not in full]",
            "7-0 is still there, and you call it gone",
        ),
        (
            "def sort_out(reply):\n"
            "    gone = []\n"
            "    for n, (entry_id, fields) in enumerate(reply[0][1]):\n"
            "        if fields: return reply[0][1][n:], gone\n"
            "        gone.append(entry_id)\n"
            "    return [], gone",
            "5-0 is gone, and you hand it on",
        ),
    ],
    "03.2": [
        ("def keep_from(r, key): return r.xinfo_groups(key)[0]['last-delivered-id']", "3-0 is pending in books"),
        ("def keep_from(r, key): return '0-0'", "every group has acknowledged 1-0"),
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
        (
            "def keep_from(r, key):\n"
            "    needed = []\n"
            "    for group in r.xinfo_groups(key):\n"
            "        ms, n = place(group['last-delivered-id'])\n"
            "        needed.append(f'{ms}-{n + 1}')\n"
            "        if group['pending']: needed.append(r.xpending(key, group['name'])['min'])\n"
            "    return min(needed, key=lambda entry_id: float(entry_id.replace('-', '.')), default='0-0')",
            "5-9 is pending in kitchen, and you would keep from 5-11 on",
        ),
        (
            "def keep_from(r, key):\n"
            "    needed = []\n"
            "    for group in r.xinfo_groups(key):\n"
            "        ms, n = place(group['last-delivered-id'])\n"
            "        needed.append((ms, n + 1))\n"
            "        held = r.xpending_range(key, group['name'], '-', '+', 100)\n"
            "        oldest = max(held, key=lambda each: each['time_since_delivered'], default=None)\n"
            "        if oldest and oldest['time_since_delivered'] > 60_000: held = [oldest]\n"
            "        if held: needed.append(place(held[0]['message_id']))\n"
            "    return '{}-{}'.format(*min(needed, default=(0, 0)))",
            "1-0 is pending in books, for bob",
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
        (
            "def safe_trim(r, key):\n"
            "    before = r.xlen(key)\n"
            "    r.xtrim(key, minid=keep_from(r, key), approximate=False)\n"
            "    return before - r.xlen(key)",
            "six entries went, while a producer added one",
        ),
        (
            "def safe_trim(r, key):\n"
            "    held = {group['name']: r.xpending(key, group['name'])['min'] for group in r.xinfo_groups(key)}\n"
            "    needed = [place(entry_id) for entry_id in held.values() if entry_id]\n"
            "    for group in r.xinfo_groups(key):\n"
            "        ms, n = place(group['last-delivered-id'])\n"
            "        needed.append((ms, n + 1))\n"
            "    return r.xtrim(key, minid='{}-{}'.format(*min(needed, default=(0, 0))), approximate=False)",
            "bob read 6-0 after your XPENDING",
        ),
        (
            "def safe_trim(r, key):\n"
            "    for group in r.xinfo_groups(key):\n"
            "        if not group['consumers']: r.xgroup_destroy(key, group['name'])\n"
            "    return r.xtrim(key, minid=keep_from(r, key), approximate=False)",
            "books has read nothing yet",
        ),
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
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 100)\n"
            "    return [e['message_id'] for e in page if e['time_since_delivered'] >= min_idle_ms]",
            "151-0 is missing, 0 of 2 found",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 100, consumername='ann', idle=min_idle_ms)\n"
            "    return [e['message_id'] for e in page]",
            "13-0 is missing, 12 of 20 found",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 10_000, idle=min_idle_ms)\n"
            "    return [e['message_id'] for e in page]",
            "140 are overdue, and you name 140",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    return [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 100, idle=60_000)]",
            "nothing is idle for 180 s",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    held = r.xpending_range(key, group, '-', '+', 1_000)\n"
            "    return [e['message_id'] for e in held if e['time_since_delivered'] >= min_idle_ms][:100]",
            "1101-0 is missing",
        ),
        (
            "def overdue(r, key, group, min_idle_ms):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 100, idle=min_idle_ms)]\n"
            "    return [entry_id for entry_id in ids if r.xrange(key, entry_id, entry_id)]",
            "a deleted order is pending until somebody acks it",
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
            "ann's 151-0 stands behind 150 that are in work, and you returned None",
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
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    for each in r.xpending_range(key, group, '-', '+', 100):\n"
            "        if each['time_since_delivered'] >= min_idle_ms:\n"
            "            return r.xclaim(key, group, me, min_idle_ms, [each['message_id']])[0]",
            "you returned None",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    while True:\n"
            "        entries = r.xautoclaim(key, group, me, min_idle_ms, count=1)[1]\n"
            "        if entries: return entries[0]",
            "your code asked Redis more than 3000 times",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    for each in r.xpending_range(key, group, '-', '+', 1, idle=min_idle_ms):\n"
            "        for entry in r.xclaim(key, group, 'bob', min_idle_ms, [each['message_id']]):\n"
            "            return entry",
            "dora asked, now it is bob's",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    for each in r.xpending_range(key, group, '-', '+', 1, idle=min_idle_ms):\n"
            "        claimed = r.xclaim(key, group, me, min_idle_ms, [each['message_id']])\n"
            "        return claimed[0] if claimed and claimed[0][0] else None",
            "1-0 was deleted, and 2-0 is there",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    for each in r.xpending_range(key, group, '-', '+', 100, idle=min_idle_ms):\n"
            "        if each['consumer'] == me: continue\n"
            "        for entry_id, fields in r.xclaim(key, group, me, min_idle_ms, [each['message_id']]):\n"
            "            if entry_id: return entry_id, fields",
            "an earlier process of this name died with it",
        ),
        (
            "def take_over(r, key, group, me, min_idle_ms):\n"
            "    for each in r.xpending_range(key, group, '-', '+', 100, idle=min_idle_ms):\n"
            "        idle = each['time_since_delivered']\n"
            "        for entry_id, fields in r.xclaim(key, group, me, min_idle_ms, [each['message_id']], idle=idle):\n"
            "            if entry_id: return entry_id, fields",
            "a claim starts the clock anew",
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
        (
            "def retire(r, key, group, dead, heir):\n"
            "    moved = 0\n"
            "    while held := r.xpending_range(key, group, '-', '+', 100, consumername=dead):\n"
            "        moved += len(r.xclaim(key, group, heir, 60_000, [e['message_id'] for e in held]))\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return moved",
            "your code asked Redis more than 3000 times",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 999, consumername=dead)]\n"
            "    moved = r.xclaim(key, group, heir, 60_000, ids) if ids else []\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return len(moved)",
            "1-0 was ann's, read just before it died, now it is nobody's",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    held = r.xpending_range(key, group, '-', '+', 999, consumername='ann')\n"
            "    moved = r.xclaim(key, group, 'bob', 0, [e['message_id'] for e in held]) if held else []\n"
            "    r.xgroup_delconsumer(key, group, 'ann')\n"
            "    return len(moved)",
            "this time emil is dead and dora the heir",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    ids = [e['message_id'] for e in r.xpending_range(key, group, '-', '+', 1_000, consumername=dead)]\n"
            "    moved = len(r.xclaim(key, group, heir, 0, ids)) if ids else 0\n"
            "    r.xgroup_delconsumer(key, group, dead)\n"
            "    return moved",
            "1001-0 was ann's, now it is nobody's",
        ),
        (
            "def retire(r, key, group, dead, heir):\n"
            "    moved = 0\n"
            "    while held := r.xpending_range(key, group, '-', '+', 100, consumername=dead):\n"
            "        moved += len(r.xclaim(key, group, heir, 0, [e['message_id'] for e in held]))\n"
            "    for each in r.xinfo_consumers(key, group):\n"
            "        if not each['pending']: r.xgroup_delconsumer(key, group, each['name'])\n"
            "    return moved",
            "dora holds nothing, and may read at any time",
        ),
    ],
    "05.1": [
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    client.xadd(dlq, client.xrange(key, entry_id, entry_id)[0][1])\n"
            "    return client.xack(key, 'order_group', entry_id) == 1",
            "killed after XADD, then bob took over, and there are 2\n    XRANGE 1-0 1-0 → 1-0\n",
        ),
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
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    only_data = MOVE.replace('unpack(entry[2])', \"'data', entry[2][2]\")\n"
            "    return client.eval(only_data, 2, key, dlq, entry_id) == 1",
            "traceparent is not in",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    acked_first = '''\n"
            "    local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]\n"
            "    local acked = redis.call('XACK', KEYS[1], 'order_group', ARGV[1])\n"
            "    redis.call('XADD', KEYS[2], '*', unpack(entry[2]))\n"
            "    return acked\n"
            "    '''\n"
            "    return client.eval(acked_first, 2, key, dlq, entry_id) == 1",
            "1-0 was acked all the same\n    EVAL (script)",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    away = MOVE.replace('return ', \"redis.call('XDEL', KEYS[1], ARGV[1]) return \")\n"
            "    return client.eval(away, 2, key, dlq, entry_id) == 1",
            "1-0 is gone from it, for all of them",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    held = r.xpending_range(key, 'order_group', entry_id, entry_id, 1, consumer)\n"
            "    if held and held[0]['times_delivered'] == deliveries:\n"
            "        return r.eval(MOVE, 2, key, dlq, entry_id) == 1\n"
            "    return False",
            "use the client that your function gets",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    fence = '''\n"
            "    local held = redis.call('XPENDING', KEYS[1], 'order_group', ARGV[1], ARGV[1], 1)[1]\n"
            "    if not held or held[4] ~= tonumber(ARGV[2]) then return 0 end\n"
            "    '''\n"
            "    return client.eval(fence + MOVE, 2, key, dlq, entry_id, deliveries) == 1",
            "bob took it over since, at the same count",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    fence = '''\n"
            "    local held = redis.call('XPENDING', KEYS[1], 'order_group', ARGV[1], ARGV[1], 1, ARGV[3])[1]\n"
            "    if not held or held[4] > tonumber(ARGV[2]) then return 0 end\n"
            "    '''\n"
            "    return client.eval(fence + MOVE, 2, key, dlq, entry_id, deliveries, consumer) == 1",
            "so this is delivery 1",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    fence = '''\n"
            "    local held = redis.call('XPENDING', KEYS[1], 'order_group', ARGV[1], ARGV[1], 1, ARGV[3])[1]\n"
            "    if not held or held[4] ~= tonumber(ARGV[2]) then return 0 end\n"
            "    '''\n"
            "    same_id = fence + MOVE.replace(\"'*'\", 'ARGV[1]')\n"
            "    return client.eval(same_id, 2, key, dlq, entry_id, deliveries, consumer) == 1",
            "equal or smaller",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    fence = '''\n"
            "    local held = redis.call('XPENDING', KEYS[1], 'order_group', ARGV[1], ARGV[1], 1, ARGV[3])[1]\n"
            "    if not held or held[4] ~= tonumber(ARGV[2]) then return 0 end\n"
            "    '''\n"
            "    capped = fence + MOVE.replace(\"'*'\", \"'MAXLEN', 100, '*'\")\n"
            "    return client.eval(capped, 2, key, dlq, entry_id, deliveries, consumer) == 1",
            "a dead letter is kept",
        ),
        (
            "def move(client, key, dlq, consumer, entry_id, deliveries):\n"
            "    if client.type(dlq) == 'string': client.delete(dlq)\n"
            "    return client.eval(MOVE, 2, key, dlq, entry_id) == 1",
            "a key of somebody else is left alone",
        ),
    ],
    "05.2": [
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - 1_000 * 2 ** (attempt - 1)",
            "Reject at attempt 1: a further try cannot help",
        ),
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
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if type(error) in (Reject, ValueError) or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - min(60_000, 1_000 * 2 ** (attempt - 1))",
            "JSONDecodeError at attempt 1: a further try cannot help",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    final = isinstance(error, (Reject, ValueError))\n"
            "    if final or attempt == max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - min(60_000, 1_000 * 2 ** (attempt - 1))",
            "three processes died over it",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    final = isinstance(error, (Reject, ValueError, LookupError))\n"
            "    if final or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - min(60_000, 1_000 * 2 ** (attempt - 1))",
            "KeyError is neither Reject nor ValueError: attempt 1",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    if isinstance(error, ConnectionError): max_attempts = 100\n"
            "    final = isinstance(error, (Reject, ValueError))\n"
            "    if final or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - min(60_000, 1_000 * 2 ** (attempt - 1))",
            "ConnectionError is neither Reject nor ValueError: attempt 3",
        ),
        (
            "def decide(error, attempt, max_attempts=3):\n"
            "    if error is None: return 'ack', 0\n"
            "    final = type(error) in (Reject, ValueError, json.JSONDecodeError)\n"
            "    if final or attempt >= max_attempts: return 'dead letter', 0\n"
            "    return 'retry', 60_000 - min(60_000, 1_000 * 2 ** (attempt - 1))",
            "UnicodeDecodeError at attempt 1",
        ),
    ],
    "06.1": [
        (
            "def sell(client, book, order):\n"
            "    client.hincrby(book, 'stock', -order['amount'])\n"
            "    client.hincrby(book, 'sold', order['amount'])",
            "what left the stock was not all sold when the order came again",
        ),
        ("def sell(client, book, order): client.hget(book, 'stock')", "x-1 was not sold in a quiet run"),
        (
            "def sell(client, book, order):\n"
            "    with client.pipeline() as tx:\n"
            "        tx.hincrby(book, 'stock', -order['amount'])\n"
            "        tx.hincrby(book, 'sold', order['amount'])\n"
            "        tx.execute()",
            "x-1 was sold again when the order came again after a crash",
        ),
        (
            "def sell(client, book, order):\n"
            "    if client.set(f\"sold:{order['id']}\", 1, nx=True):\n"
            "        with client.pipeline() as tx:\n"
            "            tx.hincrby(book, 'stock', -order['amount'])\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.execute()",
            "x-1 was not sold when the order came again after a crash",
        ),
        (
            "def sell(client, book, order):\n"
            "    if not client.exists(f\"sold:{order['id']}\"):\n"
            "        client.hincrby(book, 'stock', -order['amount'])\n"
            "        with client.pipeline() as tx:\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.set(f\"sold:{order['id']}\", 1)\n"
            "            tx.execute()",
            "HINCRBY stock -3 → 7\n    process      killed",
        ),
        (
            "def sell(client, book, order):\n"
            "    if not client.exists(f\"sold:{order['id']}\"):\n"
            "        with client.pipeline() as tx:\n"
            "            tx.hincrby(book, 'stock', -order['amount'])\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.set(f\"sold:{order['id']}\", 1)\n"
            "            tx.execute()",
            "x-1 was sold again while two consumers had it at once",
        ),
        (
            "def sell(client, book, order):\n"
            "    def step(tx):\n"
            "        if not tx.exists('sold:tea'):\n"
            "            tx.multi()\n"
            "            tx.hincrby(book, 'stock', -order['amount'])\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.set('sold:tea', 1)\n"
            "    client.transaction(step, 'sold:tea')",
            "x-2 is another order",
        ),
        (
            "def sell(client, book, order):\n"
            "    def step(tx):\n"
            "        if not tx.exists(f\"sold:{order['id']}\"):\n"
            "            tx.multi()\n"
            "            tx.hincrby(book, 'stock', -order['amount'])\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.set(f\"sold:{order['id']}\", 1, ex=1)\n"
            "    client.transaction(step, f\"sold:{order['id']}\")",
            "x-1 was sold again when the order came again hours later",
        ),
        (
            "def sell(client, book, order):\n"
            "    lock = f\"lock:{order['id']}\"\n"
            "    while not client.set(lock, 1, nx=True): pass\n"
            "    with client.pipeline() as tx:\n"
            "        tx.hincrby(book, 'stock', -order['amount'])\n"
            "        tx.hincrby(book, 'sold', order['amount'])\n"
            "        tx.delete(lock)\n"
            "        tx.execute()",
            "your code asked Redis more than 100 times",
        ),
        (
            "def sell(client, book, order):\n"
            "    def step(tx):\n"
            "        if not tx.exists(f\"sold:{order['id']}\"):\n"
            "            tx.multi()\n"
            "            tx.hincrby(book, 'stock', -1)\n"
            "            tx.hincrby(book, 'sold', 1)\n"
            "            tx.set(f\"sold:{order['id']}\", 1)\n"
            "    client.transaction(step, f\"sold:{order['id']}\")",
            "x-1 is 3 packets, 1 of them were sold",
        ),
        (
            "def sell(client, book, order):\n"
            "    if r.set(f\"sold:{order['id']}\", 1, nx=True):\n"
            "        r.hincrby(book, 'stock', -order['amount'])\n"
            "        r.hincrby(book, 'sold', order['amount'])",
            "use the client that your function gets",
        ),
        (
            "def sell(client, book, order):\n"
            "    marker = f\"sold:{order['id']}\"\n"
            "    def step(tx):\n"
            "        if tx.exists(marker): return\n"
            "        stock, sold = map(int, tx.hmget(book, 'stock', 'sold'))\n"
            "        tx.multi()\n"
            "        tx.hset(book, mapping={'stock': stock - order['amount'], 'sold': sold + order['amount']})\n"
            "        tx.set(marker, 1)\n"
            "    client.transaction(step, marker)",
            "ann handled x-1, bob meanwhile x-2",
        ),
        (
            "def sell(client, book, order):\n"
            "    marker = f\"sold:{order['id']}\"\n"
            "    with client.pipeline() as tx:\n"
            "        try:\n"
            "            tx.watch(book, marker)\n"
            "            if tx.exists(marker): return\n"
            "            tx.multi()\n"
            "            tx.hincrby(book, 'stock', -order['amount'])\n"
            "            tx.hincrby(book, 'sold', order['amount'])\n"
            "            tx.set(marker, 1)\n"
            "            tx.execute()\n"
            "        except redis.WatchError: pass",
            "ann handled x-1, bob meanwhile x-2",
        ),
        (
            "def sell(client, book, order):\n"
            "    last = f'{book}:last'\n"
            "    def step(tx):\n"
            "        if order['id'] in tx.lrange(last, 0, -1): return\n"
            "        tx.multi()\n"
            "        tx.hincrby(book, 'stock', -order['amount'])\n"
            "        tx.hincrby(book, 'sold', order['amount'])\n"
            "        tx.lpush(last, order['id'])\n"
            "        tx.ltrim(last, 0, 49)\n"
            "    client.transaction(step, last)",
            "6 hours and 60 orders after it was sold first",
        ),
        (
            "def sell(client, book, order):\n"
            "    sold = f'{book}:sold'\n"
            "    def step(tx):\n"
            "        if tx.sismember(sold, order['id']): return\n"
            "        first = not tx.exists(sold)\n"
            "        tx.multi()\n"
            "        tx.hincrby(book, 'stock', -order['amount'])\n"
            "        tx.hincrby(book, 'sold', order['amount'])\n"
            "        tx.sadd(sold, order['id'])\n"
            "        if first: tx.expire(sold, 86_400)\n"
            "    client.transaction(step, sold)",
            "6 hours and 60 orders after it was sold first",
        ),
    ],
    "06.2": [
        ("def send_all(stream, orders): return Producer(stream).send_many(orders)", "no order stays unknown"),
        (
            "def send_all(stream, orders):\n"
            "    try:\n"
            "        return Producer(stream).send_many(orders)\n"
            "    except SendUnknown as lost:\n"
            "        return lost.sent + Producer(stream).send_many(lost.unknown)",
            "x-1 came in 2 times\n    XADD x-1, x-2, x-3, x-4 → 0 replies, then the line broke",
        ),
        (
            "def send_all(stream, orders):\n"
            "    try:\n"
            "        return Producer(stream).send_many(orders)\n"
            "    except SendUnknown as lost:\n"
            "        return lost.sent + Producer(stream, dedupe='shop-1').send_many(lost.unknown)",
            "an order is one entry",
        ),
        (
            "def send_all(stream, orders):\n"
            "    for number in range(9):\n"
            "        try:\n"
            "            return stream.add_once(f'try-{number}', ((o.id, o.to_fields()) for o in orders))\n"
            "        except redis.ConnectionError:\n"
            "            pass",
            "return the entry ids",
        ),
        ("def send_all(stream, orders): return Producer(stream, dedupe='s').send_many(orders[1:])", "x-1 is not in"),
        (
            "def send_all(stream, orders):\n"
            "    try: Producer(stream).send_many(orders)\n"
            "    except SendUnknown as lost:\n"
            "        there = [fields['data'] for _, fields in r.xrange(stream.settings.stream)]\n"
            "        missing = [o for o in lost.unknown if not any(f'\"{o.id}\"' in data for data in there)]\n"
            "        send_all(stream, missing)\n"
            "    return [entry_id for entry_id, _ in r.xrange(stream.settings.stream)]",
            "a consumer handled and removed x-1, x-2, x-3, x-4",
        ),
        (
            "def send_all(stream, orders):\n"
            "    return Producer(stream, dedupe='s').send_many(sorted(orders, key=lambda o: o.id))",
            "return the entry ids in order",
        ),
        (
            "def send_all(stream, orders): return Producer(stream, dedupe='s').send_many(reversed(orders))",
            "return the entry ids in order",
        ),
        (
            "def send_all(stream, orders):\n"
            "    return Producer(stream, dedupe='s').send_many({(o.item, o.amount): o for o in orders}.values())",
            "x-3 is not in the stream",
        ),
    ],
    "07.1": [
        ("def consumers_needed(rate_per_s, work_ms): return round(rate_per_s * work_ms / 1000)", "must not grow"),
        ("def consumers_needed(rate_per_s, work_ms): return max(1, -(-rate_per_s * work_ms // 1000))", "a fifth of"),
        ("def consumers_needed(rate_per_s, work_ms): return int(rate_per_s * work_ms / 800) + 1", "no more than"),
        ("def consumers_needed(rate_per_s, work_ms): return max(1, rate_per_s * work_ms / 800)", "are whole"),
        ("def consumers_needed(rate_per_s, work_ms): return -(-rate_per_s * work_ms // 800)", "must not grow"),
        ("def consumers_needed(rate_per_s, work_ms): return [-(-rate_per_s * work_ms // 800)]", "consumers are whole"),
        (
            "def consumers_needed(rate_per_s, work_ms): return max(1, -(-int(rate_per_s) * work_ms // 800))",
            "0.5 orders per second, 3000 ms each keep 1.5",
        ),
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
        (
            "def send_all(r, key, bodies, size):\n"
            "    bodies, ids = list(bodies), []\n"
            "    for n in range(0, len(bodies), size):\n"
            "        pipe = r.pipeline(transaction=False)\n"
            "        for body in bodies[n : n + size]:\n"
            "            pipe.xadd(key, body)\n"
            "        ids += pipe.execute()\n"
            "    return ids",
            "never more than one batch is in memory: by 3, 4 bodies were taken, and 0 of them sent",
        ),
        (
            "def send_all(r, key, bodies, size):\n"
            "    from itertools import islice\n"
            "    ids = []\n"
            "    while batch := list(islice(bodies, size)):\n"
            "        pipe = r.pipeline(transaction=False)\n"
            "        for body in batch:\n"
            "            pipe.xadd(key, body)\n"
            "        ids += pipe.execute()\n"
            "    return ids",
            "your code asked Redis more than 300 times",
        ),
        (
            "def send_all(r, key, bodies, size):\n"
            "    from itertools import islice\n"
            "    ids, bodies, n = [], iter(bodies), 0\n"
            "    while batch := list(islice(bodies, size)):\n"
            "        pipe = r.pipeline(transaction=False)\n"
            "        for body in batch:\n"
            "            n += 1\n"
            "            pipe.xadd(key, {'data': body['data']})\n"
            "        ids += pipe.execute()\n"
            "    return ids",
            "a body is sent as it is",
        ),
        (
            "def send_all(r, key, bodies, size):\n"
            "    from itertools import islice\n"
            "    ids, bodies, n = [], iter(bodies), 0\n"
            "    while batch := list(islice(bodies, size)):\n"
            "        pipe = r.pipeline(transaction=False)\n"
            "        for body in batch:\n"
            "            n += 1\n"
            "            pipe.xadd(key, body, id=f'{n}-0')\n"
            "        ids += pipe.execute()\n"
            "    return ids",
            "equal or smaller",
        ),
        (
            "def send_all(r, key, bodies, size):\n"
            "    ids, pipe = [], r.pipeline(transaction=False)\n"
            "    for body in bodies:\n"
            "        if len(pipe) == size: ids += pipe.execute()\n"
            "        pipe.xadd(key, body)\n"
            "    return ids + (pipe.execute() if len(pipe) else [])",
            "by 3, 4 bodies were taken, and 0 of them sent",
        ),
    ],
    "07.3": [
        (
            "def all_done(r, key, group): return r.xpending(key, group)['pending'] == 0",
            "o-10 was not handed out: you say that all is done",
        ),
        ("def all_done(r, key, group): return r.xlen(key) == 0", "all were handed out and acked: you say"),
        ("def all_done(r, key, group): return True", "o-10 was not handed out: you say that all is done"),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    return not r.xrange(key, '(' + here['last-delivered-id'], count=1)",
            "o-9 was handed out and not acked",
        ),
        (
            "def all_done(r, key, group): return r.xinfo_groups(key)[0]['pending'] == 0",
            "o-10 was not handed out: you say that all is done",
        ),
        (
            "def all_done(r, key, group):\n"
            "    return not r.xreadgroup(group, 'me', {key: '>'}) and not r.xpending(key, group)['pending']",
            "the group stood at 9-0, now at 10-0",
        ),
        (
            "def all_done(r, key, group): return not r.xreadgroup(group, 'ann', {key: '0'})[0][1]",
            "o-10 was not handed out: you say that all is done",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    last = r.xinfo_stream(key)['last-generated-id']\n"
            "    return here['last-delivered-id'] == last and here['pending'] == 0",
            "and o-10 was deleted before: you say that something is left",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    return here.get('lag') == 0 and here['pending'] == 0",
            "you say that something is left",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    newest = r.xrevrange(key, count=1)\n"
            "    return here['pending'] == 0 and (not newest or here['last-delivered-id'] == newest[0][0])",
            "and then o-10 was deleted: you say that something is left",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    newest = r.xrevrange(key, count=1)\n"
            "    return here['pending'] == 0 and (not newest or here['last-delivered-id'] >= newest[0][0])",
            "o-10 was not handed out: you say that all is done",
        ),
        (
            "def all_done(r, key, group):\n"
            "    pending = r.xpending(key, group)['pending']\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    return not pending and not r.xrange(key, '(' + here['last-delivered-id'], count=1)",
            "9-0 was new, then bob had it in hand",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    ms = int(here['last-delivered-id'].split('-')[0])\n"
            "    return not here['pending'] and not r.xrange(key, ms + 1, count=1)",
            "10-0 is done, and 10-1 was not handed out",
        ),
        (
            "def all_done(r, key, group):\n"
            "    [here] = [each for each in r.xinfo_groups(key) if each['name'] == group]\n"
            "    held = [each['message_id'] for each in r.xpending_range(key, group, '-', '+', 1_000)]\n"
            "    ahead = r.xrange(key, '(' + here['last-delivered-id'], count=1)\n"
            "    return not ahead and not any(r.xrange(key, entry_id, entry_id) for entry_id in held)",
            "o-8 was deleted, and is pending all the same",
        ),
    ],
    "08.1": [
        (
            "def carry(fields):\n"
            "    from opentelemetry.propagate import inject\n"
            "    carrier = dict(fields)\n"
            "    inject(carrier)\n"
            "    return carrier",
            "baggage may be private",
        ),
        ("def carry(fields): return dict(fields)", "no traceparent"),
        ("def carry(fields): return {**fields, 'traceparent': '00-' + '1' * 32 + '-' + '2' * 16 + '-01'}", "child of"),
        (
            "def carry(fields):\n"
            "    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator\n"
            "    TraceContextTextMapPropagator().inject(fields)\n"
            "    return fields",
            "the caller's has changed",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry import trace\n"
            "    own = trace.get_current_span().get_span_context()\n"
            "    parent = f'00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}'\n"
            "    return {**fields, 'traceparent': parent, 'tracestate': own.trace_state.to_header()}",
            "without a span there is no context",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry import trace\n"
            "    own = trace.get_current_span().get_span_context()\n"
            "    parent = f'00-{own.trace_id:032x}-{own.span_id:016x}-01'\n"
            "    return {**fields, 'traceparent': parent, 'tracestate': own.trace_state.to_header()}",
            "its flags are 00, and you carry",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry import trace\n"
            "    own = trace.get_current_span().get_span_context()\n"
            "    return {**fields, 'traceparent': f'00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}'}",
            "tracestate, vendor=7, is left behind",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator\n"
            "    carrier = {'data': fields['data']}\n"
            "    TraceContextTextMapPropagator().inject(carrier)\n"
            "    return carrier",
            "the order travels as it was: shop is None",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator\n"
            "    carrier = {}\n"
            "    TraceContextTextMapPropagator().inject(carrier)\n"
            "    return carrier | fields",
            "these fields came out of another stream",
        ),
        (
            "def carry(fields):\n"
            "    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator\n"
            "    carrier = {}\n"
            "    TraceContextTextMapPropagator().inject(carrier)\n"
            "    return fields | carrier if carrier else {}",
            "without a span the order travels as it was",
        ),
    ],
    "08.2": [
        (
            "def where_is(spans, order_id):\n"
            "    last = [m for m in lab.lanes.marks(spans) if m.order == order_id][-1]\n"
            "    return 'done' if last.kind == 'acked' else last.lane",
            "is 'pending', you say 'ann'",
        ),
        ("def where_is(spans, order_id): return 'pending'", "is 'stream', you say 'pending'"),
        ("def where_is(spans, order_id): return lab.lanes.marks(spans)[-1].lane", "is 'stream', you say 'bob'"),
        (
            "def where_is(spans, order_id):\n"
            "    return [m.lane for m in lab.lanes.marks(spans) if m.order == order_id][-1]",
            "'done', you say",
        ),
        (
            "def where_is(spans, order_id):\n"
            "    last = [m for m in lab.lanes.marks(spans) if m.order == order_id][-1]\n"
            "    places = {'acked': 'done', 'failed': 'pending', 'redriven': 'stream'}\n"
            "    return places.get(last.kind, last.lane)",
            "never ended",
        ),
        (
            "def where_is(spans, order_id): return [s.operation for s in spans if s.order_id == order_id][-1]",
            "you say 'send'",
        ),
        (
            "def where_is(spans, order_id):\n"
            "    last = [m for m in lab.lanes.marks(spans) if m.order == order_id][-1]\n"
            "    places = {'acked': 'done', 'failed': 'pending', 'killed': 'pending', 'redriven': 'stream'}\n"
            "    return places.get(last.kind, last.lane)",
            "ann put it off",
        ),
        (
            "def where_is(spans, order_id):\n"
            "    last = [s for s in spans if s.order_id == order_id][-1]\n"
            "    if last.operation == 'process': return 'pending' if last.ended_s or last.killed_s else last.consumer\n"
            "    places = {'send': 'stream', 'ack': 'done', 'dead_letter': 'dead letters'}\n"
            "    return places.get(last.operation, 'pending')",
            "o-1 was acked",
        ),
        (
            "def where_is(spans, order_id):\n"
            "    last = [m for m in lab.lanes.latest(lab.lanes.marks(spans)) if m.order == order_id][-1]\n"
            "    if last.kind in ('new', 'claimed'): return last.lane\n"
            "    places = {'sent': 'stream', 'redriven': 'stream', 'dead': 'dead letters', 'acked': 'done'}\n"
            "    return places.get(last.kind, 'pending')",
            "IndexError",
        ),
        (
            "def where_is(spans, order_id):\n"
            "    last = [m for m in lab.lanes.marks(spans) if m.order.startswith(order_id)][-1]\n"
            "    if last.kind in ('new', 'claimed'): return last.lane\n"
            "    places = {'sent': 'stream', 'redriven': 'stream', 'dead': 'dead letters', 'acked': 'done'}\n"
            "    return places.get(last.kind, 'pending')",
            "you say 'done'",
        ),
    ],
    "09.1": [
        ("def keeps_up(backlog): return backlog[-1] <= backlog[0] + 5", "a burst has just come"),
        ("def keeps_up(backlog): return True", "it grows, and has no end"),
        ("def keeps_up(backlog): return not any(backlog)", "nearly everything is handled at once"),
        ("def keeps_up(backlog): return max(backlog) < 100 and backlog[0] < 5", "a high backlog that shrinks"),
        (
            "def keeps_up(backlog):\n"
            "    known = [count or 0 for count in backlog]\n"
            "    return min(known[len(known) // 2 :]) <= min(known[: len(known) // 2])",
            "unknown is not 0",
        ),
        (
            "def keeps_up(backlog):\n"
            "    known = [count for count in backlog if count is not None]\n"
            "    return min(known[len(known) // 2 :]) <= known[0]",
            "even the valleys rise",
        ),
        (
            "def keeps_up(backlog):\n"
            "    known = [count for count in backlog if count is not None]\n"
            "    return min(known[len(known) // 2 :]) <= min(known[: len(known) // 2])",
            "your code raised ValueError",
        ),
        (
            "def keeps_up(backlog):\n"
            "    known = [count for count in backlog if count is not None]\n"
            "    middle = len(known) // 2\n"
            "    return middle == 0 or min(known[middle:]) <= 1.1 * min(known[:middle])",
            "it grows, slowly",
        ),
        (
            "def keeps_up(backlog):\n"
            "    known = [count for count in backlog if count is not None][-10:]\n"
            "    middle = len(known) // 2\n"
            "    return middle == 0 or min(known[middle:]) <= min(known[:middle])",
            "it was caught up with, and is not any more",
        ),
    ],
    "09.2": [
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return [c['name'] for c in r.xinfo_consumers(key, group) if c['pending']]",
            "ann renews the 120 orders",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return [c['name'] for c in r.xinfo_consumers(key, group) if c['pending'] and c['idle'] >= idle_ms]",
            "nobody has worked on emil's orders",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 10)\n"
            "    return sorted({e['consumer'] for e in page if e['time_since_delivered'] >= idle_ms})",
            "nobody has worked on emil's orders",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 999, idle=idle_ms // 2)\n"
            "    return sorted({e['consumer'] for e in page})",
            "dora's order waits",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return [e['consumer'] for e in r.xpending_range(key, group, '-', '+', 999, idle=idle_ms)]",
            "each name once",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return [e['consumer'] for e in r.xpending_range(key, group, '-', '+', 1, idle=idle_ms)]",
            "bob asked for new orders a moment ago",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return sorted({e['consumer'] for e in r.xpending_range(key, group, '-', '+', 100, idle=idle_ms)})",
            "bob asked for new orders a moment ago",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    names, start = set(), '-'\n"
            "    while page := r.xpending_range(key, group, start, '+', 100, idle=idle_ms):\n"
            "        names |= {e['consumer'] for e in page}\n"
            "        start = page[-1]['message_id']\n"
            "    return sorted(names)",
            "your code asked Redis more than 300 times",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return sorted({e['consumer'] for e in r.xpending_range(key, group, '-', '+', 9_999, idle=60_000)})",
            "only bob's order is idle for 120 s",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    names = []\n"
            "    for each in r.xpending(key, group)['consumers']:\n"
            "        [oldest] = r.xpending_range(key, group, '-', '+', 1, consumername=each['name'])\n"
            "        names += [each['name']] * (oldest['time_since_delivered'] >= idle_ms)\n"
            "    return sorted(names)",
            "fred renews one, the other is stuck",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    page = r.xpending_range(key, group, '-', '+', 9_999, idle=idle_ms)\n"
            "    return sorted({e['consumer'] for e in page if not e['consumer'].startswith('(')})",
            "whose next try is overdue",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    return sorted({e['consumer'] for e in r.xpending_range(key, group, '-', '+', 1_000, idle=idle_ms)})",
            "gina's stuck order stands behind 1000 others",
        ),
        (
            "def holders_of_stuck_orders(r, key, group, idle_ms):\n"
            "    names, start = set(), 0\n"
            "    while page := r.xpending_range(key, group, start, '+', 100, idle=idle_ms):\n"
            "        names |= {e['consumer'] for e in page}\n"
            "        start = int(page[-1]['message_id'].split('-')[0]) + 1\n"
            "    return sorted(names)",
            "bob asked for new orders a moment ago",
        ),
    ],
    "10.1": [
        (
            "def take(r, key, me, idle):\n"
            "    reply = r.xreadgroup('order_group', me, {key: '>'}, count=1)\n"
            "    return (*reply[0][1][0], 0) if reply else None",
            "overdue comes before new",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    claimed = r.xautoclaim(key, 'order_group', me, idle)[1]\n"
            "    return (*claimed[0], 4)",
            "one order at a time: bob holds 1-0, 2-0",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    claimed = r.xautoclaim(key, 'order_group', me, idle, count=1)[1]\n"
            "    return (*claimed[0], 1)",
            "return ('1-0', {'item': 'tea'}, 4), not",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10):\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']",
            "no overdue order is missed",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, 0, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "carl claimed 1-0 before you did",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        ids, n = [due['message_id']], due['times_delivered']\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, ids, retrycount=n):\n"
            "            return entry_id, fields, n",
            "a claim is a delivery",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    reply = r.xreadgroup('order_group', me, {key: '>'})\n"
            "    return (*reply[0][1][0], 0) if reply else None",
            "also of the new ones: bob holds 3-0, 4-0",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 100):\n"
            "        if due['time_since_delivered'] < idle: continue\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "carl's 150 are in work",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=60_000):\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, 60_000, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "1-0 is not idle for 180 s",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, [due['message_id']]):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1, noack=True):\n"
            "        return entry_id, fields, 0",
            "also of the new ones: bob holds none",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        if due['consumer'] == me: continue\n"
            "        ids, was = [due['message_id']], due['time_since_delivered']\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, ids):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "bob's own: an earlier process of this name",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 10, idle=idle):\n"
            "        if False: continue\n"
            "        ids, was = [due['message_id']], due['time_since_delivered']\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, ids, idle=was):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "a claim starts the clock anew",
        ),
        (
            "def take(r, key, me, idle):\n"
            "    for due in r.xpending_range(key, 'order_group', '-', '+', 1_000):\n"
            "        if due['time_since_delivered'] < idle: continue\n"
            "        ids, was = [due['message_id']], due['time_since_delivered']\n"
            "        for entry_id, fields in r.xclaim(key, 'order_group', me, idle, ids):\n"
            "            if entry_id: return entry_id, fields, due['times_delivered']\n"
            "    for _, [(entry_id, fields)] in r.xreadgroup('order_group', me, {key: '>'}, count=1):\n"
            "        return entry_id, fields, 0",
            "carl's 1100 are in work",
        ),
    ],
    "10.2": [
        ("def settle(r, key, group, i): return r.xack(key, group, i) and r.xdel(key, i) == 1", "still needs: 1-0"),
        ("def settle(r, key, group, i): return not r.xack(key, group, i)", "what nobody needs is deleted"),
        ("def settle(r, key, group, i): return False", "still pending in kitchen"),
        (
            "def settle(r, key, group, i):\n"
            "    r.xack(key, group, i)\n"
            "    if any(r.xpending(key, g['name'])['pending'] for g in r.xinfo_groups(key)): return False\n"
            "    return r.xdel(key, i) == 1",
            "books and screen have not read it",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    r.xack(key, group, i)\n"
            "    if any(g['last-delivered-id'] < i for g in r.xinfo_groups(key)): return False\n"
            "    return r.xdel(key, i) == 1",
            "dora of the books has it in her hands",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        held = r.xpending_range(key, g['name'], i, i, 1)\n"
            "        if g['last-delivered-id'] < i or held: return False\n"
            "    return r.xdel(key, i) == 1",
            "the books were given 9-0, and 10-0 comes after it",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    for g in r.xinfo_groups(key):\n"
            "        held = r.xpending_range(key, g['name'], i, i, 1) and g['name'] != group\n"
            "        if place(g['last-delivered-id']) < place(i) or held: return not r.xack(key, group, i)\n"
            "    gone = r.xdel(key, i) == 1\n"
            "    r.xack(key, group, i)\n"
            "    return gone",
            "1-0 was deleted, and kitchen still holds it",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        if place(g['last-delivered-id']) < place(i) or g['pending']: return False\n"
            "    return r.xdel(key, i) == 1",
            "2-0 is another entry",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        oldest = r.xpending(key, g['name'])['min'] or i + '9'\n"
            "        if place(g['last-delivered-id']) < place(i) or place(oldest) <= place(i): return False\n"
            "    return r.xdel(key, i) == 1",
            "and 1-0 is another entry",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: float(text.replace('-', '.'))\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        if place(g['last-delivered-id']) < place(i): return False\n"
            "        if r.xpending_range(key, g['name'], i, i, 1): return False\n"
            "    return r.xdel(key, i) == 1",
            "the books were given 5-9, and 5-10 comes after it",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        if place(g['last-delivered-id']) < place(i): return False\n"
            "        if r.xpending_range(key, g['name'], i, i, 1): return False\n"
            "    return r.xtrim(key, minid=i + '1', approximate=False) > 0",
            "one entry is settled, 2-0: with it went",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    r.xack(key, group, i)\n"
            "    for g in r.xinfo_groups(key):\n"
            "        if place(g['last-delivered-id']) < place(i): return False\n"
            "        if r.xpending_range(key, g['name'], i, i, 1): return False\n"
            "    return r.xdel(key, i) < 2",
            "return whether you did",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    r.xack(key, group, i)\n"
            "    groups = [g['name'] for g in r.xinfo_groups(key)]\n"
            "    if any(r.xpending_range(key, name, i, i, 1) for name in groups): return False\n"
            "    if any(place(g['last-delivered-id']) < place(i) for g in r.xinfo_groups(key)): return False\n"
            "    return r.xdel(key, i) == 1",
            "then dora of the books had it in hand",
        ),
        (
            "def settle(r, key, group, i):\n"
            "    place = lambda text: tuple(map(int, text.split('-')))\n"
            "    done = True\n"
            "    for g in r.xinfo_groups(key):\n"
            "        held = g['name'] != group and r.xpending_range(key, g['name'], i, i, 1)\n"
            "        done = done and not held and place(g['last-delivered-id']) >= place(i)\n"
            "    r.xack(key, group, i)\n"
            "    return done and r.xdel(key, i) == 1",
            "two of them at once, and it is still there",
        ),
    ],
    "11.1": [
        (
            "def not_blocking(ask, at_once):\n    async def handler(order): ask(order)\n    return handler",
            "2 orders at once: ask was called for 1",
        ),
        (
            "import asyncio\n"
            "def not_blocking(ask, at_once):\n"
            "    async def handler(order): await asyncio.to_thread(ask, order)\n"
            "    return handler",
            "40 orders at once: ask was called for",
        ),
        ("def not_blocking(ask, at_once): return ask", "an `async def` that takes an order"),
        (
            "import asyncio\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def not_blocking(ask, at_once):\n"
            "    pool = ThreadPoolExecutor(at_once)\n"
            "    async def handler(order): pool.submit(ask, order)\n"
            "    return handler",
            "the handler returned, and ask(o-1) still waited",
        ),
        (
            "import asyncio\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def not_blocking(ask, at_once):\n"
            "    pool = ThreadPoolExecutor(at_once)\n"
            "    async def handler(order):\n"
            "        await asyncio.wait([asyncio.get_running_loop().run_in_executor(pool, ask, order)])\n"
            "    return handler",
            "and your handler did not",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def not_blocking(ask, at_once):\n"
            "    pool = ThreadPoolExecutor(at_once)\n"
            "    async def handler(order): pool.submit(ask, order).result()\n"
            "    return handler",
            "2 orders at once: ask was called for 1",
        ),
    ],
    "11.2": [
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    acked = 0\n"
            "    with ThreadPoolExecutor(at_once) as pool:\n"
            "        while reply := r.xreadgroup(group, name, {key: '>'}, count=at_once):\n"
            "            [[_, entries]] = reply\n"
            "            list(pool.map(handler, [fields for _, fields in entries]))\n"
            "            acked += r.xack(key, group, *[entry_id for entry_id, _ in entries])\n"
            "    return acked",
            "while o-1 was slow, the others had to wait",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    [[_, entries]] = r.xreadgroup(group, name, {key: '>'})\n"
            "    with ThreadPoolExecutor(at_once) as pool:\n"
            "        done = [pool.submit(handler, fields) for _, fields in entries]\n"
            "    return sum(r.xack(key, group, e[0]) for e, d in zip(entries, done) if not d.exception())",
            "nobody hoards",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    acked = 0\n"
            "    with ThreadPoolExecutor(at_once) as pool:\n"
            "        while reply := r.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "            [[_, [(entry_id, fields)]]] = reply\n"
            "            acked += r.xack(key, group, entry_id)\n"
            "            pool.submit(handler, fields)\n"
            "    return acked",
            "was acked before its end",
        ),
        (
            "def work(r, key, group, name, handler, at_once):\n"
            "    acked = 0\n"
            "    while reply := r.xreadgroup(group, name, {key: '>'}, count=1):\n"
            "        [[_, [(entry_id, fields)]]] = reply\n"
            "        handler(fields)\n"
            "        acked += r.xack(key, group, entry_id)\n"
            "    return acked",
            "while o-1 was slow, the others had to wait",
        ),
        (
            "from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    running, acked = {}, 0\n"
            "    with ThreadPoolExecutor(at_once) as pool:\n"
            "        while True:\n"
            "            if free := at_once - len(running):\n"
            "                for _, entries in r.xreadgroup(group, name, {key: '>'}, count=free):\n"
            "                    for entry_id, fields in entries:\n"
            "                        running[pool.submit(handler, fields)] = entry_id\n"
            "            if not running:\n"
            "                return acked\n"
            "            for future in wait(running, return_when=FIRST_COMPLETED).done:\n"
            "                acked += r.xack(key, group, running.pop(future))",
            "an order that failed stays pending, and no other",
        ),
        (
            "from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    running, done = {}, 0\n"
            "    with ThreadPoolExecutor(at_once) as pool:\n"
            "        while True:\n"
            "            if free := at_once - len(running):\n"
            "                for _, entries in r.xreadgroup(group, name, {key: '>'}, count=free):\n"
            "                    for entry_id, fields in entries:\n"
            "                        running[pool.submit(handler, fields)] = entry_id\n"
            "            if not running:\n"
            "                return done\n"
            "            for future in wait(running, return_when=FIRST_COMPLETED).done:\n"
            "                done += 1\n"
            "                if not future.exception():\n"
            "                    r.xack(key, group, running[future])\n"
            "                del running[future]",
            "return how many you have acked: 6 of 7",
        ),
        (
            "from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait\n"
            "def work(r, key, group, name, handler, at_once):\n"
            "    running, acked = {}, 0\n"
            "    with ThreadPoolExecutor(at_once - 1) as pool:\n"
            "        while True:\n"
            "            if free := at_once - len(running):\n"
            "                for _, entries in r.xreadgroup(group, name, {key: '>'}, count=free):\n"
            "                    for entry_id, fields in entries:\n"
            "                        running[pool.submit(handler, fields)] = entry_id\n"
            "            if not running:\n"
            "                return acked\n"
            "            for future in wait(running, return_when=FIRST_COMPLETED).done:\n"
            "                entry_id = running.pop(future)\n"
            "                acked += 0 if future.exception() else r.xack(key, group, entry_id)",
            "and 2 were in handlers",
        ),
    ],
    "11.3": [
        (
            "import asyncio\n"
            "def in_order(handler, customer):\n"
            "    lock = asyncio.Lock()\n"
            "    async def one_by_one(order):\n"
            "        async with lock:\n"
            "            await handler(order)\n"
            "    return one_by_one",
            "other customers need not wait",
        ),
        (
            "def in_order(handler, customer):\n"
            "    async def one_by_one(order): await handler(order)\n"
            "    return one_by_one",
            "ran at once",
        ),
        (
            "import threading\n"
            "from collections import defaultdict\n"
            "def in_order(handler, customer):\n"
            "    locks = defaultdict(threading.Lock)\n"
            "    async def one_by_one(order):\n"
            "        with locks[customer(order)]:\n"
            "            await handler(order)\n"
            "    return one_by_one",
            "does not come to its end",
        ),
        (
            "import asyncio\n"
            "from collections import defaultdict\n"
            "def in_order(handler, customer):\n"
            "    locks = defaultdict(asyncio.Lock)\n"
            "    async def one_by_one(order):\n"
            "        await locks[customer(order)].acquire()\n"
            "        await handler(order)\n"
            "        locks[customer(order)].release()\n"
            "    return one_by_one",
            "does not come to its end",
        ),
        (
            "import asyncio\n"
            "from collections import defaultdict\n"
            "from contextlib import suppress\n"
            "def in_order(handler, customer):\n"
            "    locks = defaultdict(asyncio.Lock)\n"
            "    async def one_by_one(order):\n"
            "        async with locks[customer(order)]:\n"
            "            with suppress(Exception):\n"
            "                await handler(order)\n"
            "    return one_by_one",
            "a failed order is tried again",
        ),
        (
            "import asyncio\n"
            "from collections import defaultdict\n"
            "def in_order(handler, customer):\n"
            "    locks = defaultdict(asyncio.Lock)\n"
            "    async def one_by_one(order):\n"
            "        async with locks[customer(order)]:\n"
            "            await handler(order)\n"
            "        locks.pop(customer(order), None)\n"
            "    return one_by_one",
            "and did not wait for it",
        ),
        (
            "import asyncio\n"
            "from collections import defaultdict\n"
            "def in_order(handler, customer):\n"
            "    locks = defaultdict(asyncio.Lock)\n"
            "    async def one_by_one(order):\n"
            "        async with locks[customer(order)], asyncio.TaskGroup() as group:\n"
            "            group.create_task(handler(order))\n"
            "    return one_by_one",
            "yours an ExceptionGroup around it",
        ),
    ],
    "12.1": [
        ("def lost(sent, handled, dead, pending): return len(sent) - len(handled)", "a list of order ids"),
        ("def lost(sent, handled, dead, pending): return [o for o in sent if o not in handled]", "both are safe"),
        (
            "def lost(sent, handled, dead, pending):\n    return sent[len(handled) + len(dead) + len(pending) :]",
            "handled and pending: a kill came before the ack",
        ),
        (
            "def lost(sent, handled, dead, pending):\n"
            "    return [order for order in sent if order not in handled + dead + pending]",
            "is one order",
        ),
        (
            "def lost(sent, handled, dead, pending): return sorted(set(sent) - {*handled, *dead, *pending})",
            "o-9 was sent before o-2",
        ),
        (
            "def lost(sent, handled, dead, pending):\n"
            "    left = list(sent)\n"
            "    for order in [*handled, *dead, *pending]:\n"
            "        if order in left: left.remove(order)\n"
            "    return list(dict.fromkeys(left))",
            "is one order, and handled",
        ),
        (
            "def lost(sent, handled, dead, pending):\n"
            "    safe = ' '.join([*handled, *dead, *pending])\n"
            "    return [order for order in dict.fromkeys(sent) if order not in safe]",
            "o-10 is handled, and o-1 is another order",
        ),
    ],
    "12.2": [  # the first one names the printed solution, which stands before it; the others break that one
        (
            "Right = MyConsumer\n"
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        self.client.xack(self.stream, self.group, entry_id)\n"
            "        self.handled(fields)",
            "was acked, and nobody handled it",
        ),
        (
            "class MyConsumer(Right):\n    def claim(self): return None",
            "delivery 1, and nobody asks for it any more",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def claim(self):\n"
            "        claimed = self.client.xautoclaim(self.stream, self.group, self.name, 0, count=1)[1]\n"
            "        return (*claimed[0], 1) if claimed else None",
            "alive, was working on it",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        self.handler(json.loads(fields['data']), entry_id)\n"
            "        self.client.xack(self.stream, self.group, entry_id)",
            "was charged 2 times, under the keys",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def step(self):\n"
            "        claimed = self.client.xautoclaim(self.stream, self.group, self.name, 60_000, count=10)[1]\n"
            "        counted = self.client.xpending_range(self.stream, self.group, '-', '+', 100)\n"
            "        counts = {each['message_id']: each['times_delivered'] for each in counted}\n"
            "        for entry_id, fields in claimed:\n"
            "            self.work(entry_id, fields, counts[entry_id])\n"
            "        return len(claimed) or super().step()",
            "its batch-mates do not follow it",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        if attempt <= 3 and self.handled(fields):\n"
            "            self.client.xack(self.stream, self.group, entry_id)\n"
            "        elif attempt >= 3:\n"
            "            both = self.client.pipeline(transaction=True)\n"
            "            both.xadd(f'{self.stream}-dlq', fields).xack(self.stream, self.group, entry_id)\n"
            "            both.execute()",
            "was acked, and nobody handled it",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        if attempt <= 3 and self.handled(fields):\n"
            "            self.client.xack(self.stream, self.group, entry_id)\n"
            "        else:\n"
            "            keys = self.stream, f'{self.stream}-dlq'\n"
            "            self.client.eval(MOVE, 2, *keys, self.group, entry_id, self.name, attempt)",
            "became a dead letter after 2 of 3 attempts",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        self.handled(fields)",
            "who then rested, and it is still pending",
        ),
        ("class MyConsumer(Right):\n    def step(self): return self.take()", "AttributeError"),
        ("class MyConsumer(Right):\n    def step(self): return super().step() or 1", "returns 0: ann never stopped"),
        ("class MyConsumer(Right):\n    def step(self): return len(r.xrange(self.stream))", "does not go along"),
        ("class MyConsumer(Right):\n    def handled(self, fields): self.handler(1, 1)", "takes the order, a dict"),
        (
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        super().work(entry_id, fields, attempt)\n"
            "        self.client.xdel(self.stream, entry_id)",
            "1-0 is gone from it, for all of them",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def handled(self, fields):\n"
            "        try: self.handler(json.loads(fields['data']), repr(fields))\n"
            "        except Exception: return False\n"
            "        return True",
            "was charged 2 times, under the keys",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def claim(self):\n"
            "        for due in self.client.xpending_range(self.stream, self.group, '-', '+', 1, idle=10_000):\n"
            "            ids, attempt = [due['message_id']], due['times_delivered'] + 1\n"
            "            for entry in self.client.xclaim(self.stream, self.group, self.name, 10_000, ids):\n"
            "                if entry[0]: return *entry, attempt",
            "while yan, alive, was working on it",
        ),
        (
            "OTHER = MOVE.replace('unpack(entry[2])', 'entry[2][1], entry[2][2]')\n"
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        if attempt <= 3 and self.handled(fields):\n"
            "            self.client.xack(self.stream, self.group, entry_id)\n"
            "        elif attempt >= 3:\n"
            "            keys = self.stream, f'{self.stream}-dlq'\n"
            "            self.client.eval(OTHER, 2, *keys, self.group, entry_id, self.name, attempt)",
            "has a dead letter without its fields",
        ),
        (
            "OTHER = MOVE.replace(\"'*'\", 'id')\n"
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        if attempt <= 3 and self.handled(fields):\n"
            "            self.client.xack(self.stream, self.group, entry_id)\n"
            "        elif attempt >= 3:\n"
            "            keys = self.stream, f'{self.stream}-dlq'\n"
            "            self.client.eval(OTHER, 2, *keys, self.group, entry_id, self.name, attempt)",
            "equal or smaller",
        ),
        (
            "OTHER = MOVE.replace(\"'*'\", \"'MAXLEN', 10, '*'\")\n"
            "class MyConsumer(Right):\n"
            "    def work(self, entry_id, fields, attempt):\n"
            "        if attempt <= 3 and self.handled(fields):\n"
            "            self.client.xack(self.stream, self.group, entry_id)\n"
            "        elif attempt >= 3:\n"
            "            keys = self.stream, f'{self.stream}-dlq'\n"
            "            self.client.eval(OTHER, 2, *keys, self.group, entry_id, self.name, attempt)",
            "a dead letter is kept: 100 older ones",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def claim(self):\n"
            "        group = self.stream, self.group\n"
            "        while due := self.client.xpending_range(*group, '-', '+', 1, idle=60_000):\n"
            "            ids, attempt = [due[0]['message_id']], due[0]['times_delivered'] + 1\n"
            "            for entry in self.client.xclaim(*group, self.name, 0, ids):\n"
            "                if entry[0]: return *entry, attempt\n"
            "            self.client.xack(*group, *ids)",
            "took o-111 while gina, alive, was working on it",
        ),
        (
            "class MyConsumer(Right):\n"
            "    def claim(self):\n"
            "        group = self.stream, self.group\n"
            "        while due := self.client.xpending_range(*group, '-', '+', 1, idle=60_000):\n"
            "            ids, attempt = [due[0]['message_id']], due[0]['times_delivered'] + 1\n"
            "            for entry in self.client.xclaim(*group, self.name, 60_000, ids):\n"
            "                if entry[0]: return *entry, attempt\n"
            "            self.client.xack(*group, *ids)",
            "acked o-111 while gina, alive, was working on it",
        ),
        ("MyConsumer = Right(None, 'check', 'order_group', 'ann', print)", "the class itself"),
    ],
}
