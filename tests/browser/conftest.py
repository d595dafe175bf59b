"""
A real JupyterLab and a real browser, Chromium of this machine.

ORDERSTREAM_SCREENSHOTS      the folder for screenshots; default: test-results/screenshots
"""

import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Error, expect, sync_playwright

from orderstream.lab import patience
from tests.process import Process

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("ORDERSTREAM_SCREENSHOTS", ROOT / "test-results" / "screenshots"))
QUIET = "--disable-gpu --disable-background-networking --no-first-run --disable-component-update --disable-sync"
WAIT_MS = round(patience.stretched(20_000))
expect.set_options(timeout=WAIT_MS)


class JupyterLab:
    """
    A JupyterLab of our own with the course's settings, and with no workspaces or kernels of anybody else.

    Attributes:
        folder: Where its notebooks are.
        scratch: TMPDIR of its kernels: their private Redis and their worker processes work there.
        answers: What the learner predicted.
    """

    def __init__(self, home: Path) -> None:
        self.folder, self.scratch, self.answers = home / "notebooks", home / "scratch", home / "lab"
        for folder in (self.folder, self.scratch):
            folder.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self._url, self._token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
        environ = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "REDIS_ADDR")}
        environ |= {
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter"),  # as `make lab` has it
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "IPYTHONDIR": str(home / "ipython"),
            "ORDERSTREAM_LAB_HOME": str(self.answers),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.scratch),
        }
        options = [
            "--no-browser",
            "--allow-root",  # containers
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self._token}",
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.expose_app_in_browser=True",  # to change the theme
        ]
        self._log = home / "jupyterlab.log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "jupyterlab", *options]
            self._process = Process(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_until_it_answers()

    def address(self, notebook: str) -> str:
        return f"{self._url}/lab/tree/{notebook}?token={self._token}&reset"  # reset: no layout of the test before

    def shut_kernels_down(self) -> None:
        """End every kernel, and wait until what these had started is gone: its folder is then gone, too."""
        for kernel in self._ask("GET", "kernels"):
            self._ask("DELETE", f"kernels/{kernel['id']}")
        deadline = time.monotonic() + 10
        while left := list(self.scratch.glob("orderstream-*")):
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM: it shuts its kernels down."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self._ask("GET", "status")
                return
            except urllib.error.URLError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)

    def _ask(self, method: str, what: str) -> Any:
        headers = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"{self._url}/api/{what}", headers=headers, method=method)
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read() or "null")


class Notebook:
    """A notebook, open in the browser."""

    def __init__(self, page, jupyterlab: JupyterLab, name: str) -> None:
        self.page, self._jupyterlab, self._name = page, jupyterlab, name
        page.goto(jupyterlab.address(name))
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").first).to_be_visible()
        self.wait_until_idle()  # only the status bar knows: the indicator says idle before there is a kernel
        expect(page.locator(".jp-NotebookPanel .jp-Spinner")).to_have_count(0)
        self.set_theme("JupyterLab Light")  # JupyterLab remembers the one of the test before

    def save(self) -> None:
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")

    def reopened(self) -> "Notebook":
        """Open the notebook anew, as it is stored."""
        return Notebook(self.page, self._jupyterlab, self._name)

    def restart_kernel(self) -> None:
        self.page.evaluate("void jupyterapp.commands.execute('kernelmenu:restart')")
        self.page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)
        self.wait_until_idle()

    def shut_kernel_down(self) -> None:
        self.page.evaluate("void jupyterapp.commands.execute('kernelmenu:shutdown')")
        expect(self.page.locator("#jp-bottom-panel").get_by_text("No Kernel")).to_be_visible()

    @property
    def picture(self):
        """The moving picture."""
        return self.page.locator(".jp-OutputArea img.widget-image").first

    def cell(self, number: int):
        """The code cell of this number, 0 for the first."""
        return self.page.locator(".jp-CodeCell").nth(number)

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator("[data-command='runmenu:run-all']").click()

    def run(self, number: int) -> None:
        """Run the code cell of this number."""
        self.cell(number).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")

    def wait_for_text(self, number: int, text: str) -> None:
        """Wait until the output of the code cell of this number has this text."""
        expect(self.cell(number).locator(".jp-OutputArea")).to_contain_text(text)

    def wait_until(self, condition: Callable[[], object], timeout_s: float = WAIT_MS / 1000) -> None:
        """Wait until *condition* holds; the page goes on meanwhile."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
            self.page.wait_for_timeout(50)

    def wait_until_all_is_run(self) -> None:
        """Wait until no cell is waiting or busy any more."""
        expect(self.page.locator(".jp-InputPrompt", has_text="[*]:")).to_have_count(0, timeout=60_000)
        self.wait_until_idle()

    def wait_until_idle(self, timeout_ms: int = WAIT_MS) -> None:
        expect(self.page.locator("#jp-bottom-panel").get_by_text("| Idle")).to_be_visible(timeout=timeout_ms)

    def photograph(self) -> Image.Image:
        """Return the moving picture as the learner sees it right now."""
        return Image.open(io.BytesIO(self.picture.screenshot())).convert("RGB")

    def wait_until_the_picture_moves(self) -> None:
        before = self.picture.get_attribute("src")
        expect(self.picture).not_to_have_attribute("src", before or "")

    def scrollbars(self) -> list[str]:
        """Return the outputs that cannot be seen as a whole without moving them sideways: the text of each."""
        seen = """panel => [...panel.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')]
            .filter(element => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX))
            .filter(element => element.tagName != 'SELECT' && element.clientWidth > 0)
            .filter(element => element.scrollWidth > element.clientWidth + 1)
            .map(element => element.className + ': ' + element.innerText.slice(0, 80))"""
        found: list[str] = self.page.locator(".jp-NotebookPanel:visible").evaluate(seen)
        return found

    def set_theme(self, name: str) -> None:
        """``JupyterLab Light`` or ``JupyterLab Dark``."""
        change = "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})"
        self.page.evaluate(change, name)
        self.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory):
    """One JupyterLab for all tests; each opens a notebook of its own."""
    lab = JupyterLab(tmp_path_factory.mktemp("jupyterlab"))
    yield lab
    lab.stop()


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert executable, "the browser tests need Chromium: apt-get install chromium"
        arguments = ["--headless", "--no-sandbox", *QUIET.split()]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def complaints():
    """What the page wrote to the console as an error, or threw."""
    return []


@pytest.fixture
def page(browser, complaints, request):
    """A page as wide as a small laptop's. What it shows at the end is kept as a picture, also when the test fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    with suppress(Error):  # the test may have failed because the page is gone
        page.screenshot(path=screenshot_path(request.node.name))
    context.close()


@pytest.fixture
def save_screenshot(page):
    """``save_screenshot(name)``: keep what the page shows now."""
    return lambda name: page.screenshot(path=screenshot_path(name))


@pytest.fixture
def open_notebook(page, jupyterlab, request):
    """``open_notebook(path)``: open a copy of this notebook; afterwards nothing of its kernel may be left."""

    folder = jupyterlab.folder / screenshot_path(request.node.name).stem
    folder.mkdir()

    def open_copy(path: Path) -> Notebook:
        shutil.copy(path, folder)
        return Notebook(page, jupyterlab, f"{folder.name}/{path.name}")

    yield open_copy
    jupyterlab.shut_kernels_down()
    shutil.rmtree(jupyterlab.answers, ignore_errors=True)  # the next test is another learner


def screenshot_path(name: str) -> Path:
    """Where the screenshot of this name goes."""
    return SCREENSHOTS / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}.png"
