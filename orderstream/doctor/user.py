"""
What the connected user may do, and whether Redis would do it now.

Each command is sent in a form that cannot change anything, such as an XADD with the id 0-0: Redis checks the permission
first, then whether it takes writes at all, then the command. That works on every version and needs no permission of its
own. A permission counts as given only if the answer proves that the check was passed. Each refusal leaves a line in
ACL LOG.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import uuid4

import redis
from redis.exceptions import NoPermissionError

from orderstream.config import Settings
from orderstream.doctor.finding import ANSWERS, Finding, Level

_BACKLOG = [
    "XLEN {stream}",
    "XLEN {dlq}",
    "XINFO GROUPS {stream}",
    "XINFO CONSUMERS {stream} {nobody}",
    "XPENDING {stream} {nobody}",
    "XRANGE {stream} + -",
]
_ROLES = {
    "producer": ["XADD {stream} 0-0 name value"],
    "consumer": [
        "XGROUP CREATE {stream} {nobody} no-id",
        "XREADGROUP GROUP {nobody} doctor STREAMS {stream} >",
        "XACK {stream} {nobody} 0-0",
        "XPENDING {stream} {nobody}",
        "XCLAIM {stream} {nobody} doctor 0 0-0",
        "XRANGE {stream} + -",
        "XADD {dlq} 0-0 name value",
        "XINFO CONSUMERS {stream} {nobody}",
        "XGROUP DELCONSUMER {stream} {nobody} doctor",
        "EVALSHA {unknown} 2 {stream} {dlq}",
        "SCRIPT LOAD ?",
    ],
    "redrive": [
        "XRANGE {dlq} + -",
        "XADD {stream} 0-0 name value",
        "XDEL {dlq} 0-0",
        "EVALSHA {unknown} 2 {dlq} {stream}",
        "SCRIPT LOAD ?",
        *_BACKLOG,
    ],
    "janitor": [
        "XINFO GROUPS {stream}",
        "XPENDING {stream} {nobody}",
        "XRANGE {stream} + -",
        "XTRIM {stream} MAXLEN no",
        "XLEN {stream}",
        "EVALSHA {unknown} 1 {stream}",
        "SCRIPT LOAD ?",
    ],
    "monitor": _BACKLOG,
}
"""The commands of each role in docs/operate.md, in a form that changes nothing: no such group or script exists."""

_FIXES = {
    "OOM": "remove what was handled with `orderstream trim`, or raise maxmemory",
    "MISCONF": "make room on its disk, see its log",
    "NOREPLICAS": "bring its replicas back, or lower min-replicas-to-write",
    "READONLY": "connect to its primary; `INFO replication` names it",
    "MASTERDOWN": "look at its primary; `INFO replication` names it",
    "LOADING": "wait until it has read its data from disk",
    "CLUSTERDOWN": "`CLUSTER INFO` says what is missing",
}
"""Why the server refuses what the user is allowed to do."""

_TAKEN = "greater than 0-0"
_PROOF = re.compile(
    rf"^({'|'.join(_FIXES)}|BUSY|MOVED|ASK|TRYAGAIN|NOGROUP|NOSCRIPT|WRONGTYPE)\b"
    rf"|{_TAKEN}|Invalid stream ID|requires the key to exist|no such key|not an integer|compiling script"
)
"""What the server answers to these commands only after it has found that the user may send them."""


def writes(client: Any, settings: Settings) -> Iterator[Finding]:
    answer = _try(client, ["XADD", settings.stream, "0-0", "name", "value"])
    if isinstance(answer, NoPermissionError):
        return  # ``permissions`` reports that
    text = _text(answer)
    if _TAKEN in text:
        yield Finding("writes", Level.OK, "the server takes orders")
    else:
        fix = _FIXES.get(text.split(" ")[0], "")
        yield Finding("writes", Level.BLOCKED, f"the server refuses every order: {text}", fix)


def permissions(client: Any, settings: Settings) -> Iterator[Finding]:
    user = client.connection_pool.connection_kwargs.get("username") or "default"
    names = {"stream": settings.stream, "dlq": settings.dlq, "nobody": uuid4().hex, "unknown": "0" * 40}
    probes = {form: [word.format(**names) for word in form.split()] for form in chain(*_ROLES.values())}
    answers = {form: _try(client, probe) for form, probe in probes.items()}
    allowed = []
    for role, forms in _ROLES.items():
        rules = [rule for form in forms for rule in _lacking(settings, probes[form], answers[form])]
        unproven = [form for form in forms if not is_settled(answers[form])]
        if rules:
            fix = f"if it should be one, as an administrator: `ACL SETUSER {user} {' '.join(dict.fromkeys(rules))}`"
            yield Finding("permissions", Level.ADVICE, f"{user} is not allowed all that a {role} does", fix)
        if unproven:
            yield _unproven(role, unproven[0].split(" ")[0], _text(answers[unproven[0]]))
        if not rules and not unproven:
            allowed.append(role)
    if allowed:
        yield Finding("permissions", Level.OK, f"{user} is allowed all that these do: {', '.join(allowed)}")


def _try(client: Any, command: list[str]) -> redis.RedisError | None:
    """Send *command*. Return the error with which the server answered; None if it was no error."""
    try:
        client.execute_command(*command)
    except ANSWERS as refusal:
        return refusal
    return None


def _text(answer: redis.RedisError | None) -> str:
    """Return the first sentence of an error. If its code has a class of its own, redis-py cut the code off."""
    code = getattr(answer, "status_code", None)
    return f"{'' if code in (None, 'ERR') else f'{code} '}{answer}".split(". ")[0]


def is_settled(answer: redis.RedisError | None) -> bool:
    """Return whether the answer says that the user is allowed to, or that it is not."""
    return answer is None or isinstance(answer, NoPermissionError) or bool(_PROOF.search(_text(answer)))


def _unproven(role: str, command: str, text: str) -> Finding:
    if "unknown" in text.lower():
        found = f"this server does not know all that a {role} needs: {text}"
        fix = f"switch {command} on, if somebody switched it off there; or use another server"
        return Finding("permissions", Level.BLOCKED, found, fix)
    found = f"whether this user may do all that a {role} does, its answer to {command} does not tell: {text}"
    return Finding("permissions", Level.UNKNOWN, found, "look as an administrator")


def _lacking(settings: Settings, probe: list[str], answer: redis.RedisError | None) -> list[str]:
    """Return the ACL rules that the user lacks for *probe*: the command; or the keys, if the command is allowed."""
    if not isinstance(answer, NoPermissionError):
        return []
    if "permissions to run" in str(answer):
        return [_rule(probe)]
    return [f"~{key}" for key in (settings.stream, settings.dlq) if key in probe]


def _rule(command: list[str]) -> str:
    words = command[:2] if command[0] in ("XGROUP", "XINFO", "SCRIPT") else command[:1]
    return "+" + "|".join(words).lower()
