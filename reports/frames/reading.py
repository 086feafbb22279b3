"""The records that a report is made from; what is left out is named, never silently passed over."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from bench.errors import UsageError
from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import read_folder


@dataclass(frozen=True)
class LeftOut:
    """What a report leaves out, and why: a file, a cell or an evaluation. As a string, the line that is printed."""

    kind: Literal["not read", "failed", "not evaluated", "evaluation failed"]
    message: str

    def __str__(self) -> str:
        """Return the line."""
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Finished:
    """The records with results of one or several folders, in the order of their hashes.

    `folders`: where each lies with its images, by hash. `left_out`: each file that could not be read, each cell that failed or
    was not evaluated, and each evaluation that failed. `notes`: a line for each record that counts, but lies under another name
    or in several folders.
    """

    records: tuple[RunRecord, ...]
    folders: Mapping[str, Path]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def read_records(
    outs: Sequence[Path], *, wanted: Collection[str] | None = None, log: TextIO | None = None, may_be_none: bool = False
) -> Finished:
    """Return the records with results in `<out>/records/` of each folder, and what was left out.

    Of records of the same hash the most complete counts: with the most evaluations, then the most checkpoints, then the newest.

    Args:
        outs: the folders that hold `records/`.
        wanted: hashes of the records to take; all of them if it is None.
        log: takes a line for each thing left out, and their number; the standard error if it is None.
        may_be_none: whether there may be no record at all.

    Raises:
        UsageError: no record is left and `may_be_none` is not set; it says how many files could not be read, and why the first
            could not.

    """
    folders = [out / "records" for out in dict.fromkeys(outs)]
    copies, problems = _copies(folders, wanted)
    chosen = {digest: max(copies[digest], key=_completeness) for digest in sorted(copies)}
    unread = [file for file in problems if not file.counted]
    left_out = [LeftOut("not read", f"{file.path}: {file.reason}{_remedy(file)}") for file in unread]
    left_out += [reason for record, _ in chosen.values() for reason in _left_out_of(record)]
    finished = [record for record, _ in chosen.values() if record.status == "ok" and record.evaluations]
    notes = [f"misnamed: {file.path}: {file.reason}" for file in problems if file.counted]
    notes += [line for digest, (_, folder) in chosen.items() for line in _repeated(copies[digest], folder)]
    for line in (*left_out, *notes, *_count(left_out)):
        (log or sys.stderr).write(f"{line}\n")
    if not finished and not may_be_none:
        raise UsageError(_nothing(folders, unread))
    folder_of = {record.hash: chosen[record.hash][1] for record in finished}
    return Finished(tuple(finished), folder_of, tuple(left_out), tuple(notes))


def _copies(
    folders: Sequence[Path], wanted: Collection[str] | None
) -> tuple[dict[str, list[tuple[RunRecord, Path]]], list[RecordProblem]]:
    """Return the records of folders by their hash, each with its folder, and what is wrong with files.

    Args:
        folders: that hold records.
        wanted: hashes of the records to take; all of them if it is None.

    """
    copies: dict[str, list[tuple[RunRecord, Path]]] = defaultdict(list)
    problems: list[RecordProblem] = []
    for folder in folders:
        records, damaged = read_folder(folder)
        problems += damaged
        for record in records:
            if wanted is None or record.hash in wanted:
                copies[record.hash].append((record, folder))
    return copies, problems


def finished_records(out: Path, *, log: TextIO | None = None) -> list[RunRecord]:
    """Return the records with results of one folder; see `read_records`."""
    return list(read_records([out], log=log).records)


def _completeness(copy: tuple[RunRecord, Path]) -> tuple[bool, int, int, str]:
    """Return the sort key of copies of one record."""
    record, _ = copy
    return record.status == "ok", len(record.evaluations), len(record.checkpoints), record.finished


def _repeated(copies: Sequence[tuple[RunRecord, Path]], folder: Path) -> Iterator[str]:
    """Yield a line if a record is in several folders.

    Args:
        copies: of one record.
        folder: whose copy counts.

    """
    if len(copies) > 1:
        folders = ", ".join(str(other) for _, other in copies)
        record = copies[0][0]
        yield f"counted once: {record.spec.label} ({record.hash}) is in {folders}; that of {folder} counts"


def _left_out_of(record: RunRecord) -> Iterator[LeftOut]:
    """Yield what is left out of a record: all of it, or an evaluation."""
    name = f"{record.spec.label} ({record.hash})"
    if record.status != "ok":
        yield LeftOut("failed", f"{name}: {_one_line(record.error) or 'no reason given'}")
        return
    for stage, error in record.failed_evaluations.items():
        yield LeftOut("evaluation failed", f"{name} by {stage}: {_one_line(error)}")
    if not record.evaluations:
        yield LeftOut("not evaluated", name)


def _remedy(file: RecordProblem) -> str:
    """Return how to remove a file that is of no use; empty if it may be of use, or is no file that can be read."""
    if file.remedy != "remove" or not file.path.is_file() or not os.access(file.path, os.R_OK):
        return ""
    return f"; to remove it: rm {shlex.quote(str(file.path))}; if it was a record, the run that made it makes it again"


def _count(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yield a line that says how much is left out and of which kinds, if anything is."""
    if left_out:
        kinds = Counter(reason.kind for reason in left_out)
        yield f"left out in all: {len(left_out)} ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _nothing(folders: Sequence[Path], unread: Sequence[RecordProblem]) -> str:
    """Return the mistake that no folder holds a record with results.

    Args:
        folders: that were read.
        unread: the files that could not be read.

    """
    why = ""
    if unread:
        files = "1 file" if len(unread) == 1 else f"{len(unread)} files"
        why = f" ({files} could not be read, the first, {unread[0].path.name}, because {unread[0].reason})"
    return (
        f"there is no finished record in {', '.join(map(str, folders))}{why}; "
        "valid: a folder that holds records/ with results; run_all.py makes one"
    )
