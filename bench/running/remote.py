"""Running a cell on another machine, which may or may not see the folder of the run.

The worker looks for a file of an unusual name in the folder of records. If it is there, records and images are written to that
folder, and only the record is sent back. If it is not, the worker runs the cell in a folder of its own, and the images are sent
back too, and an artefact that the cell made; the driver writes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from bench.cells.artefact import ArtefactSpec
from bench.cells.spec import RunSpec
from bench.files import atomic
from bench.machine import signals
from bench.machine.signals import Interrupted
from bench.records.artefacts import ArtefactFiles
from bench.records.locks import MARKER, claimed
from bench.records.record import RunRecord
from bench.records.storage import distilled, parse_record, read_record, worth_keeping
from bench.running.observer import Done
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.running.worker import create_runner, run_cell
from bench.types import Bundle, Split

Files = dict[str, bytes]
"""The contents of files by name: in a folder of records, or in the one of artefacts beside it."""

_OWN_FOLDER = "records"

RUNNERS: dict[tuple[str, str], Runner] = {}
"""The runners of this process, by the mark of the grid and the dataset: it runs many cells, one after the other."""


@dataclass(frozen=True)
class Outcome:
    """What is sent back: a `Done` as JSON, and files that the driver does not see: the record's, its images, and artefacts."""

    done: str
    files: Files
    artefacts: Files = field(default_factory=dict)


class Artefacts:
    """The artefacts of a grid, as the driver sends them: each is put once into a store that all workers of a node read."""

    def __init__(self, folder: Path, needed: Mapping[str, Iterable[ArtefactSpec]], put: Callable[[Files], Any]) -> None:
        """Take what the cells need.

        Args:
            folder: of the records.
            needed: by the hash of each cell, the artefacts that it is sent, or makes.
            put: puts files into the store, and returns a reference to them.

        """
        self._put, self._references = put, dict[str, Any]()
        self._files = {
            cell: {spec.hash: ArtefactFiles.beside(folder, spec) for spec in artefacts} for cell, artefacts in needed.items()
        }

    def references(self, cell: str) -> list[Any]:
        """Return the references to the artefacts of a cell that have been made."""
        missing = self._missing(cell)
        return [self._references[digest] for digest in self._files[cell] if digest not in missing]

    def ready(self, waiting: Iterable[str], running: Iterable[str]) -> str | None:
        """Return the first waiting cell that needs nothing that a running cell is making; None if there is none.

        Args:
            waiting: the hashes of the cells that may be started.
            running: the hashes of those that have been started, and have not ended.

        """
        making = {digest for cell in running for digest in self._missing(cell)}
        return next((cell for cell in waiting if not making & self._missing(cell)), None)

    def store(self, cell: str, outcome: Outcome) -> None:
        """Write the artefacts that a cell made on another machine."""
        for files in self._files[cell].values():
            files.store(outcome.artefacts)

    def _missing(self, cell: str) -> set[str]:
        """Return the hashes of the artefacts of a cell that have not been made; the others are put."""
        for digest, files in self._files[cell].items():
            if digest not in self._references and (contents := files.contents()):
                self._references[digest] = self._put(contents)
        return self._files[cell].keys() - self._references.keys()


@contextmanager
def marker(folder: Path) -> Iterator[str]:
    """Yield the name of a file in `folder`, from which workers learn whether they see it; it is removed afterwards."""
    name = f"{MARKER}{uuid4().hex}"
    with claimed(folder, name):  # before the file exists: other processes remove one that nobody has claimed
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


@dataclass(frozen=True)
class Cell:
    """What a worker is sent to run a cell.

    Attributes:
        setup: what all cells share.
        mark: the name of the file in the folder of records.
        spec_json: the cell's description as JSON.
        files: what `files_of` returned, from which the cell goes on if the folder is not seen.
        prepared: references to the files of each artefact that the cell needs and that has been made.
        fetch: returns the files of a reference. Only a worker that does not see the folder calls it.

    """

    setup: WorkerSetup
    mark: str
    spec_json: str
    files: Files
    prepared: Sequence[Any]
    fetch: Callable[[Any], Files]


def run(
    cell: Cell,
    bundle: Bundle,
    runners: dict[tuple[str, str], Runner] = RUNNERS,
    create: Callable[..., Runner] = create_runner,
) -> Outcome:
    """Run a cell; this is what a worker does.

    Args:
        cell: what it is sent.
        bundle: the dataset of the cell, as `packed` returns it.
        runners: those that the worker has made, to which a new one is added.
        create: makes one.

    Raises:
        KeyboardInterrupt: if the cell was cancelled; its resume state has been written.

    """
    try:
        with signals.listening(policy="stop_once"):
            return _run(cell, bundle, runners, create)
    except Interrupted:
        raise KeyboardInterrupt from None


def _run(cell: Cell, bundle: Bundle, runners: dict[tuple[str, str], Runner], create: Callable[..., Runner]) -> Outcome:
    setup, spec_json = cell.setup, cell.spec_json
    shared = (setup.folder / cell.mark).exists()
    if not shared:
        setup = replace(setup, folder=Path.cwd() / _OWN_FOLDER)
        setup.folder.mkdir(exist_ok=True)
        for name, content in cell.files.items():
            _write(setup.folder / name, content)
    key = cell.mark, bundle.name
    if key not in runners:
        runners[key] = create(setup, bundles={bundle.name: unpacked(bundle)})
    runner = runners[key]
    if shared:
        return Outcome(run_cell(runner, spec_json).model_dump_json(), {})
    artefacts = {name: content for reference in cell.prepared for name, content in cell.fetch(reference).items()}
    spec = runner.workplace.described(spec_json)
    needed = [ArtefactFiles.beside(setup.folder, each) for each in runner.workplace.methods[spec.method].artefacts(spec)]
    for artefact in needed:
        artefact.store(artefacts)
    done = run_cell(runner, spec_json)
    made = {name: file for artefact in needed for name, file in artefact.contents().items() if name not in artefacts}
    return Outcome(done.model_dump_json(), written(setup.folder, done.record.hash), made)


def written(folder: Path, digest: str) -> Files:
    """Return the files of a cell, the record first."""
    name = f"{digest}.json"
    record = read_record(folder / name)
    names = [name, *record.images] if isinstance(record, RunRecord) else []
    return {name: (folder / name).read_bytes() for name in names}


def store(folder: Path, spec: RunSpec, outcome: Outcome) -> Done:
    """Return how a cell has ended, when the files that were sent back are written, the images before the record.

    A failure replaces no result, as in the runner.

    Args:
        folder: of records.
        spec: the cell.
        outcome: what was sent back.

    """
    if outcome.files:
        record = parse_record(outcome.files[f"{spec.hash}.json"].decode())
        if record.status == "ok" or worth_keeping(folder, spec) is None:
            for name, content in reversed(outcome.files.items()):
                _write(folder / name, content)
    return Done.model_validate_json(outcome.done)


def packed(bundle: Bundle) -> Bundle:
    """Return a dataset with arrays in place of tensors: all processes of a node share one copy of them."""
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
