"""Every message that a page quotes is still said, by us or by the others."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orderstream import lab
from orderstream.software import Software
from tests.docs.pages import PAGES, ROOT

MESSAGES = [
    message
    for page in PAGES.values()
    for table in re.findall(r"^\| you see \| do \|\n(.*?)(?:\n\n|\Z)", page, re.M | re.S)
    for message in re.findall(r"^\| `(.+?)` \| ", table, re.M)
]
WIDGETS = Path(sys.prefix, "share", "jupyter", "labextensions", "@jupyter-widgets", "jupyterlab-manager", "static")
OF_OTHERS = [
    "ModuleNotFoundError: No module named 'orderstream'",
    "✗ ipywidgets 8, for sliders and buttons",
    "Error displaying widget: model not found",
]
CODE = {
    path: re.sub(r'"\s*\n\s*f?"', "", path.read_text())  # one text, written on several lines
    for path in [*(ROOT / "orderstream").rglob("*.py"), ROOT / "conftest.py"]
}


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in OF_OTHERS])
def test_every_message_of_ours_is_still_said(message):
    """Word for word, by one file; what differs, and the name of the error, are left out."""
    said = re.sub(r"^(ServerError|ERROR|Error): ", "", message).split("…")
    parts = [part for part in said if part.strip(" :,.")]
    assert any(all(part in code for part in parts) for code in CODE.values())


def test_every_message_is_quoted_once():
    assert len(MESSAGES) == len(set(MESSAGES))
    assert set(OF_OTHERS) <= set(MESSAGES)


def test_a_kernel_of_another_python_does_not_know_the_package():
    """What Python says then."""
    run = subprocess.run([sys.executable, "-I", "-S", "-c", "import orderstream"], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == OF_OTHERS[0]


def test_a_kernel_of_another_python_lacks_the_widgets(monkeypatch, tmp_path):
    """What the first lesson says then."""
    monkeypatch.setenv("ORDERSTREAM_LAB_HOME", str(tmp_path))
    monkeypatch.setattr("orderstream.lab.server.software", lambda: Software("Redis", (7, 0, 15)))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "7.7.1")
    assert OF_OTHERS[1] in repr(lab.environment()).splitlines()


def test_a_widget_of_a_kernel_that_is_gone_is_not_found():
    """What JupyterLab shows then."""
    code = "".join(file.read_text() for file in WIDGETS.glob("*.js"))
    assert not [part for part in OF_OTHERS[2].split(": ") if part not in code]
