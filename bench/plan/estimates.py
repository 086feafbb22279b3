"""What cells will take: seconds and memory, by a model fitted to records.

Seconds are operations times factors, one for the method, the dataset, the processor or GPU, and the precision, each, over
`threads ** 0.9`. The logarithms of the factors are fitted by ridge regression, so that what few records tell of, or none, is
taken to be average. Threads have no factors of their own: processors of one name differ, and where each was used with its own
number of threads, such factors would tell the processors apart. Distilling and evaluating are fitted apart; memory likewise,
without operations and threads.

There are two errors, as factors: that of the records of each kind of cell (dataset, IPC and method) under the model that is
fitted to all others, and likewise that of the records of each processor or GPU with each number of threads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.cells.method import Method
from bench.cells.spec import RunSpec
from bench.lazy import numpy as np
from bench.machine.hardware import hardware
from bench.plan.cost import Counted, Operations, operations, passed
from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import read_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.machine.compute import Compute

_RIDGE = 0.3
"""The weight of the penalty on the squared logarithm of a factor: one record counts as 1."""

_SPEEDUP = 0.9
"""So many threads are as fast as one to this power: two of them are 1.87 times as fast."""

Levels = Mapping[str, str]
"""What factors belong to, by kind: `{"method": "kr", "precision": "fp32"}`."""


@dataclass(frozen=True)
class Measured:
    """A measured value, what its factors belong to, the kind of cell it is of, whatever the seed, and where it was measured."""

    levels: Levels
    value: float
    group: str
    place: Machine


class LogModel:
    """Positive values as a product of factors, fitted in logarithms.

    `count`: how many values it is fitted to. `error`: the root mean square of the logarithms of value over prediction, where
    the values of each group are predicted by a model without that group. `error_elsewhere`: the same for the values of each
    place; no number where all are of one place.
    """

    def __init__(self, rows: Sequence[Measured]) -> None:
        """Fit the factors."""
        pairs = dict.fromkeys(pair for row in rows for pair in row.levels.items())
        self._columns = {pair: place for place, pair in enumerate(pairs)}
        self._mean, self._factors = 0.0, np.zeros(len(pairs))
        self.count, self.error, self.error_elsewhere = len(rows), math.nan, math.nan
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
        if len({row.place for row in rows}) > 1:
            self.error_elsewhere = _error_left_out(logs, design @ solve, [row.place for row in rows])

    def predict(self, levels: Levels) -> float:
        """Return the value for these levels; those that no row had change nothing."""
        places = [self._columns[pair] for pair in levels.items() if pair in self._columns]
        return math.exp(float(self._mean + self._factors[places].sum()))


def _error_left_out(logs: NDArray[np.float64], hat: NDArray[np.float64], groups: Sequence[Hashable]) -> float:
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
    """What seconds depend on besides the cell: the processor or GPU, and the threads, or ranks with a GPU each."""

    name: str
    threads: int

    @classmethod
    def of(cls, hardware: Mapping[str, Any]) -> Machine:
        """Return the machine of a record, from what it says of the hardware; beside a GPU threads do not count."""
        threads, ranks = int(hardware.get("threads", 1)), int(hardware.get("ranks", 1))
        gpu = hardware.get("gpu")
        return cls(str(gpu), ranks) if gpu else cls(str(hardware.get("cpu", "")), threads * ranks)

    @classmethod
    def like(cls, compute: Compute, ranks: int = 1, *, here: bool) -> Machine:
        """Return the machine that workers are taken to run on: this one; elsewhere some GPU, or a processor like this one's.

        Args:
            compute: the device and the threads of one process.
            ranks: how many processes share a cell.
            here: whether it is this machine.

        """
        if not here and compute.device.type != "cpu":
            return cls("a GPU elsewhere", ranks)
        return cls.of(hardware(compute.device) | {"threads": compute.threads, "ranks": ranks})

    @property
    def speedup(self) -> float:
        """How many times as fast as one thread its threads are taken to be."""
        return float(self.threads**_SPEEDUP)

    def levels(self, spec: RunSpec, precision: str | None) -> dict[str, str]:
        """Return what a cell's factors belong to here."""
        return {"dataset": spec.dataset, "machine": self.name, "precision": str(precision)}


