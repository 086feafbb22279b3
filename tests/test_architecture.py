"""The shape of the code: who imports whom, where imports stand, and how long files and functions are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ("bench", "methods", "datasets", "reports")
FILES = [ROOT / "run_all.py", *sorted(path for package in PROJECT for path in (ROOT / package).rglob("*.py"))]

CELLS = {"bench", "bench.networks", "bench.machine", "bench.cells"}
LOOPS = CELLS | {"bench.records", "bench.loops"}
READERS = {"bench", "bench.cells", "bench.machine", "bench.records"} | {
    *("reports.frames", "reports.statistics", "reports.verdicts", "reports.tables")
}
MAY_IMPORT = {
    "bench": set(),
    "bench.networks": {"bench"},
    "bench.machine": {"bench", "bench.networks"},
    "bench.cells": {"bench", "bench.networks", "bench.machine"},
    "bench.records": {"bench", "bench.networks", "bench.cells"},
    "bench.sets": {"bench"},
    "bench.loops": CELLS | {"bench.records"},
    "bench.plan": CELLS | {"bench.records"},
    "bench.running": LOOPS | {"bench.plan"},
    "bench.command": LOOPS | {"bench.plan", "bench.running"},
    "methods": {"bench", "bench.cells", "bench.running", "methods.outside"},
    "methods.losses": CELLS | {"methods.losses.critic"},
    "methods.losses.critic": CELLS,
    "methods.procedures": LOOPS,
    "methods.selections": LOOPS,
    "methods.outside": LOOPS | {"bench.sets"},
    "datasets": {"bench", "bench.cells"},
    "reports": {
        "bench",
        "reports.figures",
        "reports.frames",
        "reports.page",
        "reports.statistics",
        "reports.tables",
        "reports.verdicts",
    },
    "reports.frames": {"bench", "bench.cells", "bench.records"},
    "reports.statistics": {"bench.cells", "bench.records", "reports.frames"},
    "reports.verdicts": {"bench", "bench.cells", "bench.records", "reports.frames", "reports.statistics"},
    "reports.tables": {"bench.records", "reports.frames", "reports.statistics", "reports.verdicts"},
    "reports.figures": {"reports.frames", "reports.statistics", "reports.tables", "reports.verdicts"},
    "reports.page": READERS | {"reports.figures"},
    "reports.speed": READERS | {"reports", "reports.figures"},
    "reports.export": READERS | {"reports", "bench.networks", "bench.sets"},
    "run_all": {"bench.command", "bench.machine", "bench.running", "datasets", "methods", "reports"},
}
"""The packages that each package may import besides its own files, whether at once, lazily or for type checkers."""

AT_MOST_BESIDE_PACKAGES = 6
"""Modules that are in `bench`, `methods` or `reports` itself, and not in one of their packages."""

PRIVATE_WORDS = {"found", "told", "plain", "known", "place", "text", "part", "one", "held", "words"}
"""Words that say nothing of what a value is."""

SISTER = re.compile(r"\b(methods|datasets|reports)[.:/][a-z_]|\brun_all[.:](?!py\b)")
"""A name of a package beside the engine, or of something in it."""

MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Import = ast.Import | ast.ImportFrom


def name_of(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def imports_of(tree: ast.AST) -> list[Import]:
    return [node for node in ast.walk(tree) if isinstance(node, Import)]


def targets(node: Import) -> set[str]:
    """Return the modules that a statement imports; of `from a import b` these may be `a` and `a.b`."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    assert node.level == 0, "a relative import"
    return {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}


def imports_in_functions(tree: ast.AST) -> list[Import]:
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return [node for function in functions for node in imports_of(function)]


