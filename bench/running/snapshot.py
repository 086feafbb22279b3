"""A snapshot of the code that a grid is run by: the suite's, and the files that users named.

Workers on other machines run this copy, not what the checkout has become since.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.cells.method import Method
from bench.machine.hardware import COMMIT_FILE, ROOT
from bench.running.setup import WorkerSetup

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "reference")
_USER_FILES = "own"


def take(folder: Path, setup: WorkerSetup, methods: Mapping[str, Method], *, relative: bool) -> WorkerSetup:
    """Copy the code into an empty folder; return the setup with the spellings of the copied methods.

    Args:
        folder: of the copy.
        setup: what the workers are sent.
        methods: by name.
        relative: whether the workers run in the copy, wherever that is, and its files are named relative to it.

    """
    for name in setup.code.copied:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy2(source, folder / name)
    (folder / COMMIT_FILE).write_text(setup.code.version.get("commit", ""), encoding="utf-8")
    by_spelling = {method.spelling: method for method in methods.values() if method.files}
    spellings = dict[str, str]()
    for number, typed in enumerate(setup.methods.values()):
        method = by_spelling.get(typed)
        if method is None:
            spellings[typed] = typed
            continue
        copied = _copy(method, folder, f"{_USER_FILES}/{number}")
        path = copied.relative_to(folder) if relative else copied
        spellings[method.spelled_at(path)] = typed
    return replace(setup, methods=spellings)


def _copy(method: Method, folder: Path, name: str) -> Path:
    """Copy the files of a user's method below `folder / name`, with their folders; return the path of the first."""
    first = method.files[0]
    target = folder / name
    if first.is_dir():
        return Path(shutil.copytree(first, target / first.resolve().name))
    for file in method.files:
        copy = target / file.relative_to(first.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    return target / first.name
