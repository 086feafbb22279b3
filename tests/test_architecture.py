"""The shape of the code: who imports whom, where imports stand, and how long files and functions are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bench import lazy

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {"bench": set(), "methods": {"bench"}, "datasets": {"bench"}, "reports": {"bench"}}
OWN = {*MAY_IMPORT, "run_all", "tests"}
FILES = [ROOT / "run_all.py", *sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))]

ENGINE_FOR_READERS = {
    *(
        "bench.errors",
        "bench.lazy",
        "bench.networks",
        "bench.cells.protocol",
        "bench.records.record",
        "bench.seeding",
        "bench.cells.settings",
    ),
    *("bench.machine.cores", "bench.files", "bench.sets", "bench.cells.spec", "bench.records.storage", "bench.types"),
}
"""The modules of the engine that datasets and reports may use: descriptions, records and errors, but nothing that computes."""

PRIVATE_WORDS = {"found", "told", "plain", "known"}
"""Words that say nothing of what a value is."""

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


def imports_at_start(node: ast.AST) -> Iterator[Import]:
    """Yield the imports that run when the module itself is imported: those of functions and of type checkers are left out."""
    if isinstance(node, Import):
        yield node
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for child in node.orelse:
            yield from imports_at_start(child)
    elif not isinstance(node, Function):
        for child in ast.iter_child_nodes(node):
            yield from imports_at_start(child)


def imports_in_functions(tree: ast.AST) -> list[Import]:
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return [node for function in functions for node in imports_of(function)]


def graph_of(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Return the modules of the project that each of them imports when it is imported."""
    imported = {name: {target for node in imports_at_start(tree) for target in targets(node)} for name, tree in trees.items()}
    return {name: (modules & set(trees)) - {name} for name, modules in imported.items()}


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


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package):
    """The arrow points one way: all know the engine, the engine knows none of them, and they do not know one another."""
    files = [path for path in FILES if path.is_relative_to(ROOT / package)]
    assert files
    for path in files:
        packages = {target.split(".")[0] for node in imports_of(tree_of(path)) for target in targets(node)}
        assert packages & OWN <= MAY_IMPORT[package] | {package}, path


def test_datasets_and_reports_take_only_descriptions_from_the_engine():
    offers = {name.rpartition(".")[2] for name in lazy._ENGINE}  # modules that compute, behind `bench.lazy`
    for path in FILES:
        if not path.is_relative_to(ROOT / "datasets") and not path.is_relative_to(ROOT / "reports"):
            continue
        for node in imports_of(tree_of(path)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            engine = {module for module in modules if module.split(".")[0] == "bench"}
            assert engine <= ENGINE_FOR_READERS, where(path, node)
            if engine == {"bench.lazy"}:
                assert not {alias.name for alias in node.names} & offers, where(path, node)


def test_no_module_imports_itself_through_others():
    cycle = cycle_in(graph_of({name_of(path): tree_of(path) for path in FILES}))
    assert not cycle, " -> ".join(cycle)


def test_a_cycle_is_seen_and_imports_for_type_checkers_are_not():
    head = "from typing import TYPE_CHECKING\n"
    texts = {"a": "import b", "b": "class B:\n    from c import name", "c": "import a"}
    cycle = cycle_in(graph_of({name: ast.parse(text) for name, text in texts.items()}))
    assert set(cycle) == {"a", "b", "c"}
    texts["c"] = f"{head}if TYPE_CHECKING:\n    import a\ndef function():\n    import a"
    assert not cycle_in(graph_of({name: ast.parse(text) for name, text in texts.items()}))
    texts["c"] = f"{head}if TYPE_CHECKING:\n    pass\nelse:\n    import a"
    assert cycle_in(graph_of({name: ast.parse(text) for name, text in texts.items()}))


def test_no_import_stands_inside_a_function():
    """What is slow to import comes from `bench.lazy`, at the head of a file."""
    assert [where(path, node) for path in FILES for node in imports_in_functions(tree_of(path))] == []
    text = "class A:\n    async def f(self):\n        if self:\n            from x import y"
    assert len(imports_in_functions(ast.parse(text))) == 1  # the check sees one where there is one


def test_importing_the_registries_imports_no_large_library():
    slow = {"torch", "sklearn", "pandas", "matplotlib"}
    code = f"import sys, methods, datasets, reports, run_all; print(*sorted({slow} & set(sys.modules)))"
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
