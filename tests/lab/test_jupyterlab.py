"""``make lab`` and ``orderstream lab``: JupyterLab on the learner's edition, in a clone and without one."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from contextlib import suppress

import pytest

from orderstream import lab
from orderstream.lab import patience
from orderstream.lab.edition import author, jupyterlab
from orderstream.lab.edition.learner import LearnersEdition
from tests.docs.pages import ROOT
from tests.process import Process

pytestmark = pytest.mark.any_server("no lesson is run, and no Redis is asked")
NOT_WRITABLE = "/proc"  # also for root


def test_the_settings_of_the_course_come_first_and_yours_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/yours")
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = jupyterlab.environ(tmp_path / "learn")
    assert environ["JUPYTER_CONFIG_PATH"] == f"{ROOT / '.jupyter'}:/yours"
    assert environ["HOME"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_that_cannot_be_written_gets_a_stand_in_beside_the_lessons(monkeypatch, tmp_path):
    """What the kernels keep goes there, too: IPython, matplotlib, your predictions."""
    monkeypatch.setenv("HOME", NOT_WRITABLE)
    environ = jupyterlab.environ(tmp_path)
    assert environ["HOME"] == str(tmp_path / ".home")
    assert (tmp_path / ".home").is_dir()


def test_jupyterlab_sees_what_lies_beside_the_lessons_and_opens_the_one_that_was_wished_for(tmp_path):
    words = jupyterlab.command(tmp_path / "course", "04", ["--no-browser"])
    assert words[1:4] == ["-m", "jupyterlab", f"--ServerApp.root_dir={tmp_path}"]
    assert words[-2:] == ["--no-browser", str(tmp_path / "course/04_a_consumer_dies.ipynb")]


def test_without_a_clone_the_lessons_lie_where_pip_puts_them(monkeypatch, tmp_path):
    """Beside the folder lib of an environment, or with pip's --target beside the package."""
    share = tmp_path / "share/orderstream"
    (share / "notebooks").mkdir(parents=True)
    (share / "notebooks/00_start_here.ipynb").touch()
    for packages in ("lib/python3.13/site-packages", "."):
        monkeypatch.setattr(author, "__file__", str(tmp_path / packages / "orderstream/lab/edition/author.py"))
        assert author.home() == share


def test_a_lesson_is_given_back_in_the_folder_that_you_named(monkeypatch, tmp_path, capsys):
    """A kernel begins there, whatever its name."""
    monkeypatch.chdir(tmp_path)
    LearnersEdition(tmp_path).update()
    (tmp_path / "04_a_consumer_dies.ipynb").unlink()
    lab.reset("04")
    assert f"{tmp_path.name}/04_a_consumer_dies.ipynb" in capsys.readouterr().out
    assert (tmp_path / "04_a_consumer_dies.ipynb").exists()


def test_a_lesson_that_does_not_exist_and_a_folder_that_cannot_be_written_are_one_line(tmp_path):
    for words, line in (
        (["--fresh", "99", "learn"], "lab: there is no lesson '99'; there are 00 to 12\n"),
        ([f"{NOT_WRITABLE}/learn"], f"lab: {NOT_WRITABLE}/learn cannot be written: No such file or directory; "),
    ):
        command = [sys.executable, "-m", "orderstream.lab.edition.jupyterlab", *words]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 1
        assert ran.stderr.startswith(line)
        assert ran.stderr.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_install():
    code = "import sys; sys.modules['jupyterlab'] = None; from orderstream.cli.main import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, "lab"], capture_output=True, text=True)
    said = 'Error: the lessons need more than the package. Type: pip install "orderstream[lab]"\n'
    assert (ran.returncode, ran.stderr) == (1, said)


def test_on_a_hub_the_learner_finds_the_lessons_at_home_and_the_hubs_own_server_follows(tmp_path):
    """With the words that the hub gave it. .ci/elsewhere runs a whole JupyterHub."""
    venv.create(tmp_path / "env", symlinks=True)
    server = tmp_path / "env" / "bin" / "jupyterhub-singleuser"
    server.write_text('#!/bin/sh\necho "$@" "$JUPYTER_CONFIG_PATH"\n')
    server.chmod(0o755)
    (tmp_path / "home").mkdir()
    packages = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    environ = {"HOME": str(tmp_path / "home"), "PYTHONPATH": packages, "PATH": os.defpath}
    command = [server.with_name("python"), "-m", "orderstream.lab.edition.hub", "--port=1234"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert ran.stdout == f"--port=1234 {ROOT / '.jupyter'}\n", ran.stderr
    assert (tmp_path / "home" / "learn" / "12_capstone.ipynb").exists()


@pytest.mark.parametrize("words", [["course", "--"], ["--"]], ids=["a folder", "no folder"])
def test_orderstream_lab_serves_the_first_lesson_as_the_course_shows_it(tmp_path, words):
    """In any folder, also if nothing can be written at home."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    command = [sys.executable, "-m", "orderstream", "lab", *words, *options]
    # jupyterlab's own folders would come before the home folder
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER_")}
    environ |= {"HOME": NOT_WRITABLE, "PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = Process(command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        folder = words[0] if len(words) == 2 else "learn"
        served(process, f"http://127.0.0.1:{port}/lab/tree/{folder}/00_start_here.ipynb")
        ours = (ROOT / ".jupyter/custom/custom.css").read_bytes()
        assert served(process, f"http://127.0.0.1:{port}/custom/custom.css") == ours
        assert (tmp_path / folder / "12_capstone.ipynb").exists()
    except AssertionError:
        print(log.read_text())
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def served(process, url):
    """Return what is served there, once it is."""
    deadline = time.monotonic() + patience.stretched(60)
    while True:
        with suppress(urllib.error.URLError), urllib.request.urlopen(url) as reply:
            return reply.read()
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