class Estimates:
    """Seconds and memory of cells, on one machine."""

    def __init__(
        self,
        records: Iterable[RunRecord],
        methods: Mapping[str, Method],
        sources: Mapping[str, Counted],
        machine: Machine,
        *,
        checkpoints: Collection[int] = (),
        distilled: Mapping[str, RunRecord] = MappingProxyType({}),
    ) -> None:
        """Fit the model.

        Args:
            records: what was measured; those of methods and datasets that are not given are left out.
            methods: by name.
            sources: the datasets, by name.
            machine: what to estimate for.
            checkpoints: the iterations that are asked for.
            distilled: by hash, the records of cells that lack evaluations only.

        """
        self._methods, self._sources, self.machine = methods, sources, machine
        self._checkpoints, self._distilled = checkpoints, distilled
        self.records = [record for record in records if self._usable(record)]
        rows = self._distilling_rows, self._evaluating_rows, self._memory_rows
        self.distilling, self.evaluating, self.memory_model = (
            LogModel([row for record in self.records for row in rows_of(record)]) for rows_of in rows
        )
        self.measured_here = any(Machine.of(record.hardware).name == machine.name for record in self.records)

    def _distilling_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the seconds of one thread for an operation of distilling, if there are any."""
        spec, place = record.spec, Machine.of(record.hardware)
        seconds = record.seconds["total"] - sum(evaluation.seconds for evaluation in record.evaluations)
        work = self._operations(spec).distilling
        if work and seconds > 0:
            levels = place.levels(spec, spec.precision) | {"method": spec.method}
            yield Measured(levels, place.speedup * seconds / work, _kind(spec), place)

    def _evaluating_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the seconds of one thread for an operation of each evaluation."""
        spec, work = record.spec, self._operations(record.spec).evaluations
        for evaluation in record.evaluations:
            place = Machine.of(evaluation.hardware or record.hardware)
            levels = place.levels(spec, _evaluation_precision(spec)) | {"network": evaluation.network}
            yield Measured(levels, place.speedup * evaluation.seconds / work[evaluation.network], _kind(spec), place)

    def _memory_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the most memory that the cell's process took, in MiB, if it is known: of a GPU's cell the GPU's memory is."""
        spec, place = record.spec, Machine.of(record.hardware)
        if record.peak_memory_mib and record.hardware.get("device", "cpu") == "cpu":
            levels = {"dataset": spec.dataset, "method": spec.method, "machine": place.name}
            yield Measured(levels, record.peak_memory_mib, _kind(spec), place)

    def _operations(self, spec: RunSpec) -> Operations:
        return operations(spec, self._methods[spec.method], self._sources[spec.dataset])

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
        work = self._operations(spec)
        there, total = self._distilled.get(spec.hash), 0.0
        if there is None:
            levels = self.machine.levels(spec, spec.precision) | {"method": spec.method}
            total = work.distilling * self.distilling.predict(levels)
            names = spec.networks * (1 + passed(spec, self._checkpoints))
        else:
            names = tuple(name for _, name in there.missing_evaluations(spec, self._checkpoints))
        for name in names:
            levels = self.machine.levels(spec, _evaluation_precision(spec)) | {"network": name}
            total += work.evaluations[name] * self.evaluating.predict(levels)
        return total / self.machine.speedup

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
        models = {"distilling": self.distilling, "evaluating": self.evaluating, "memory": self.memory_model}
        kind = _factors({what: model.error for what, model in models.items()})
        elsewhere = _factors({what: model.error_elsewhere for what, model in models.items()})
        of_a_machine = f"{elsewhere} for a processor, GPU or number of threads without records, or another one of the same name"
        here = (
            ""
            if self.measured_here
            else f"; none is of {self.machine.name}, which is taken to be as fast as they are on average"
        )
        made = f"{len(self.records)} records on {', '.join(machines)}"
        return f"{made}; typical error: {kind} for a kind of cell without records; {of_a_machine}{here}"


def _factors(errors: Mapping[str, float]) -> str:
    """Return errors in logarithms as factors, in words; those that are no numbers are not known."""
    shown = {what: f"x/÷ {math.exp(error):.2g}" for what, error in errors.items() if not math.isnan(error)}
    return ", ".join(f"{what} {factor}" for what, factor in shown.items()) or "unknown"


def _kind(spec: RunSpec) -> str:
    return f"{spec.dataset} {spec.ipc} {spec.method}"


def _evaluation_precision(spec: RunSpec) -> str:
    return str(spec.protocol.training.precision)


def usual_machine(records: Sequence[RunRecord]) -> Machine:
    """Return the machine that most records were made on, GPUs before processors; where there are none, one without a name."""
    on_gpu = [record.hardware for record in records if "gpu" in record.hardware]
    machines = Counter(Machine.of(machine) for machine in on_gpu or [record.hardware for record in records])
    return machines.most_common(1)[0][0] if machines else Machine("", 1)


def record_folders(out: Path, reference: Path) -> list[Path]:
    """Return the folders of records that estimates are made from: that of a run, and those of the suite; what is there."""
    return [folder for folder in (out / "records", *sorted(reference.glob("*/records"))) if folder.is_dir()]


def measured(*folders: Path) -> list[RunRecord]:
    """Return the records in folders, each once; files that are none are passed over. Images are not looked at."""
    contents = (_read(path, path.stat().st_mtime_ns) for folder in folders for path in sorted(folder.glob("*.json")))
    return list({record.hash: record for record in contents if isinstance(record, RunRecord)}.values())


@cache
def _read(path: Path, changed: int) -> RunRecord | RecordProblem | None:
    """Return the content of a file that was last changed then."""
    return read_record(path)
