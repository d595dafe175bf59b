"""
Make `pytest --nbval` right from any folder: options, an empty lab home, cells that need a newer Redis.

nbval compares the committed output of every cell with a fresh run. What it may not see is in tests/nbval.cfg.
"""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    let_kernels_talk_through_files(config)
    if not config.getoption("nbval", False):
        return
    from orderstream.lab import patience

    option = config.option
    option.nbval_current_env = True  # the stored kernel name may belong to another environment
    cell_timeout_s = round(patience.stretched(60))  # nbval's own default is 2000
    option.nbval_cell_timeout = min(option.nbval_cell_timeout, cell_timeout_s)
    option.nbval_sanitize_with = option.nbval_sanitize_with or str(ROOT / "tests" / "nbval.cfg")
    if config.getoption("dist", "no") == "load":
        option.dist = "loadfile"  # -n 2: the cells of a notebook need one kernel

    # Kernels inherit this environment. They get the package of this checkout, no earlier answers, and an
    # IPython history of their own: two kernels that share one print warnings into cells.
    home = tempfile.mkdtemp(prefix="orderstream-nbval-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["ORDERSTREAM_LAB_HOME"] = str(Path(home, "lab"))
    os.environ["IPYTHONDIR"] = str(Path(home, "ipython"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def let_kernels_talk_through_files(config):
    """
    Let every kernel that this process starts listen on files instead of TCP ports.

    Jupyter looks for five free ports and starts a kernel, which takes them half a second later. Another test that looks
    for a free port meanwhile may get one of them; then the kernel dies before its first cell.
    """
    try:
        from jupyter_client.manager import AsyncKernelManager, KernelManager
    except ModuleNotFoundError:  # the package's own tests run without Jupyter, too
        return
    folder = tempfile.mkdtemp(prefix="orderstream-kernels-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    KernelManager.transport.default_value = "ipc"
    for manager in (KernelManager, AsyncKernelManager):
        manager._ip_default = lambda self: str(Path(folder, uuid.uuid4().hex[:8]))  # where its files are


def pytest_collection_modifyitems(config, items):
    """Give each cell what it is compared with, and leave those uncompared that need a newer Redis than there is."""
    if not config.getoption("nbval", False):
        return
    from nbval.plugin import IPyNbCell

    cells = [item for item in items if isinstance(item, IPyNbCell)]
    leave_uncompared_what_is_the_learners_own(cells)
    compare_learners_cells_with_the_authors(cells)
    leave_uncompared_what_needs_a_newer_redis(cells)


def leave_uncompared_what_is_the_learners_own(items):
    """A verdict is there only where a prediction was made, and no prediction is made here."""
    for item in items:
        for output in item.cell.outputs:
            if "orderstream-own" in output.get("data", {}).get("text/html", ""):
                del output.data["text/html"]


def compare_learners_cells_with_the_authors(items):
    """
    nbval compares no cell that was never run, so a lesson without outputs would pass whatever it does.

    In the learner's edition a cell gets its outputs from the cell of the same id in the author's edition. A cell whose
    source the learner changed keeps its own. A notebook in which nothing can be compared is refused.
    """
    from orderstream.lab.edition import author, learner

    for book in dict.fromkeys(item.parent for item in items):
        cells = [item.cell for item in items if item.parent is book]
        original = learner.original(book.path)
        theirs = author.code_cells(original) if original else {}
        for cell in cells:
            same = theirs.get(cell.get("id"))
            if same and same.source == cell.source:
                cell.outputs, cell.execution_count = same.outputs, same.execution_count
        written = [cell for cell in cells if cell.source]
        if written and all(cell.execution_count is None for cell in written):
            raise pytest.UsageError(
                f"no cell of {book.path} was ever run, so there is nothing to compare; run: pytest --nbval notebooks"
            )


def leave_uncompared_what_needs_a_newer_redis(items):
    """They still run, and must not fail."""
    import redis

    from orderstream.errors import OrderStreamError
    from orderstream.lab import server
    from orderstream.lab.author import gate

    gated = [(item, version) for item in items if (version := gate.needed(item.cell))]
    if not gated:
        return
    try:
        ours = server.software().level
    except (OrderStreamError, redis.RedisError) as exc:
        raise pytest.UsageError(f"which Redis would the notebooks use? {exc}") from exc
    for item, version in gated:
        item.options["check"] &= version <= ours
