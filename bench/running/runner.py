"""The runner: from each description of a cell to its record."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.errors import LostWorkersError, is_disk_error
from bench.loops.recorder import divergence, root_mean_square
from bench.machine import signals
from bench.machine.ranks import Ranks
from bench.machine.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.records.locks import claimed
from bench.records.record import RunRecord, describe_error, stage_name, timestamp, typical_iteration
from bench.records.resume import ResumeFile
from bench.records.sections import Checkpoint
from bench.records.storage import distilled, finished, read_images, worth_keeping, write_images, write_record
from bench.running.evaluations import EvaluationWriter, failed
from bench.running.observer import Done, Observer
from bench.running.preparation import prepare
from bench.running.rank_jobs import distill, ranks_of
from bench.running.workplace import Workplace
from bench.types import Bundle, Snapshot, SyntheticSet

Sets = Mapping[int | None, SyntheticSet]
"""What is evaluated of a cell, by the number of iterations: the images of checkpoints, and under None the final ones."""


_POLL_SECONDS = 1.0
"""How long to wait before asking again whether another process has finished a cell."""


@dataclass(frozen=True)
class Runner:
    """Runs cells one after the other and writes their records into `workplace.folder`.

    `labels` are the datasets'. At `checkpoints`, numbers of iterations, the images are kept, and evaluated like the last.
    """

    workplace: Workplace
    observer: Observer
    labels: Mapping[str, str]
    force: bool = False
    checkpoints: tuple[int, ...] = ()

    def run(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """Return the records of the cells; see `outcomes`."""
        return [done.record for done in self.outcomes(specs)]

    def outcomes(self, specs: Iterable[RunSpec]) -> Iterator[Done]:
        """Run the cells; a failed one is recorded with its error, and the others go on.

        Cells that another process is running come last, when it has finished them; its results are not computed again.
        """
        waiting = list(specs)
        while waiting:
            busy = []
            for spec in waiting:
                signals.check()
                with claimed(self.workplace.folder, spec.hash) as ours:
                    done = self._run(spec) if ours else None
                if done is None:
                    busy.append(spec)
                else:
                    yield done
            if len(busy) == len(waiting):
                self.observer.waiting(busy)
                time.sleep(_POLL_SECONDS)
            waiting = busy

    def _run(self, spec: RunSpec) -> Done:
        """Return the outcome of one cell, whose lock this process has; another process may have finished it before."""
        folder = self.workplace.folder
        there = None if self.force else finished(folder, spec, self.checkpoints)
        if there is not None:
            self.observer.finished_elsewhere(there)
            return Done(record=there, elsewhere=True)
        self.observer.started(spec)
        record = self.cell(spec)
        if record.status == "failed" and worth_keeping(folder, spec) is None:  # a failure replaces no result
            write_record(folder, record)
        self.observer.finished(record)
        return Done(record=record)

    def cell(self, spec: RunSpec) -> RunRecord:
        """Return the record of one cell. It is written after distilling, and again after each evaluation.

        If the images are there already, only the missing evaluations are made. If an accelerator's memory is too small, the
        cell goes on with chunks of half the size.
        """
        runner = self
        while True:
            try:
                with runner.workplace.compute.serving():
                    return runner._cell(spec)
            except torch.OutOfMemoryError as error:
                compute = runner.workplace.compute.with_smaller_chunks()
                if compute is None:
                    return self._failed(spec, error)
            # after the except block: the traceback would keep the tensors alive
            runner = replace(runner, workplace=replace(runner.workplace, compute=compute))

    def _cell(self, spec: RunSpec) -> RunRecord:
        folder, checkpoints = self.workplace.folder, self.checkpoints
        existing, reusable = worth_keeping(folder, spec), None if self.force else distilled(folder, spec)
        if reusable is not None and not self._can_be_evaluated(reusable, spec):
            reusable = None
        if existing is not None and reusable is None:
            # It is distilled again, also with the checkpoints and the evaluation networks that it had before.
            previous_networks = [evaluation.network for evaluation in existing.evaluations]
            checkpoints = tuple(sorted({*checkpoints, *(checkpoint.iteration for checkpoint in existing.checkpoints)}))
            spec = spec.with_networks(tuple(dict.fromkeys((*spec.networks, *previous_networks))))
        try:
            task = self.workplace.task(spec, checkpoints, resumable=True)
            if reusable is not None:
                return self._evaluate(task, self._sets(task, reusable), reusable, saved=True)
            record, sets = self._distill(task)
            if existing is None:  # existing results are kept until there are new ones
                record = self._save(task, sets, record)
            return self._evaluate(task, sets, record, saved=existing is None)
        except (Exception, SystemExit) as error:  # one failed cell does not end the grid
            if _ends_the_grid(error):
                raise
            return self._failed(spec, error)

    def _can_be_evaluated(self, record: RunRecord, spec: RunSpec) -> bool:
        """Return whether a record has all the images that are asked for; the whole training set is read anew."""
        whole_set = self.workplace.methods[spec.method].whole_set
        return (whole_set or record.has_images) and not record.lacks_checkpoints(self.checkpoints)

    def _failed(self, spec: RunSpec, error: BaseException) -> RunRecord:
        """Return the record of a cell that failed, and remove its resume state, which might fail again."""
        ResumeFile(self.workplace.resume_key(spec)).remove()
        details = {"traceback": "".join(traceback.format_exception(error))}
        facts = {**self._identity(spec), **self.workplace.provenance()}
        return RunRecord(status="failed", error=describe_error(error), details=details, finished=timestamp(), **facts)

    def lost(self, spec: RunSpec, reason: str) -> RunRecord:
        """Return a failed record for a cell whose worker died without a reason. The resume state is kept."""
        return RunRecord(status="failed", error=reason, finished=timestamp(), **self._identity(spec))

    def _identity(self, spec: RunSpec) -> dict[str, Any]:
        """Return which cell a record is of."""
        return {
            "hash": spec.hash,
            "spec": spec,
            "method": self.workplace.facts(self.workplace.methods[spec.method]),
            "dataset_label": self.labels.get(spec.dataset, spec.dataset),
        }

    def _distill(self, task: Task) -> tuple[RunRecord, Sets]:
        """Return the record of distilling, without evaluations, and what is to be evaluated."""
        device, method = task.compute.device, self.workplace.methods[task.spec.method]
        task, preparation = prepare(self.workplace, task)
        ranks = ranks_of(task, method)
        reset_peak_memory(device)
        stopwatch = Stopwatch(device)
        with stopwatch.stage("total"):
            syn = distill(self.workplace, task, ranks)
        trace, total = syn.trace, stopwatch.read()[0]["total"]
        record = self._record_of(task, syn, total, ranks).model_copy(update={"preparation": preparation})
        sets: dict[int | None, SyntheticSet] = {None: syn}
        for snapshot in trace.snapshots:
            labels = syn.labels if snapshot.labels is None else snapshot.labels
            sets[snapshot.iteration] = SyntheticSet(snapshot.images, labels, lr=snapshot.lr)
        return record, sets

    def _record_of(self, task: Task, syn: SyntheticSet, total: float, ranks: Ranks) -> RunRecord:
        """Return the record of a distillation.

        Args:
            task: the cell.
            syn: its images, and how they were distilled.
            total: seconds of distilling in this process.
            ranks: what distilled it.

        """
        bundle, trace, method = task.bundle, syn.trace, self.workplace.methods[task.spec.method]
        rms_start, rms_end = trace.norms or (None, None)
        return RunRecord(
            status="ok",
            loss=trace.loss,
            seconds={**trace.seconds, "total": total + trace.earlier.seconds},
            seconds_per_iteration=typical_iteration(trace.iteration_seconds),
            peak_memory_mib=max(peak_memory_mib(task.compute.device) or 0.0, trace.earlier.peak_memory_mib) or None,
            rms_start=rms_start,
            rms_end=rms_end,
            angle=trace.angle,
            warnings=(
                *divergence(trace),
                *method.assumptions(bundle, task.spec.settings),
                *method.batch_notes(task.spec, bundle),
                *_other_images(bundle),
            ),
            published_images=bundle.published,
            lr=syn.lr,
            checkpoints=tuple(map(partial(_checkpoint, trace.iteration_seconds), trace.snapshots)),
            details=_details(task, syn),
            finished=timestamp(),
            **self._identity(task.spec),
            **self.workplace.provenance(ranks),
        )

    def _evaluate(self, task: Task, sets: Sets, record: RunRecord, *, saved: bool) -> RunRecord:
        """Return the record with an evaluation by every network that the cell asks for, of the final images and checkpoints.

        If one fails, the others are still tried; the record that is returned is then a failed one.

        Args:
            task: the cell.
            sets: what to evaluate.
            record: the cell's record so far.
            saved: whether the record is on disk, and each evaluation is added to it there; if not, all are written together, at
                the end, and only if none fails.

        """
        failures, trace = dict[str, str](), ""
        writer = EvaluationWriter(self.workplace, record, on_disk=saved)
        for iteration, name in record.missing_evaluations(task.spec, task.checkpoints):
            try:
                evaluation = writer.evaluate(task, sets[iteration], task.spec.protocol.training, name, iteration)
            except (Exception, SystemExit) as error:  # one failed evaluation does not end the cell
                if _ends_the_grid(error):
                    raise
                failures[stage_name(name, iteration)], trace = describe_error(error), traceback.format_exc()
                continue
            evaluation = evaluation.model_copy(update={**self.workplace.provenance(), "finished": timestamp()})
            writer.add(evaluation, task.spec, iteration)
        record = writer.record
        if not failures:
            return record if saved else self._save(task, sets, record)
        failed_record = failed(record, failures, trace)
        if saved:  # the results of other networks stay good
            kept = record.model_copy(update={"failed_evaluations": failures, "finished": failed_record.finished})
            write_record(self.workplace.folder, kept if record.evaluations else failed_record)
        return failed_record

    def _save(self, task: Task, sets: Sets, record: RunRecord) -> RunRecord:
        """Write the images and then the record, which is returned with their checksums; the whole training set is not
        written.
        """
        folder = self.workplace.folder
        if not self.workplace.methods[task.spec.method].whole_set:
            files = {record.images_name_at(iteration): syn for iteration, syn in sets.items()}
            images = {name: write_images(folder / name, task.spec, syn, task.bundle) for name, syn in files.items()}
            record = record.model_copy(update={"images": images})
        write_record(folder, record)
        if task.resume:
            ResumeFile(task.resume).remove()
        return record

    def _sets(self, task: Task, record: RunRecord) -> Sets:
        """Return what is to be evaluated of a cell that has been distilled; raise `DistillationError` if it is damaged."""
        if self.workplace.methods[task.spec.method].whole_set:
            return {None: self.workplace.procedure(task.spec)(task)}
        wanted = dict.fromkeys(iteration for iteration, _ in record.missing_evaluations(task.spec, task.checkpoints))
        files = {iteration: self.workplace.folder / record.images_name_at(iteration) for iteration in wanted}
        return {iteration: read_images(path, record.hash, task.compute.device) for iteration, path in files.items()}


def _ends_the_grid(error: BaseException) -> bool:
    """Return whether an error concerns more than one cell: nothing can be written, memory is full, or a rank has died."""
    return is_disk_error(error) or isinstance(error, torch.OutOfMemoryError | LostWorkersError)


def _other_images(bundle: Bundle) -> Iterator[str]:
    """Yield the warning that a data set of a known name has other images."""
    if bundle.published is False:
        yield f"the images are not the published ones of {bundle.name}; results cannot be compared with published numbers"


def _details(task: Task, syn: SyntheticSet) -> dict[str, Any]:
    """Return what else a reader of the record may want to know."""
    bundle, chunk_bytes = task.bundle, task.compute.chunk_bytes
    return {
        "train_images": len(bundle.train),
        "test_images": len(bundle.test),
        "smallest_class": int(bundle.train.labels.bincount().min()),
        "kernels": dict(syn.trace.kernels),
        "labels": "soft" if syn.labels.dim() == 2 else "hard",
        **({"dataset": bundle.spelling} if bundle.spelling else {}),
        **({"chunk_bytes": chunk_bytes} if chunk_bytes else {}),
    }


def _checkpoint(seconds: tuple[float, ...], snapshot: Snapshot) -> Checkpoint:
    """Return what a record says of a checkpoint before it is evaluated; `seconds` are those of each iteration."""
    spent = sum(seconds[: snapshot.iteration])
    return Checkpoint(iteration=snapshot.iteration, seconds=spent, rms=root_mean_square(snapshot.images))
