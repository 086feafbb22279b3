"""What cells will take: seconds and memory, by a model fitted to records.

Seconds are operations times factors: one for the method, the dataset, the processor or GPU, the precision and the number of
threads, each. The logarithms of the factors are fitted by ridge regression, so that what few records tell of, or none, is taken
to be average. Distilling and evaluating are fitted apart; memory likewise, without operations. The error, as a factor, is that
of the records of each kind of cell (dataset, IPC and method) under the model that is fitted to all others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lazy import hardware
from bench.lazy import numpy as np
from bench.method import Method
from bench.plan.cost import Counted, operations
from bench.records import RecordProblem, RunRecord
from bench.spec import RunSpec
from bench.storage import read_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.compute import Compute

_RIDGE = 0.3
"""The weight of the penalty on the squared logarithm of a factor: one record counts as 1."""

Levels = Mapping[str, str]
"""What factors belong to, by kind: `{"method": "kr", "threads": "2"}`."""


@dataclass(frozen=True)
class Measured:
    """A measured value, what its factors belong to, and the kind of cell it is of, whatever the seed."""

    levels: Levels
    value: float
    group: str


class LogModel:
    """Positive values as a product of factors, fitted in logarithms.

    `count`: how many values it is fitted to. `error`: the root mean square of the logarithms of value over prediction, where
    the values of each group are predicted by a model without that group.
    """

    def __init__(self, rows: Sequence[Measured]) -> None:
        """Fit the factors."""
        pairs = dict.fromkeys(pair for row in rows for pair in row.levels.items())
        self._columns = {pair: place for place, pair in enumerate(pairs)}
        self._mean, self._factors = 0.0, np.zeros(len(pairs))
        self.count, self.error = len(rows), math.nan
        if not rows:
            return
        design = np.zeros((len(rows), 1 + len(pairs)))
        design[:, 0] = 1
        for place, row in enumerate(rows):
            design[place, [1 + self._columns[pair] for pair in row.levels.items()]] = 1
        logs = np.log([row.value for row in rows])
        penalty = np.diag([1e-9] + [_RIDGE] * len(pairs))  # the mean of all is free
        solve = np.linalg.solve(design.T @ design + penalty, design.T)  # [columns, rows]
        self._mean, *factors = solve @ logs
        self._factors = np.array(factors)
        self.error = _error_left_out(logs, design @ solve, [row.group for row in rows])

    def predict(self, levels: Levels) -> float:
        """Return the value for these levels; those that no row had change nothing."""
        places = [self._columns[pair] for pair in levels.items() if pair in self._columns]
        return math.exp(float(self._mean + self._factors[places].sum()))


def _error_left_out(logs: NDArray[np.float64], hat: NDArray[np.float64], groups: Sequence[str]) -> float:
    """Return the root mean square residual of each group under the fit without it, which the hat matrix gives at once.

    Args:
        logs: what was measured, `[n]`.
        hat: the matrix `[n, n]` that makes predictions of them.
        groups: the group of each.

    """
    residuals, left_out = logs - hat @ logs, []
    for group in dict.fromkeys(groups):
        members = [place for place, other in enumerate(groups) if other == group]
        block = np.eye(len(members)) - hat[np.ix_(members, members)]
        left_out += np.linalg.solve(block, residuals[members]).tolist()
    return math.sqrt(sum(value**2 for value in left_out) / len(left_out))


@dataclass(frozen=True)
class Machine:
    """What seconds depend on besides the cell: the processor or GPU, and CPU threads."""

    name: str
    threads: int

    @classmethod
    def of(cls, hardware: Mapping[str, Any]) -> Machine:
        """Return the machine of a record, from what it says of the hardware."""
        threads = int(hardware.get("threads", 1)) * int(hardware.get("ranks", 1))
        return cls(str(hardware.get("gpu") or hardware.get("cpu", "")), threads)

    @classmethod
    def like(cls, compute: Compute, ranks: int = 1, *, here: bool) -> Machine:
        """Return the machine that workers are taken to run on: this one; elsewhere some GPU, or a processor like this one's.

        Args:
            compute: the device and the threads of one process.
            ranks: how many processes share a cell.
            here: whether it is this machine.

        """
        if not here and compute.device.type != "cpu":
            return cls("a GPU elsewhere", compute.threads)
        return cls.of(hardware.hardware(compute.device) | {"threads": compute.threads, "ranks": ranks})

    def levels(self, spec: RunSpec, precision: str | None) -> dict[str, str]:
        """Return what a cell's factors belong to here."""
        return {"dataset": spec.dataset, "machine": self.name, "threads": str(self.threads), "precision": str(precision)}


