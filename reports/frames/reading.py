"""The records that a report is made from; what is left out is named, never silently passed over."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bench.errors import UsageError
from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import read_folder


@dataclass(frozen=True)
class Finished:
    """The records with results of one or several folders, in the order of their hashes.

    `folders`: where each lies with its images, by hash. `left_out`: a line for each file that could not be read, each cell that
    failed or was not evaluated, and each evaluation that failed. `notes`: a line for each record that
    counts, but lies under another name or in several folders.
    """

    records: tuple[RunRecord, ...]
    folders: Mapping[str, Path]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_records(
    outs: Sequence[Path], *, wanted: Collection[str] | None = None, log: TextIO | None = None, may_be_none: bool = False
) -> Finished:
    """Return the records with results in `<out>/records/` of each folder, and what was left out.

    Of records of the same hash the most complete counts: with the most evaluations, then the most checkpoints, then the newest.

    Args:
        outs: the folders that hold `records/`.
        wanted: hashes of the records to take; all of them where it is None.
        log: where what was left out is named, a line each, and counted; the standard error where it is None.
        may_be_none: whether there may be no record at all.

    Raises:
        UsageError: where no record is left and `may_be_none` is not set; it says how many files could not be read, and why the
            first could not.

    """
    folders = [out / "records" for out in dict.fromkeys(outs)]
    copies, problems = _copies(folders, wanted)
    chosen = {digest: max(copies[digest], key=_completeness) for digest in sorted(copies)}
    left_out, finished = [f"not read: {file.path}: {file.reason}{_remedy(file)}" for file in problems if not file.counted], []
    for record, _ in chosen.values():
        kept, lines = _with_results(record)
        left_out += lines
        finished += [kept] if kept else []
    notes = [f"misnamed: {file.path}: {file.reason}" for file in problems if file.counted]
    notes += [line for digest, (_, folder) in chosen.items() for line in _repeated(copies[digest], folder)]
    for line in (*left_out, *notes, *_count(left_out)):
        (log or sys.stderr).write(f"{line}\n")
    if not finished and not may_be_none:
        raise UsageError(_nothing(folders, [file for file in problems if not file.counted]))
    places = {record.hash: chosen[record.hash][1] for record in finished}
    return Finished(tuple(finished), places, tuple(left_out), tuple(notes))


def _copies(
    folders: Sequence[Path], wanted: Collection[str] | None
) -> tuple[dict[str, list[tuple[RunRecord, Path]]], list[RecordProblem]]:
    """Return the records of folders by their hash, each with its folder, and what is wrong with files.

    Args:
        folders: that hold records.
        wanted: hashes of the records to take; all of them where it is None.

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
    """Yield a line where a record is in several folders.

    Args:
        copies: of one record.
        folder: whose copy counts.

    """
    if len(copies) > 1:
        places = ", ".join(str(place) for _, place in copies)
        record = copies[0][0]
        yield f"counted once: {record.spec.label} ({record.hash}) is in {places}; that of {folder} counts"


def _with_results(record: RunRecord) -> tuple[RunRecord | None, list[str]]:
    """Return the record, or None where it has no results, and a line for what was left out of it."""
    name = f"{record.spec.label} ({record.hash})"
    if record.status != "ok":
        return None, [f"failed: {name}: {_one_line(record.error) or 'no reason given'}"]
    lines = [f"evaluation failed: {name} by {stage}: {_one_line(text)}" for stage, text in record.failed_evaluations.items()]
    return (record, lines) if record.evaluations else (None, [*lines, f"not evaluated: {name}"])


def _remedy(file: RecordProblem) -> str:
    """Return what to do about a file that holds no record, in words; empty where its reason says it, or it is no such file."""
    not_its_fault = ("cannot be read", "[Errno")  # a server that does not answer, a right that was taken away
    says_it = any(words in file.reason for words in ("to remove it: rm ", "bench.migrate", "makes them again", *not_its_fault))
    if says_it or not file.path.is_file() or not os.access(file.path, os.R_OK):
        return ""
    return f"; to remove it: rm {shlex.quote(str(file.path))}; if it was a record, the run that made it makes it again"


def _count(left_out: Sequence[str]) -> Iterator[str]:
    """Yield a line that says how much is left out and of which kinds, where anything is."""
    if left_out:
        kinds = Counter(line.partition(":")[0] for line in left_out)
        yield f"left out in all: {len(left_out)} ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _nothing(folders: Sequence[Path], unreadable: Sequence[RecordProblem]) -> str:
    """Return the mistake that no folder holds a record with results."""
    why = ""
    if unreadable:
        files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
        why = f" ({files} could not be read, the first, {unreadable[0].path.name}, because {unreadable[0].reason})"
    return (
        f"there is no finished record in {', '.join(map(str, folders))}{why}; "
        "valid: a folder that holds records/ with results; run_all.py makes one"
    )
