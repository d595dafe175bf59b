"""The scoreboard shows what a learner believed and overturned; a class's files make one picture."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from orderstream import lab
from orderstream.lab.tutor import classroom
from orderstream.lab.tutor.predict import predict, reveal
from orderstream.lab.tutor.scoreboard import EMPTY

pytestmark = pytest.mark.any_server("answers in files and pictures; no Redis is asked")

ROOT = Path(__file__).parents[2]
QUEUE, TURNS = "reading removes", "readers take turns"


@pytest.fixture(autouse=True)
def lab_home(tmp_path, monkeypatch):
    """An empty home, and a kernel in which nothing was asked."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.modules["orderstream.lab.tutor.predict"], "_asked", {})
    return tmp_path / "home"


def answer(number, choice):
    """Predict, and run the experiment, which shows 3."""
    predict(number, "How many?", {3: "three", 0: ("none", QUEUE), 1: ("one", TURNS)}).choose(choice)
    reveal(number, 3)


def hand_in(folder, name, **choices):
    """Answer as one learner, 01a=3 and so on, and put the file into *folder*."""
    home = folder / f"home of {name}"
    os.environ["ORDERSTREAM_LAB_HOME"] = str(home)  # monkeypatch of lab_home sets it back
    for number, choice in choices.items():
        answer(number.removeprefix("q"), choice)
    path = folder / f"{name}.json"
    path.write_bytes(lab.scoreboard(name).path.read_bytes())
    return path


def test_an_untouched_course_says_so_and_writes_nothing(lab_home):
    predict("01a", "How many?", {3: "three", 0: ("none", QUEUE)})
    assert repr(lab.scoreboard()) == EMPTY == "Scoreboard: nothing predicted yet."
    assert not lab_home.exists()


def test_right_at_first_is_what_the_first_run_said():
    """Who was right may look at another option, and who was wrong may answer better."""
    for choice in (3, 0):
        answer("01a", choice)
    for choice in (0, 3):
        answer("01b", choice)
    assert lab.scoreboard().summary() == "2 predictions, 1 right at first"


def test_an_answer_counts_once_its_experiment_has_run():
    predict("01a", "How many?", {3: "three", 0: ("none", QUEUE)}).choose(0)
    assert repr(lab.scoreboard()) == EMPTY
    reveal("01a", 3)
    assert QUEUE in repr(lab.scoreboard())


def test_it_names_the_beliefs_that_were_held_and_where_they_were_overturned():
    """By a later question that could have revealed the belief again, or by the same one, answered anew."""
    answer("01a", 0)
    answer("01b", 1)
    answer("02a", 3)
    answer("02b", 1)
    answer("02b", 3)
    answer("03a", 0)
    assert repr(lab.scoreboard()).splitlines() == [
        "Scoreboard: 5 predictions, 1 right at first",
        "you believed        in   since then",
        "------------------  ---  ------------------",
        "reading removes     01a  overturned in 02a",
        "readers take turns  01b  overturned in 02a",
        "readers take turns  02b  overturned in 02b",
        "reading removes     03a  not overturned yet",
    ]


def test_an_earlier_right_answer_overturns_nothing():
    answer("01a", 3)
    answer("02a", 0)
    assert "02a  not overturned yet" in repr(lab.scoreboard())


def test_a_course_without_a_wrong_answer_has_no_table():
    answer("01a", 3)
    assert repr(lab.scoreboard()) == "Scoreboard: 1 prediction, 1 right at first: no wrong belief"


def test_the_picture_has_a_bar_for_each_lesson_and_a_sentence():
    answer("01a", 3)
    answer("02a", 0)
    picture = lab.scoreboard().picture()
    assert picture.sentence == "2 predictions, 1 right at first."
    assert Image.open(io.BytesIO(picture.png)).width > 1_000


def test_a_notebook_stores_the_same_for_every_learner():
    """While nothing is predicted there is nothing else to compare. One's own part is HTML: a picture with alt text."""
    texts = set()
    for choice in (None, 0, 3):
        if choice is not None:
            answer("01a", choice)
        shown = lab.scoreboard()._repr_mimebundle_()
        texts.add(shown["text/plain"])
        assert ("text/html" in shown) == (choice is not None)
        assert choice is None or '<img alt="1 prediction, ' in shown["text/html"]
    assert len(texts) == 1


def test_the_file_holds_a_name_only_if_one_was_given(lab_home):
    answer("01a", 0)
    lab.scoreboard()
    saved = json.loads((lab_home / "scoreboard.json").read_text())
    assert (saved["file"], saved["name"]) == ("orderstream scoreboard", None)
    assert saved["answers"] == [
        {"id": "01a", "right": False, "first": False, "belief": QUEUE, "beliefs": [QUEUE, TURNS], "held": []}
    ]
    lab.scoreboard("Ann")
    assert json.loads((lab_home / "scoreboard.json").read_text())["name"] == "Ann"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 1}', '{"id": "01b", "right": "yes"}', "\xff"])
