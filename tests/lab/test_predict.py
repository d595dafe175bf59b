"""Predictions are stored, judged, and look the same in a notebook for everybody."""

import html
import json
import subprocess
import sys

import pytest

from orderstream.lab.tutor.predict import Prediction, home, predict, reveal

pytestmark = pytest.mark.any_server("answers in files and widgets; no Redis is asked")

QUESTION = "How many entries are left?"
OPTIONS = {3: "3: reading leaves them", 0: ("0: reading removes them", "a stream is a queue")}


@pytest.fixture(autouse=True)
def lab_home(tmp_path, monkeypatch):
    """An empty home, and a kernel in which nothing was asked."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.modules["orderstream.lab.tutor.predict"], "_asked", {})
    return tmp_path / "home"


def stored(lab_home, number="01.1"):
    return json.loads((lab_home / "predictions" / f"{number}.json").read_text("utf-8"))


def shown(thing):
    """What nbval compares of a cell's result: everything but the view of a widget."""
    bundle = thing._repr_mimebundle_()
    return {mime: data for mime, data in bundle.items() if not mime.endswith("widget-view+json")}


def whole_text(result):
    """Return all that a learner sees of a reveal, in JupyterLab and elsewhere."""
    return html.unescape("\n".join(shown(result).values()))


def radio(prediction):
    """Show it, and return its buttons."""
    from ipywidgets.widgets.widget import _instances

    view = prediction._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    return _instances[view["model_id"]].children[1]


class Display:
    """Stands for the output of a cell, and keeps what it is changed to. No kernel runs in these tests."""

    def __init__(self):
        self.data = {}

    def update(self, data, *, raw):
        assert raw
        self.data = data


def test_a_right_prediction_is_stored_as_right(lab_home):
    predict("01.1", QUESTION, OPTIONS).choose(3)
    verdict = reveal("01.1", 3).verdict
    assert verdict == "✓ You predicted it: 3: reading leaves them."
    assert stored(lab_home) == {
        "id": "01.1",
        "question": QUESTION,
        "beliefs": ["a stream is a queue"],
        "held": [],
        "chosen": "3",
        "answer": "3: reading leaves them",
        "observed": "3",
        "right": True,
        "first": True,
        "belief": None,
    }


def test_a_wrong_prediction_tells_what_it_shows_one_believes(lab_home):
    predict("01.1", QUESTION, OPTIONS).choose(0)
    verdict = reveal("01.1", 3).verdict
    assert verdict == (
        "✗ You predicted: 0: reading removes them. This is what one expects who believes: a stream is a queue."
    )
    assert (stored(lab_home)["right"], stored(lab_home)["belief"]) == (False, "a stream is a queue")


def test_nothing_is_stored_for_a_question_that_was_left_open(lab_home):
    predict("01.1", QUESTION, OPTIONS)
    assert reveal("01.1", 3).verdict == ""
    assert not lab_home.exists()


def test_the_text_is_the_same_whatever_the_learner_did():
    """A choice adds HTML. In a home without one, as nbval has it, there is only the text."""
    texts = set()
    for choice in (None, 3, 0):
        prediction = predict("01.1", QUESTION, OPTIONS)
        if choice is not None:
            prediction.choose(choice)
        result = shown(reveal("01.1", 3))
        assert ("text/html" in result) == (choice is not None)
        texts.add((str(shown(prediction)), result["text/plain"]))
    assert texts == {(str({"text/plain": repr(prediction)}), repr(reveal("01.1", 3)))}


def test_the_text_holds_all_that_matters_where_no_widget_is_shown():
    """GitHub and nbviewer show text only. It says what happened, and not which option that makes right."""
    assert repr(predict("01.1", QUESTION, OPTIONS)) == (
        "Predict 01.1\nHow many entries are left?\n  ( ) 0: reading removes them\n  ( ) 3: reading leaves them"
    )
    assert repr(reveal("01.1", 3)) == "01.1 observed: 3"


def test_a_long_question_is_broken_into_lines():
    """GitHub shows a scrollbar below longer ones."""
    lines = repr(predict("01.1", "How many of them are left? " * 5, OPTIONS)).splitlines()
    assert max(map(len, lines)) <= 100


