"""Pictures: they show the samples, the same samples give the same bytes, and they can be read without colours."""

import io

import numpy
import pytest
from PIL import Image

from orderstream.lab.pictures import charts
from orderstream.lab.pictures.charts import LINES, Picture, holdings, timeline
from orderstream.lab.pictures.sampler import Note, Sample

pytestmark = pytest.mark.any_server("pictures of samples that the tests make up")


def samples(count=50, throughput=20.0, pending=4, retries=3.0, **more):
    """Ten seconds in which nothing changes."""
    values = {"length": 100, "lag": None, "dead_lettered": 0, "handled": 100, "failed": 9, **more}
    return [Sample(n / 5, throughput, pending, retries, **values) for n in range(count)]


def panels_of(picture):
    """The three panels: where in them there is more than the grid and the edges of letters."""
    grey = numpy.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    return [panel[:, 4:] for panel in numpy.array_split(grey < 225, 3, axis=1)]  # the axis ends just behind a third


def drawn(taken, without):
    """Where the three lines are: what is there now, and not in the empty picture *without*."""
    return [now & ~empty for now, empty in zip(panels_of(timeline(taken)), panels_of(without), strict=True)]


def test_the_same_samples_give_the_same_bytes():
    """`make refresh` twice in a row changes nothing; no date and no program's name is in them."""
    first, second = timeline(samples()), timeline(samples())
    assert first.png == second.png
    chunks = [name for name in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf") if name in first.png]
    assert not chunks


@pytest.mark.parametrize(("column", "value"), [("throughput", 18), ("pending", 3), ("retries", 2)])
def test_each_of_the_three_is_drawn_in_its_own_panel(column, value):
    """Another value changes that panel, and no other."""
    before = timeline(samples())
    after = timeline(samples()[:-20] + samples(**{column: value})[-20:])
    same = [bool((a == b).all()) for a, b in zip(panels_of(before), panels_of(after), strict=True)]
    assert same == [each != column for each in charts.SHOWN]


def test_what_is_unknown_is_a_gap_and_not_a_zero():
    """Redis did not answer for six seconds of ten."""
    known, unknown = samples(), samples(pending=None)
    empty = timeline(known[:1] + unknown[1:])
    gap = known[:10] + unknown[10:40] + known[40:]
    whole, part = (drawn(taken, empty)[1].any(axis=0).sum() for taken in (known, gap))
    assert part == pytest.approx(0.4 * whole, rel=0.1)


def test_the_lines_differ_without_colours():
    """The same values are a line, an area and dots."""
    alike = samples(throughput=3, pending=3, retries=3)
    nothing = timeline(samples(throughput=0, pending=0, retries=0))
    line, area, dots = (panel.sum() for panel in drawn(alike, nothing))
    assert area > 10 * line
    assert dots < 0.75 * line


@pytest.mark.parametrize("line", LINES.values(), ids=lambda line: line.column)
def test_titles_are_dark_enough_to_be_read(line):
    """At least 4.5 to 1 against white, as WCAG asks for text."""
    channels = (int(line.colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


def test_the_background_is_white_in_a_dark_theme_too():
    """A see-through picture would have black axes on black."""
    picture = Image.open(io.BytesIO(timeline(samples()).png))
    assert "transparency" not in picture.info
    assert picture.convert("RGBA").getpixel((1, picture.height - 1)) == pytest.approx((255, 255, 255, 255), abs=2)


def test_a_picture_fits_beside_the_file_browser():
    """1280 pixels are 1080 for the notebook at most."""
    assert Image.open(io.BytesIO(timeline([]).png)).size == (1080, 260)


def test_six_columns_stand_in_two_rows():
    """All of them in the width of three."""
    six = ("throughput", "pending", "lag", "retries", "dead_lettered", "oldest_new_s")
    assert Image.open(io.BytesIO(timeline(samples(), show=six).png)).size == (1080, 390)


def test_a_picture_is_its_sentence():
    """What nbval compares, and what a screen reader reads."""
    assert repr(timeline(samples(), "60 orders handled.")) == "60 orders handled."
    assert repr(timeline(samples())).startswith("Orders were handled, some handler runs failed")
    assert Picture("the same", b"one live run") == Picture("the same", b"another")


@pytest.mark.parametrize("column", LINES)
def test_every_column_can_be_shown(column):
    """Another value changes the picture; memory is told in kB."""
    changed = LINES[column].beside or column
    calm, more = samples(memory=24_000, lag=1), samples(**{"memory": 24_000, "lag": 1, changed: 28_000})
    assert timeline(calm, show=[column, "pending"]).png != timeline(more, show=[column, "pending"]).png
    assert charts.columns(calm, LINES["memory"])[0][0] == 24


def test_the_parts_of_a_bar_differ_without_colours():
    """By their hatches; the same rows give the same bytes."""
    rows = {"one by one": {"Redis": 2.0, "waiting": 60.0}, "by 100": {"Redis": 2.0, "waiting": 1.0}}
    drawn = [charts.stacks(rows, "µs per order", "Waiting is most of it.") for _ in range(2)]
    assert drawn[0].png == drawn[1].png
    assert repr(drawn[0]) == "Waiting is most of it."
    other = {name: {"Redis": parts["waiting"], "waiting": parts["Redis"]} for name, parts in rows.items()}
    assert drawn[0].png != charts.stacks(other, "µs per order", "").png


def test_many_bars_make_a_taller_picture():
    """A class holds dozens of beliefs, and each has a line to be read in."""
    few, many = ({f"belief {n}": {"held it": n + 1} for n in range(rows)} for rows in (5, 25))
    heights = [Image.open(io.BytesIO(charts.stacks(rows, "learners", "").png)).height for rows in (few, many)]
    assert heights == [260, 840]


def test_a_column_that_does_not_exist_names_those_there_are():
    """A lesson's author mistypes."""
    with pytest.raises(ValueError, match="no picture of speed; there are throughput, pending"):
        timeline(samples(), show=["speed", "pending"])


def test_each_consumer_that_ever_held_something_has_a_line():
    """And from when on it holds nothing, its line lies on the ground."""
    alone = [Sample(n / 5, 0, 4, 0, 9, 0, 0, 9, 0, held={"c1": 4}) for n in range(20)]
    taken = [Sample(n / 5, 0, 4, 0, 9, 0, 0, 9, 0, held={"c2": 4}) for n in range(20, 40)]
    before = holdings(alone, "c1 holds 4.")
    assert repr(before) == "c1 holds 4."
    assert before.png == holdings(alone, "said in another way").png
    assert len({before.png, holdings(alone + taken, "").png, holdings(taken, "").png, holdings([], "").png}) == 4


def test_what_was_done_is_a_vertical_line_in_every_panel():
    """At its time; what was done at nearly the same time shares a line, and its text."""
    grown = [Note(4.0, "c1 killed"), Note(4.1, "work_ms", "200 ms"), Note(8.0, "poison")]
    texts = charts._texts([(note.t_s, note) for note in grown], together=0.3)
    assert texts == [(4.0, "c1 killed, 200 ms"), (8.0, "poison")]
    _, [ax, *_] = charts.panels(charts.chosen(charts.SHOWN))
    ax.set_xlim(0, 10)
    notes = charts.Notes(ax)
    [line] = ax.lines
    notes.show([*grown, Note(12.0, "later")])
    assert [x for x, y in zip(*line.get_data(), strict=True) if y == 1] == [4.0, 8.0]
    assert [text.get_text() for text in ax.texts] == ["c1 killed, 200 ms", "poison"]
    notes.show([Note(5.0, "c1 killed")], now_s=2)
    assert [x for x, y in zip(*line.get_data(), strict=True) if y == 1] == [3.0]
    assert [text.get_text() for text in ax.texts] == ["c1 killed", ""]


def test_the_axis_seldom_changes():
    """It is a power of two, with room above the line; each change costs a full drawing."""
    assert [charts.limits([value])[1] for value in (0, 3, 4, 20, 28, 29, 30)] == [4, 4, 8, 32, 32, 32, 64]
    assert charts.limits([float("nan")])[1] == 4
