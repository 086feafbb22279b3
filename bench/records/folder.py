"""The folder of a run before work starts: it is made, cleaned and looked through."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from bench.cells.spec import RunSpec
from bench.errors import UsageError
from bench.records.artefacts import FOLDER as ARTEFACTS
from bench.records.locks import claimed, remove_leftovers
from bench.records.record import RunRecord
from bench.records.storage import distilled, finished, read_folder


@dataclass(frozen=True)
class Contents:
    """What a folder has of a grid.

    Attributes:
        finished: the hashes of the cells that need not run.
        distilled: by hash, the records of the others that lack evaluations only.
        unrepaired: a line for each leftover file that could not be removed.

    """

    finished: frozenset[str] = frozenset()
    distilled: Mapping[str, RunRecord] = field(default_factory=dict)
    unrepaired: tuple[str, ...] = ()


def make(out: Path) -> None:
    """Make the folder of records in `out`; raise `UsageError` if it cannot be written to."""
    records = out / "records"
    try:
        records.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=records).close()
        with claimed(records, "trial"):
            pass
    except OSError as error:
        raise UsageError(f"--out {str(out)!r} cannot be written to ({error}); valid: a folder of yours") from None


def present(
    out: Path, specs: Sequence[RunSpec], checkpoints: Collection[int], *, force: bool, dry_run: bool, log: TextIO
) -> Contents:
    """Return what a folder has of a grid: nothing if all cells are to run again.

    Args:
        out: the folder of the run.
        specs: the cells that are asked for.
        checkpoints: the iterations that are asked for.
        force: whether all cells are to run again.
        dry_run: change nothing on disk; else leftover files of dead processes are removed.
        log: the stream on which files that are not as they should be are named, a line each.

    Raises:
        UsageError: if a folder has the name of a file of these cells.

    """
    records, hashes = out / "records", {spec.hash for spec in specs}
    for file in read_folder(records)[1]:
        again = ", and its cell has to run again" if file.path.stem in hashes and not file.counted else ""
        log.write(f"{file.path}: {file.reason}{again}\n")
    if not dry_run:
        _check_names(records, hashes)
    unrepaired = () if dry_run else tuple(_clean(records))
    log.writelines(f"{line}\n" for line in unrepaired)
    if force:
        return Contents(unrepaired=unrepaired)
    done = frozenset(spec.hash for spec in specs if finished(records, spec, checkpoints))
    others = {spec: distilled(records, spec) for spec in specs if spec.hash not in done}
    kept = {spec.hash: record for spec, record in others.items() if record and _is_kept(record, spec, checkpoints)}
    return Contents(done, kept, unrepaired)


def _check_names(records: Path, hashes: Collection[str]) -> None:
    """Raise `UsageError` if a folder has the name of a file of one of these cells, which could not be written."""
    for path in sorted(records.glob("*")):
        if path.stem.partition("-")[0] in hashes and path.is_dir():
            raise UsageError(f"{path} is a folder in the place of a file of this run; valid: to move it elsewhere")


def _clean(records: Path) -> Iterator[str]:
    """Remove leftovers of dead processes; yield a line for each file that cannot be removed."""
    for error in (*remove_leftovers(records), *remove_leftovers(records.parent / ARTEFACTS)):
        yield f"{error.filename}: it is left over from a write that was cut off, and cannot be removed ({error.strerror})"


def _is_kept(record: RunRecord, spec: RunSpec, checkpoints: Collection[int]) -> bool:
    """Return whether the images of a cell need not be made again, as the runner sees it; the whole training set has none."""
    return bool(record.images or spec.ipc is None) and not record.lacks_checkpoints(checkpoints)
