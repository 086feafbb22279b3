"""A folder that is written beside the old one and takes its place in whole, so that a failure leaves the old one as it was."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from bench.errors import UsageError

_ABANDONED = 3600.0
"""Seconds after which an unfinished folder is taken to be of a run that was killed."""


@contextmanager
def swapped(target: Path, own: Callable[[PurePath], bool]) -> Iterator[Path]:
    """Yield an empty folder beside `target`. It takes that place when the block ends well, and is removed when it does not.

    Args:
        target: the folder; whatever lies there and is not `own` is kept.
        own: whether a file of the old folder, by its path in it, is of the report, and goes.

    Raises:
        UsageError: where it cannot be written: the disk is full, or the place is no folder or not the user's.

    """
    try:
        target = target.resolve()  # a link to a folder stays a link
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is no folder; valid: a new folder, or that of an earlier report")
        target.parent.mkdir(parents=True, exist_ok=True)
        _mend(target)
        new = _beside(target, "new")
        new.mkdir()
        try:
            yield new
            if target.exists():
                _keep_others(target, new, own)
            _exchange(target, new)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UsageError(
            f"the report cannot be written to {target}: {error.strerror or error}{where}; an earlier one is as it was"
        ) from error


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}-{uuid.uuid4().hex[:8]}")


def _mend(target: Path) -> None:
    """Put back what a run that was killed between two renamings took away, and remove what a killed run left."""
    old = sorted(target.parent.glob(f".{target.name}.old-*"), key=lambda path: path.stat().st_mtime)
    if old and not target.exists():
        old.pop().rename(target)
    new = [path for path in target.parent.glob(f".{target.name}.new-*") if time.time() - path.stat().st_mtime > _ABANDONED]
    for path in (*old, *new):
        shutil.rmtree(path, ignore_errors=True)


def _keep_others(old: Path, new: Path, own: Callable[[PurePath], bool]) -> None:
    """Bring the files of the old folder that are not the report's into the new one, as links where the disk has them."""

    def of_report(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if goes(Path(folder) / name)}

    def goes(path: Path) -> bool:
        """Return whether a file is the report's, or a folder holds such files alone."""
        if not _is_folder(path):
            return own(path.relative_to(old))
        inside = list(path.iterdir())
        return bool(inside) and all(map(goes, inside))

    shutil.copytree(old, new, symlinks=True, ignore=of_report, copy_function=_link, dirs_exist_ok=True)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _link(source: str, target: str) -> str:
    """Link a file, or copy it where that cannot be; a file that the new report has written stays."""
    if not os.path.lexists(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    return target


def _exchange(target: Path, new: Path) -> None:
    """Let the new folder take the place of the old one, if there is one, which is removed."""
    old = _beside(target, "old") if target.exists() else None
    if old:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old:
            old.rename(target)
        raise
    if old:
        shutil.rmtree(old, ignore_errors=True)
