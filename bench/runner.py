"""The runner: from each description of a cell to its record."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from safetensors import safe_open

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
        """Return the record of one cell, which is written after each evaluation.

        Where the images are there already, only the evaluations that are missing are made. A failed cell's record is not
        written.
        """
        method = self.methods[spec.method]
        about: dict[str, Any] = {
            "hash": spec.hash,
            "spec": spec,
            "method": MethodFacts.of(method),
            "dataset_label": self.labels.get(spec.dataset, spec.dataset),
            "hardware": hardware(self.compute.device) | {"threads": self.compute.threads},
            "versions": library_versions(),
            "code": code_version(),
        }
        earlier = None if self.force else distilled(self.folder, spec)
        try:
            bundle = self.load(spec.dataset, spec.protocol, spec.seed)
            task = Task(bundle, spec, Streams(spec.seed, spec.dataset, spec.ipc), self.compute, self.observer.progress)
            if earlier is not None and (method.whole_set or earlier.has_images):
                syn = method.distill(task, spec.settings) if method.whole_set else self._images(earlier)
                return self._evaluate(task, syn, earlier)
            record, syn = self._distill(task, method, about)
            return self._evaluate(task, syn, record)
        except Exception as error:  # noqa: BLE001  (one failed cell does not end the grid)
            text = f"{type(error).__name__}: {error}"
            details = {"traceback": traceback.format_exc()}
            return RunRecord(status="failed", error=text, details=details, finished=_now(), **about)

    def _distill(self, task: Task, method: Method, about: Mapping[str, Any]) -> tuple[RunRecord, SyntheticSet]:
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
            **about,
        )
        return record, syn

    def _evaluate(self, task: Task, syn: SyntheticSet, record: RunRecord) -> RunRecord:
        """Return the record with an evaluation by every network that the cell asks for, and write it after each of them."""
        settings = task.spec.protocol.eval or task.spec.protocol.whole
        assert settings is not None
        for name in record.missing_networks(task.spec):
            new = not record.evaluations
            evaluation = evaluate(task, syn, settings, name).model_copy(update={"finished": _now()})
            record = _with_evaluation(record, evaluation)
            if new and record.has_images:
                write_images(self.folder, task.spec, syn, task.bundle)
            write_record(self.folder, record)
        return record

    def _images(self, record: RunRecord) -> SyntheticSet:
        """Return the images of a record."""
        path = self.folder / record.images_name
        with safe_open(path, framework="pt", device=str(self.compute.device)) as file:
            if json.loads(file.metadata()["hash"]) != record.hash:
                raise DistillationError(f"{path} holds the images of another cell; run this one again with --force")
            return SyntheticSet(file.get_tensor("images"), file.get_tensor("labels"))


def _with_evaluation(record: RunRecord, evaluation: Evaluation) -> RunRecord:
    seconds = {**record.seconds, "total": record.seconds["total"] + evaluation.seconds}
    memory = max(filter(None, (record.peak_memory_mib, evaluation.peak_memory_mib)), default=None)
    changes = {"evaluations": (*record.evaluations, evaluation), "seconds": seconds, "peak_memory_mib": memory}
    return record.model_copy(update={**changes, "finished": evaluation.finished})


def distilled(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of the distillation that `spec` describes, if it is there with an evaluation and its images."""
    record = read_record(folder / f"{spec.hash}.json")
    if not isinstance(record, RunRecord) or record.status != "ok" or not record.evaluations:
        return None
    return record if not record.has_images or (folder / record.images_name).is_file() else None


def finished(folder: Path, spec: RunSpec) -> RunRecord | None:
    """Return the record of a cell that need not run: distilled, and evaluated by every network that it asks for."""
    record = distilled(folder, spec)
    return record if record is not None and not record.missing_networks(spec) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
