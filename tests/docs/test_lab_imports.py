"""
The wings of the lab: every file lies in one, and imports run one way, in the order that `orderstream.lab` lists.

An import counts wherever it stands: in a function, under TYPE_CHECKING, and also the name of a module in a string,
which is how a module is loaded or run by its name. A package is the file of its `__init__`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderstream import lab

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "orderstream" / "lab"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(LAB.rglob("*.py"))}


def listed(package: str) -> list[str]:
    """The names in the indented table of a docstring, in its order."""
    return re.findall(r"^    (\w+)(?:\.py|/)? {2,}\S", ast.get_docstring(ast.parse(FILES[package].read_text())), re.M)


def imported(code: str) -> Iterator[str]:
    """The modules of the lab that *code* names."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import():
                found = [alias.name for alias in node.names]
            case ast.ImportFrom():
                assert node.level == 0, f"line {node.lineno}: write the full name, relative imports are hard to follow"
                # `from package import module` needs the module; another name is made by the package itself.
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [name if name in FILES else node.module for name in full]
            case ast.Constant(value=str(text)):
                found = [text]
            case _:
                continue
        yield from (name for name in found if name in FILES)


ARROWS = {name: {*imported(path.read_text())} - {name} for name, path in FILES.items()}


def may_need(name: str, other: str) -> bool:
    """Where the ways to both part, a package lists what lies there: the other must be listed above."""
    mine, others = name.split("."), other.split(".")
    if mine == others[: len(mine)]:
        return True  # a package may name what lies in it
    depth = next((depth for depth, (one, two) in enumerate(zip(mine, others, strict=False)) if one != two), None)
    if depth is None:
        return False  # it would wait for the package it lies in
    order = listed(".".join(mine[:depth]))
    below, above = (order.index(re.sub(r"^lesson_\d\d$", "lesson_NN", way[depth])) for way in (mine, others))
    return above < below


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A circle among *arrows*, from its first file back to it; none: an empty list."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(arrows[name]):
            if found := follow(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next(filter(None, (follow(name, []) for name in arrows)), [])


@pytest.mark.parametrize("package", [name for name, path in FILES.items() if path.name == "__init__.py"])
def test_a_package_lists_what_lies_in_it(package):
    """Who opens it learns what is there, and nothing that is not. Judges alone need no list."""
    inside = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    inside = {re.sub(r"^lesson_\d\d$", "lesson_NN", name) for name in inside}
    if inside != {"judges"}:
        assert sorted(listed(package)) == sorted(inside)


def test_every_folder_is_a_package():
    assert {name.rpartition(".")[0] for name in FILES} - {"orderstream"} <= set(FILES)


def test_beside_the_wings_the_lab_has_only_what_two_of_them_stand_on():
    assert [name for name, path in FILES.items() if path.parent == LAB] == [
        "orderstream.lab",
        "orderstream.lab.lifeline",
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_only_those_above_it(name):
    """Between wings, within a wing, and between lessons, of which none stands above another."""
    wrong = [other for other in sorted(ARROWS[name]) if not may_need(name, other)]
    assert not wrong, f"{name} must not know {wrong}"


def test_there_is_no_circle():
    assert circle(ARROWS) == []


def test_the_rules_see_an_import_wherever_it_hides():
    code = """
import orderstream.lab.lifeline
from orderstream.lab import server, start
if TYPE_CHECKING:
    from orderstream.lab.pictures import charts
def f():
    from orderstream.lab.tutor.check import exercise
    sys.modules.get("orderstream.lab.workers.process")
"""
    names = {"lifeline", "server", "pictures.charts", "tutor.check", "workers.process"}
    assert set(imported(code)) == {f"orderstream.lab.{name}" for name in names} | {"orderstream.lab"}


@pytest.mark.parametrize(
    ("name", "other", "may"),
    [
        ("pictures.charts", "workers.process", True),
        ("workers.process", "pictures.charts", False),
        ("pictures.charts", "pictures.lanes", True),
        ("pictures.lanes", "pictures.charts", False),
        ("lessons.lesson_10.eras", "lessons.group_panel", True),
        ("lessons.group_panel", "lessons.lesson_10.eras", False),
        ("lessons.lesson_10.judges", "lessons.lesson_04.judges", False),
        ("lessons.lesson_10.judges", "lessons.lesson_10.eras", True),
        ("server", "server.session", True),
        ("server.session", "server", False),
    ],
)
def test_the_rules_know_above_from_below(name, other, may):
    assert may_need(f"orderstream.lab.{name}", f"orderstream.lab.{other}") is may


def test_the_rules_see_a_circle():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_notebooks_find_all_that_the_lab_names():
    """It is loaded when first used, so nothing else would notice."""
    assert not [name for name in lab.__all__ if not hasattr(lab, name)]
