"""The roles of docs/operate.md: each can do its work, needs all its rules for it, and can do no other role's work."""

import re
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import redis

from orderstream import Consumer, DeadLetterQueue, Defer, Order, Producer, Reject, connect
from orderstream.connection import Trouble, trouble
from orderstream.doctor import Level, examine

PAGE = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
BLOCK = re.search(r"^## Permissions\n.*?```text\n(.*?)```", PAGE, re.M | re.S)[1]
ROLES = {role: rules.split() for role, rules in re.findall(r"^(\w+) +((?:.+\n(?: +.+\n)*))", BLOCK, re.M)}
NO_PERMISSION = r"permission|ACL failure|user executing the script can't"  # the last two inside a script


@pytest.fixture
def become(client, settings):
    """Connect as a user who has these rules: ``become(ROLES["producer"])``."""
    name, opened = f"role-{settings.stream}", []

    def become(rules):
        keys = {"~orders": f"~{settings.stream}", "~orders-dlq": f"~{settings.dlq}"}
        client.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *(keys.get(rule, rule) for rule in rules))
        opened.append(connect(replace(settings, redis_url=settings.redis_url.replace("://", f"://{name}:pw@"))))
        return opened[-1]

    yield become
    for stream in opened:
        stream.close()
    client.acl_deluser(name)


@contextmanager
def not_allowed():
    """What happens here is refused for want of a permission. What the code tries quietly is seen to be missing."""
    with pytest.raises((redis.ResponseError, AssertionError)) as caught:
        yield
    if isinstance(caught.value, redis.ResponseError):
        assert re.search(NO_PERMISSION, str(caught.value))
        assert trouble(caught.value) is Trouble.FATAL


# The work of each role: as the user, with the stream as an administrator sees it ------------------------------


def work_of_producer(user, admin):
    Producer(user).send_many([Order("o-1", "figs", 3), Order("o-2", "tea", 1)])
    assert admin.backlog().length == 2


def work_of_consumer(user, admin):
    """Handle, retry, defer, reject, claim what a dead consumer left, and leave."""
    seen = []

    def handle(order):
        seen.append(order.id)
        if order.id == "refused":
            raise Reject("no")
        if seen.count(order.id) == 1 and order.id in ("failing", "deferred"):
            raise Defer(1) if order.id == "deferred" else OSError("once")

    consumer = Consumer(user, handle)
    consumer.step()  # makes the group
    Producer(admin).send(Order("abandoned", "figs", 1))
    (entry,) = admin.read_new("dead", 1, None)
    admin.release("dead", [entry])
    Producer(admin).send_many(Order(id, "figs", 1) for id in ("fine", "failing", "deferred", "refused"))
    for _ in range(100):
        consumer.step()
        if admin.backlog().done:
            break
    consumer.stop()
    consumer.run()
    assert sorted(set(seen)) == ["abandoned", "deferred", "failing", "fine", "refused"]
    assert admin.backlog().dead_lettered == 1
    assert [state.name for state in admin.backlog().consumers] == ["dead"]


def work_of_redrive(user, admin):
    def refuse(order):
        raise Reject("no")

    Producer(admin).send_many(Order(f"o-{n}", "figs", 1) for n in range(4))
    Consumer(admin, refuse).drain()
    queue = DeadLetterQueue(user)
    first, second, *_ = queue.list()
    assert len(queue.redrive(first.id)) == 1
    assert queue.purge(second.id) == 1
    assert queue.redrive_all() == 2
    assert (admin.backlog().length, admin.backlog().dead_lettered) == (7, 0)


def work_of_janitor(user, admin):
    admin.create_group()
    Producer(admin).send_many(Order(f"o-{n}", "figs", 1) for n in range(4))
    admin.ack([entry.id for entry in admin.read_new("a", 3, None)])
    assert user.trim().removed == 3


def work_of_monitor(user, admin):
    admin.create_group()
    Producer(admin).send(Order("o-1", "figs", 3))
    now = user.backlog()
    assert (now.length, now.pending) == (1, 0)


def work_of_doctor(user, admin):
    admin.client.config_set("save", "")  # our servers begin so, a container does not; only CONFIG GET tells
    Producer(admin).send(Order("o-1", "figs", 3))
    admin.create_group()
    seen, all_there_is = (
        [finding for finding in examine(stream) if finding.subject not in ("permissions", "writes")]
        for stream in (user, admin)
    )
    assert seen == all_there_is


WORK = {
    "producer": work_of_producer,
    "consumer": work_of_consumer,
    "redrive": work_of_redrive,
    "janitor": work_of_janitor,
    "monitor": work_of_monitor,
    "doctor": work_of_doctor,
}


# Each role ------------------------------------------------------------------------------------------------


def test_the_readme_has_every_role():
    assert list(ROLES) == list(WORK)


@pytest.mark.row(49)
@pytest.mark.parametrize("role", WORK)
def test_a_role_can_do_its_work(become, stream, client, role):
    client.script_flush()
    WORK[role](become(ROLES[role]), stream)


