"""What an executable says of itself, and which Redis' commands a server has."""

import re
from pathlib import Path

import pytest

from orderstream.software import OLDEST, Software, software_at

ROOT = Path(__file__).parents[2]
OF_A_SERVER = re.compile(r'"(redis|valkey)_version"|"(redis|server)_mode"')


def executable(folder, says):
    """Write a program that prints this for --version."""
    path = folder / "server"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{says}"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "text", "level"),
    [
        ("Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64", "Redis 6.2.14", (6, 2)),
        ("Redis server v=8.10.2 sha=00000000:1 malloc=jemalloc-5.3.0", "Redis 8.10.2", (8, 10)),
        ("Redis server v=255.255.255 sha=00000000:1", "Redis 255.255.255", (255, 255)),
        ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64", "Valkey 9.1.2", (7, 2)),
        ("Valkey server v=7.2.11 sha=00000000:0", "Valkey 7.2.11", (7, 2)),
        ("KeyDB server v=6.3.4 sha=00000000:0", "KeyDB 6.3.4", OLDEST),
    ],
)
def test_an_executable_says_what_it_is(says, text, level, tmp_path):
    """A Valkey counts as Redis 7.2, whatever its own version; nothing newer is asked of a server nobody knows."""
    found = software_at(executable(tmp_path, says))
    assert (str(found), found.level) == (text, level)


def test_a_program_that_is_no_server_is_nothing(tmp_path):
    assert software_at(executable(tmp_path, "git version 2.39.5")) is None
    assert software_at(str(tmp_path / "missing")) is None
    assert software_at("") is None


def test_nobody_else_reads_what_a_server_says_of_itself():
    """These fields of INFO have other names, or another meaning, on Valkey."""
    code = [path for folder in ("orderstream", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in code if OF_A_SERVER.search(path.read_text())] == []


def test_versions_are_compared_as_numbers():
    assert Software("Redis", (8, 10, 2)).level > Software("Redis", (8, 4, 0)).level
