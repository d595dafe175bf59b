"""
The line counts in the README's two tables, and their sums.

    python -m tests.docs.counts      writes the right ones into the README
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("### The heart", "### Around it")
ROW = re.compile(r"^(\| \[[^]]+\]\(([^)]+)\)) \| \d+ \| \d+ \|", re.M)
SUM = re.compile(r"^\*\*[\d,]+ lines of code\*\*", re.M)


def lines(path: Path) -> tuple[int, int]:
    """Return all lines of a file or folder, and how many of them are code: no comment, no docstring, not empty."""
    files = [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.suffix in (".py", ".lua")]
    texts = [(file.suffix, file.read_text()) for file in files]
    code = [bare(text) if suffix == ".py" else re.sub(r"^ *--.*", "", text, flags=re.M) for suffix, text in texts]
    filled = [line for text in code for line in text.splitlines() if line.strip()]
    return sum(len(text.splitlines()) for _, text in texts), len(filled)


def bare(source: str) -> str:
    """Return Python source without docstrings and without lines that hold only a comment."""
    kept = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        for part in getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else []:
            if isinstance(part, ast.Expr) and isinstance(getattr(part.value, "value", None), str):
                kept[part.lineno - 1 : part.end_lineno] = [""] * (part.end_lineno - part.lineno + 1)
    return "\n".join(line for line in kept if not line.lstrip().startswith("#"))


def files(readme: str, title: str) -> list[str]:
    """Return the files and folders in the table below this heading."""
    return [path for _, path in ROW.findall(readme.partition(title)[2].partition("\n#")[0])]


def code_of(readme: str, title: str) -> int:
    """Return how many lines of code the files of that table really have."""
    return sum(lines(ROOT / path)[1] for path in files(readme, title))


def corrected(readme: str) -> str:
    """Return the README with true numbers: in each row, below each table, and below both."""
    heart, around = (code_of(readme, title) for title in TABLES)
    sums = iter((heart, around, heart + around))
    readme = ROW.sub(lambda row: "{} | {} | {} |".format(row[1], *lines(ROOT / row[2])), readme)
    return SUM.sub(lambda _: f"**{next(sums):,} lines of code**", readme)


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(corrected(page.read_text()))
