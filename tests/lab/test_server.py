"""The lab's Redis: which one is taken, and that nothing of it is left, however a notebook ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import jupyter_client
import psutil
import pytest
import redis

from orderstream import Settings, connect, lab
from orderstream.embedded import private
from orderstream.embedded.find import ServerError
from orderstream.lab import server
from orderstream.lab.server import reserved, session
from orderstream.lab.server.reserved import LEASE, LEASE_MS, RECORD, ReservedDatabase
from orderstream.software import Software, software_of
from tests.process import Process

BINARY_VARIABLE = "ORDERSTREAM_REDIS_SERVER"
SETUP = """
from orderstream import lab
r = lab.start("01")
p = lab.processes.producer(rate_per_s=20)
c1 = lab.processes.consumer("c1")
"""
MANAGER = f"""
import json, sys, jupyter_client
manager = jupyter_client.KernelManager()
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=30)
client.execute_interactive({SETUP!r}, timeout=30, output_hook=lambda message: None)
print("ready", flush=True)
sys.stdin.read()
"""


# A private server ------------------------------------------------------------------------------------------


def test_start_says_one_stable_line_and_returns_a_readable_client(scratch, capsys):
    """The lesson's set-up cell. It calls the server by its name."""
    client = lab.start("01")
    client.xadd("orders", {"data": "tea"}, id="1-0")
    assert capsys.readouterr().out == f"Lesson 01 is ready. {name(client)} answers.\n"
    assert client.xrange("orders") == [("1-0", {"data": "tea"})]


def test_the_package_connects_to_the_lesson_s_server(lesson):
    """REDIS_URL leads there, for this process and its children."""
    lesson.set("here", "yes")
    assert connect().client.get("here") == b"yes"


def test_a_second_start_in_the_same_kernel_reuses_the_server(lesson):
    """Running the set-up cell again loses nothing."""
    lesson.set("kept", "yes")
    assert lab.start("02").get("kept") == "yes"


def test_start_gets_a_new_server_when_the_old_one_has_ended(lesson, scratch):
    """A learner may shut it down."""
    lesson.shutdown(nosave=True)
    assert lab.start("01").ping()
    assert len(scratch.folders()) == 1


def test_a_private_server_is_seen_by_nobody_else_and_keeps_nothing(lesson):
    """127.0.0.1 only, no snapshots, no log of commands."""
    options = {name: lesson.config_get(name)[name] for name in ("bind", "save", "appendonly")}
    assert options == {"bind": "127.0.0.1", "save": "", "appendonly": "no"}


def test_closing_leaves_nothing_and_gives_the_environment_back(lesson, scratch):
    """A script may go on after the lesson."""
    assert scratch.processes()
    server.close()
    assert scratch.is_clean()
    assert "REDIS_URL" not in os.environ


def test_somebody_else_s_redis_on_the_chosen_port_is_not_taken_for_ours(scratch, guest_on, monkeypatch):
    """Between looking for a free port and using it, another program may come first."""
    theirs = int(guest_on().rsplit(":", 1)[1])
    ports = iter([theirs])
    free_port = private._free_port
    monkeypatch.setattr(private, "_free_port", lambda wanted: next(ports, None) or free_port(wanted))
    client = lab.start("01")
    assert client.config_get("port")["port"] != str(theirs)
    assert next(ports, None) is None
    assert len(scratch.folders()) == 1


def test_a_server_that_does_not_start_says_why_and_leaves_nothing(scratch, tmp_path, monkeypatch):
    """The last line of its log is the reason."""
    monkeypatch.setenv(BINARY_VARIABLE, executable(tmp_path, "Redis server v=7.0.0", "no memory left"))
    with pytest.raises(ServerError, match=r"does not start \(no memory left\): set ORDERSTREAM_REDIS_SERVER"):
        lab.start("01")
    assert scratch.is_clean()


def test_a_notebook_shows_an_error_as_one_line(scratch):
    """Not the fifty lines of a traceback through the lab."""
    assert ServerError("do this")._render_traceback_() == ["ServerError: do this"]


