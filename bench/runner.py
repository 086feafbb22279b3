"""The runner: from each description of a cell to its record."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from bench import interrupts
from bench.compute import Compute
from bench.errors import LostWorkersError, is_disk_error
from bench.evaluations import Keeper, failed, message, now
from bench.hardware import code_version, hardware, library_versions
from bench.locks import claimed
from bench.method import Method
from bench.protocol import Protocol as BenchProtocol
from bench.ranks import ALONE, Ranks
from bench.ranks.parts import distill, ranks_of
from bench.recorder import divergence, root_mean_square
from bench.records import Checkpoint, MethodFacts, RunRecord, stage_name, typical_iteration
from bench.resume import ResumeFile
from bench.seeding import Streams
from bench.spec import RunSpec
from bench.storage import distilled, finished, read_images, worth_keeping, write_images, write_record
from bench.task import Task
from bench.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.types import Bundle, Progress, Snapshot, SyntheticSet

Loader = Callable[[str, BenchProtocol, int], Bundle]
"""Loads the dataset of a name under a protocol and seed."""

Sets = Mapping[int | None, SyntheticSet]
"""What is evaluated of a cell, by the number of iterations: the images of checkpoints, and under None the final ones."""


_POLL_SECONDS = 1.0
"""How long to wait before asking again whether another process is done with a cell."""


class Observer(Protocol):
    """Follows how a grid goes on."""

    def started(self, spec: RunSpec) -> None:
        """Say that a cell has begun."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Say that other processes are at all the cells that are left."""

    def progress(self, progress: Progress) -> None:
        """Say how far it has come."""

    def finished(self, record: RunRecord) -> None:
        """Say that it has ended."""


