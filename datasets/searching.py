"""Where a dataset's files may be: in folders of its name, as the Hugging Face Hub and people spell it, and below these."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.errors import UsageError
from bench.files import is_stray


def is_called(folder: Path, name: str) -> bool:
    """Return whether a folder has a dataset's name: `Fashion-MNIST`, or in the Hub's cache `datasets--owner--fashion_mnist`.

    Args:
        folder: that is compared.
        name: of the dataset, as in the registry.

    """
    return _letters(folder.absolute().name.rpartition("--")[2]) == _letters(name)


def homes(root: Path, name: str) -> Iterator[Path]:
    """Yield the folders of a dataset's name in `root`, and in the folders of `root`, as the Hub's owners of datasets are."""
    for folders in (_folders([root]), _folders(_folders([root]))):
        yield from (folder for folder in folders if is_called(folder, name))


def files_below(folder: Path, pattern: str) -> list[Path]:
    """Return what fits a pattern in a folder and its sub-folders, in order, without what is hidden or added by systems."""
    return sorted(path for path in folder.rglob(pattern) if not is_stray(path.relative_to(folder)))


def only(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the only folder of several that may have a dataset's files, or None; raise `UsageError` if there are more."""
    several = [*folders]
    if len(several) > 1:
        raise UsageError(f"dataset {name!r} is in {several[0]} and in {several[1]}; valid: one of them below --data-root")
    return several[0] if several else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _folders(parents: Iterable[Path]) -> list[Path]:
    """Return the folders in others that are not hidden; a folder that cannot be read has none."""
    folders: list[Path] = []
    for parent in parents:
        try:
            with os.scandir(parent) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            continue
        folders += [parent / name for name in names if not is_stray(Path(name))]
    return folders
