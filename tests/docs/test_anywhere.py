"""Binder, Codespaces and Colab: what can be seen of them without being there. The rest runs in .ci/elsewhere."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from orderstream.lab.author import preflight
from tests.process import Process

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/elsewhere.md").read_text()
BINDER = dict(
    re.fullmatch(r"([\w-]+)(.*)", package).groups()
    for package in yaml.safe_load((ROOT / "binder/environment.yml").read_text())["dependencies"]
)
CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
FIRST_LESSON = "learn/00_start_here.ipynb"


def test_binder_has_a_python_that_needs_nothing_else():
    """One that we test, and for which all has a wheel."""
    python = BINDER["python"].lstrip("=")
    there = preflight.this_machine()._replace(python=version(python), has_pip=True)
    assert preflight.problem(there._replace(system="Linux", arch="x86_64", glibc=(2, 35))) == ""
    assert f"binder {python}" in (ROOT / ".ci/elsewhere").read_text()


def test_binder_may_have_the_redis_that_compose_has():
    """The newest that is packaged for it."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]["image"]
    redis_server = Requirement(f"redis-server{BINDER['redis-server']}")
    assert redis_server.specifier.contains(image.removeprefix("redis:"))


def test_binder_installs_what_everybody_installs_and_stops_at_an_error():
    """Its steps are run in .ci/elsewhere."""
    steps = (ROOT / "binder/postBuild").read_text()
    assert "set -euo pipefail" in steps
    assert "-r requirements.txt" in steps
    assert os.access(ROOT / "binder/postBuild", os.X_OK)


def test_the_container_for_codespaces_has_binders_python_a_redis_and_the_requirements():
    """Debian 12: its redis-server is 7.0."""
    assert CONTAINER["image"].endswith(f"python:{BINDER['python'].lstrip('=')}-bookworm")
    assert "apt-get install -y --no-install-recommends redis-server" in CONTAINER["onCreateCommand"]
    assert "-r requirements.txt" in CONTAINER["onCreateCommand"]


def test_the_badges_lead_to_the_first_lesson():
    """One repository, the same in all three, and in the cell for Colab."""
    for address in (
        f"mybinder.org/v2/gh/OWNER/orderstream/main?labpath={FIRST_LESSON}",
        "codespaces.new/OWNER/orderstream",
        f"colab.research.google.com/github/OWNER/orderstream/blob/learn/{FIRST_LESSON}",
        "github.com/OWNER/orderstream\n",
    ):
        assert f"https://{address}" in PAGE
    assert (ROOT / FIRST_LESSON.replace("learn/", "notebooks/")).exists()


@pytest.mark.parametrize("path", ["binder/start", ".devcontainer/lab"])
def test_wherever_it_starts_the_learners_edition_is_made_and_the_courses_settings_hold(path):
    """binder/start runs what Binder asks for. ``make lab`` is in tests/lab/test_jupyterlab.py."""
    text = (ROOT / path).read_text()
    assert "python -m orderstream.lab.edition.learner" in text
    assert 'JUPYTER_CONFIG_PATH="$PWD/.jupyter"' in text
    assert os.access(ROOT / path, os.X_OK)


