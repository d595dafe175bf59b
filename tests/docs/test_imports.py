"""
Imports run one way: a reader of a file needs to know only the files above it.

README's tables give the order of the heart and of the rooms around it; a folder's docstring gives the order of what
lies in the folder. An import counts wherever it stands: in a function, under TYPE_CHECKING, and also as the name of a
module in a string, which is how a module is loaded or run by its name. A package is the file of its `__init__`.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderstream import lab

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "orderstream" / "lab"

ROW = re.compile(r"^\| \[(\w+)(?:\.py|/)\]\(orderstream/\S+\) \|", re.M)
_, HEART, ROOMS = re.split(r"^### (?:The heart|Around it)$", (ROOT / "README.md").read_text(), flags=re.M)
HEART, ROOMS = ([f"orderstream.{name}" for name in ROW.findall(part) if name != "lua"] for part in (HEART, ROOMS))

UNKNOWN = {
    "errors": {"redis"},
    "order": {"redis"},
    "form": {"redis", "pydantic"},
    "policy": {"redis", "time", "datetime"},
    "connection": {"orderstream.order"},
    "observer": {"redis", "opentelemetry"},
    "stream": {"orderstream.order", "orderstream.policy", "opentelemetry"},
    "producer": {"orderstream.consumer"},
    "consumer": {"orderstream.deadletter", "opentelemetry"},
    "deadletter": {"orderstream.consumer"},
    "cluster": {"orderstream.order"},
    "crew": {"orderstream.deadletter", "opentelemetry"},
    "harmless": {"redis", "opentelemetry", "orderstream.observer", "orderstream.stream"},
    "message_types": {"redis", "orderstream.stream"},
    "tracing": {"redis", "orderstream.stream", "orderstream.order"},
    "embedded": {"orderstream.cli", "orderstream.order", "orderstream.stream"},
    "doctor": {"orderstream.cli", "orderstream.order", "orderstream.consumer"},
    "cli.supervisor": {"redis", "orderstream"},
    "cli.terminal": {"redis"},
    "cli.export": {"redis", "orderstream.stream", "orderstream.tracing"},
}
"""What a file must know nothing of."""

DOOR = ("orderstream.cli.lab", "orderstream.lab.edition.jupyterlab")
"""``orderstream lab`` starts the lab as a process of its own, by its name. It imports nothing of it."""

LAB_ONLY = {"orderstream.lab", "pandas", "matplotlib", "ipywidgets", "IPython", "numpy"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted((ROOT / "orderstream").rglob("*.py"))}
CORE = [name for name, path in FILES.items() if LAB not in path.parents]


def names(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Every module that *tree* names, and whether it is imported as soon as the file is."""
    at_once = {node for function in ast.walk(tree) if is_function(function) for node in ast.walk(function)}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                found = [alias.name for alias in node.names]
            case ast.ImportFrom():
                assert node.level == 0, f"line {node.lineno}: write the full name, relative imports are hard to follow"
                # `from package import module` needs the module; another name is made by the package itself.
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [name if name in FILES else node.module for name in full]
            case ast.Constant(value=str(text)):
                found = [text] if text in FILES and "." in text else []
            case _:
                continue
        yield from ((name, node not in at_once) for name in found)


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


NAMES = {name: set(names(ast.parse(path.read_text()))) for name, path in FILES.items()}
ARROWS = {name: {other for other, _ in found if other in FILES} - {name} for name, found in NAMES.items()}


def listed(package: str) -> list[str]:
    """The names in the indented table of a docstring, in its order; those of README for the package itself."""
    if package == "orderstream":
        order = [*HEART, "orderstream.__init__", *ROOMS, "orderstream.lab", "orderstream.__main__"]
        return [name.rpartition(".")[2] for name in order]
    docstring = ast.get_docstring(ast.parse(FILES[package].read_text()))
    return re.findall(r"^    (\w+)(?:\.py|/)? {2,}\S", docstring, re.M)


def may_need(name: str, other: str) -> bool:
    """Where the ways to both part, a package lists what lies there: the other must be listed above."""
    mine, others = name.split("."), other.split(".")
    if mine == others[: len(mine)]:
        return True  # a package may name what lies in it
    if other == "orderstream":
        others.append("__init__")
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


# The whole house ---------------------------------------------------------------------------------------------


def doors(name: str) -> set[str]:
    """The heart opens a room only for those who ask for it: inside a function."""
    return {other for other, at_once in NAMES[name] if name in HEART and other in ROOMS and not at_once}


