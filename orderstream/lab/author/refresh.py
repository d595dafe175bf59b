"""
Re-execute notebooks and write them in their canonical form.

    python -m orderstream.lab.author.refresh notebooks/*.ipynb

The committed notebook, with its outputs, is the only source. If it is refreshed twice, the second time changes nothing,
unless a picture is drawn from a live run. Nor does another server, Redis or Valkey, change anything: a text that
`pytest --nbval` takes for the same keeps its bytes, and a cell that needs a newer Redis keeps its result. The canonical
form:

- Cell ids are readable and stay. Only an id that a tool made up, or that occurs twice, is replaced: by the heading
  above the cell and a number.
- Execution counts are 1..N. Stream outputs that follow each other are merged. Of a traceback the last line is kept.
- Widget state and widget views are removed, because another kernel cannot show them. Their text or picture stays.
- Of metadata, only a cell's ``tags`` and its ``reason`` (why its output is not compared) stay. Pictures have none.
"""

import argparse
import atexit
import base64
import io
import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

from orderstream.lab import server
from orderstream.lab.author import gate

ROOT = Path(__file__).resolve().parents[3]
CELL_TIMEOUT_S = 60
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_METADATA = ("tags", "reason")

_MADE_UP_ID = re.compile(r"[0-9a-f]{8}|[0-9a-f-]{32,36}")  # by Jupyter


class RefreshError(Exception):
    """A notebook cannot be refreshed; the message names it, the cell and the reason in one line."""


def refresh(path: Path) -> str:
    """Re-execute the notebook at *path* and write its canonical form. Returns what became of the file, in words."""
    path = path.resolve()
    before = path.read_bytes()
    old = nbformat.reads(before.decode(), 4)
    name_cells(old)
    book = nbformat.from_dict(old)
    beyond = beyond_this_server(path, old)
    with tempfile.TemporaryDirectory(prefix="orderstream-kernel-") as sockets:
        execute(path, book, Path(sockets, "kernel"))
    for cell in book.cells:
        if cell["id"] in beyond:
            cell.outputs = beyond[cell["id"]]
    canonical(book, old)
    after: bytes = (nbformat.writes(book).rstrip("\n") + "\n").encode()
    if after != before:
        draft = path.with_suffix(".refreshing")
        draft.write_bytes(after)
        draft.replace(path)
    became = "unchanged" if after == before else "changed"
    return f"{became}; kept, as they need a newer Redis: {', '.join(beyond)}" if beyond else became


def execute(path: Path, book: Any, address: Path) -> None:
    """
    Run the cells of *book*, which belongs to *path*.

    Its kernel listens on files whose names begin with *address*: somebody else may take a TCP port after it was found
    free and before the kernel binds it.

    Raises:
        RefreshError: A cell failed or ran too long, or the kernel did not start or died.
    """
    client = NotebookClient(
        book,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(address)}}),
    )
    running: dict[str, Any] = {}
    client.on_cell_start = lambda cell, cell_index: running.update(cell)
    try:
        client.execute()
    except CellExecutionError as exc:
        raise RefreshError(f"{path.name}, cell {running['id']}: {exc.ename}: {exc.evalue}") from exc
    except CellTimeoutError as exc:
        raise RefreshError(f"{path.name}, cell {running['id']}: runs longer than {CELL_TIMEOUT_S} s") from exc
    except DeadKernelError as exc:
        raise RefreshError(f"{path.name}, cell {running.get('id', '(none yet)')}: its kernel died") from exc
    except RuntimeError as exc:
        atexit.unregister(client._cleanup_kernel)  # it has cleaned up, and would raise if it did so again
        raise RefreshError(f"{path.name}: its kernel did not start: {exc}") from exc


def beyond_this_server(path: Path, book: Any) -> dict[str, Any]:
    """
    Return the results of the cells that need a newer Redis than our server can stand for: id -> outputs.

    Raises:
        RefreshError: A cell has none that could be kept.
    """
    gated = [(cell, version) for cell in book.cells if (version := gate.needed(cell))]
    if not gated:
        return {}
    ours = server.software()
    beyond = [(cell, version) for cell, version in gated if version > ours.level]
    for cell, version in beyond:
        if not cell.outputs or cell.outputs[0].get("text", "").startswith("This cell needs Redis"):
            needs = ".".join(map(str, version))
            raise RefreshError(
                f"{path.name}, cell {cell['id']}: it has no result yet and needs Redis {needs}, this is {ours}; "
                "name a newer redis-server in ORDERSTREAM_REDIS_SERVER"
            )
    return {cell["id"]: cell.outputs for cell, _ in beyond}


