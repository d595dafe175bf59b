"""The pages that people read: every Markdown file of the repository."""

import os
import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    """Every file that is or will be in the repository: all that .gitignore does not name."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()} | {".git"}
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name) for name in files if not any(fnmatch(name, pattern) for pattern in ignored)]
    return found


MARKDOWN = sorted(path for path in tracked() if path.suffix == ".md")
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in MARKDOWN}
README = PAGES["README.md"]


def prose(page: str) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