def test_there_is_no_circle():
    """A room that needs the heart, and to which the heart has a door, is none."""
    assert circle({name: arrows - doors(name) for name, arrows in ARROWS.items()}) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_only_those_above_it(name):
    by_name = {other for other in ARROWS[name] if (name, other) == DOOR}
    wrong = [other for other in sorted(ARROWS[name] - doors(name) - by_name) if not may_need(name, other)]
    assert not wrong, f"{name} must not know {wrong}"


@pytest.mark.parametrize("package", [name for name, path in FILES.items() if path.name == "__init__.py"])
def test_a_package_lists_what_lies_in_it(package):
    """Who opens it learns what is there, and nothing that is not. Judges alone need no list."""
    inside = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    inside = {re.sub(r"^lesson_\d\d$", "lesson_NN", name) for name in inside}
    if inside != {"judges"}:
        assert sorted({*listed(package)} - {"__init__"}) == sorted(inside)


def test_every_folder_is_a_package():
    assert {name.rpartition(".")[0] for name in FILES} - {""} <= set(FILES)


# The heart and the rooms around it ---------------------------------------------------------------------------


def test_whoever_imports_the_package_has_opened_no_room():
    code = "import sys, orderstream; print(*(name for name in sys.modules if name.startswith('orderstream.')))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == set(HEART)


@pytest.mark.parametrize("name", CORE)
def test_the_core_never_names_the_lab_or_its_libraries(name):
    for other in {other for other, _ in NAMES[name] if (name, other) != DOOR}:
        assert not any(f"{other}.".startswith(f"{library}.") for library in LAB_ONLY), f"{name} imports {other}"


@pytest.mark.parametrize("module", UNKNOWN)
def test_a_file_knows_nothing_of_what_is_not_its_business(module):
    inside = [name for name in FILES if f"{name}.".startswith(f"orderstream.{module}.")]
    for name in {name for file in inside for name, _ in NAMES[file]}:
        assert not any(f"{name}.".startswith(f"{unknown}.") for unknown in UNKNOWN[module]), f"{module} imports {name}"


# The lab -----------------------------------------------------------------------------------------------------


def test_beside_the_wings_the_lab_has_only_what_two_of_them_stand_on():
    assert [name for name, path in FILES.items() if path.parent == LAB] == [
        "orderstream.lab",
        "orderstream.lab.lifeline",
        "orderstream.lab.patience",
    ]


def test_the_notebooks_find_all_that_the_lab_names():
    """It is loaded when first used, so nothing else would notice."""
    assert not [name for name in lab.__all__ if not hasattr(lab, name)]


@pytest.mark.parametrize("name", ["preflight", "install"])
def test_what_runs_before_anything_is_installed_needs_only_the_standard_library(name):
    for other, _ in NAMES[f"orderstream.lab.author.{name}"]:
        assert other.partition(".")[0] in sys.stdlib_module_names


# The rules themselves ----------------------------------------------------------------------------------------


def test_the_rules_see_an_import_wherever_it_hides():
    code = """
import orderstream.stream
from orderstream.lab import server, start
if TYPE_CHECKING:
    from orderstream.lab.pictures import charts
def f():
    from orderstream.lab.tutor.check import exercise
    sys.modules.get("orderstream.lab.workers.process")
"""
    found = dict(names(ast.parse(code)))
    at_once = {"stream", "lab", "lab.server", "lab.pictures.charts"}
    later = {"lab.tutor.check", "lab.workers.process"}
    assert found == {f"orderstream.{name}": name in at_once for name in at_once | later}


@pytest.mark.parametrize(
    ("name", "other", "may"),
    [
        ("consumer", "stream", True),
        ("stream", "consumer", False),
        ("tracing", "observer", True),
        ("observer", "tracing", False),
        ("cli.produce", "", True),
        ("stream", "", False),
        ("lab.pictures.charts", "lab.workers.process", True),
        ("lab.workers.process", "lab.pictures.charts", False),
        ("lab.pictures.charts", "lab.pictures.lanes", True),
        ("lab.pictures.lanes", "lab.pictures.charts", False),
        ("lab.lessons.lesson_10.eras", "lab.lessons.group_panel", True),
        ("lab.lessons.group_panel", "lab.lessons.lesson_10.eras", False),
        ("lab.lessons.lesson_10.judges", "lab.lessons.lesson_04.judges", False),
        ("lab.lessons.lesson_10.judges", "lab.lessons.lesson_10.eras", True),
        ("lab.server", "lab.server.session", True),
        ("lab.server.session", "lab.server", False),
    ],
)
def test_the_rules_know_above_from_below(name, other, may):
    assert may_need(f"orderstream.{name}", f"orderstream.{other}".rstrip(".")) is may


def test_the_rules_see_a_circle():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
