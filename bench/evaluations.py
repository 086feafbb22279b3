"""Evaluating the images of one cell: each finished evaluation is added to its record at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.evaluate import evaluate
from bench.interrupts import Interrupted
from bench.protocol import Training
from bench.ranks.parts import Evaluating
from bench.records import Evaluation, RunRecord, Unfinished, stage_name
from bench.resume import SECONDS
from bench.spec import RunSpec
from bench.storage import write_record
from bench.task import Task
from bench.types import SyntheticSet


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
            ours = partial(evaluate, task, syn, settings, name, earlier=earlier, keep=keep)
            return task.ranks.lead(Evaluating.by(task, syn, settings, name, earlier), ours)
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


def failed(record: RunRecord, failures: Mapping[str, str], trace: str) -> RunRecord:
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
            "finished": now(),
        }
    )


def message(error: BaseException) -> str:
    """Return what a record says of an error."""
    return f"{type(error).__name__}: {error}"


def now() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