def name_cells(book: Any) -> None:
    """Give a readable id, such as ``objectives-2``, to each cell whose id a tool made up or another cell has, too."""
    book.nbformat, book.nbformat_minor = 4, 5
    taken = {cell["id"] for cell in book.cells if "id" in cell and not _MADE_UP_ID.fullmatch(cell["id"])}
    seen, section = set(), "start"
    for cell in book.cells:
        if cell.cell_type == "markdown" and (heading := re.search(r"^#+ +(.+)$", cell.source, re.M)):
            section = re.sub(r"[^a-z0-9]+", "-", heading[1].lower()).strip("-")[:48] or "section"
        if cell.get("id") not in taken or cell["id"] in seen:
            number = 1
            while f"{section}-{number}" in taken:
                number += 1
            cell["id"] = f"{section}-{number}"
            taken.add(cell["id"])
        seen.add(cell["id"])


def canonical(book: Any, old: Any) -> None:
    """Bring the executed *book* into its canonical form. What looks the same as in *old* keeps its bytes."""
    book.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    pictures = {cell["id"]: _pictures(cell) for cell in old.cells}
    texts = {cell["id"]: _texts(cell) for cell in old.cells}
    for cell in book.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_METADATA})
        known = pictures[cell["id"]]
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
            data = output.get("data", {})
            if len(data) > 1:
                data.pop(WIDGET_VIEW, None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
            if "image/png" in data:
                data["image/png"] = _canonical_png(data["image/png"], known)
            if "text" in output:
                output.text = _canonical_text(output.text, texts[cell["id"]])
            if "text/plain" in data:
                data["text/plain"] = _canonical_text(data["text/plain"], texts[cell["id"]])


def _pictures(cell: Any) -> list[str]:
    datas = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [data["image/png"] for data in datas if "image/png" in data]


def _canonical_png(new: str, known: list[str]) -> str:
    """Return *new* without metadata, or the picture among *known* that has the same pixels."""
    for old in known:
        if _pixels(old) == _pixels(new):
            return old
    from PIL import Image

    png = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(new)))
    picture.info.clear()
    picture.save(png, "png", optimize=True)
    return base64.b64encode(png.getvalue()).decode()


def _pixels(png: str) -> tuple[tuple[int, int], bytes]:
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    return picture.size, picture.tobytes()


def _texts(cell: Any) -> list[str]:
    outputs = cell.get("outputs", [])
    found = [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs]
    return [text for text in found if text]


def _canonical_text(new: str, known: list[str]) -> str:
    """Return *new*, or the text among *known* that ``pytest --nbval`` takes for the same."""
    return next((old for old in known if _compared(old) == _compared(new)), new)


def _compared(text: str) -> str:
    for regex, replacement in _rules():
        text = re.sub(regex, replacement, text)
    return text


@cache
def _rules() -> list[tuple[str, str]]:
    from nbval.plugin import get_sanitize_patterns

    rules: list[tuple[str, str]] = get_sanitize_patterns((ROOT / "tests" / "nbval.cfg").read_text())
    return rules


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orderstream.lab.author.refresh", description=refresh.__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    paths = parser.parse_args(argv).notebooks
    with tempfile.TemporaryDirectory(prefix="orderstream-refresh-") as home:
        # Kernels inherit these variables: no earlier answers, no IPython profile, and the package of this checkout.
        os.environ["ORDERSTREAM_LAB_HOME"] = str(Path(home, "lab"))
        os.environ["IPYTHONDIR"] = str(Path(home, "ipython"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        for number, path in enumerate(paths, 1):
            print(f"[{number}/{len(paths)}] {path.name} … ", end="", flush=True)
            try:
                print(refresh(path), flush=True)
            except (RefreshError, OSError, nbformat.reader.NotJSONError) as exc:
                print("failed", flush=True)
                print(f"refresh: {exc}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
