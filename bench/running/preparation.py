"""Preparing what a cell shares with others: the first process that needs an artefact makes it, while the others wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pkgutil import resolve_name

import torch
from torch import Tensor

from bench.cells.artefact import ArtefactSpec, Maker, Piece
from bench.cells.method import Method
from bench.cells.task import Task
from bench.errors import is_disk_error
from bench.machine import signals
from bench.machine.ranks import ALONE
from bench.records.artefacts import ArtefactFiles, ArtefactRecord
from bench.records.locks import claimed
from bench.records.record import timestamp
from bench.records.resume import ResumeState
from bench.records.sections import PreparedFor
from bench.running.workplace import Workplace
from bench.seeding import Streams
from bench.types import Progress

_POLL_SECONDS = 0.5


def prepare(
    workplace: Workplace, task: Task, *, wait: Callable[[float], None] = time.sleep
) -> tuple[Task, dict[str, PreparedFor]]:
    """Return the cell with the artefacts that its method asks for, and by hash what its record says of them.

    Each is read from its file, or made and written. If another process is making it, this one waits.

    Args:
        workplace: of this process; `workplace.folder` is that of the records.
        task: the cell.
        wait: waits for a number of seconds, while another process makes an artefact.

    """
    method, prepared, facts = workplace.methods[task.spec.method], dict[str, Mapping[str, Tensor]](), dict[str, PreparedFor]()
    for spec in method.artefacts(task.spec):
        files = ArtefactFiles.beside(workplace.folder, spec)
        if spec.kind in prepared:
            raise ValueError(f"method {method.name!r} asks for two artefacts of the kind {spec.kind!r}; valid: a kind for each")
        record = _present_or_made(workplace, method, task, files, wait)
        prepared[spec.kind] = files.read()
        facts[spec.hash] = PreparedFor(
            kind=spec.kind, label=spec.label, seconds=record.seconds, made=record.made_by == task.spec.hash
        )
    return replace(task, prepared=prepared), facts


def _present_or_made(
    workplace: Workplace, method: Method, task: Task, files: ArtefactFiles, wait: Callable[[float], None]
) -> ArtefactRecord:
    """Return the record of an artefact, which is made if it is not there; `wait` while another process makes it."""
    while True:
        record = files.read_record()
        if record is not None:
            return record
        with claimed(files.folder, files.spec.hash) as ours:
            if ours:
                record = files.read_record()  # another process may have finished it since
                return record or _made(workplace, method, task, files)
        task.report(Progress("prepare", 0, 1, "another process makes it"))
        signals.check()
        wait(_POLL_SECONDS)


def _made(workplace: Workplace, method: Method, task: Task, files: ArtefactFiles) -> ArtefactRecord:
    """Make an artefact, continuing from the resume state of an interrupted process, if any; return its record."""
    begin, resume = time.perf_counter(), files.resume_file(workplace.code.sources)
    state = resume.read(torch.device("cpu"))
    tensors, earlier = (dict(state.tensors), state.values["seconds"]) if state else ({}, 0.0)
    try:
        for piece in _pieces(method, task, files.spec, tensors):
            for name, tensor in piece.items():
                if tensor is None:
                    tensors.pop(name, None)
                else:
                    tensors[name] = tensor.detach().to("cpu", copy=True)  # the maker may go on to change it
            if resume.due() or signals.received():
                resume.write(ResumeState(tensors, {"seconds": earlier + time.perf_counter() - begin}))
            signals.check()
    except Exception as error:
        if not (is_disk_error(error) or isinstance(error, torch.OutOfMemoryError)):
            resume.remove()  # from there it might fail again
        raise
    facts = {
        "made_by": task.spec.hash,
        "seconds": earlier + time.perf_counter() - begin,
        "finished": timestamp(),
        **workplace.provenance(ALONE),
    }
    record = files.write(tensors, facts)
    resume.remove()
    return record


def _pieces(method: Method, task: Task, spec: ArtefactSpec, done: Mapping[str, Tensor]) -> Iterator[Piece]:
    """Return what the maker of a method's artefact yields; its streams are those of the artefact."""
    assert method.preparation is not None
    make = method.preparation.make
    maker: Maker = resolve_name(make) if isinstance(make, str) else make
    return maker(replace(task, ranks=ALONE, streams=Streams(spec.seed, spec.dataset, spec.ipc)), spec, dict(done))
