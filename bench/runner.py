"""The runner: from each description of a cell to its record."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bench import interrupts
from bench.compute import Compute
from bench.evaluate import evaluate
from bench.hardware import code_version, hardware, library_versions
from bench.interrupts import Interrupted
from bench.method import Method
from bench.protocol import Protocol as BenchProtocol
from bench.protocol import Training
from bench.recorder import root_mean_square
from bench.records import Checkpoint, Evaluation, MethodFacts, RunRecord, Unfinished, stage_name, typical_iteration
from bench.resume import SECONDS, ResumeFile
from bench.seeding import Streams
from bench.spec import RunSpec
from bench.storage import distilled, read_images, write_images, write_record
from bench.task import Task
from bench.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.types import Bundle, Progress, Snapshot, SyntheticSet

Loader = Callable[[str, BenchProtocol, int], Bundle]
"""Loads the dataset of a name under a protocol and seed."""

Sets = Mapping[int | None, SyntheticSet]
"""What is evaluated of a cell, by the number of iterations: the images of checkpoints, and under None the final ones."""


class Observer(Protocol):
    """Follows how a grid goes on."""

    def started(self, spec: RunSpec) -> None:
        """Say that a cell has begun."""

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

    def run(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """Run the cells; a failed one is recorded with its error, and the rest goes on."""
        records = []
        for spec in specs:
            interrupts.check()
            self.observer.started(spec)
            record = self.cell(spec)
            if record.status == "failed" and distilled(self.folder, spec) is None:  # a failure replaces no result
                write_record(self.folder, record)
            records.append(record)
            self.observer.finished(record)
        return records

    def cell(self, spec: RunSpec) -> RunRecord:
        """Return the record of one cell. It is written after distilling, and again after each evaluation.

        Where the images are there already, only the evaluations that are missing are made.
        """
        method = self.methods[spec.method]
        there = distilled(self.folder, spec)
        earlier, checkpoints = None if self.force else there, self.checkpoints
        if earlier is not None and (
            not (method.whole_set or earlier.has_images) or earlier.lacks_checkpoints(self.checkpoints)
        ):
            # It is distilled again, also with the checkpoints and the evaluation networks that it had before.
            before = [evaluation.network for evaluation in earlier.evaluations]
            checkpoints = tuple(sorted({*checkpoints, *(at.iteration for at in earlier.checkpoints)}))
            spec, earlier = spec.with_networks(tuple(dict.fromkeys((*spec.networks, *before)))), None
        try:
            bundle = self.load(spec.dataset, spec.protocol, spec.seed)
            streams, resume = Streams(spec.seed, spec.dataset, spec.ipc), self._resume(spec)
            task = Task(bundle, spec, streams, self.compute, self.observer.progress, checkpoints, resume)
            if earlier is not None:
                return self._evaluate(task, self._sets(task, method, earlier), earlier, saved=True)
            record, sets = self._distill(task, method)
            if there is None:  # results that are there are kept until there are new ones
                self._save(task, sets, record)
            return self._evaluate(task, sets, record, saved=there is None)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (one failed cell does not end the grid)
            self._resume(spec).remove()
            details = {"traceback": traceback.format_exc()}
            return RunRecord(status="failed", error=_message(error), details=details, finished=_now(), **self._about(spec))

    def _resume(self, spec: RunSpec) -> ResumeFile:
        """Return the file of a cell's resume state."""
        return ResumeFile(self.folder / f"{spec.hash}.resume", owner=spec.hash, code=code_version()["sources"])

    def _about(self, spec: RunSpec) -> dict[str, Any]:
        """Return what every record of a cell says, whatever comes of it."""
        return {
            "hash": spec.hash,
            "spec": spec,
            "method": MethodFacts.of(self.methods[spec.method]),
            "dataset_label": self.labels.get(spec.dataset, spec.dataset),
            **self._provenance(),
        }

    def _provenance(self) -> dict[str, Any]:
        """Return on what, with what and by which code a result is made."""
        machine = hardware(self.compute.device) | {"threads": self.compute.threads}
        return {"hardware": machine, "versions": library_versions(), "code": code_version()}

    def _distill(self, task: Task, method: Method) -> tuple[RunRecord, Sets]:
        """Return the record of distilling, without evaluations, and what is to be evaluated."""
        bundle, device = task.bundle, self.compute.device
        reset_peak_memory(device)
        stopwatch = Stopwatch(device)
        with stopwatch.stage("total"):
            syn = method.distill(task, task.spec.settings)
        trace = syn.trace
        rms_start, rms_end = trace.norms or (None, None)
        record = RunRecord(
            status="ok",
            has_images=not method.whole_set,  # the full training set is where it came from
            loss=trace.loss,
            seconds={**trace.seconds, **stopwatch.read()[0]},
            seconds_per_iteration=typical_iteration(trace.iteration_seconds),
            peak_memory_mib=peak_memory_mib(device),
            rms_start=rms_start,
            rms_end=rms_end,
            angle=trace.angle,
            checkpoints=tuple(map(partial(_checkpoint, trace.iteration_seconds), trace.snapshots)),
            details={
                "train_images": len(bundle.train),
                "test_images": len(bundle.test),
                "smallest_class": int(bundle.train.labels.bincount().min()),  # a real batch is never larger
                "kernels": dict(trace.kernels),
            },
            finished=_now(),
            **self._about(task.spec),
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
            except (Exception, SystemExit) as error:  # noqa: BLE001  (one failed evaluation does not end the cell)
                failures[stage_name(name, iteration)], trace = _message(error), traceback.format_exc()
                continue
            evaluation = evaluation.model_copy(update={**self._provenance(), "finished": _now()})
            keeper.add(evaluation, task.spec, iteration)
        record = keeper.record
        if not failures:
            if not saved:
                self._save(task, sets, record)
            return record
        failed = _failed(record, failures, trace)
        if saved:  # the results of other networks stay good
            kept = record.model_copy(update={"failed_evaluations": failures, "finished": failed.finished})
            write_record(self.folder, kept if record.evaluations else failed)
        return failed

    def _save(self, task: Task, sets: Sets, record: RunRecord) -> None:
        """Write the images, if they are to be kept, and then the record."""
        for iteration, syn in sets.items() if record.has_images else ():
            write_images(self.folder / record.images_name_at(iteration), task.spec, syn, task.bundle)
        write_record(self.folder, record)
        if task.resume:
            task.resume.remove()

    def _sets(self, task: Task, method: Method, record: RunRecord) -> Sets:
        """Return what is to be evaluated of a cell that has been distilled; raise `DistillationError` where it is damaged."""
        if method.whole_set:
            return {None: method.distill(task, task.spec.settings)}
        wanted = dict.fromkeys(iteration for iteration, _ in record.missing_evaluations(task.spec, task.checkpoints))
        files = {iteration: self.folder / record.images_name_at(iteration) for iteration in wanted}
        return {iteration: read_images(path, record.hash, self.compute.device) for iteration, path in files.items()}


class Keeper:
    """Makes the evaluations of one record and adds them to it, on disk too where the record is there already.

    Networks that have been tested are kept on the way: at most every 30 seconds, and where a signal ends the run.
    """

    def __init__(self, record: RunRecord, folder: Path | None, *, code: str) -> None:
        """Take the record, the folder that it lies in, if it does, and a hash of the suite's code."""
        self.record, self._folder, self._code = record, folder, code
        self._written = time.monotonic()

    def evaluate(self, task: Task, syn: SyntheticSet, settings: Training, name: str, iteration: int | None) -> Evaluation:
        """Return an evaluation by the network `name`; of networks that an interrupted run tested, their results are taken.

        Args:
            task: the cell.
            syn: what to evaluate.
            settings: how.
            name: the network.
            iteration: the checkpoint's, or None for the final images.

        """
        stage = stage_name(name, iteration)
        earlier = self.record.unfinished.get(stage)
        if earlier is None or earlier.code != self._code:
            earlier = Unfinished(code=self._code)

        def keep(accuracies: tuple[float, ...], seconds: float) -> None:
            tested = Unfinished(accuracies=accuracies, seconds=seconds, code=self._code)
            self.record = self.record.model_copy(update={"unfinished": {stage: tested}})
            if time.monotonic() - self._written > SECONDS:
                self._write()

        try:
            return evaluate(task, syn, settings, name, earlier=earlier, keep=keep)
        except Interrupted:
            self._write()
            raise

    def add(self, evaluation: Evaluation, spec: RunSpec, iteration: int | None) -> None:
        """Add an evaluation to the record; see `RunRecord.with_evaluation`."""
        self.record = self.record.with_evaluation(evaluation, spec, iteration).model_copy(update={"unfinished": {}})
        self._write()

    def _write(self) -> None:
        if self._folder is not None:
            write_record(self._folder, self.record)
        self._written = time.monotonic()


def _checkpoint(seconds: tuple[float, ...], at: Snapshot) -> Checkpoint:
    """Return what a record says of a checkpoint before it is evaluated; `seconds` are those of each iteration."""
    return Checkpoint(iteration=at.iteration, seconds=sum(seconds[: at.iteration]), rms=root_mean_square(at.images))


def _failed(record: RunRecord, failures: Mapping[str, str], trace: str) -> RunRecord:
    """Return the record of a cell of which some evaluations failed.

    Args:
        record: what there is.
        failures: the error of each evaluation that failed, by network and iteration.
        trace: the last traceback.

    """
    text = "; ".join(failures.values() if len(failures) == 1 else (f"{name}: {text}" for name, text in failures.items()))
    return record.model_copy(
        update={
            "status": "failed",
            "error": text,
            "failed_evaluations": dict(failures),
            "details": {**record.details, "traceback": trace},
            "finished": _now(),
        }
    )


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
