"""Locks: no cell is run, and no artefact made, by two processes at once.

Each has a lock file below `.locks` in its folder. The system frees the lock when its process ends, however it ends. On a file
system without such locks, filelock falls back to files that name their owner (before 4.1 it removed those of others); those of
a process that died on another machine then have to be removed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UnwritableError

_FOLDER = ".locks"

MARKER = ".shared-"
"""Prefix of the probe file that a worker looks for to learn whether it shares the driver's file system. Its creator holds the
lock of the same name."""


@contextmanager
def claimed(folder: Path, digest: str) -> Iterator[bool]:
    """Yield whether this process has the lock of a cell while the block runs: False if another process has it.

    Args:
        folder: of the records, or of the artefacts.
        digest: the hash of the cell or of the artefact, or another name for what is claimed.

    Raises:
        UnwritableError: if nothing can be locked in that folder.

    """
    path = folder / _FOLDER / f"{digest}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, blocking=False).acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise UnwritableError.of(error, Path(error.filename or path)) from error
    with lock:
        yield True


def remove_leftovers(folder: Path) -> list[OSError]:
    """Remove the temporary files of writes that were cut off, and markers, unless a running process owns them.

    Returns the errors of files that cannot be removed.
    """
    errors = []
    owners = {path: path.name.lstrip(".").partition(".")[0].partition("-")[0] for path in folder.glob(".*.part")}
    owners |= {path: path.name for path in folder.glob(f"{MARKER}*")}
    for path, owner in owners.items():
        with claimed(folder, owner) as ours:
            try:
                if ours:
                    path.unlink(missing_ok=True)
            except OSError as error:
                errors.append(error)
    return errors
