"""Locks: no cell is run by two processes at once.

Each cell has a lock file below `records/.locks`. The system frees the lock when its process ends, however it ends. On a file
system without such locks, filelock falls back to files that name their owner; those of a process that died on another machine
then have to be removed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_FOLDER = ".locks"


@contextmanager
def claimed(folder: Path, digest: str) -> Iterator[bool]:
    """Yield whether a cell is this process's while the block runs: False where another process has it.

    Args:
        folder: the folder of records.
        digest: the hash of the cell.

    """
    place = folder / _FOLDER
    place.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(place / f"{digest}.lock", blocking=False).acquire()
    except Timeout:
        yield False
        return
    with lock:
        yield True


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writes that were cut off; those of a process that is at work are left to it."""
    for path in folder.glob(".*.part"):
        digest = path.name.lstrip(".").partition(".")[0].partition("-")[0]
        with claimed(folder, digest) as ours:
            if ours:
                path.unlink(missing_ok=True)
