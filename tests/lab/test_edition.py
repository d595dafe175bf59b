"""The learner's edition: made from the author's, brought up to date, and never written over."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from orderstream import lab
from orderstream.lab import server
from orderstream.lab.edition import author, learner
from orderstream.lab.edition.learner import LearnersEdition
from tests.docs.pages import ROOT
from tests.notebooks.sample import code, markdown, notebook, picture, printed

pytestmark = pytest.mark.any_server("files in two folders; what lab.needs says is tested on each server")

LESSON = "04_a_consumer_dies.ipynb"
BESIDE = "04_a_consumer_dies.newer.ipynb"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An author's edition with one lesson, a page and a picture; where the learner's will be."""
    monkeypatch.setattr(author, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(learner, "FOLDER", tmp_path / "learn")
    (author.FOLDER / "images").mkdir(parents=True)
    (author.FOLDER / "glossary.md").write_text(f"[04]({LESSON})")
    (author.FOLDER / "images" / "lanes.png").write_bytes(b"PNG")
    publish("first edition")
    return learner.FOLDER


def publish(text):
    """Write the lesson's next edition, with outputs, as its author does."""
    book = notebook(markdown("title", text), code("count", "print(1)", printed("1\n"), count=1, tags=["exercise"]))
    nbformat.write(book, author.FOLDER / LESSON)


def update():
    return LearnersEdition(learner.FOLDER).update()


def text_of(path):
    return nbformat.read(path, 4).cells[0].source


def solve(path, answer="print(2)"):
    """Change a cell, as a learner does, and save."""
    book = nbformat.read(path, 4)
    book.cells[1].source = answer
    nbformat.write(book, path)


def run(path):
    """Run all cells and save, as JupyterLab does: outputs, counts, widget state, and an empty cell at the end."""
    book = nbformat.read(path, 4)
    book.cells[1].outputs, book.cells[1].execution_count = [printed("1\n")], 7
    book.metadata["widgets"] = {"state": {}}
    book.cells.append(nbformat.v4.new_code_cell(""))
    nbformat.write(book, path)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_it_is_a_copy_without_outputs_beside_what_its_links_need(course):
    """Sources, ids and tags are the author's. A second time, nothing is to do."""
    assert update() == []
    assert names(course) == [LESSON, "glossary.md", "images/lanes.png"]
    _, cell = nbformat.read(course / LESSON, 4).cells
    assert (cell.source, cell["id"], cell.metadata.tags) == ("print(1)", "count", ["exercise"])
    assert (cell.outputs, cell.execution_count) == ([], None)
    before = (course / LESSON).stat().st_mtime_ns
    assert update() == []
    assert (course / LESSON).stat().st_mtime_ns == before


def test_every_link_of_the_course_works_from_there(tmp_path):
    """Between lessons, to the pages and back, to docs and code: JupyterLab shows the repository, not only learn/."""
    LearnersEdition(tmp_path / "learn").update()
    texts = [path.read_text("utf-8") for path in (tmp_path / "learn").iterdir() if path.suffix in (".ipynb", ".md")]
    targets = {target for text in texts for target in re.findall(r"\]\(([^)\s#:]+)[^)\s:]*\)", text)}
    assert {"glossary.md", "cheat_sheet.md", "01_the_log.ipynb"} <= targets
    for folder in ("docs", "orderstream"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    assert not [target for target in targets if not (tmp_path / "learn" / target).exists()]


def test_a_lesson_that_was_only_run_is_replaced_by_a_newer_edition(course):
    """To run and to save is no change. Until a newer edition comes, the results stay."""
    update()
    run(course / LESSON)
    assert update() == []
    assert nbformat.read(course / LESSON, 4).cells[1].outputs
    publish("second edition")
    assert update() == []
    assert text_of(course / LESSON) == "second edition"
    assert LESSON in names(course)
    assert BESIDE not in names(course)


def test_a_newer_edition_stands_beside_a_lesson_that_was_changed(course):
    """It is named in one line, once. The next one replaces the one beside, as nobody has changed that."""
    update()
    solve(course / LESSON)
    mine = (course / LESSON).read_bytes()
    publish("second edition")
    assert update() == [f"{LESSON}: there is a newer edition. You changed yours, so it is beside it: {BESIDE}"]
    assert update() == []
    publish("third edition")
    assert len(update()) == 1
    assert text_of(course / BESIDE) == "third edition"
    assert (course / LESSON).read_bytes() == mine
    assert [name for name in names(course) if name.startswith("04")] == [LESSON, BESIDE]


def test_a_newer_edition_that_was_changed_is_not_written_over_either(course):
    """Whoever has gone on in the one beside keeps it, too."""
    update()
    solve(course / LESSON)
    publish("second edition")
    update()
    solve(course / BESIDE, "print(3)")
    publish("third edition")
    assert "newer-2" in update()[0]
    texts = [text_of(course / name) for name in names(course) if name.startswith("04")]
    assert sorted(texts) == ["first edition", "second edition", "third edition"]


def test_a_newer_edition_that_was_thrown_away_does_not_come_back(course):
    update()
    solve(course / LESSON)
    publish("second edition")
    update()
    (course / BESIDE).unlink()
    assert update() == []
    assert BESIDE not in names(course)


def test_a_lesson_that_was_thrown_away_comes_back(course):
    update()
    (course / LESSON).unlink()
    assert update() == []
    assert text_of(course / LESSON) == "first edition"


@pytest.mark.parametrize("note", [None, "{", "[1]"])
def test_without_a_note_of_what_was_given_nothing_is_written_over(course, note):
    """It may be lost, or torn."""
    update()
    solve(course / LESSON)
    mine = (course / LESSON).read_bytes()
    (course / ".given.json").unlink()
    if note:
        (course / ".given.json").write_text(note)
    publish("second edition")
    assert len(update()) == 1
    assert (course / LESSON).read_bytes() == mine
    assert text_of(course / BESIDE) == "second edition"


def test_a_file_that_is_no_notebook_any_more_is_not_written_over(course):
    """JupyterLab may have been killed while it saved."""
    update()
    (course / LESSON).write_text('{"cells": [')
    publish("second edition")
    update()
    assert (course / LESSON).read_text() == '{"cells": ['
    assert text_of(course / BESIDE) == "second edition"


def test_a_page_and_a_picture_follow_the_author_unless_the_learner_wrote_into_them(course):
    update()
    (author.FOLDER / "images" / "lanes.png").write_bytes(b"PNG 2")
    (course / "glossary.md").write_text("my notes")
    (author.FOLDER / "glossary.md").write_text("more words")
    assert len(update()) == 1
    assert (course / "images" / "lanes.png").read_bytes() == b"PNG 2"
    assert (course / "glossary.md").read_text() == "my notes"
    assert (course / "glossary.newer.md").read_text() == "more words"


# A lesson back as it was ------------------------------------------------------------------------------------


def test_a_lesson_is_given_back_and_the_learners_is_kept_under_another_name(course, capsys):
    """As often as one likes. What was only run is not worth a name."""
    update()
    run(course / LESSON)
    lab.reset("04")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Lesson 04 is as it was: learn/{LESSON}."
    for answer, kept in (("print(2)", "04_a_consumer_dies.mine"), ("print(3)", "04_a_consumer_dies.mine-2")):
        solve(course / LESSON, answer)
        lab.reset("04")
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"Lesson 04 is as it was: learn/{LESSON}. Yours is kept: learn/{kept}.ipynb."
        assert nbformat.read(course / f"{kept}.ipynb", 4).cells[1].source == answer
        assert nbformat.read(course / LESSON, 4).cells[1].source == "print(1)"


def test_a_lesson_is_given_back_before_there_was_any(course, capsys):
    lab.reset("04")
    assert text_of(course / LESSON) == "first edition"


def test_a_lesson_that_there_is_not_is_refused_in_a_line(course, capsys):
    with pytest.raises(author.NoLesson, match="there is no lesson '99'; there are 04 to 04"):
        lab.reset("99")
    assert learner.main(["--fresh", "99"]) == 1
    assert capsys.readouterr().err == "learn: there is no lesson '99'; there are 04 to 04\n"
    (author.FOLDER / LESSON).unlink()
    with pytest.raises(author.NoLesson, match="work in a clone of the repository"):
        lab.reset("04")


# git ---------------------------------------------------------------------------------------------------------


def test_to_run_solve_and_save_lessons_leaves_git_and_the_checks_as_they_were(clone, tmp_path):
    """Git sees no change, ruff reads nothing of it, and pytest collects nothing of it."""
    environ = {**os.environ, "PYTHONPATH": str(clone), "ORDERSTREAM_LAB_HOME": str(tmp_path / "home")}

    def python(*arguments):
        command = [sys.executable, "-m", *arguments]
        ran = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def changes():
        command = ["git", "status", "--porcelain"]
        lines = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if not line.startswith("A  ")]  # what the clone began with

    python("orderstream.lab.edition.learner")
    path = clone / "learn" / "01_the_log.ipynb"
    book = nbformat.read(path, 4)
    book.cells.append(code("mine", "l = lambda: 1  # style is my own affair\nl()"))
    client = NotebookClient(
        book,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=environ)
    nbformat.write(book, path)
    assert changes() == []
    python("ruff", "check", ".")
    collected = python("pytest", "--nbval", "--collect-only", "-q", "-p", "no:cacheprovider").splitlines()
    assert not [line for line in collected if line.startswith("learn/")]


# A cell that needs a newer Redis ----------------------------------------------------------------------------


GATED = 'if lab.needs("99.0"):\n    print("what only Redis 99 says")'


@pytest.mark.parametrize("finds_by", ["id", "source"])
def test_a_cell_that_needs_a_newer_redis_shows_its_own_stored_result(course, scratch, finds_by):
    """Text and picture, by the id that JupyterLab sends, also if its source was changed; or by its source."""
    stored = [printed("what Redis 99 said\n"), picture()]
    nbformat.write(notebook(code("other", "1", printed("of another cell")), code("gated", GATED, *stored)),
                   author.FOLDER / LESSON)  # fmt: skip
    set_up = [
        "from pathlib import Path",
        "from orderstream import lab",
        "from orderstream.lab.edition import author",
        f"author.FOLDER = Path({str(author.FOLDER)!r})",
        'lab.start("04")',
    ]
    source = GATED if finds_by == "source" else f"# mine\n{GATED}"
    outputs = kernel_says("\n".join(set_up), source, cell_id="gated" if finds_by == "id" else None)
    said = "".join(output.get("text", "") for output in outputs)
    server.start()
    ours = server.software()
    assert said == (
        f"This cell needs Redis 99.0; yours is {ours}.\nTo get it, {lab.NEWER}\n\n"
        f"Redis {author.REDIS} answers:\nwhat Redis 99 said\n"
    )
    assert [dict(output["data"]) for output in outputs if "data" in output] == [dict(stored[1].data)]


def kernel_says(*sources, cell_id):
    """Run sources in a new kernel, naming the cell as JupyterLab does; returns the outputs of the last one."""
    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    try:
        for source in sources:
            content = {"code": source, "silent": False, "store_history": True}
            request = client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
            client.shell_channel.send(request)
            outputs = outputs_of(request, client)
        return outputs
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def outputs_of(request, client):
    outputs = []
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
            continue
        assert message["msg_type"] != "error", message["content"]["evalue"]
        if message["msg_type"] in ("stream", "display_data"):
            outputs.append(message["content"])
        if message["content"].get("execution_state") == "idle":
            return outputs


def test_the_stored_results_come_from_the_redis_that_compose_starts():
    """So the line that names it is true."""
    assert f"image: redis:{author.REDIS}" in (ROOT / "docker-compose.yml").read_text()


def test_every_gated_cell_of_the_course_has_a_result_to_show():
    for path in sorted(author.FOLDER.glob("*.ipynb")):
        gated = [cell for cell in json.loads(path.read_text())["cells"] if "lab.needs(" in "".join(cell["source"])]
        assert all(cell["outputs"] for cell in gated if cell["cell_type"] == "code"), path.name
