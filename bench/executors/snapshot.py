"""A snapshot of the code that a grid is run by: the suite's, and the files that users named.

Workers elsewhere run this copy, not what the checkout has become since.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.executors.work import Work
from bench.hardware import COMMIT_FILE, code_version
from bench.method import Method

_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("bench", "datasets", "methods", "reports", "run_all.py")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "reference")
_OWN = "own"


def take(folder: Path, work: Work, methods: Mapping[str, Method], *, relative: bool) -> Work:
    """Copy the code into an empty folder; return the work, with the methods' files in that place.

    Args:
        folder: where the copy goes.
        work: what the workers are given.
        methods: by name.
        relative: whether the workers find the copy in their working folder, wherever that is, and not at this path.

    """
    for name in _CODE:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy2(source, folder / name)
    (folder / COMMIT_FILE).write_text(code_version().get("commit", ""), encoding="utf-8")
    by_citation = {method.citation: method for method in methods.values() if method.files}
    texts = {}
    for number, typed in enumerate(work.methods.values()):
        if typed not in by_citation:
            texts[typed] = typed
            continue
        place = _copy(by_citation[typed], folder, f"{_OWN}/{number}")
        path = place.relative_to(folder) if relative else place
        is_set = typed.startswith("set:")
        texts[f"set:{path}" if is_set else f"{path}:{typed.rpartition(':')[2]}"] = typed
    return replace(work, methods=texts)


def _copy(method: Method, folder: Path, name: str) -> Path:
    """Copy the files of a user's method below `folder / name`, as they lie beside one another; return where the first is."""
    first = method.files[0]
    target = folder / name
    if first.is_dir():
        return Path(shutil.copytree(first, target / first.resolve().name))
    for file in method.files:
        place = target / file.relative_to(first.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)
    return target / first.name
