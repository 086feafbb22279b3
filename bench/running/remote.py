"""Running a cell on another machine, which may or may not see the folder of the run.

The worker looks for a file of an unusual name in the folder of records. Where it is there, records and images are written in
place, and nothing but the record travels back. Where it is not, the worker runs the cell in a folder of its own, and the images
come back too, to be written where the grid was started.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from bench.cells.spec import RunSpec
from bench.files import atomic
from bench.machine import signals
from bench.machine.signals import Interrupted
from bench.records.locks import MARKER, claimed
from bench.records.record import RunRecord
from bench.records.storage import distilled, parse_record, read_record, worth_keeping
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.running.worker import create_runner, run_cell
from bench.types import Bundle, Split

Files = dict[str, bytes]
"""The contents of files in a folder of records, by name."""

_OWN_FOLDER = "records"
_runners: dict[tuple[str, str], Runner] = {}


@dataclass(frozen=True)
class Outcome:
    """What comes back: a record as JSON, and the files that the driver does not see: that of the record, then its images."""

    record: str
    files: Files


@contextmanager
def marker(folder: Path) -> Iterator[str]:
    """Yield the name of a file in `folder`, by which workers see whether they see the folder; it is removed afterwards."""
    name = f"{MARKER}{uuid4().hex}"
    with claimed(folder, name):  # before the file is there: another process takes an unclaimed one for a dead one's
        (folder / name).touch()
        try:
            yield name
        finally:
            (folder / name).unlink(missing_ok=True)


def files_of(folder: Path, spec: RunSpec) -> Files:
    """Return the files of a cell that is distilled and lacks evaluations only: a worker needs them; else nothing."""
    record = distilled(folder, spec)
    names = [f"{record.hash}.json", *record.images] if record is not None else []
    return {name: (folder / name).read_bytes() for name in names}


def run(setup: WorkerSetup, mark: str, bundle: Bundle, spec_json: str, files: Files) -> Outcome:
    """Run a cell; this is what a worker is asked for.

    Args:
        setup: what all cells share.
        mark: the name of the file in the folder of records.
        bundle: the dataset of the cell, as `packed` returns it.
        spec_json: the cell's description as JSON.
        files: what `files_of` returned, by which the cell goes on where the folder is not seen.

    Raises:
        KeyboardInterrupt: where the cell was cancelled; its resume state is written then.

    """
    try:
        with signals.listening(policy="stop_once"):
            return _run(setup, mark, bundle, spec_json, files)
    except Interrupted:
        raise KeyboardInterrupt from None


def _run(setup: WorkerSetup, mark: str, bundle: Bundle, spec_json: str, files: Files) -> Outcome:
    shared = (setup.folder / mark).exists()
    if not shared:
        setup = replace(setup, folder=Path.cwd() / _OWN_FOLDER)
        setup.folder.mkdir(exist_ok=True)
        for name, content in files.items():
            _write(setup.folder / name, content)
    key = mark, bundle.name
    if key not in _runners:  # a process runs many cells, one after the other
        _runners[key] = create_runner(setup, bundles={bundle.name: unpacked(bundle)})
    record = run_cell(_runners[key], spec_json)
    return Outcome(record.model_dump_json(), {} if shared else _written(setup.folder, record.hash))


def _written(folder: Path, digest: str) -> Files:
    """Return the files of a cell, the record first."""
    name = f"{digest}.json"
    record = read_record(folder / name)
    names = [name, *record.images] if isinstance(record, RunRecord) else []
    return {name: (folder / name).read_bytes() for name in names}


def store(folder: Path, spec: RunSpec, outcome: Outcome) -> RunRecord:
    """Return the record of a cell, when the files that came back are written, the images first.

    A failure replaces no result, as in the runner.

    Args:
        folder: of records.
        spec: the cell.
        outcome: what came back.

    """
    if outcome.files:
        record = parse_record(outcome.files[f"{spec.hash}.json"].decode())
        if record.status == "ok" or worth_keeping(folder, spec) is None:
            for name, content in reversed(outcome.files.items()):
                _write(folder / name, content)
    return RunRecord.model_validate_json(outcome.record)


def packed(bundle: Bundle) -> Bundle:
    """Return a dataset with arrays in place of tensors: all processes of a node read them in one place of its memory."""
    return replace(bundle, train=_arrays(bundle.train), test=_arrays(bundle.test))


def unpacked(bundle: Bundle) -> Bundle:
    """Return what `packed` was given. The tensors share the arrays' memory, which nobody may write to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return replace(bundle, train=_tensors(bundle.train), test=_tensors(bundle.test))


def _arrays(split: Any) -> Any:
    return replace(split, images=split.images.numpy(), labels=split.labels.numpy())


def _tensors(split: Any) -> Split:
    return Split(torch.from_numpy(split.images), torch.from_numpy(split.labels))


def _write(path: Path, content: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(content)