def test_a_server_that_is_killed_comes_back_at_its_address_and_with_its_log_if_it_keeps_one(lesson, scratch):
    """As after kill -9: without a log nothing is there, with one everything."""
    url, ours = server.current().url, server.current()
    lesson.xadd("orders", {"data": "tea"}, id="1-0")
    ours.restart()
    assert lesson.exists("orders") == 0
    for n in range(1, 101):
        lesson.xadd("orders", {"data": "tea"}, id=f"{n}-0")
    lesson.xgroup_create("orders", "order_group", id="0")
    lesson.xreadgroup("order_group", "ann", {"orders": ">"}, count=7)
    ours.keep_log(True)
    lesson.xack("orders", "order_group", "1-0")
    ours.restart()
    assert [lesson.xlen("orders"), lesson.xpending("orders", "order_group")["pending"]] == [100, 6]
    ours.restart()
    assert lesson.xlen("orders") == 100, "it still keeps its log"
    ours.keep_log(False)
    ours.restart()
    assert lesson.exists("orders") == 0
    assert server.current().url == url
    assert len(scratch.folders()) == 1
    server.close()
    assert scratch.is_clean()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent's life")
def test_a_killed_guard_takes_a_server_that_was_started_again_with_it(lesson, scratch, eventually):
    """The system tells the server of the death of the thread that started it, so that must be the guard's main one."""
    server.current().restart()
    psutil.Process(session._current._server._guard.pid).kill()
    eventually(lambda: not scratch.processes())
    server.close()
    assert scratch.is_clean()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent's life")
def test_a_killed_guard_takes_its_server_with_it(lesson, scratch, eventually):
    """SIGKILL, so the guard cannot clean up: the kernel does it, at the latest when it ends."""
    psutil.Process(session._current._server._guard.pid).kill()
    eventually(lambda: not scratch.processes())
    server.close()
    assert scratch.is_clean()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent's life")
