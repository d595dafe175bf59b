"""`pytest --nbval` compares what it should: from any folder, on every server, after a learner has been there."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient

from orderstream.lab import server
from orderstream.lab.tutor.predict import predict
from tests.notebooks import sample
from tests.notebooks.sample import code, printed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    """A folder with our configuration and a notebooks/ of its own."""
    (tmp_path / "notebooks").mkdir()
    for name in ("conftest.py", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def nbval(folder, *arguments, **environ):
    """Run ``pytest --nbval`` in *folder*; returns its last line and all it said."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "--color=no", "-q"]
    ran = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
    )
    said = ran.stdout + ran.stderr
    return said.splitlines()[-1].partition(" in ")[0], said


def write(project, *cells):
    """Write a notebook whose cells count as run."""
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
    nbformat.write(sample.notebook(*cells), project / "notebooks" / "sample.ipynb")


SOLVED = 'def double(n):\n    return 2 * n\n\n\nlab.check("99.1", double)'
WRONG = SOLVED.replace("2 * n", "n")


LEARNERS = {
    "untouched": (None, sample.EXERCISE, sample.TODO),
    "solved": (1, SOLVED, "✓ 99.1: correct"),
    "wrong": (0, WRONG, "✗ 99.1: twice 3 is 6, not 3"),
}


def test_a_notebook_passes_however_far_its_learner_got(project, monkeypatch):
    """Saved untouched, solved and predicted, or wrong: a fresh run without earlier answers prints the same."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(project / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for learner, (choice, answer, verdict) in LEARNERS.items():
        if choice is not None:  # as a click in the browser stores it
            predict("01a", "How many?", {1: "one", 0: "none"}).choose(choice)
        book = sample.notebook(
            code("set-up", sample.SET_UP),
            code("judges", sample.JUDGES),
            code("predict", sample.PREDICT),
            code("run", sample.RUN),
            code("reveal", sample.REVEAL),
            code("exercise", answer, tags=["exercise"]),
        )
        NotebookClient(book, kernel_name="python3", extra_arguments=["--log-level=ERROR"]).execute()
        assert "widgets" in book.metadata  # saved as JupyterLab may save it, widgets and all
        assert book.cells[-1].outputs[0].data["text/plain"] == verdict
        nbformat.write(book, project / "notebooks" / f"{learner}.ipynb")
    verdict, said = nbval(project / "notebooks")
    assert verdict == "18 passed", said


def test_an_output_that_changed_fails_from_every_folder(project):
    """With and without a path, the stored output is compared: all but entry ids, addresses and the server's name."""
    write(
        project,
        code("same", 'print("1700000000001-0", object.__repr__(object()), "Valkey answers.")',
             printed("1700000000000-0 <object object at 0x7f0000000000> Redis answers.\n")),
        code("home", 'import os\nprint(os.path.exists(os.environ["ORDERSTREAM_LAB_HOME"]))', printed("False\n")),
        code("changed", "print(2)", printed("1\n")),
    )  # fmt: skip
    for folder, arguments in ((project / "notebooks", ()), (Path("/"), (project / "notebooks",))):
        verdict, said = nbval(folder, *arguments, ORDERSTREAM_LAB_HOME=str(project))
        assert verdict == "1 failed, 2 passed", said
        assert "Cell outputs differ" in said


def test_a_cell_that_needs_a_newer_redis_is_run_and_left_uncompared(project):
    """The tag names the first version: compared from there on, on older servers only run."""
    major, minor = server.software().level
    older, newer = f"redis>={major}.{minor}", f"redis>={major}.{minor + 1}"
    write(
        project,
        code("newer", "print(2)", printed("1\n"), tags=[newer]),
        code("older", "print(2)", printed("1\n"), tags=[older]),
        code("raising", "1 / 0", printed("1\n"), tags=[newer]),
    )
    verdict, said = nbval(project / "notebooks")
    assert verdict == "2 failed, 1 passed", said
    assert "Cell 1: Cell outputs differ" in said
    assert "Cell 2: Cell execution caused an exception" in said