@pytest.mark.parametrize(("role", "rule"), [(role, rule) for role in ROLES for rule in ROLES[role]])
def test_no_rule_of_a_role_can_be_left_out(become, stream, client, role, rule):
    client.script_flush()
    user = become([kept for kept in ROLES[role] if kept != rule])
    with not_allowed():
        WORK[role](user, stream)


@pytest.mark.row(49)
@pytest.mark.parametrize(
    ("role", "other"), [(a, b) for a, b in product(WORK, WORK) if not set(ROLES[b]) <= set(ROLES[a])]
)
def test_a_role_cannot_do_the_work_of_another(become, stream, client, role, other):
    """Unless it has all of the other's rules anyway, as redrive has a monitor's."""
    client.script_flush()
    with not_allowed():
        WORK[other](become(ROLES[role]), stream)


@pytest.mark.row(49)
@pytest.mark.parametrize("role", WORK)
def test_a_role_can_do_no_harm(become, stream, settings, client, role):
    client.xadd(settings.stream, {"n": 1})
    user = become(ROLES[role]).client
    for command in (
        "EVAL return(1) 0",
        "FLUSHALL",
        "KEYS *",
        "CONFIG SET maxmemory 1",
        "ACL LIST",
        f"DEL {settings.stream}",
        f"RENAME {settings.stream} mine",
        f"XGROUP DESTROY {settings.stream} {settings.group}",
        f"XGROUP SETID {settings.stream} {settings.group} $",
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command.split())
    for command in ("XADD {} * n 1", "XRANGE {} - +", "XLEN {}", "XTRIM {} MAXLEN 0", "XDEL {} 1-0"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command.format("another-stream").split())


@pytest.mark.row(49)
def test_a_consumer_that_may_not_dead_letter_leaves_the_order_pending(become, stream, pending):
    """And says so at once, instead of trying for ever."""

    def refuse(order):
        raise Reject("no")

    Producer(stream).send(Order("o-1", "figs", 3))
    consumer = Consumer(become([rule for rule in ROLES["consumer"] if rule != "~orders-dlq"]), refuse)
    with not_allowed():
        consumer.run()
    assert len(pending()) == 1
    assert stream.backlog().dead_lettered == 0


def test_a_producer_that_removes_duplicates_needs_more_before_8_6(become, stream, client, settings, server_version):
    """A script does it there, and keeps a key for each order; from 8.6 on XADD does it."""
    more = re.search(r"before 8\.6 also needs `([^`]+)`", " ".join(PAGE.split()))[1].split()
    more = [rule.replace("orders", settings.stream) for rule in more]
    client.script_flush()
    with not_allowed() if server_version < (8, 6) else nullcontext():
        Producer(become(ROLES["producer"]), dedupe="till-1").send(Order("o-1", "figs", 3))
    client.script_flush()
    Producer(become(ROLES["producer"] + more), dedupe="till-2").send(Order("o-1", "figs", 3))
    assert stream.backlog().length == (1 if server_version < (8, 6) else 2)


def test_a_monitor_that_may_only_read_the_keys_still_sees_the_backlog(become, stream, settings, server_version):
    """Since 7.0."""
    rules = [rule.replace("~orders", f"%R~{settings.stream}") for rule in ROLES["monitor"]]
    if server_version < (7,):
        with pytest.raises(redis.ResponseError, match="Syntax error"):
            become(rules)
        return
    work_of_monitor(become(rules), stream)
    with pytest.raises(redis.exceptions.NoPermissionError):
        Producer(become([*rules, "+xadd"])).send(Order("o-1", "figs", 3))


def allowed_by_doctor(user):
    findings = [finding for finding in examine(user) if finding.subject == "permissions"]
    return {name for f in findings if f.level is Level.OK for name in f.found.split(": ")[1].split(", ")}


@pytest.mark.parametrize("role", WORK)
def test_the_doctor_knows_the_roles(become, role):
    """Somebody with the rules of a role is told that this is enough for it, and for which others."""
    allowed = {name for name in WORK if name != "doctor" and set(ROLES[name]) <= set(ROLES[role])}
    assert allowed_by_doctor(become(ROLES[role])) == allowed


@pytest.mark.parametrize(("role", "rule"), [(role, rule) for role in ROLES if role != "doctor" for rule in ROLES[role]])
def test_the_doctor_sees_each_rule_that_a_role_lacks(become, role, rule):
    assert role not in allowed_by_doctor(become([kept for kept in ROLES[role] if kept != rule]))


def test_the_fixes_of_the_doctor_make_a_user_what_the_readme_says(become, client, settings):
    """Followed until it has nothing more to say."""
    user = become([])
    for _ in range(2):  # commands first, then keys
        for finding in examine(user):
            for command in re.findall("`(ACL .+?)`", finding.fix):
                client.execute_command(*command.split())
    (finding,) = [finding for finding in examine(user) if finding.subject == "permissions"]
    assert finding.level is Level.OK
