"""Imports run one way: who reads a module needs to know only the modules above it in the table."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "orderstream"

LEVELS = [
    {"errors"},
    {"order", "config", "policy", "tracing"},
    {"connection"},
    {"cluster"},
    {"stream"},
    {"producer", "consumer", "deadletter", "doctor"},
    {"__init__"},
    {"terminal", "supervisor", "export"},
    {"cli"},
    {"__main__"},
]
"""A module imports from the levels above its own, never from its own or below."""

UNKNOWN = {
    "errors": {"redis"},
    "order": {"redis"},
    "policy": {"redis", "time", "datetime"},
    "tracing": {"redis", "orderstream"},
    "connection": {"orderstream.order"},
    "cluster": {"orderstream.order"},
    "stream": {"orderstream.order", "orderstream.policy"},
    "producer": {"orderstream.consumer"},
    "consumer": {"orderstream.deadletter"},
    "supervisor": {"redis", "orderstream"},
    "export": {"redis", "orderstream.stream", "orderstream.tracing"},
    "deadletter": {"orderstream.consumer"},
    "doctor": {"orderstream.cli", "orderstream.order", "orderstream.consumer"},
}
"""What a module must know nothing of."""

LAB_ONLY = {"orderstream.lab", "pandas", "matplotlib", "ipywidgets", "IPython", "numpy"}

MODULES = sorted(path for path in PACKAGE.glob("*.py"))


def imports(node: ast.AST) -> Iterator[str]:
    """Every module name imported below `node`, also inside functions; not what only the type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: write the full name, relative imports are hard to follow"
            yield child.module or ""
            yield from (f"{child.module}.{name.name}" for name in child.names)
        yield from imports(child)


def names_in(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text())))


def test_every_module_of_the_core_has_its_level():
    assert {path.stem for path in MODULES} <= set().union(*LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_from_the_levels_above_it(path):
    level = next(i for i, names in enumerate(LEVELS) if path.stem in names)
    above = set().union(*LEVELS[:level])
    for name in names_in(path):
        package, _, rest = name.partition(".")
        if package == "orderstream":
            assert rest.partition(".")[0] in above | public_names() | {""}, f"{path.name} imports {name}"


def public_names() -> set[str]:
    """What `from orderstream import …` may name where the package as a whole is above, as in the CLI."""
    import orderstream

    return {name for name in orderstream.__all__ if name not in set().union(*LEVELS)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_core_never_imports_the_lab_or_its_libraries(path):
    for name in names_in(path):
        assert not any(f"{name}.".startswith(f"{lab}.") for lab in LAB_ONLY), f"{path.name} imports {name}"


@pytest.mark.parametrize("module", sorted(UNKNOWN))
def test_a_module_knows_nothing_of_what_is_not_its_business(module):
    for name in names_in(PACKAGE / f"{module}.py"):
        assert not any(f"{name}.".startswith(f"{unknown}.") for unknown in UNKNOWN[module]), f"{module} imports {name}"


def test_preflight_needs_only_the_standard_library():
    """It runs before anything is installed."""
    for name in names_in(PACKAGE / "lab" / "author" / "preflight.py"):
        assert name.partition(".")[0] in sys.stdlib_module_names


def test_the_rules_see_an_import_wherever_it_hides():
    code = "def f():\n    import pandas.api\nif TYPE_CHECKING:\n    import redis\nfrom orderstream import lab"
    assert set(imports(ast.parse(code))) == {"pandas.api", "orderstream", "orderstream.lab"}
