"""The one-way arrow: bench knows nothing of methods, datasets and reports, and those know nothing of one another."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {"bench": set(), "methods": {"bench"}, "datasets": {"bench"}, "reports": {"bench"}}
OWN = {*MAY_IMPORT, "run_all", "tests"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert imported(path) & OWN <= MAY_IMPORT[package] | {package}, path


def test_datasets_and_reports_take_only_types_from_the_engine():
    allowed = {"bench.types", "bench.errors", "bench.records", "bench.seeding", "bench.protocol"}
    for package in ("datasets", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench"):
                    assert node.module in allowed, (path, node.module)


def test_files_stay_small():
    # The design's limit; an exception says why here.
    for path in [*ROOT.glob("*.py"), *(file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py"))]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


def test_importing_the_registries_does_not_import_torch():
    code = (
        "import sys, methods, datasets, reports, run_all; sys.exit(not {'torch', 'sklearn', 'pandas'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
