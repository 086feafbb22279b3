"""A runner on the tiny dataset, for tests of records and of the driver."""

from __future__ import annotations

from tiny import bundle

from bench.cells.spec import RunSpec
from bench.loops.evaluation import evaluate
from bench.machine.compute import Compute
from bench.machine.hardware import Code
from bench.records.record import RunRecord
from bench.records.storage import read_record
from bench.running.observer import Silent
from bench.running.runner import Runner
from bench.running.workplace import Workplace
from methods import METHODS


class Keeping(Silent):
    """Keeps what finished."""

    def __init__(self):
        self.records = []

    def finished(self, record):
        self.records.append(record)


def runner(folder, *, force=False, checkpoints=(), evaluate=evaluate, data=None, observer=None, **methods) -> Runner:
    """Return a runner on the tiny dataset, or on `data`; further keyword arguments replace methods."""
    data, observer = data or bundle(), observer or Keeping()
    workplace = Workplace(
        folder=folder,
        compute=Compute.choose(device="cpu", precision="fp32"),
        methods={**METHODS, **methods},
        load=lambda *_: data,
        report=observer.progress,
        code=Code(("bench",)),
        evaluate=evaluate,
    )
    return Runner(workplace, observer, {"tiny": "Tiny images"}, force, checkpoints)


def stored(spec: RunSpec, folder) -> RunRecord:
    """Return the record that lies on disk."""
    record = read_record(folder / f"{spec.hash}.json")
    assert isinstance(record, RunRecord)
    return record
