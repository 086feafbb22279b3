"""The runner: from each description of a cell to its record."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open

from bench.compute import Compute
from bench.errors import DistillationError
from bench.evaluate import evaluate
from bench.hardware import code_version, hardware, library_versions
from bench.method import Method
from bench.protocol import Protocol as BenchProtocol
from bench.records import (
    Evaluation,
    MethodFacts,
    RunRecord,
    read_record,
    typical_iteration,
    write_images,
    write_record,
)
from bench.seeding import Streams
from bench.spec import RunSpec
from bench.task import Task
from bench.timing import Stopwatch, peak_memory_mib, reset_peak_memory
from bench.types import Bundle, Progress, SyntheticSet

Loader = Callable[[str, BenchProtocol, int], Bundle]
"""Loads the dataset of a name under a protocol and seed."""


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
    """Runs cells one after the other and writes their records into `folder`; `labels` are the datasets'."""

    folder: Path
    compute: Compute
    methods: Mapping[str, Method]
    load: Loader
    observer: Observer
    labels: Mapping[str, str]
    force: bool = False

    def run(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """Run the cells; a failed one is recorded with its error, and the rest goes on."""
        records = []
        for spec in specs:
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
        earlier = None if self.force else there
        if earlier is not None and not (method.whole_set or earlier.has_images):
            # Without its images it is distilled again, and evaluated also by the networks that it was evaluated by before.
            before = [evaluation.network for evaluation in earlier.evaluations]
            spec, earlier = spec.with_networks(tuple(dict.fromkeys((*spec.networks, *before)))), None
        try:
            bundle = self.load(spec.dataset, spec.protocol, spec.seed)
            task = Task(bundle, spec, Streams(spec.seed, spec.dataset, spec.ipc), self.compute, self.observer.progress)
            if earlier is not None:
                syn = method.distill(task, spec.settings) if method.whole_set else self._images(earlier)
                return self._evaluate(task, syn, earlier, saved=True)
            record, syn = self._distill(task, method)
            if there is None:  # a forced run keeps the results that are there until it has new ones
                self._save(task, syn, record)
            return self._evaluate(task, syn, record, saved=there is None)
        except Exception as error:  # noqa: BLE001  (one failed cell does not end the grid)
            details = {"traceback": traceback.format_exc()}
            return RunRecord(status="failed", error=_message(error), details=details, finished=_now(), **self._about(spec))

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

    def _distill(self, task: Task, method: Method) -> tuple[RunRecord, SyntheticSet]:
        """Return the record of distilling, without evaluations, and the synthetic set."""
        bundle, device = task.bundle, self.compute.device
        reset_peak_memory(device)
        stopwatch = Stopwatch(device)
        with stopwatch.stage("total"):
            syn = method.distill(task, task.spec.settings)
        record = RunRecord(
            status="ok",
            has_images=not method.whole_set,  # the full training set is where it came from
            loss=syn.trace.loss,
            seconds={**syn.trace.seconds, **stopwatch.read()[0]},
            seconds_per_iteration=typical_iteration(syn.trace.iteration_seconds),
            peak_memory_mib=peak_memory_mib(device),
            details={
                "train_images": len(bundle.train),
                "test_images": len(bundle.test),
                "smallest_class": int(bundle.train.labels.bincount().min()),  # a real batch is never larger
                "kernels": dict(syn.trace.kernels),
            },
            finished=_now(),
            **self._about(task.spec),
        )
        return record, syn

    def _evaluate(self, task: Task, syn: SyntheticSet, record: RunRecord, *, saved: bool) -> RunRecord:
        """Return the record with an evaluation by every network that the cell asks for.

        A network that fails does not keep the others from being tried; the record that is returned is then a failed one.

        Args:
            task: the cell.
            syn: its synthetic set.
            record: its record so far.
            saved: whether the record is on disk, where each evaluation is added to it; if not, all are written together, at the
                end, and only if none fails.

        """
        settings = task.spec.protocol.eval or task.spec.protocol.whole
        assert settings is not None
        failures, trace = dict[str, str](), ""
        for name in record.missing_networks(task.spec):
            try:
                evaluation = evaluate(task, syn, settings, name)
            except Exception as error:  # noqa: BLE001  (one failed evaluation does not end the cell)
                failures[name], trace = _message(error), traceback.format_exc()
                continue
            evaluation = evaluation.model_copy(update={**self._provenance(), "finished": _now()})
            record = _with_evaluation(record, evaluation, task.spec)
            if saved:
                write_record(self.folder, record)
        if not failures:
            if not saved:
                self._save(task, syn, record)
            return record
        text = "; ".join(failures.values() if len(failures) == 1 else (f"{name}: {text}" for name, text in failures.items()))
        changes: dict[str, Any] = {"failed_evaluations": failures, "finished": _now()}
        details = {**record.details, "traceback": trace}
        failed = record.model_copy(update={**changes, "status": "failed", "error": text, "details": details})
        if saved:  # the results of other networks stay good
            write_record(self.folder, record.model_copy(update=changes) if record.evaluations else failed)
        return failed

    def _save(self, task: Task, syn: SyntheticSet, record: RunRecord) -> None:
        """Write the images, if they are to be kept, and then the record."""
        if record.has_images:
            write_images(self.folder, task.spec, syn, task.bundle)
        write_record(self.folder, record)

    def _images(self, record: RunRecord) -> SyntheticSet:
        """Return the images of a record; raise `DistillationError` where the file holds others, or cannot be read."""
        path = self.folder / record.images_name
        try:
            with safe_open(path, framework="pt", device=str(self.compute.device)) as file:
                owner = json.loads((file.metadata() or {}).get("hash", '""'))
                images = SyntheticSet(file.get_tensor("images"), file.get_tensor("labels"))
        except (OSError, ValueError, SafetensorError) as error:
            raise DistillationError(f"{path} cannot be read ({error}); run this cell again with --force") from error
        if owner != record.hash:
            raise DistillationError(f"{path} holds the images of another cell; run this one again with --force")
        return images


def _with_evaluation(record: RunRecord, evaluation: Evaluation, asked: RunSpec) -> RunRecord:
    """Return the record with one more evaluation. The networks that are asked for stand first, in their order."""
    memory = max(filter(None, (record.peak_memory_mib, evaluation.peak_memory_mib)), default=None)
    by_name = {other.network: other for other in (*record.evaluations, evaluation)}
    names = tuple(name for name in dict.fromkeys((*asked.networks, *by_name)) if name in by_name)
    return record.model_copy(
        update={
            "status": "ok",
            "error": "",
            "evaluations": tuple(by_name[name] for name in names),
            "failed_evaluations": {name: text for name, text in record.failed_evaluations.items() if name not in by_name},
            "seconds": {**record.seconds, "total": record.seconds["total"] + evaluation.seconds},
            "peak_memory_mib": memory,
            "finished": evaluation.finished,
            "spec": record.spec.with_networks(names),
        }
    )


def distilled(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of the distillation that `spec` describes, if its images are there, or evaluations of them."""
    record = read_record(folder / f"{spec.hash}.json")
    if not isinstance(record, RunRecord) or not (record.has_images or record.evaluations):
        return None
    return record if not record.has_images or (folder / record.images_name).is_file() else None


def finished(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of a cell that need not run: distilled, and evaluated by every network that it asks for."""
    record = distilled(folder, spec)
    return record if record is not None and record.status == "ok" and not record.missing_networks(spec) else None


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
