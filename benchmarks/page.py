"""The page is written by two commands: each leaves the other's part as it is."""

from __future__ import annotations

from pathlib import Path

WAITING = "## Handlers that wait\n"  # from here to the end it is the part of `benchmarks.waiting`


def write_main(path: Path, text: str) -> None:
    """Write everything but that part."""
    path.write_text(_join(text, _parts(path)[1]))


def write_waiting(path: Path, section: str) -> None:
    """Write that part. *section* begins with its heading."""
    path.write_text(_join(_parts(path)[0] or "# How fast is it?", section))


def _parts(path: Path) -> tuple[str, str]:
    text = path.read_text() if path.exists() else ""
    before, heading, after = text.partition(WAITING)
    return before, heading + after


def _join(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


