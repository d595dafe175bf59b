"""Learners hand in their scoreboards over the network, and the teacher has one file for each."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from orderstream import lab
from orderstream.lab.tutor import classroom, collector
from orderstream.lab.tutor.predict import predict, reveal
from orderstream.lab.tutor.scoreboard import EMPTY
from tests.process import Process

pytestmark = pytest.mark.any_server("answers in files; no Redis is asked")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def lab_home(tmp_path, monkeypatch):
    """An empty home, and a kernel in which nothing was asked."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.modules["orderstream.lab.tutor.predict"], "_asked", {})
    return tmp_path / "home"


@pytest.fixture
def desk(tmp_path):
    """The teacher's side, and its address."""
    with collector.Collector(tmp_path / "handed-in", ("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def answer(number, choice):
    predict(number, "How many?", {3: "three", 0: ("none", "reading removes")}).choose(choice)
    reveal(number, 3)


def put(address, path, sent, **headers):
    """Return the status that the desk answers with."""
    wish = urllib.request.Request(f"{address}{path}", sent, headers, method="PUT")
    try:
        with urllib.request.urlopen(wish) as reply:
            return reply.status
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_what_a_learner_hands_in_is_what_the_class_is_drawn_from(desk, capsys):
    folder, address = desk
    answer("01a", 0)
    assert lab.hand_in(address, "Ann").note == f"Handed in to {address}."
    assert classroom.merge(folder).summary() == "1 scoreboard (Ann)"
    assert capsys.readouterr().out == "Ann: 1 prediction, 0 right at first (1 scoreboard so far)\n"


def test_who_hands_in_again_has_one_file_and_another_learner_has_another(desk, lab_home, monkeypatch):
    folder, address = desk
    answer("01a", 0)
    lab.hand_in(f"{address}/", "Ann")
    answer("01b", 3)
    lab.hand_in(address, "Ann")
    [file] = folder.glob("*")
    assert len(json.loads(file.read_bytes())["answers"]) == 2
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(lab_home.with_name("bob")))
    answer("01a", 3)
    lab.hand_in(address)
    assert classroom.merge(folder).summary() == "2 scoreboards (Ann, 1 without a name)"


def test_the_file_says_nothing_about_the_learner_but_the_name_that_was_given(desk):
    folder, address = desk
    answer("01a", 0)
    lab.hand_in(address)
    [file] = folder.glob("*")
    assert re.fullmatch(r"[0-9a-f]{16}\.json", file.name)
    assert set(json.loads(file.read_bytes())) == {"file", "name", "answers"}


def test_nobody_there_costs_a_line_and_the_file_is_saved(desk, lab_home):
    answer("01a", 0)
    note = lab.hand_in("http://127.0.0.1:1").note
    assert note.startswith("Not handed in: nobody answers at http://127.0.0.1:1 (")
    assert note.endswith(f"Saved: {lab_home / 'scoreboard.json'}")
    assert note in lab.hand_in("http://127.0.0.1:1")._repr_mimebundle_()["text/html"].replace("&#x27;", "'")


def test_an_untouched_course_hands_in_nothing(desk):
    folder, address = desk
    assert repr(lab.hand_in(address)) == EMPTY
    assert list(folder.iterdir()) == []


def test_what_is_no_address_is_refused():
    with pytest.raises(ValueError, match=r"looks like http://192\.168\.1\.5:8700, not 'Ann'"):
        lab.hand_in("Ann")


GOOD = b'{"file": "orderstream scoreboard", "name": null, "answers": []}'


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/0123456789abcdef", b"[]"),
        ("/0123456789abcdef", b'{"file": "x", "name": null, "answers": []}'),
        ("/0123456789abcdef", GOOD + b" " * collector.LONGEST_BYTES),
        ("/../../0123456789abcdef", GOOD),
        ("/ann.json", GOOD),
        ("/", GOOD),
    ],
)
def test_what_is_no_scoreboard_or_names_a_file_is_refused(desk, path, sent):
    folder, address = desk
    assert put(address, path, sent) == 400
    assert list(folder.iterdir()) == []
    assert put(address, "/0123456789abcdef", GOOD) == 204


def test_nothing_can_be_read_from_it(desk):
    _, address = desk
    put(address, "/0123456789abcdef", GOOD)
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(f"{address}/0123456789abcdef.json")


def test_a_full_folder_takes_no_new_learner_and_goes_on_with_the_others(desk, monkeypatch, capsys):
    _, address = desk
    monkeypatch.setattr(collector, "MOST_FILES", 1)
    assert put(address, "/0123456789abcdef", GOOD) == 204
    assert put(address, "/fedcba9876543210", GOOD) == 507
    assert capsys.readouterr().err == "not kept: 1 files are enough\n"
    assert put(address, "/0123456789abcdef", GOOD) == 204


def test_a_name_cannot_write_on_the_teachers_terminal(desk, capsys):
    _, address = desk
    put(address, "/0123456789abcdef", GOOD.replace(b"null", b'"An\\u001b[2Jn"'))
    assert capsys.readouterr().out.startswith("An[2Jn: ")


def test_the_command_says_what_learners_type_and_counts_at_the_end(tmp_path):
    words = [sys.executable, "-m", "orderstream.lab.tutor.collector", "handed-in", "--host=127.0.0.1", "--port=0"]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    teacher = Process(words, cwd=tmp_path, env=here, stdout=subprocess.PIPE, text=True)
    said = re.fullmatch(r'Learners type: lab\.hand_in\("(http://127\.0\.0\.1:\d+)"\)\n', teacher.stdout.readline())
    answer("01a", 0)
    lab.hand_in(said[1], "Ann")
    teacher.send_signal(signal.SIGINT)
    rest, _ = teacher.communicate(timeout=10)
    assert rest.splitlines()[0] == "Ann: 1 prediction, 0 right at first (1 scoreboard so far)"
    assert rest.splitlines()[-1] == "1 scoreboard in handed-in"
    assert teacher.returncode == 0


def test_a_port_that_is_taken_is_one_line(desk, tmp_path, capsys):
    _, address = desk
    port = address.rpartition(":")[2]
    assert collector.main([str(tmp_path / "other"), "--host", "127.0.0.1", "--port", port]) == 1
    assert capsys.readouterr().err == f"collector: {port}: Address already in use\n"