def test_a_stored_prediction_that_cannot_be_read_costs_a_line(lab_home, content):
    answer("01a", 0)
    (lab_home / "predictions" / "01b.json").write_bytes(content.encode("latin-1"))
    lines = repr(lab.scoreboard()).splitlines()
    assert QUEUE in lines[-2]
    assert lines[-1].startswith("left out: 01b.json: ")


def test_a_prediction_of_an_earlier_version_is_read(lab_home):
    """It has no list of beliefs; what it held is known."""
    answer("01a", 0)
    path = lab_home / "predictions" / "01a.json"
    old = json.loads(path.read_text())
    del old["beliefs"], old["held"]
    path.write_text(json.dumps(old))
    assert QUEUE in repr(lab.scoreboard())


def test_a_home_that_cannot_be_written_still_shows_the_scoreboard(lab_home):
    answer("01a", 0)
    (lab_home / "scoreboard.json").mkdir()
    board = lab.scoreboard()
    assert board.note.startswith("Not saved (")
    assert QUEUE in repr(board)


def test_a_class_is_one_picture_with_a_bar_for_each_belief(tmp_path):
    """Held counts whoever ever showed it; right counts those who were right, at once, wherever it was on offer."""
    hand_in(tmp_path, "ann", q01a=0, q02a=3)
    hand_in(tmp_path, "bob", q01a=0, q02a=0)
    hand_in(tmp_path, "carl", q01a=3, q02a=3)
    hand_in(tmp_path, "dora", q01a=3, q02a=1)
    room = classroom.merge(tmp_path)
    assert repr(room).splitlines() == [
        "4 scoreboards (ann, bob, carl, dora)",
        "they believed       in       held it  had it right",
        "------------------  -------  -------  ------------",
        "reading removes     01a 02a  2        1",
        "readers take turns  01a 02a  1        1",
    ]
    assert room.picture().sentence == "4 scoreboards (ann, bob, carl, dora): 2 wrong beliefs."


def test_the_most_held_beliefs_are_drawn_when_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(classroom, "BARS", 1)
    hand_in(tmp_path, "ann", q01a=0, q01b=1)
    assert classroom.merge(tmp_path).picture().sentence.endswith("Drawn are the 1 most held, 1 are not.")


FOREIGN = b'{"file": "x", "name": null, "answers": []}'
ODD = b'{"file": "orderstream scoreboard", "name": 7, "answers": []}'


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\x89PNG\xff", FOREIGN, ODD])
def test_a_bad_or_foreign_file_costs_a_line_and_is_left_out(tmp_path, content):
    good = hand_in(tmp_path, "ann", q01a=0)
    (tmp_path / "bad.json").write_bytes(content)
    room = classroom.merge(good, tmp_path / "bad.json", tmp_path / "missing.json")
    assert len(room.files) == 1
    bad, missing = room.left_out
    assert re.fullmatch(r"left out: \S+bad\.json: not a scoreboard \(.+\)", bad)
    assert missing.endswith("missing.json: No such file or directory")
    assert repr(room).splitlines()[-2:] == room.left_out


def test_a_belief_is_drawn_as_it_is_written(tmp_path):
    """`$` is a word of Redis, and a file may hold anything."""
    path = hand_in(tmp_path, "ann", q01a=0)
    path.write_text(path.read_text().replace(QUEUE, "$\\\\frac$ and > <b>"))
    room = classroom.merge(path)
    assert "$\\frac$ and > <b>  01a" in repr(room)
    assert room.picture().png


def test_a_class_in_which_nobody_was_wrong_has_no_picture(tmp_path, capsys):
    path = hand_in(tmp_path, "ann", q01a=3)
    assert classroom.main([str(path), "--out", str(tmp_path / "class.png")]) == 0
    assert capsys.readouterr().out == "1 scoreboard (ann): no wrong belief\n"
    assert not (tmp_path / "class.png").exists()


def test_a_notebook_shows_the_class_with_its_picture(tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **kw: shown.append(data))
    classroom.merge(hand_in(tmp_path, "ann", q01a=0))._ipython_display_()
    assert base64.b64decode(shown[0]["image/png"]).startswith(b"\x89PNG")
    assert QUEUE in capsys.readouterr().out


def test_the_command_writes_the_picture_and_says_what_it_left_out(tmp_path):
    hand_in(tmp_path, "ann", q01a=0)
    (tmp_path / "notes.json").write_text("[]")
    module = "orderstream.lab.tutor.classroom"
    command = [sys.executable, "-W", "error", "-m", module, str(tmp_path), "--out", "class.png"]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "1 scoreboard (ann)")
    assert ran.stderr.startswith("left out: ")
    assert ran.stderr.count("\n") == 1
    assert (tmp_path / "class.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_fails_when_there_is_nothing_to_merge(tmp_path, capsys):
    assert classroom.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "No scoreboard to merge.\n"
