"""Evaluating the images of one cell: each finished evaluation is added to its record at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from bench.cells.protocol import Training
from bench.cells.spec import RunSpec
from bench.cells.task import Task
from bench.machine.signals import Interrupted
from bench.records.record import RunRecord, stage_name, timestamp
from bench.records.resume import SECONDS
from bench.records.sections import Evaluation, Unfinished
from bench.records.storage import write_record
from bench.running.rank_jobs import evaluating
from bench.running.workplace import Workplace
from bench.types import SyntheticSet


class EvaluationWriter:
    """Makes the evaluations of one record and adds them to it, on disk too if the record is there already.

    What has been measured of an unfinished evaluation is written at most every 30 seconds, and when a signal ends the run.
    """

    def __init__(self, workplace: Workplace, record: RunRecord, *, on_disk: bool) -> None:
        """Take the record.

        Args:
            workplace: what runs the cell.
            record: its record so far.
            on_disk: whether the record is in `workplace.folder`.

        """
        self.record, self._workplace, self._on_disk = record, workplace, on_disk
        self._written = time.monotonic()

    def evaluate(self, task: Task, syn: SyntheticSet, settings: Training, name: str, iteration: int | None) -> Evaluation:
        """Return an evaluation by the network `name`; networks that an interrupted run has tested are not trained again.

        Args:
            task: the cell.
            syn: what to evaluate.
            settings: how.
            name: the network.
            iteration: the checkpoint's, or None for the final images.

        """
        stage, code = stage_name(name, iteration), self._workplace.code.sources
        earlier = self.record.unfinished.get(stage)
        if earlier is None or earlier.code != code:
            earlier = Unfinished(code=code)

        def on_network_done(measured: Unfinished) -> None:
            self.record = self.record.model_copy(update={"unfinished": {stage: measured}})
            if time.monotonic() - self._written > SECONDS:
                self._write()

        evaluate = partial(
            self._workplace.evaluate, task, syn, settings, name, earlier=earlier, on_network_done=on_network_done
        )
        try:
            return task.ranks.lead(evaluating(task, syn, settings, name, earlier), evaluate)
        except Interrupted:
            self._write()
            raise

    def add(self, evaluation: Evaluation, spec: RunSpec, iteration: int | None) -> None:
        """Add an evaluation to the record; see `RunRecord.with_evaluation`."""
        self.record = self.record.with_evaluation(evaluation, spec, iteration).model_copy(update={"unfinished": {}})
        self._write()

    def _write(self) -> None:
        if self._on_disk:
            write_record(self._workplace.folder, self.record)
        self._written = time.monotonic()


def failed(record: RunRecord, failures: Mapping[str, str], trace: str) -> RunRecord:
    """Return the record of a cell with evaluations that failed.

    Args:
        record: what there is.
        failures: the error of each evaluation that failed, by network and iteration.
        trace: the last traceback.

    """
    errors = failures.values() if len(failures) == 1 else (f"{name}: {error}" for name, error in failures.items())
    return record.model_copy(
        update={
            "status": "failed",
            "error": "; ".join(errors),
            "failed_evaluations": dict(failures),
            "details": {**record.details, "traceback": trace},
            "finished": timestamp(),
        }
    )