def test_the_next_session_removes_the_folder_of_a_kernel_killed_together_with_its_guard(scratch, eventually):
    """Nobody was left to do it earlier."""
    kernel = Process(
        [sys.executable, "-c", "from orderstream import lab; lab.start('01'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with kernel:
        assert kernel.stdout.readline().startswith(b"Lesson")
        kernel.stdout.readline()
        guard = next(p for p in scratch.processes() if private.GUARD in p.cmdline())
        guard.suspend()  # so that it cannot be quicker than its own end
        kernel.kill()
        kernel.wait()
        guard.kill()
    eventually(lambda: not scratch.processes())
    (left,) = scratch.folders()
    lab.start("01")
    assert left not in scratch.folders()
    assert len(scratch.folders()) == 1


# Which redis-server ----------------------------------------------------------------------------------------


def executable(folder, says, then="stopped"):
    """Write a program that answers --version like a redis-server and cannot do anything else."""
    path = folder / "redis-server"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{says}" && exit\necho "{then}"\nexit 1\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "software"),
    [
        ("Redis server v=8.10.2 sha=0", Software("Redis", (8, 10, 2))),
        ("Valkey server v=9.1.2 sha=0", Software("Valkey", (9, 1, 2))),
    ],
)
def test_before_a_lesson_the_software_is_that_of_the_server_that_would_be_started(
    says, software, monkeypatch, tmp_path
):
    """ORDERSTREAM_REDIS_SERVER is how CI runs every version."""
    monkeypatch.setenv(BINARY_VARIABLE, executable(tmp_path, says))
    assert server.software() == software


# fresh and needs -------------------------------------------------------------------------------------------


def test_fresh_deletes_what_it_names_and_nothing_else(lesson):
    """An experiment begins anew; the one before it stays."""
    for key in ("orders", "orders-dlq", "other"):
        lesson.set(key, 1)
    lab.fresh("orders", "orders-dlq")
    assert lesson.keys() == ["other"]


def test_needs_tells_whether_the_server_is_new_enough_and_says_so_only_if_not(lesson, capsys):
    """A gated cell says so on an older server."""
    major, minor = server.software().level
    assert lab.needs(f"{major}.{minor}")
    assert capsys.readouterr().out == ""
    assert not lab.needs("99.0")
    assert capsys.readouterr().out.splitlines() == [
        f"This cell needs Redis 99.0; yours is {server.software()}.",
        f"To get it, {lab.NEWER}",
    ]


def test_what_the_server_is_before_a_lesson_it_is_in_it(scratch):
    """So `pytest --nbval` compares the cells that will run."""
    before = server.software()
    lab.start("01")
    assert server.software() == before


@pytest.mark.parametrize("call", [lambda: lab.fresh("orders"), lambda: lab.needs("7.0")])
def test_a_cell_that_was_run_before_the_set_up_cell_says_what_to_run(call, scratch):
    """Everybody does it once."""
    with pytest.raises(ServerError, match=r"lab\.start"):
        call()


# A kernel ends ---------------------------------------------------------------------------------------------


@pytest.fixture
def kernel(scratch):
    """A real kernel with a started lesson and two worker processes: (manager, client)."""
    manager = jupyter_client.KernelManager()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        run(client, SETUP)
        assert_lesson_runs(scratch)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def run(client, code):
    """Run a cell; return what it printed."""
    printed = []
    reply = client.execute_interactive(
        code, timeout=30, output_hook=lambda message: printed.append(message["content"].get("text", ""))
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


def assert_lesson_runs(scratch):
    """The kernel's lesson is there: else an empty list would prove nothing later."""
    commands = [" ".join(p.cmdline()) for p in scratch.processes()]
    for part in (" 127.0.0.1:", "orderstream.embedded.guard", "workers.worker producer", "workers.worker consumer"):
        assert any(part in command for command in commands), commands  # the first is redis-server's title
    assert len(scratch.folders()) == 1


ENDINGS = {
    "shutdown": lambda manager: manager.shutdown_kernel(),
    "shutdown now": lambda manager: manager.shutdown_kernel(now=True),
    "restart": lambda manager: manager.restart_kernel(),
    "SIGKILL": lambda manager: os.kill(manager.provisioner.pid, signal.SIGKILL),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_survives_the_end_of_a_kernel(ending, kernel, scratch, eventually):
    """No redis-server, no guard, no worker process, no temporary folder."""
    manager, _ = kernel
    ENDINGS[ending](manager)
    restarted = [manager.provisioner.pid] if ending == "restart" else []
    eventually(lambda: scratch.is_clean(but=restarted), 10)


def test_nothing_survives_a_kernel_that_is_killed_in_the_middle_of_a_cell(kernel, scratch, eventually):
    """A busy kernel is the one that gets killed."""
    manager, client = kernel
    client.execute("print(r.ping(), flush=True)\nwhile True: pass")
    eventually(lambda: client.get_iopub_msg(timeout=10)["msg_type"] == "stream")
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    eventually(scratch.is_clean, 10)


def test_nothing_survives_the_sigkill_of_the_kernel_s_manager(scratch, eventually):
    """The manager is the process that owns the kernel, such as the Jupyter server."""
    with Process([sys.executable, "-c", MANAGER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as manager:
        assert manager.stdout.readline() == b"ready\n"
        assert_lesson_runs(scratch)
        manager.kill()
    eventually(scratch.is_clean, 10)


def test_interrupting_a_cell_reaches_neither_the_server_nor_the_workers(kernel, eventually):
    """The Stop button of the notebook."""
    manager, client = kernel
    client.execute("print('busy', flush=True)\nwhile True: pass", stop_on_error=False)
    eventually(lambda: client.get_iopub_msg(timeout=10).get("content", {}).get("text") == "busy\n")
    manager.interrupt_kernel()
    eventually(lambda: client.get_iopub_msg(timeout=10)["msg_type"] == "error")
    printed = run(
        client,
        "before = r.xlen('orders')\n"
        "while r.xlen('orders') < before + 10: pass\n"  # the producer works on, for half a second
        "import json; print(json.dumps([r.ping(), repr(p), repr(c1)]))",
    )
    assert json.loads(printed) == [True, "<producer producer, running>", "<consumer c1, running>"]


# A guest on somebody's server ------------------------------------------------------------------------------


def test_a_guest_takes_an_empty_database_and_touches_no_key_of_its_host(guest, capsys):
    """Number 0 is where other programs live, so it is not even considered first."""
    guest.set("theirs", "0")
    with at(guest, 1) as first:
        first.set("theirs", "1")
        client = lab.start("01")
        assert capsys.readouterr().out == f"Lesson 01 is ready. {name(client)} answers.\n"
        assert number(client) == 2
        lab.fresh("theirs")
        client.xadd("orders", {"data": "tea"})
        server.close()
        assert [guest.get("theirs"), first.get("theirs")] == ["0", "1"]


def test_the_package_works_in_the_guest_s_database(guest):
    """REDIS_URL carries its number."""
    client = lab.start("01")
    client.set("here", "yes")
    assert connect().client.get("here") == b"yes"
    assert guest.dbsize() == 0


def test_two_sessions_get_two_databases(guest):
    """A class on one server."""
    with ThreadPoolExecutor(6) as pool:
        sessions = list(pool.map(lambda _: ReservedDatabase(Settings.from_env()), range(6)))
    try:
        assert sorted(number(session.client) for session in sessions) == [1, 2, 3, 4, 5, 6]
    finally:
        for session in sessions:
            session.close()


def test_the_reservation_is_one_key_that_ends_by_itself_unless_it_is_renewed(guest, monkeypatch, eventually):
    """A lease of a minute."""
    assert 0 < lab.start("01").pttl(LEASE) <= LEASE_MS
    server.close()
    monkeypatch.setattr(reserved, "LEASE_MS", 300)
    client = lab.start("01")
    seen = [client.pttl(LEASE)]

    def renewed_twice():
        seen.append(client.pttl(LEASE))
        return sum(later > earlier for earlier, later in pairwise(seen)) >= 2

    eventually(renewed_twice)
    assert max(seen) <= 300


def test_at_the_end_the_keys_the_lab_made_are_gone_and_others_stay(guest):
    """Also a key that somebody put into our database in the meantime."""
    client = lab.start("01")
    lab.fresh("experiment")
    for key in ("orders", "orders-dlq", "experiment", "somebody-s"):
        client.set(key, "1")
    with at(guest, number(client)) as same:
        server.close()
        assert same.keys() == ["somebody-s"]


def test_a_worker_makes_no_key_after_the_end(guest, eventually):
    """Workers end before their keys are removed."""
    client = lab.start("01")
    workers = [
        lab.processes.producer(rate_per_s=500),
        lab.processes.consumer("c1", failure_rate=1.0, work_ms=0, max_attempts=1),
    ]
    eventually(lambda: client.xlen("orders-dlq") > 5)
    with at(guest, number(client)) as same:
        server.close()
        assert [worker.exit_code for worker in workers] == [0, 0]
        assert same.keys() == []


SESSION = """
from orderstream import lab
r = lab.start("01")
r.set("orders", 1)
print(r.connection_pool.connection_kwargs["db"], flush=True)
input()
"""


@pytest.fixture
def killed_session(guest):
    """A client of the database that a session had when it was killed."""
    with Process(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as session:
        assert session.stdout.readline().startswith("Lesson")
        left = at(guest, int(session.stdout.readline()))
        session.kill()
    with left:
        assert left.get("orders") == "1"
        yield left


def test_the_database_of_a_killed_session_is_cleaned_and_taken_when_its_lease_has_ended(killed_session, eventually):
    """Exactly the recorded keys go."""
    killed_session.pexpire(LEASE, 1)
    eventually(lambda: not killed_session.exists(LEASE))
    client = lab.start("01")
    assert number(client) == number(killed_session)
    assert sorted(client.keys()) == sorted([LEASE, RECORD])


def test_before_that_it_is_left_alone(killed_session):
    """For all we know the session is only slow."""
    assert number(lab.start("01")) != number(killed_session)
    assert killed_session.get("orders") == "1"


def test_a_killed_session_s_database_in_which_somebody_works_is_cleaned_but_not_taken(killed_session):
    """Only what the lab made goes."""
    killed_session.delete(LEASE)
    killed_session.set("theirs", "1")
    assert number(lab.start("01")) != number(killed_session)
    assert killed_session.keys() == ["theirs"]


def test_a_session_that_lost_its_database_says_so_and_start_finds_another(guest):
    """The computer slept for longer than the lease."""
    before = lab.start("01")
    before.set(LEASE, "another session")
    with pytest.raises(ServerError, match="restart the kernel"):
        lab.fresh("orders")
    after = lab.start("01")
    assert number(after) != number(before)
    with at(guest, number(before)) as taken:
        assert taken.get(LEASE) == "another session"


def test_when_every_other_database_is_taken_number_0_will_do_if_it_is_empty(guest_on, monkeypatch):
    """Some servers have just one."""
    monkeypatch.setenv("REDIS_URL", guest_on("--databases", "1"))
    assert number(lab.start("01")) == 0


def test_when_all_are_taken_the_error_says_the_ways_out(guest_on, monkeypatch):
    """And nothing was touched."""
    url = guest_on("--databases", "2")
    monkeypatch.setenv("REDIS_URL", url)
    with redis.Redis.from_url(url) as zero, redis.Redis.from_url(url, db=1) as one:
        zero.set("theirs", 1)
        one.set("theirs", 1)
        refused("every database of 127.0.0.1:.* is in use: .*unset REDIS_URL and REDIS_ADDR")
        assert zero.keys() == one.keys() == [b"theirs"]


@pytest.mark.parametrize("login", [":secret-wrong@", ""])
def test_a_wrong_or_missing_password_is_said_without_saying_it(login, guest_on, monkeypatch):
    """Neither ours nor theirs."""
    url = guest_on("--requirepass", "secret-right")
    monkeypatch.setenv("REDIS_URL", url.replace("//", f"//{login}"))
    message = refused("127.0.0.1:.* refuses the password, or wants one: set REDIS_URL=")
    assert "secret" not in message


def test_a_server_with_a_password_is_used_and_the_password_shown_nowhere(guest_on, monkeypatch):
    """The client, the session and what is printed."""
    url = guest_on("--requirepass", "secret/right")
    monkeypatch.setenv("REDIS_URL", url.replace("//", "//:secret%2Fright@"))
    client = lab.start("01")
    assert connect().client.ping()
    assert "secret" not in repr(client) + repr(server.current())


@pytest.mark.parametrize(
    "url", ["http://:secret@host", "redis://:sec/ret@host", "redis://[::1", "redis://:x@host:secret"]
)
def test_a_url_that_is_none_is_said_without_showing_it(url, scratch, monkeypatch):
    """redis-py would quote a piece of the password."""
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(Exception, match=r"REDIS_URL|Redis URL") as error:
        lab.start("01")
    assert not {"sec", "ret", "secret"} & set(str(error.value).replace("'", " ").split())


def test_a_cluster_is_refused(guest_on, monkeypatch):
    """It has one database only, or none for us. A Valkey is called by its name."""
    url = guest_on("--cluster-enabled", "yes")
    monkeypatch.setenv("REDIS_URL", url)
    with redis.Redis.from_url(url) as node:
        refused(f"is a {name(node)} Cluster: name a single server, or unset")


def test_a_user_who_may_not_do_what_the_lab_needs_is_told_what_that_is(guest_on, monkeypatch):
    """The text of Redis names the command."""
    monkeypatch.setenv("REDIS_URL", guest_on("--user", "default", "on", "nopass", "~*", "+@all", "-eval"))
    refused("refuses what the lab needs .*eval.*name another server")


def test_the_version_can_be_asked_before_a_lesson_starts_and_an_error_is_one_line_as_well(guest, monkeypatch):
    """Of the server that would be used; nothing is reserved on it."""
    assert server.software() == software_of(guest)
    assert guest.info("keyspace") == {}
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:1 does not answer"):
        server.software()


def test_a_server_that_does_not_answer_is_named(scratch, monkeypatch):
    """And not replaced by a private one behind your back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        addr = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("REDIS_ADDR", addr)
    refused(f"{addr} does not answer: start it")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("redis://host", "redis://host/3"),
        ("redis://:pass%2Fword@host:6379/0", "redis://:pass%2Fword@host:6379/3"),
        ("rediss://user:p@[::1]:6379/7?db=5&ssl_cert_reqs=none", "rediss://user:p@[::1]:6379/3?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=3"),
        ("unix://:pass@/run/redis.sock", "unix://:pass@/run/redis.sock?db=3"),
    ],
)
def test_a_url_gets_the_number_of_the_database(given, expected):
    """However the number was written before, nothing else changes."""
    assert reserved._with_database(given, 3) == expected
    assert redis.ConnectionPool.from_url(expected).connection_kwargs["db"] == 3


def refused(pattern):
    """Check that a lesson does not start, with one line; return the line."""
    with pytest.raises(ServerError, match=pattern) as error:
        lab.start("01")
    assert "\n" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return str(error.value)


def at(client, database_number):
    """Return a client of another database of the same server."""
    options = {**client.connection_pool.connection_kwargs, "db": database_number}
    return redis.Redis(host=options["host"], port=options["port"], db=database_number, decode_responses=True)


def name(client):
    """Return what the server is called."""
    return "Valkey" if "valkey_version" in client.info("server") else "Redis"


def number(client):
    """Return the number of the database that *client* uses."""
    return client.connection_pool.connection_kwargs.get("db", 0)
