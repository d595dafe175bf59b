"""
The learner's edition: a copy of the lessons without outputs, in ``learn/``, beside the pages they link to.

    python -m orderstream.lab.edition.learner               make it, or bring it up to date
    python -m orderstream.lab.edition.learner --fresh 04    give lesson 04 back as it was

``make lab`` and ``orderstream lab`` do it before they open JupyterLab. Nothing that the learner wrote is overwritten:

- A lesson counts as changed if the source of a cell differs. To run or to save it is no change, and neither is the
  empty cell that JupyterLab puts at the end.
- When a newer edition comes, it replaces a lesson that is unchanged. It is put beside one that is changed:
  ``04_a_consumer_dies.newer.ipynb``.
- Who wants a lesson back as it was gets it. The changed one is kept as ``04_a_consumer_dies.mine.ipynb``.

What was given is noted in ``learn/.given.json``: name of a file -> its fingerprint. A folder with such a note is
the learner's, whatever its name: ``orderstream lab FOLDER`` chooses it.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat

from orderstream.lab.edition import author

__all__ = ["FOLDER", "LearnersEdition", "fingerprint", "original", "reset"]

FOLDER = author.FOLDER.parent / "learn"
NOTE = ".given.json"


def reset(lesson: str) -> None:
    """
    Give a lesson back as it was, beside this one. If you changed yours, it is kept there, too, under another name.

    Args:
        lesson: Its number, such as ``"04"``.

    Raises:
        NoLesson: No lesson has this number.
    """
    here = Path.cwd()  # a kernel begins in the folder of its notebook
    print(LearnersEdition(here if (here / NOTE).exists() else FOLDER).give_back(lesson))
    print("If it is open in JupyterLab, choose File → Reload Notebook from Disk. What you have not saved is then gone.")


class LearnersEdition:
    """
    The learner's copy of the course in a folder.

    Args:
        folder: Where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = folder / NOTE
        self._given: dict[str, str] = {}
        with suppress(OSError, ValueError, TypeError):  # without a note of what was given, everything counts as changed
            self._given = {**json.loads(self._record.read_bytes())}

    def update(self) -> list[str]:
        """Give what is missing or newer. Returns a line for each newer edition that is put beside a changed one."""
        said = []
        for source in _author_files():
            name = source.relative_to(author.FOLDER).as_posix()
            edition = _without_outputs(source)
            place = self._place(name, fingerprint(name, edition))
            if place is not None:
                self._give(place, edition)
                if place != name:
                    said.append(f"{name}: there is a newer edition. You changed yours, so it is beside it: {place}")
        return said

    def give_back(self, lesson: str) -> str:
        """
        Give a lesson back as it was. Returns one line that says so, and what became of a changed one.

        Raises:
            NoLesson: No lesson has this number.
        """
        source = author.path_of(lesson)
        name, edition = source.name, _without_outputs(source)
        said = f"Lesson {lesson} is as it was: {self.folder.name}/{name}."
        if self._is_changed(name) and self._found(name) != fingerprint(name, edition):
            kept = self._free_name(name, "mine")
            (self.folder / name).rename(self.folder / kept)
            said += f" Yours is kept: {self.folder.name}/{kept}."
        self._give(name, edition)
        return said

    def _place(self, name: str, edition: str) -> str | None:
        """Return the name under which the *edition* of a file goes into the folder; None: it was given already."""
        if not (self.folder / name).exists():
            return name
        copies = [name, *(copy for copy in self._given if _original(copy) == name and copy != name)]
        if edition in [self._found(name), *(self._given.get(copy) for copy in copies)]:
            return None
        unchanged = [copy for copy in copies if (self.folder / copy).exists() and not self._is_changed(copy)]
        return unchanged[0] if unchanged else self._free_name(name, "newer")

    def _is_changed(self, name: str) -> bool:
        return (self.folder / name).exists() and self._found(name) != self._given.get(name)

    def _found(self, name: str) -> str:
        return fingerprint(name, (self.folder / name).read_bytes())

    def _free_name(self, name: str, word: str) -> str:
        path = Path(name)
        free, number = path.with_suffix(f".{word}{path.suffix}"), 1
        while (self.folder / free).exists():
            number += 1
            free = path.with_suffix(f".{word}-{number}{path.suffix}")
        return free.as_posix()

    def _give(self, name: str, edition: bytes) -> None:
        """Write a file, then note it: who is interrupted in between has a file that counts as changed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, edition)
        self._given[name] = fingerprint(name, edition)
        _write(self._record, json.dumps(self._given, indent=1).encode())


def fingerprint(name: str, content: bytes) -> str:
    """Return what tells two editions of a file apart. Of a notebook, only the sources of its cells count."""
    if name.endswith(".ipynb"):
        try:
            cells = nbformat.reads(content.decode(), 4).cells
        except (ValueError, AttributeError, nbformat.ValidationError):  # not a notebook any more: all of it counts
            cells = []
        sources = [[cell.cell_type, cell.source] for cell in cells if cell.source]
        content = json.dumps(sources).encode() if sources else content
    return hashlib.sha256(content).hexdigest()


def original(copy: Path) -> Path | None:
    """Return the author's lesson that *copy*, a file in a folder ``learn``, was made from; None if there is none."""
    path = copy.parent.parent / author.FOLDER.name / _original(copy.name)
    return path if copy.parent.name == FOLDER.name and path.exists() else None


def _author_files() -> Iterator[Path]:
    """Yield the lessons, the pages that they link to, and the pictures."""
    for pattern in ("*.ipynb", "*.md", "images/*.png"):
        yield from sorted(author.FOLDER.glob(pattern))


def _without_outputs(source: Path) -> bytes:
    if source.suffix != ".ipynb":
        return source.read_bytes()
    book = nbformat.read(source, 4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    written: str = nbformat.writes(book)
    return written.encode()


def _original(name: str) -> str:
    """Return ``04_a_consumer_dies.ipynb`` for ``04_a_consumer_dies.newer.ipynb`` and its like."""
    return re.sub(r"\.(newer|mine)(-\d+)?(?=\.\w+$)", "", name)


def _write(path: Path, content: bytes) -> None:
    """Write a file as one step: JupyterLab may have it open, and Ctrl-C may come at any time."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.edition.learner", description="Make learn/.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where (default: learn/)")
    parser.add_argument("--fresh", metavar="LESSON", help="give this lesson back as it was")
    wanted = parser.parse_args(argv)
    edition = LearnersEdition(wanted.folder)
    for line in edition.update():
        print(line)
    if wanted.fresh:
        try:
            print(edition.give_back(wanted.fresh))
        except author.NoLesson as exc:
            print(f"learn: {exc}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
