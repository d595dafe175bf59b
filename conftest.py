"""
Make `pytest --nbval` right from any folder: options, an empty lab home, cells that need a newer Redis.

nbval compares the committed output of every cell with a fresh run. What it may not see is in tests/nbval.cfg.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if not config.getoption("nbval", False):
        return
    option = config.option
    option.nbval_current_env = True  # the stored kernel name may belong to another environment
    option.nbval_cell_timeout = min(option.nbval_cell_timeout, 60)  # seconds; nbval's own default is 2000
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


def pytest_collection_modifyitems(config, items):
    """Leave cells uncompared that need a newer Redis than there is. They still run, and must not fail."""
    if not config.getoption("nbval", False):
        return
    import redis
    from nbval.plugin import IPyNbCell

    from orderstream.errors import OrderStreamError
    from orderstream.lab import server
    from orderstream.lab.author import gate

    cells = [(item, gate.needed(item.cell)) for item in items if isinstance(item, IPyNbCell)]
    gated = [(item, version) for item, version in cells if version]
    if not gated:
        return
    try:
        ours = server.version()
    except (OrderStreamError, redis.RedisError) as exc:
        raise pytest.UsageError(f"which Redis would the notebooks use? {exc}") from exc
    for item, version in gated:
        item.options["check"] &= version <= ours
