"""The folder of a run, before work starts: made, put right and looked through."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TextIO

from bench.errors import UsageError
from bench.locks import remove_leftovers
from bench.spec import RunSpec
from bench.storage import finished, read_folder, rename_misplaced


def make(out: Path) -> None:
    """Make the folder of records in `out`; raise `UsageError` where it cannot be written to."""
    records = out / "records"
    try:
        records.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=records).close()
    except OSError as error:
        raise UsageError(f"--out {str(out)!r} cannot be written to ({error}); valid: a folder of yours") from None


def present(
    out: Path, specs: Sequence[RunSpec], checkpoints: Collection[int], *, force: bool, look: bool, log: TextIO
) -> set[str]:
    """Return the hashes of the cells that need not run.

    Args:
        out: the folder of the run.
        specs: the cells that are asked for.
        checkpoints: the iterations that are asked for.
        force: whether all cells are to run again.
        look: whether to change nothing; else leftovers of dead processes go, and misplaced records get their own names.
        log: where files that are not as they should be are named, a line each.

    """
    records, hashes = out / "records", {spec.hash for spec in specs}
    for file in read_folder(records)[1]:
        again = ", and its cell has to run again" if file.path.stem in hashes and not file.counted else ""
        log.write(f"{file.path}: {file.reason}{again}\n")
    if not look:
        remove_leftovers(records)
        for file in rename_misplaced(records):
            log.write(f"{file.path}: {file.reason}\n")
    return set() if force else {spec.hash for spec in specs if finished(records, spec, checkpoints)}
