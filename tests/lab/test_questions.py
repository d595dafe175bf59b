"""The questions of the lessons: found by their number, and not to be answered by place, length or form."""

import sys
from collections import Counter, defaultdict

import pytest

from orderstream import lab
from orderstream.lab.lessons.questions import questions
from orderstream.lab.tutor.predict import Prediction, reveal

pytestmark = pytest.mark.any_server("questions, and answers in files; no Redis is asked")

LESSONS = [f"{number:02}" for number in range(12)]
ASKED = {number: Prediction(number, *asked) for lesson in LESSONS for number, asked in questions(lesson).items()}


@pytest.fixture(autouse=True)
def lab_home(tmp_path, monkeypatch):
    """An empty home, and a kernel in which nothing was asked."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.modules["orderstream.lab.tutor.predict"], "_asked", {})
    return tmp_path / "home"


def right(prediction):
    [option] = [option for option in prediction.options if option.belief is None]
    return option


def shares(counted):
    """Return each count as a share of them all."""
    return {key: count / counted.total() for key, count in counted.items()}


def test_a_lesson_names_its_question():
    asked = lab.predict("04a")
    assert asked.question == "Ann died with 1-0 in her hands. Which orders does Bob get?"
    asked.choose("1-0 2-0 3-0")
    assert reveal("04a", "2-0 3-0").verdict.endswith("believes: Redis redelivers when a consumer dies.")


def test_a_teacher_asks_a_question_of_their_own():
    lab.predict("x1", "How many?", {3: "three", 0: ("none", "reading removes")}).choose(3)
    assert reveal("x1", 3).verdict == "✓ You predicted it: three."


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("04z", r"there is no prediction 04z; lesson 04 has 04a, 04b, 04c, 04d, 04e, 04f"),
        ("77a", r"there is no prediction 77a"),
        ("../a", r"there is no prediction \.\./a"),
    ],
)
def test_a_number_that_no_lesson_has_costs_a_line(number, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        lab.predict(number)


def test_a_question_without_options_costs_a_line():
    with pytest.raises(ValueError, match="needs two options or more"):
        lab.predict("x1", "How many?")


def test_every_question_has_one_right_option_and_a_belief_behind_each_other():
    for number, asked in ASKED.items():
        assert sum(option.belief is None for option in asked.options) == 1, number


def test_no_question_is_decided_by_a_coin():
    """Of two options, half of those who guess are right."""
    assert [number for number, asked in ASKED.items() if len(asked.options) < 3] == []


def test_options_that_are_numbers_ascend():
    for number, asked in ASKED.items():
        values = [option.value for option in asked.options]
        if all(isinstance(value, int) for value in values):
            assert values == sorted(values), number
        else:
            assert not any(isinstance(value, int) for value in values), f"{number} mixes numbers and texts"


def test_options_that_are_texts_stand_as_their_number_says():
    """Whatever the order in which an author writes them."""
    for number, asked in ASKED.items():
        written = dict(reversed(questions(number[:2])[number][1].items()))
        again = Prediction(number, asked.question, written)
        assert again.options == asked.options, number


def test_each_place_is_right_about_equally_often():
    """Who always takes the first option, or the middle one, is right no oftener than who guesses."""
    places = defaultdict(Counter)
    for asked in ASKED.values():
        places[len(asked.options)][asked.options.index(right(asked)) + 1] += 1
    for many, counted in places.items():
        assert max(shares(counted).values()) <= 0.40, f"of {many} options the right one stands at {dict(counted)}"


def test_the_longest_option_is_right_no_oftener_than_a_guess():
    """The right option is easily the one that its author explained best."""
    longest = Counter()
    for asked in ASKED.values():
        lengths = [len(option.text) for option in asked.options]
        longest[lengths.count(max(lengths)) == 1 and len(right(asked).text) == max(lengths)] += 1
    assert shares(longest)[True] <= 0.40


def test_the_right_option_is_not_told_by_its_form():
    """It is neither the only one that gives a reason, nor the only one that gives none."""
    for number, asked in ASKED.items():
        reasons = [option for option in asked.options if ":" in option.text]
        assert reasons != [right(asked)], number
        assert [option for option in asked.options if option not in reasons] != [right(asked)], number


def test_a_question_is_short_enough_to_be_read_at_once():
    for number, asked in ASKED.items():
        assert len(asked.question) <= 100, number
        assert all(len(option.text) <= 60 and not option.text.endswith(".") for option in asked.options), number


def test_a_lesson_says_how_many_were_right(capsys):
    lab.score("04")
    lab.predict("04a").choose("2-0 3-0")
    lab.score("04")  # no experiment has run
    reveal("04a", "2-0 3-0")
    lab.predict("04b").choose(1)
    reveal("04b", 4)
    lab.predict("03b").choose(10)
    reveal("03b", 100)
    lab.score("04")
    assert capsys.readouterr().out.splitlines() == [
        "Lesson 04: you have predicted none of its 6 questions yet.",
        "Lesson 04: you have predicted none of its 6 questions yet.",
        "Lesson 04: you have predicted 2 of its 6 questions, 1 right at first.",
    ]


def test_the_score_of_a_lesson_writes_nothing(lab_home):
    lab.score("04")
    assert not lab_home.exists()