def test_binder_starts_what_it_asks_for_after_the_learners_edition_is_made(clone):
    """With the course's settings, in the folder of the repository."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(clone)}
    ran = subprocess.run(
        ["binder/start", "sh", "-c", "echo $JUPYTER_CONFIG_PATH; ls learn"],
        cwd=clone, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    settings, *lessons = ran.stdout.splitlines()
    assert settings == str(clone / ".jupyter")
    assert "00_start_here.ipynb" in lessons


def test_the_branch_for_colab_and_nbgitpuller_follows_the_repository(clone, tmp_path):
    """Each of its commits has the learner's edition, and follows the one before and the one it was made from."""
    environ = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(clone)}

    def git(*words):
        return subprocess.run(["git", *words], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()

    def publish(*branch):
        ran = subprocess.run([".ci/learn-branch", *branch], cwd=clone, env=environ, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert git("status", "--porcelain") == ""
        return ran.stdout

    git("init", "--bare", str(tmp_path / "hub.git"))
    git("remote", "add", "origin", str(tmp_path / "hub.git"))
    for name in ("user.name", "user.email"):
        git("config", name, "test")
    git("commit", "-m", "first")
    (clone / "learn").mkdir()
    (clone / "learn" / "00_start_here.ipynb").write_text("what somebody has solved")
    assert "is the learner's edition of" in publish()
    git("fetch", "origin", "learn")
    assert "what somebody has solved" not in git("show", "FETCH_HEAD:learn/00_start_here.ipynb")
    assert "learn/00_start_here.ipynb" in git("ls-tree", "-r", "--name-only", "FETCH_HEAD").splitlines()
    first = git("rev-parse", "FETCH_HEAD")
    assert publish() == "The branch learn is as it should be.\n"
    assert publish("learn-class-1").startswith("The branch learn-class-1 is the learner's edition of ")
    git("commit", "--allow-empty", "-m", "the same files")
    assert publish() == "The branch learn is as it should be.\n"
    (clone / "README.md").write_text("# new")
    git("commit", "-am", "second")
    publish()
    git("fetch", "origin", "learn")
    assert git("rev-parse", "FETCH_HEAD^1", "FETCH_HEAD^2").split() == [first, git("rev-parse", "HEAD")]


def test_the_cell_for_colab_finds_the_versions_in_requirements():
    """And takes no Lab and no kernel with them: Colab's own would break."""
    pattern = re.search(r'grep -E "(.+)" orderstream/requirements.txt', PAGE)[1]
    found = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if re.search(pattern, line)]
    assert {"ipywidgets", "pandas"} <= {line.partition("==")[0] for line in found}
    assert not [line for line in found if line.startswith(("jupyter", "ipykernel"))]


# JupyterLab in a Codespace ----------------------------------------------------------------------------------


@pytest.fixture
def codespace(tmp_path):
    """What devcontainer.json starts when you attach, with the environment of a Codespace; ``(port, name)``."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": str(port),
        "CODESPACE_NAME": "otter",
        "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.github.dev",
        **{f"JUPYTER_{folder}_DIR": str(tmp_path / folder) for folder in ("CONFIG", "DATA", "RUNTIME")},
    }
    command = [ROOT / CONTAINER["postAttachCommand"], "--allow-root"]
    lab = Process(command, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while status(port, "localhost") is None:
        assert lab.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield port, f"otter-{port}.app.github.dev"
    lab.send_signal(signal.SIGTERM)
    try:
        lab.wait(20)
    finally:
        lab.kill()
        lab.wait()


def test_jupyterlab_in_a_codespace_answers_its_owner_and_no_other_page(codespace):
    """It has no token, so the name and the page that asks must be right."""
    port, name = codespace
    assert status(port, "localhost") == 200
    assert status(port, name, origin=f"https://{name}") == 200
    assert status(port, f"localhost:{port}", origin=f"https://{name}") == 200
    assert status(port, name, origin="https://evil.example") == 404
    assert status(port, "evil.example") == 403


def test_the_port_that_is_forwarded_is_the_one_jupyterlab_takes():
    """8888, unless PORT says otherwise."""
    assert CONTAINER["forwardPorts"] == [8888]
    assert list(CONTAINER["portsAttributes"]) == ["8888"]
    assert "PORT=${PORT:-8888}" in (ROOT / CONTAINER["postAttachCommand"]).read_text()


def status(port, host, **headers):
    """Ask JupyterLab for its list of files, under this name. None: nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/contents", headers={"Host": host, **headers})
    with suppress(urllib.error.URLError):
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code
    return None


def version(text):
    """Return ``"3.12"`` as (3, 12)."""
    return tuple(map(int, text.split(".")))
