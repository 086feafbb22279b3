"""A folder that is written beside the old one and replaces it as a whole, so that a failure leaves the old one as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from bench.errors import UsageError


@contextmanager
def swapped(target: Path, own: Callable[[PurePath], bool]) -> Iterator[Path]:
    """Yield an empty folder beside `target`. It replaces `target` if the block succeeds, and is removed if it does not.

    Args:
        target: the folder; the files in it that are not `own` are kept.
        own: whether a file of the old folder, by its path in it, is of the report, and is removed.

    Raises:
        UsageError: if it cannot be written: the disk is full, or `target` is no folder or not the user's.

    """
    try:
        target = target.resolve()  # a link to a folder stays a link
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is no folder; valid: a new folder, or that of an earlier report")
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}-*/old"):  # of a run that was killed between the two renames below
            if not target.exists():
                left.rename(target)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent, ignore_cleanup_errors=True) as beside:
            new, old = Path(beside, "new"), Path(beside, "old")
            new.mkdir()
            yield new
            _copy_others(target, new, own)
            try:
                if target.exists():
                    target.rename(old)
                new.rename(target)
            except BaseException:
                if old.exists() and not target.exists():
                    old.rename(target)
                raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UsageError(
            f"the report cannot be written to {target}: {error.strerror or error}{where}; an earlier one is as it was"
        ) from error


def _copy_others(old: Path, new: Path, own: Callable[[PurePath], bool]) -> None:
    """Copy the files of the old folder that are not the report's, unless the new one has a file of the same name."""
    for path in old.rglob("*"):
        name = path.relative_to(old)
        is_file = path.is_symlink() or not path.is_dir()
        if is_file and not own(name) and not os.path.lexists(new / name):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, new / name, follow_symlinks=False)