def test_no_option_is_marked_before_one_was_chosen():
    """Whoever ran all cells may still choose; then the verdict names the belief behind each wrong option."""
    predict("01.1", QUESTION, OPTIONS)
    assert "✓" not in whole_text(reveal("01.1", 3))
    assert "✗" not in whole_text(reveal("01.1", 3))
    predict("01.1", QUESTION, OPTIONS).choose(3)
    marks = "✗ 0: reading removes them\n    belief: a stream is a queue\n✓ 3: reading leaves them"
    assert reveal("01.1", 3).marked == marks
    assert marks in whole_text(reveal("01.1", 3))


def test_options_stand_in_an_order_that_does_not_tell_the_right_one():
    """Authors write the right one first. Numbers ascend; a right text moves on by one place from number to number."""
    numbers = predict("01.1", QUESTION, {3: "three", 0: ("none", "so"), 1: ("one", "so")})
    assert [option.value for option in numbers.options] == [0, 1, 3]
    texts = {"both": "both of them", "ann": ("Ann alone", "so"), "bob": ("Bob alone", "so")}
    orders = [[o.value for o in predict(f"01{letter}", QUESTION, texts).options] for letter in "abcd"]
    assert [order.index("both") for order in orders] == [2, 0, 1, 2]
    assert [o.value for o in predict("01a", QUESTION, dict(reversed(texts.items()))).options] == orders[0]


def test_a_click_is_a_choice(lab_home):
    prediction = predict("01.1", QUESTION, OPTIONS)
    radio(prediction).value = 0
    assert prediction.chosen.value == 0
    assert stored(lab_home)["answer"] == "0: reading removes them"


def test_the_choice_is_settled_once_the_result_is_known(lab_home):
    """Nobody changes a prediction after having seen what happened."""
    prediction = predict("01.1", QUESTION, OPTIONS)
    radio(prediction).value = 0
    prediction._shown = Display()
    reveal("01.1", 3)
    assert prediction._shown.data["text/plain"] == repr(prediction)
    stays = html.unescape(prediction._shown.data["text/html"])
    assert "● 0: reading removes them" in stays
    assert "○ 3: reading leaves them" in stays
    assert "run this cell again" in stays


def test_who_has_not_chosen_is_told_so_and_may_still_choose():
    prediction = predict("01.1", QUESTION, OPTIONS)
    buttons = radio(prediction)
    prediction._shown = Display()
    reveal("01.1", 3)
    assert "You made no prediction here." in prediction._status.value
    assert prediction._shown.data == {}
    buttons.value = 1  # the second one
    assert reveal("01.1", 3).verdict.startswith("✓")


def test_the_verdict_is_plain_html_which_a_notebook_stores():
    """A widget's content is gone with its kernel; the learner comes back the next day."""
    predict("01.1", QUESTION, OPTIONS)
    assert shown(reveal("01.1", 3)) == {"text/plain": "01.1 observed: 3"}
    predict("01.1", QUESTION, OPTIONS).choose(0)
    result = reveal("01.1", 3)._repr_mimebundle_()
    assert list(result) == ["text/plain", "text/html"]
    assert "who believes: a stream is a queue" in result["text/html"]


def test_an_answer_survives_a_new_kernel(lab_home):
    predict("01.1", QUESTION, OPTIONS).choose(0)
    again = Prediction("01.1", QUESTION, OPTIONS)
    assert again.chosen.value == 0
    assert radio(again).value == 0


def test_a_better_answer_does_not_hide_the_belief_that_an_earlier_one_showed(lab_home):
    """The scoreboard tells what was held and overturned. A choice that no experiment judged shows nothing."""
    for choice in (0, 3, 0, 3):
        predict("01.1", QUESTION, OPTIONS).choose(choice)
        reveal("01.1", 3)
    predict("01.1", QUESTION, OPTIONS).choose(0).choose(3)
    assert (stored(lab_home)["held"], stored(lab_home).get("belief")) == (["a stream is a queue"], None)


