"""The records that a report is made from; files that hold none are named, never silently passed over."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TextIO

from bench.errors import UsageError
from bench.records import RunRecord
from bench.storage import read_folder


def finished_records(out: Path, *, wanted: Collection[str] | None = None, log: TextIO | None = None) -> list[RunRecord]:
    """Return the records in `<out>/records/` that have results, in the order of their hashes.

    Args:
        out: the folder that holds `records/`.
        wanted: hashes of the records to take; all of them where it is None.
        log: where each file that cannot be read is named in a line; the standard error where it is None.

    Raises:
        UsageError: where no record is left; it says how many files could not be read, and why the first could not.

    """
    folder = out / "records"
    records, unreadable = read_folder(folder)
    for file in unreadable:
        (log or sys.stderr).write(f"not read: {file.path}: {file.reason}\n")
    records = [record for record in records if record.status == "ok" and record.evaluations]
    if wanted is not None:
        records = [record for record in records if record.hash in wanted]
    if not records:
        why = ""
        if unreadable:
            files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
            why = f" ({files} could not be read, the first, {unreadable[0].path.name}, because {unreadable[0].reason})"
        raise UsageError(
            f"there is no finished record in {folder}{why}; valid: a folder that holds records/ with results; "
            "run_all.py makes one"
        )
    return records
