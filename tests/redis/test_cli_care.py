"""``orderstream trim`` and ``orderstream doctor``, as people and their cron jobs use them."""

import json
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from orderstream import Consumer, Order, Producer, random_orders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(settings, tmp_path):
    """Run a command on this test's stream to its end: (exit code, stdout, stderr)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ORDERSTREAM_", "REDIS_"))}
    names = {f"ORDERSTREAM_{name.upper()}": getattr(settings, name) for name in ("stream", "group")}
    environ = {**clean, **names, "PYTHONPATH": str(ROOT), "REDIS_URL": settings.redis_url}

    def run(*args):
        command = [sys.executable, "-m", "orderstream", *args]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def half_done(stream):
    """Of 1,500 orders 1,000 were handled; the ids of the others."""
    stream.create_group()
    ids = Producer(stream).send_many(islice(random_orders(1), 1_500))
    stream.ack(entry.id for entry in stream.read_new("a", 1_000, None))
    return ids[1_000:]


# trim -----------------------------------------------------------------------------------------------------


def test_trim_says_what_it_removed_and_who_has_not_read_the_rest(run, half_done, settings):
    code, out, err = run("trim")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == f"Removed 1,000 entries from {settings.stream}, 500 left."
    assert re.fullmatch(
        rf"{settings.group} keeps them: {half_done[0]}, added \d+ m?s ago, is not read yet\.", second
    )  # fmt: skip


def test_trim_says_who_has_the_oldest_pending_entry(run, half_done, stream, settings):
    stream.read_new("a", 1, None)
    assert re.search(
        rf"^{settings.group} keeps them: {half_done[0]}, added .* ago, is pending\.$", run("trim")[1], re.M
    )


def test_trim_of_one_entry_is_said_in_the_singular(run, stream, settings):
    Producer(stream).send(Order("o-1", "figs", 3))
    Consumer(stream, lambda order: None).drain()
    assert run("trim") == (0, f"Removed 1 entry from {settings.stream}, 0 left.\n", "")
    assert run("trim") == (0, f"Removed 0 entries from {settings.stream}, 0 left.\n", "")


def test_trim_says_that_nobody_reads_the_stream(run, stream, settings):
    Producer(stream).send(Order("o-1", "figs", 3))
    removed, why = run("trim")[1].splitlines()
    assert removed == f"Removed 0 entries from {settings.stream}, 1 left."
    assert why == "It has no group, so nobody has read them: all are kept."


def test_trim_of_nothing_is_no_error(run, settings):
    assert run("trim") == (0, f"Removed 0 entries from {settings.stream}, 0 left.\n", "")


def test_trim_names_no_group_that_a_terminal_would_obey(run, stream, client, settings):
    Producer(stream).send(Order("o-1", "figs", 3))
    client.xgroup_create(settings.stream, "\x1b[31mred", "0")
    assert "\\x1b[31mred keeps them" in run("trim")[1]


def test_trim_json_has_all_there_is(run, half_done, stream, settings):
    code, out, err = run("trim", "--json")
    assert (code, err) == (0, "")
    trimmed = json.loads(out)
    assert 0 <= trimmed["holder"].pop("age_s") < 60
    assert trimmed == {
        "stream": settings.stream,
        "removed": 1_000,
        "left": 500,
        "holder": {"group": settings.group, "id": half_done[0], "pending": False},
    }
    stream.ack(entry.id for entry in stream.read_new("a", 500, None))
    assert json.loads(run("trim", "--json")[1])["holder"] is None


def test_trim_of_a_key_of_another_type_is_one_line(run, client, settings):
    client.set(settings.stream, "not a stream")
    code, out, err = run("trim")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "wrong kind of value" in err


def test_trim_without_the_permission_is_one_line(run, guest, half_done):
    url = guest("+@all", "-xtrim").settings.redis_url
    code, out, err = run("trim", "--redis", url)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("Error: Redis: ")


# doctor ---------------------------------------------------------------------------------------------------


def test_doctor_ends_with_0_on_a_redis_that_is_fit_to_keep_orders(run, own_server, own_stream):
    """One line for each finding, a mark in front of it."""
    code, out, err = run("doctor", "--redis", own_server.url)
    assert (code, err) == (0, "")
    assert {line[:2] for line in out.splitlines()} == {"✓ "}
    assert re.search(r"^✓ persistence +AOF", out, re.M)


def test_doctor_ends_with_1_if_orders_could_be_lost_and_says_what_to_do(run, own_server, own_stream):
    """The fix stands beneath; without colours, for this is no terminal."""
    own_stream.client.config_set("appendonly", "no")
    code, out, err = run("doctor", "--redis", own_server.url)
    assert (code, err) == (1, "Error: orders could be lost: persistence\n")
    lines = out.splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.startswith("✗"))
    assert re.match(r"✗ persistence +neither AOF nor snapshots: ", lines[at])
    assert re.match(r" {10,}→ `CONFIG SET appendonly yes`", lines[at + 1])
    assert "\x1b" not in out


@pytest.mark.row(85)
def test_doctor_ends_with_1_if_redis_refuses_orders(run, own_server, own_stream):
    own_stream.client.config_set("maxmemory", 100_000)
    code, out, err = run("doctor", "--redis", own_server.url)
    assert (code, err) == (1, "Error: orders do not get through: memory, writes\n")
    assert re.search(r"^✗ writes +the server refuses every order: OOM .*\n +→ remove what was handled", out, re.M)
    own_stream.client.config_set("appendonly", "no")
    _, _, err = run("doctor", "--redis", own_server.url)
    assert err == "Error: orders could be lost: persistence; orders do not get through: memory, writes\n"


def test_advice_alone_ends_with_0(run, own_server, own_stream):
    own_stream.client.config_set("appendfsync", "everysec")
    code, out, err = run("doctor", "--redis", own_server.url)
    assert (code, err) == (0, "")
    assert re.search(r"^! persistence +AOF, every second: .*\n +→ ", out, re.M)


def test_doctor_marks_what_it_could_not_look_at(run, own_server, own_stream):
    own_stream.client.acl_setuser("guest", enabled=True, passwords=["+S3cret"], commands=["+@all", "-info"], keys="*")
    code, out, err = run("doctor", "--redis", own_server.url.replace("://", "://guest:S3cret@"))
    assert (code, err) == (0, "")
    assert re.search(r"^\? eviction +the server does not show it: .*info.*\n +→ allow \+info ", out, re.M)
    assert "S3cret" not in out


def test_doctor_json_has_all_there_is(run, own_server, own_stream):
    own_stream.client.config_set("appendonly", "no")
    code, out, err = run("doctor", "--json", "--redis", own_server.url)
    assert (code, err) == (1, "Error: orders could be lost: persistence\n")
    findings = json.loads(out)
    assert {tuple(finding) for finding in findings} == {("subject", "level", "found", "fix")}
    (finding,) = (finding for finding in findings if finding["subject"] == "persistence")
    assert (finding["level"], finding["fix"][:7]) == ("orders could be lost", "`CONFIG")
    assert {finding["level"] for finding in findings} == {"ok", "orders could be lost"}


def test_doctor_escapes_what_a_terminal_would_obey(run, own_server, own_stream):
    own_stream.client.xgroup_create(own_stream.settings.stream, "\x1b[31mred", "0", mkstream=True)
    code, out, _ = run("doctor", "--redis", own_server.url)
    assert (code, "\\x1b[31mred keeps up" in out) == (0, True)