def test_a_stored_answer_that_is_no_option_any_more_is_forgotten(lab_home):
    predict("01.1", QUESTION, OPTIONS).choose(0)
    assert Prediction("01.1", QUESTION, {3: "three", 2: "two"}).chosen is None


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "\xff"])
def test_a_corrupt_file_costs_a_line_and_nothing_else(lab_home, capsys, content):
    predict("01.1", QUESTION, OPTIONS).choose(0)
    path = lab_home / "predictions" / "01.1.json"
    path.write_bytes(content.encode("latin-1"))
    assert predict("01.1", QUESTION, OPTIONS).chosen is None
    said = capsys.readouterr().err
    assert said.startswith("Your stored prediction 01.1 cannot be read and starts anew: ")
    assert said.count("\n") == 1
    predict("01.1", QUESTION, OPTIONS).choose(3)
    assert stored(lab_home)["chosen"] == "3"


def test_a_file_that_lost_its_id_is_mended(lab_home):
    """Somebody edited it; the choice still counts."""
    predict("01.1", QUESTION, OPTIONS).choose(0)
    (lab_home / "predictions" / "01.1.json").write_text('{"chosen": "3"}')
    predict("01.1", QUESTION, OPTIONS)
    assert reveal("01.1", 3).verdict.startswith("✓")
    assert (stored(lab_home)["id"], stored(lab_home)["right"]) == ("01.1", True)


def test_a_home_that_cannot_be_written_keeps_the_answer_in_memory(lab_home):
    lab_home.write_text("a file where the folder should be")
    prediction = predict("01.1", QUESTION, OPTIONS).choose(3)
    assert prediction.note.startswith("Your choice counts until the kernel stops; it is not stored (")
    assert reveal("01.1", 3).verdict.startswith("✓")


def test_no_draft_is_left_behind(lab_home):
    predict("01.1", QUESTION, OPTIONS).choose(3)
    reveal("01.1", 3)
    assert [path.name for path in (lab_home / "predictions").iterdir()] == ["01.1.json"]


def test_an_unforeseen_result_says_what_to_do(lab_home):
    """The learner has run cells in an order of their own."""
    predict("01.1", QUESTION, OPTIONS).choose(3)
    result = reveal("01.1", 7)
    assert repr(result) == ("01.1 observed: 7, which is none of the options. Run this experiment again from its story.")
    assert result.verdict == "You predicted: 3: reading leaves them. This run does not decide it."
    assert "right" not in stored(lab_home)


def test_a_result_without_a_question_says_what_to_do():
    assert repr(reveal("01.1", 3)) == "01.1: run the cell that asks this prediction first, then this one again."
    assert list(shown(reveal("01.1", 3))) == ["text/plain"]


@pytest.mark.parametrize("values", [(True, False), ("a", "b"), (None, "1-0"), (("c1", 2), ("c2", 0))])
def test_an_observed_value_may_be_anything(values, lab_home):
    first, second = values
    predict("01.1", QUESTION, {first: "this", second: ("that", "so")}).choose(second)
    assert Prediction("01.1", QUESTION, {first: "this", second: "that"}).chosen.value == second
    assert reveal("01.1", first).verdict.startswith("✗")


def test_an_author_hears_of_mistakes_at_once():
    with pytest.raises(ValueError, match="it names a file"):
        predict("../01", QUESTION, OPTIONS)
    with pytest.raises(ValueError, match="two options"):
        predict("01.1", QUESTION, {3: "three"})
    with pytest.raises(ValueError, match=r"7 is not an option of 01\.1: \[0, 3\]"):
        predict("01.1", QUESTION, OPTIONS).choose(7)


def test_text_is_escaped_in_html():
    """An option may show a command such as XREADGROUP … >."""
    predict("01.1", "What does <b> > do?", {1: "1 > 0", 0: "0 < 1"}).choose(1)
    verdict = shown(reveal("01.1", 1))["text/html"]
    assert verdict.count("1 &gt; 0") == 2
    assert "0 &lt; 1" in verdict


def test_the_home_is_a_folder_of_the_user_unless_one_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ORDERSTREAM_LAB_HOME")
    assert home() == tmp_path / ".orderstream"


def test_a_worker_process_does_not_pay_for_widgets():
    """ipywidgets are imported when something is shown, not before."""
    code = "import sys, orderstream.lab; print('ipywidgets' in sys.modules, 'pandas' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"