@dataclass(frozen=True)
class Runner:
    """Runs cells one after the other and writes their records into `folder`.

    `labels` are the datasets'. At `checkpoints`, numbers of iterations, the images are kept, and evaluated like the last.
    """

    folder: Path
    compute: Compute
    methods: Mapping[str, Method]
    load: Loader
    observer: Observer
    labels: Mapping[str, str]
    force: bool = False
    checkpoints: tuple[int, ...] = ()
    ranks: Ranks = ALONE

    def run(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """Run the cells; a failed one is recorded with its error, and the rest goes on.

        Cells that another process is at come last, when it is done with them; what it finished is not run again.
        """
        records, waiting = list[RunRecord](), list(specs)
        while waiting:
            busy = []
            for spec in waiting:
                interrupts.check()
                with claimed(self.folder, spec.hash) as ours:
                    if ours:
                        records.append(self._run(spec))
                    else:
                        busy.append(spec)
            if len(busy) == len(waiting):
                self.observer.waiting(busy)
                time.sleep(_POLL_SECONDS)
            waiting = busy
        return records

    def _run(self, spec: RunSpec) -> RunRecord:
        """Return the record of one cell that is this process's, which may have been finished by another one."""
        self.observer.started(spec)
        done = None if self.force else finished(self.folder, spec, self.checkpoints)
        record = done or self.cell(spec)
        if record.status == "failed" and worth_keeping(self.folder, spec) is None:  # a failure replaces no result
            write_record(self.folder, record)
        self.observer.finished(record)
        return record

    def cell(self, spec: RunSpec) -> RunRecord:
        """Return the record of one cell. It is written after distilling, and again after each evaluation.

        Where the images are there already, only the evaluations that are missing are made. Where an accelerator's memory is too
        small, the cell goes on with chunks of half the size.
        """
        runner = self
        while True:
            try:
                return runner._cell(spec)
            except torch.OutOfMemoryError as error:
                compute = runner.compute.with_smaller_chunks()
                if compute is None:
                    return self._failed(spec, error)
            runner = replace(runner, compute=compute)  # not above: while an error is handled, its tensors are kept

    def _cell(self, spec: RunSpec) -> RunRecord:
        method = self.methods[spec.method]
        there, checkpoints = worth_keeping(self.folder, spec), self.checkpoints
        earlier = None if self.force else distilled(self.folder, spec)
        if earlier is not None and (
            not (method.whole_set or earlier.has_images) or earlier.lacks_checkpoints(self.checkpoints)
        ):
            earlier = None
        if there is not None and earlier is None:
            # It is distilled again, also with the checkpoints and the evaluation networks that it had before.
            before = [evaluation.network for evaluation in there.evaluations]
            checkpoints = tuple(sorted({*checkpoints, *(at.iteration for at in there.checkpoints)}))
            spec = spec.with_networks(tuple(dict.fromkeys((*spec.networks, *before))))
        try:
            task = self.task(spec, checkpoints, self._resume(spec))
            if earlier is not None:
                return self._evaluate(task, self._sets(task, method, earlier), earlier, saved=True)
            record, sets = self._distill(task, method)
            if there is None:  # results that are there are kept until there are new ones
                record = self._save(task, sets, record)
            return self._evaluate(task, sets, record, saved=there is None)
        except (Exception, SystemExit) as error:  # one failed cell does not end the grid
            if _is_for_the_grid(error):
                raise
            return self._failed(spec, error)

    def task(self, spec: RunSpec, checkpoints: tuple[int, ...], resume: ResumeFile | None = None) -> Task:
        """Return a cell with its data, ready to be worked on."""
        bundle, streams = self.load(spec.dataset, spec.protocol, spec.seed), Streams(spec.seed, spec.dataset, spec.ipc)
        return Task(bundle, spec, streams, self.compute, self.observer.progress, checkpoints, resume, self.ranks)

    def _failed(self, spec: RunSpec, error: BaseException) -> RunRecord:
        """Return the record of a cell that failed, and remove its resume state, which might fail again."""
        self._resume(spec).remove()
        details = {"traceback": "".join(traceback.format_exception(error))}
        return RunRecord(status="failed", error=message(error), details=details, finished=now(), **self._about(spec))

    def lost(self, spec: RunSpec, reason: str) -> RunRecord:
        """Return the record of a cell whose worker did not come back: on what it failed nobody can say. Its state is kept."""
        return RunRecord(status="failed", error=reason, finished=now(), **self._identity(spec))

    def _resume(self, spec: RunSpec) -> ResumeFile:
        """Return the file of a cell's resume state."""
        return ResumeFile(self.folder / f"{spec.hash}.resume", owner=spec.hash, code=code_version()["sources"])

    def _about(self, spec: RunSpec, ranks: Ranks | None = None) -> dict[str, Any]:
        """Return what every record of a cell that ran here says, whatever comes of it."""
        return {**self._identity(spec), **self._provenance(ranks or self.ranks)}

    def _identity(self, spec: RunSpec) -> dict[str, Any]:
        """Return which cell a record is of."""
        return {
            "hash": spec.hash,
            "spec": spec,
            "method": MethodFacts.of(self.methods[spec.method]),
            "dataset_label": self.labels.get(spec.dataset, spec.dataset),
        }

    def _provenance(self, ranks: Ranks) -> dict[str, Any]:
        """Return on what, with what and by which code a result is made."""
        machine = hardware(self.compute.device) | {"threads": self.compute.threads}
        machine |= {"ranks": ranks.count} if ranks.count > 1 else {}
        return {"hardware": machine, "versions": library_versions(), "code": code_version()}

    def _distill(self, task: Task, method: Method) -> tuple[RunRecord, Sets]:
        """Return the record of distilling, without evaluations, and what is to be evaluated."""
        bundle, device, ranks = task.bundle, self.compute.device, ranks_of(task, method)
        reset_peak_memory(device)
        stopwatch = Stopwatch(device)
        with stopwatch.stage("total"):
            syn = distill(task, method, ranks)
        trace = syn.trace
        rms_start, rms_end = trace.norms or (None, None)
        record = RunRecord(
            status="ok",
            loss=trace.loss,
            seconds={**trace.seconds, "total": stopwatch.read()[0]["total"] + trace.earlier.seconds},
            seconds_per_iteration=typical_iteration(trace.iteration_seconds),
            peak_memory_mib=max(peak_memory_mib(device), trace.earlier.peak_memory_mib),
            rms_start=rms_start,
            rms_end=rms_end,
            angle=trace.angle,
            warnings=(*divergence(trace), *method.assumptions(bundle, task.spec.settings), *_other_images(bundle)),
            checkpoints=tuple(map(partial(_checkpoint, trace.iteration_seconds), trace.snapshots)),
            details={
                "train_images": len(bundle.train),
                "test_images": len(bundle.test),
                "smallest_class": int(bundle.train.labels.bincount().min()),  # a real batch is never larger
                "kernels": dict(trace.kernels),
                "labels": "soft" if syn.labels.dim() == 2 else "hard",
                **({"chunk_bytes": self.compute.chunk_bytes} if self.compute.chunk_bytes else {}),
            },
            finished=now(),
            **self._about(task.spec, ranks),
        )
        return record, {None: syn} | {at.iteration: SyntheticSet(at.images, syn.labels) for at in trace.snapshots}

    def _evaluate(self, task: Task, sets: Sets, record: RunRecord, *, saved: bool) -> RunRecord:
        """Return the record with an evaluation by every network that the cell asks for, of the final images and checkpoints.

        One that fails does not keep the others from being tried; the record that is returned is then a failed one.

        Args:
            task: the cell.
            sets: what to evaluate.
            record: the cell's record so far.
            saved: whether the record is on disk, where each evaluation is added to it; if not, all are written together, at the
                end, and only if none fails.

        """
        settings = task.spec.protocol.eval or task.spec.protocol.whole
        assert settings is not None
        failures, trace = dict[str, str](), ""
        keeper = Keeper(record, self.folder if saved else None, code=code_version()["sources"])
        for iteration, name in record.missing_evaluations(task.spec, task.checkpoints):
            try:
                evaluation = keeper.evaluate(task, sets[iteration], settings, name, iteration)
            except (Exception, SystemExit) as error:  # one failed evaluation does not end the cell
                if _is_for_the_grid(error):
                    raise
                failures[stage_name(name, iteration)], trace = message(error), traceback.format_exc()
                continue
            evaluation = evaluation.model_copy(update={**self._provenance(self.ranks), "finished": now()})
            keeper.add(evaluation, task.spec, iteration)
        record = keeper.record
        if not failures:
            return record if saved else self._save(task, sets, record)
        failed_record = failed(record, failures, trace)
        if saved:  # the results of other networks stay good
            kept = record.model_copy(update={"failed_evaluations": failures, "finished": failed_record.finished})
            write_record(self.folder, kept if record.evaluations else failed_record)
        return failed_record

    def _save(self, task: Task, sets: Sets, record: RunRecord) -> RunRecord:
        """Write the images and then the record, which is returned with their checksums.

        Those of the whole training set are where they came from.
        """
        if not self.methods[task.spec.method].whole_set:
            files = {record.images_name_at(iteration): syn for iteration, syn in sets.items()}
            images = {name: write_images(self.folder / name, task.spec, syn, task.bundle) for name, syn in files.items()}
            record = record.model_copy(update={"images": images})
        write_record(self.folder, record)
        if task.resume:
            task.resume.remove()
        return record

    def _sets(self, task: Task, method: Method, record: RunRecord) -> Sets:
        """Return what is to be evaluated of a cell that has been distilled; raise `DistillationError` where it is damaged."""
        if method.whole_set:
            return {None: method.distill(task, task.spec.settings)}
        wanted = dict.fromkeys(iteration for iteration, _ in record.missing_evaluations(task.spec, task.checkpoints))
        files = {iteration: self.folder / record.images_name_at(iteration) for iteration in wanted}
        return {iteration: read_images(path, record.hash, self.compute.device) for iteration, path in files.items()}


def _is_for_the_grid(error: BaseException) -> bool:
    """Return whether an error is of more than one cell: nothing can be written, memory is full, or a rank has died."""
    return is_disk_error(error) or isinstance(error, torch.OutOfMemoryError | LostWorkersError)


def _other_images(bundle: Bundle) -> Iterator[str]:
    """Yield in words that a data set of a known name holds other images."""
    if bundle.published is False:
        yield f"the images are not the published ones of {bundle.name}; results cannot be compared with published numbers"


def _checkpoint(seconds: tuple[float, ...], at: Snapshot) -> Checkpoint:
    """Return what a record says of a checkpoint before it is evaluated; `seconds` are those of each iteration."""
    return Checkpoint(iteration=at.iteration, seconds=sum(seconds[: at.iteration]), rms=root_mean_square(at.images))
