"""Preparing what a cell shares with others: it is made by the first process that needs it, while the others wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pkgutil import resolve_name

import torch
from torch import Tensor

from bench.cells.artefact import ArtefactSpec, Maker
from bench.cells.method import Method
from bench.cells.task import Task
from bench.machine import signals
from bench.machine.ranks import ALONE
from bench.records.artefacts import ArtefactFiles, ArtefactRecord
from bench.records.locks import claimed
from bench.records.record import PreparedFor, timestamp
from bench.records.resume import ResumeState
from bench.running.workplace import Workplace

_POLL_SECONDS = 0.5


def prepare(workplace: Workplace, task: Task) -> tuple[Task, dict[str, PreparedFor]]:
    """Return the cell with the artefacts that its method asks for, and by hash what its record says of them.

    Each is read from its file, or made and written. One that another process is making is waited for.

    Args:
        workplace: where the cell is worked on; `workplace.folder` is that of the records.
        task: the cell.

    """
    method, prepared, facts = workplace.methods[task.spec.method], dict[str, Mapping[str, Tensor]](), dict[str, PreparedFor]()
    for spec in method.artefacts(task.spec):
        files = ArtefactFiles.beside(workplace.folder, spec)
        record, made = _present_or_made(workplace, method, task, files)
        prepared[spec.kind] = files.read()
        facts[spec.hash] = PreparedFor(kind=spec.kind, label=spec.label, seconds=record.seconds, made=made)
    return replace(task, prepared=prepared), facts


def _present_or_made(workplace: Workplace, method: Method, task: Task, files: ArtefactFiles) -> tuple[ArtefactRecord, bool]:
    """Return the record of an artefact, and whether this process has made it."""
    while True:
        record = files.read_record()
        if record is not None:
            return record, False
        with claimed(files.folder, files.spec.hash) as ours:
            if ours:
                record = files.read_record()  # another process may have finished it since
                return (record, False) if record is not None else (_made(workplace, method, task, files), True)
        signals.check()
        time.sleep(_POLL_SECONDS)


def _made(workplace: Workplace, method: Method, task: Task, files: ArtefactFiles) -> ArtefactRecord:
    """Make an artefact, from where an interrupted process was; return its record."""
    begin, resume = time.perf_counter(), files.resume_file(workplace.code.sources)
    state = resume.read(torch.device("cpu"))
    tensors, earlier = (dict(state.tensors), state.values["seconds"]) if state else ({}, 0.0)
    make = _maker(method, files.spec)

    def keep() -> None:
        resume.write(ResumeState(tensors, {"seconds": earlier + time.perf_counter() - begin}))

    for piece in make(replace(task, ranks=ALONE), files.spec, dict(tensors)):
        for name, tensor in piece.items():
            if tensor is None:
                tensors.pop(name, None)
            else:
                tensors[name] = tensor.detach().cpu()
        if resume.due() or signals.received():
            keep()
        signals.check()
    facts = {"seconds": earlier + time.perf_counter() - begin, "finished": timestamp(), **workplace.provenance(ALONE)}
    record = files.write(tensors, facts)
    resume.remove()
    return record


def _maker(method: Method, spec: ArtefactSpec) -> Maker:
    """Return the function that makes an artefact of a method."""
    assert method.preparation is not None
    make = method.preparation.make
    return resolve_name(make) if isinstance(make, str) else make