def test_the_server_in_force_is_the_one_the_environment_names(project, redis_server):
    """REDIS_URL decides what is compared, as it decides where the notebook runs."""
    write(project, code("newer", "print(2)", printed("1\n"), tags=["redis>=99.0"]))
    nowhere = {"ORDERSTREAM_REDIS_SERVER": "/missing/redis-server"}
    assert nbval(project / "notebooks", REDIS_URL=redis_server, **nowhere)[0] == "1 passed"
    assert "ERROR: which Redis would the notebooks use?" in nbval(project / "notebooks", **nowhere)[1]


# The learner's edition ---------------------------------------------------------------------------------------


@pytest.fixture
def learner(project):
    """``learner(*cells)``: write the learner's edition of the sample, whose author's has three cells."""
    write(
        project,
        code("one", "x = 1\nprint(x)", printed("1\n")),
        code("two", "print(x + 1)", printed("2\n")),
        code("ex", "print('not attempted yet')", printed("not attempted yet\n")),
    )
    (project / "learn").mkdir()

    def write_learners(*cells, name="sample"):
        nbformat.write(sample.notebook(*cells), project / "learn" / f"{name}.ipynb")

    return write_learners


UNRUN = [code("one", "x = 1\nprint(x)"), code("two", "print(x + 1)"), code("ex", "print('not attempted yet')")]


def test_a_lesson_without_outputs_is_compared_with_the_authors_cell_by_cell(project, learner):
    """Not run yet, it passes because it says the same. If what it uses says something else, it fails."""
    learner(*UNRUN)
    learner(*UNRUN, name="sample.newer")
    assert nbval(project / "learn")[0] == "6 passed"
    learner(code("one", "x = 2"), *UNRUN[1:])
    verdict, said = nbval(project / "learn", "sample.ipynb")
    assert verdict == "1 failed, 2 passed", said
    assert "Cell 1: Cell outputs differ" in said


def test_what_the_learner_wrote_is_compared_with_what_it_said_when_it_was_run(project, learner):
    """An exercise that was solved says something else than the author's stub. So does a cell of the learner's own."""
    solved = code("ex", "print('correct')", printed("correct\n"), count=3)
    own = code("own", "print(x)", printed("7\n"), count=4)
    learner(*UNRUN[:2], solved, own, code("new", "print('never run')"))
    verdict, said = nbval(project / "learn")
    assert verdict == "1 failed, 4 passed", said
    assert "Cell 3: Cell outputs differ" in said


def test_a_notebook_with_nothing_to_compare_is_refused_in_a_line(project, learner):
    """nbval alone would pass it, whatever its cells do."""
    (project / "elsewhere").mkdir()
    learner(*UNRUN)
    (project / "learn" / "sample.ipynb").rename(project / "elsewhere" / "sample.ipynb")
    learner(code("empty", ""), name="not begun")
    learner(code("one", "x = 1"), name="my own")
    for place in ("elsewhere", "learn"):
        _, said = nbval(project / place)
        [line] = [line for line in said.splitlines() if line.startswith("ERROR: ")]
        assert line.startswith(f"ERROR: no cell of {project / place}")
        assert line.endswith(" was ever run, so there is nothing to compare; run: pytest --nbval notebooks")


def test_two_workers_do_not_tear_a_notebook_apart(project):
    """The second cell needs the kernel of the first."""
    write(project, code("first", "x = 1"), code("second", "print(x)", printed("1\n")))
    verdict, said = nbval(project / "notebooks", "-n2")
    assert verdict == "2 passed", said


@pytest.mark.parametrize("manager", [KernelManager, AsyncKernelManager])
def test_a_kernel_of_a_test_takes_no_port_that_another_test_has_found_free(manager):
    kernels = manager(), manager()
    assert {kernel.transport for kernel in kernels} == {"ipc"}
    assert kernels[0].ip != kernels[1].ip