class Estimates:
    """Seconds and memory of cells, on one machine."""

    def __init__(
        self, records: Iterable[RunRecord], methods: Mapping[str, Method], sources: Mapping[str, Counted], machine: Machine
    ) -> None:
        """Fit the model.

        Args:
            records: what was measured; those of methods and datasets that are not given are left out.
            methods: by name.
            sources: the datasets, by name.
            machine: what to estimate for.

        """
        self._methods, self._sources, self.machine = methods, sources, machine
        distilling, evaluating, memory = [], [], []
        self.records = [record for record in records if self._usable(record)]
        for record in self.records:
            spec, where = record.spec, Machine.of(record.hardware)
            work = operations(spec, methods[spec.method], sources[spec.dataset])
            seconds = record.seconds["total"] - sum(evaluation.seconds for evaluation in record.evaluations)
            group = f"{spec.dataset} {spec.ipc} {spec.method}"
            if work.distilling and seconds > 0:
                levels = where.levels(spec, spec.precision) | {"method": spec.method}
                distilling.append(Measured(levels, seconds / work.distilling, group))
            for evaluation in record.evaluations:
                there = Machine.of(evaluation.hardware or record.hardware)
                levels = there.levels(spec, _evaluation_precision(spec)) | {"network": evaluation.network}
                evaluating.append(Measured(levels, evaluation.seconds / work.evaluations[evaluation.network], group))
            if record.peak_memory_mib:
                levels = {"dataset": spec.dataset, "method": spec.method, "machine": where.name}
                memory.append(Measured(levels, record.peak_memory_mib, group))
        self.distilling, self.evaluating, self.memory_model = map(LogModel, (distilling, evaluating, memory))
        self.measured_here = any(Machine.of(record.hardware).name == machine.name for record in self.records)

    def _usable(self, record: RunRecord) -> bool:
        return (
            record.status == "ok"
            and bool(record.evaluations)
            and record.spec.method in self._methods
            and record.spec.dataset in self._sources
            and "total" in record.seconds
        )

    def seconds(self, spec: RunSpec) -> float:
        """Return about how long a cell will take; without any record, a number that orders cells by their operations."""
        work = operations(spec, self._methods[spec.method], self._sources[spec.dataset])
        levels = self.machine.levels(spec, spec.precision) | {"method": spec.method}
        total = work.distilling * self.distilling.predict(levels)
        for name, evaluation in work.evaluations.items():
            levels = self.machine.levels(spec, _evaluation_precision(spec)) | {"network": name}
            total += evaluation * self.evaluating.predict(levels)
        return total

    def memory(self, spec: RunSpec) -> float | None:
        """Return about how much memory a cell's process will take at most, in MiB; None where there are no records."""
        if not self.memory_model.count:
            return None
        return self.memory_model.predict({"dataset": spec.dataset, "method": spec.method, "machine": self.machine.name})

    @property
    def basis(self) -> str:
        """What the estimates rest on, and how far off they may be, in a line."""
        if not self.records:
            return "no records to estimate by"
        machines = sorted({Machine.of(record.hardware).name for record in self.records})
        errors = ", ".join(
            f"{what} x/÷ {math.exp(model.error):.2g}"
            for what, model in (("distilling", self.distilling), ("evaluating", self.evaluating), ("memory", self.memory_model))
            if model.count
        )
        here = (
            ""
            if self.measured_here
            else f"; none is of {self.machine.name}, which is taken to be as fast as they are on average"
        )
        made = f"{len(self.records)} records on {', '.join(machines)}"
        return f"{made}; typical error for a kind of cell without records: {errors}{here}"


def _evaluation_precision(spec: RunSpec) -> str:
    training = spec.protocol.eval or spec.protocol.whole
    assert training is not None
    return str(training.precision)


def usual_machine(records: Sequence[RunRecord]) -> Machine:
    """Return the machine that most records were made on, GPUs before processors; where there are none, one without a name."""
    on_gpu = [record.hardware for record in records if "gpu" in record.hardware]
    machines = Counter(Machine.of(machine) for machine in on_gpu or [record.hardware for record in records])
    return machines.most_common(1)[0][0] if machines else Machine("", 1)


def measured(*folders: Path) -> list[RunRecord]:
    """Return the records in folders, each once; files that are none are passed over. Images are not looked at."""
    contents = (_read(path, path.stat().st_mtime_ns) for folder in folders for path in sorted(folder.glob("*.json")))
    return list({record.hash: record for record in contents if isinstance(record, RunRecord)}.values())


@cache
def _read(path: Path, changed: int) -> RunRecord | RecordProblem | None:
    """Return the content of a file that was last changed then."""
    return read_record(path)