def graph_of(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Return the modules of the project that each of them imports: at once, inside functions, or for type checkers."""
    graph = {}
    for name, tree in trees.items():
        modules = {target for node in imports_of(tree) for target in targets(node)} & set(trees) - {name}
        # Of `from a.b import c`, where `a.b.c` is a module, the package `a.b` itself is not meant.
        graph[name] = {module for module in modules if not any(other.startswith(f"{module}.") for other in modules)}
    return graph


def package_of(name: str) -> str:
    """Return the package that a module is in; a module that is a package itself is in that package."""
    return name if (ROOT / name.replace(".", "/")).is_dir() or "." not in name else name.rpartition(".")[0]


def package_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the packages that the modules of each package import."""
    packages: dict[str, set[str]] = {}
    for name, modules in graph.items():
        own = package_of(name)
        packages.setdefault(own, set()).update({package_of(module) for module in modules} - {own})
    return packages


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def identifiers(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield the nodes that name something, and the name: variables, parameters, attributes, functions, classes, imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node, node.id
        elif isinstance(node, ast.Attribute):
            yield node, node.attr
        elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg):
            yield node, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node, node.name
        elif isinstance(node, ast.alias):
            yield node, node.asname or node.name


def long_functions(tree: ast.AST) -> list[tuple[ast.AST, int]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [(node, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return [(node, length) for node, length in lengths if length > MOST_LINES_OF_A_FUNCTION]


# ---- who imports whom ----


@cache
def project() -> dict[str, set[str]]:
    return graph_of({name_of(path): tree_of(path) for path in FILES})


def test_every_package_imports_only_what_the_table_allows():
    packages = package_graph(project())
    assert set(packages) == set(MAY_IMPORT), "a package without a line in the table, or a line without a package"
    assert {name: extra for name, modules in packages.items() if (extra := modules - MAY_IMPORT[name])} == {}


def test_the_table_is_acyclic_and_names_packages_alone():
    assert not cycle_in(MAY_IMPORT)
    assert set().union(*MAY_IMPORT.values()) <= set(MAY_IMPORT)


def test_no_module_and_no_package_imports_itself_through_others():
    assert not cycle_in(project()), " -> ".join(cycle_in(project()))
    assert not cycle_in(package_graph(project())), " -> ".join(cycle_in(package_graph(project())))


@pytest.mark.parametrize(
    "closing",
    [
        "import a",
        "def function():\n    import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from a import name",
    ],
)
def test_a_cycle_is_seen_whatever_kind_of_import_closes_it(closing):
    sources = {"a": "import b", "b": "class B:\n    from c import name", "c": closing}
    assert set(cycle_in(graph_of({name: ast.parse(source) for name, source in sources.items()}))) == {"a", "b", "c"}
    sources["c"] = "import d"
    assert not cycle_in(graph_of({name: ast.parse(source) for name, source in sources.items()}))


def test_the_engine_names_no_sister_package_in_any_string():
    """Registry strings `"module:NAME"` of the engine are of the engine; what is outside is passed in by `run_all`."""
    strings = [
        (path, node)
        for path in FILES
        if path.is_relative_to(ROOT / "bench")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SISTER.search(node.value)
    ]
    assert [where(path, node) for path, node in strings] == []
    assert SISTER.search("run_all:SUITE")
    assert SISTER.search("see methods.losses.kr")
    assert not SISTER.search("run_all.py: error: no methods. Valid: datasets: a, b")


def test_packages_show_the_architecture():
    for package in ("bench", "methods", "reports"):
        assert len(list((ROOT / package).glob("*.py"))) <= AT_MOST_BESIDE_PACKAGES + 1, package  # and its `__init__.py`
    for path in (path for path in FILES if path.name == "__init__.py"):
        head = ast.get_docstring(tree_of(path)) or ""
        assert len(head.splitlines()) >= 3, f"{path.relative_to(ROOT)} does not say what is in it and what it may import"
    assert len((ROOT / "run_all.py").read_text(encoding="utf-8").splitlines()) <= 150


def test_tests_mirror_the_packages():
    for package in ("bench", "methods", "reports", "datasets"):
        folders = {path.parent.relative_to(ROOT) for path in (ROOT / "tests" / package).rglob("test_*.py")}
        assert {folder for folder in folders if not (ROOT / folder.relative_to("tests")).is_dir()} == set()


def test_no_import_stands_inside_a_function():
    """What is slow to import comes from `bench.lazy`, at the head of a file."""
    assert [where(path, node) for path in FILES for node in imports_in_functions(tree_of(path))] == []
    text = "class A:\n    async def f(self):\n        if self:\n            from x import y"
    assert len(imports_in_functions(ast.parse(text))) == 1  # the check sees one where there is one


def test_importing_the_registries_imports_no_large_library():
    slow = {"torch", "sklearn", "pandas", "matplotlib"}
    loaded = "(*methods.METHODS.values(), *datasets.DATASETS.values())"
    code = f"import sys, methods, datasets, reports, run_all; {loaded}; print(*sorted({slow} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (process.returncode, process.stdout.strip(), process.stderr) == (0, "", "")


# ---- sizes and words ----


def test_files_stay_small():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_functions_stay_short():
    """Documentation included: what needs more than a screen to be said is two functions."""
    lengths = {where(path, node): length for path in FILES for node, length in long_functions(tree_of(path))}
    assert lengths == {}
    body = "    pass\n" * MOST_LINES_OF_A_FUNCTION
    assert [length for _, length in long_functions(ast.parse(f"def f():\n{body}"))] == [MOST_LINES_OF_A_FUNCTION + 1]


def test_names_say_what_a_value_is():
    named = [(path, node, name) for path in FILES for node, name in identifiers(tree_of(path))]
    assert [f"{where(path, node)} {name}" for path, node, name in named if name in PRIVATE_WORDS] == []


@pytest.mark.parametrize(
    "text",
    ["known = 1", "def f(known): pass", "a.known", "f(known=1)", "def known(): pass", "class known: pass", "import known"],
)
def test_a_private_word_is_seen_wherever_it_names_something(text):
    assert PRIVATE_WORDS & {name for _, name in identifiers(ast.parse(text))} == {"known"}
