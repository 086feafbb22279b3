"""What cells will take: seconds and memory, by the records of cells that are like them.

Seconds are operations times the seconds of one thread for an operation, over `threads ** 0.9`. The seconds for an operation are
the geometric mean of those of the most similar records; see `SimilarRecords`. Distilling and evaluating are estimated apart;
memory likewise, without operations and threads. Artefacts are made at the rate at which the methods that share them distill.

There are two errors, as factors: that of the records of each kind of cell (dataset, IPC and method) estimated by all others,
and likewise that of the records of each processor or GPU with each number of threads. Threads are not among what records are
compared by: processors of one name differ, and if each was used with its own number of threads, that would tell them apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.cells.artefact import ArtefactSpec
from bench.cells.method import Method
from bench.cells.spec import RunSpec
from bench.errors import UsageError
from bench.machine.hardware import hardware
from bench.plan.cost import Counted, Operations, operations, passed, preparing_operations
from bench.plan.similar import Levels, Measured, SimilarRecords
from bench.records.record import RecordProblem, RunRecord
from bench.records.storage import read_record

if TYPE_CHECKING:
    from bench.machine.compute import Compute

_SPEEDUP = 0.9
"""N threads are taken to be N to this power times as fast as one: two of them 1.87 times."""


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


@dataclass(frozen=True)
class Preparing:
    """An artefact that cells of a grid share, as it is planned.

    Attributes:
        spec: the description of the artefact.
        first: the hash of the first cell that needs it, which is taken to make it.
        seconds: what making it takes; 0 if it is there already.
        present: whether it is there already.

    """

    spec: ArtefactSpec
    first: str
    seconds: float
    present: bool


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
        is_made: Callable[[ArtefactSpec], bool] = lambda spec: False,
    ) -> None:
        """Take what was measured.

        Args:
            records: what was measured; those of methods and datasets that are not given are left out.
            methods: by name.
            sources: the datasets, by name.
            machine: what to estimate for.
            checkpoints: the iterations that are asked for.
            distilled: by hash, the records of cells that lack evaluations only.
            is_made: whether an artefact is there already.

        """
        self._methods, self._sources, self.machine = methods, sources, machine
        self._checkpoints, self._distilled, self._is_made = checkpoints, distilled, is_made
        self.records = [usable for record in records for usable in self._usable(record)]
        rows = self._distilling_rows, self._evaluating_rows, self._memory_rows
        self.distilling, self.evaluating, self.memory_model = (
            SimilarRecords([row for record in self.records for row in rows_of(record)]) for rows_of in rows
        )
        self.measured_here = any(Machine.of(record.hardware).name == machine.name for record in self.records)

    def _distilling_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the seconds of one thread for an operation of distilling, if there are any.

        Artefacts are counted with it, operations and seconds: a cell without `preparation` in its record has made them itself.
        """
        spec, machine, work = record.spec, Machine.of(record.hardware), self._operations(record.spec)
        seconds = record.seconds["total"] - sum(evaluation.seconds for evaluation in record.evaluations)
        seconds += sum(prepared.seconds for prepared in record.preparation.values())
        if (passes := work.distilling + work.preparing) and seconds > 0:
            yield Measured(_distilling_levels(spec, machine), machine.speedup * seconds / passes, _kind(spec), machine)

    def _evaluating_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the seconds of one thread for an operation of each evaluation."""
        spec, work = record.spec, self._operations(record.spec).evaluations
        for evaluation in record.evaluations:
            machine = Machine.of(evaluation.hardware or record.hardware)
            levels = _evaluating_levels(spec, machine, evaluation.network)
            yield Measured(levels, machine.speedup * evaluation.seconds / work[evaluation.network], _kind(spec), machine)

    def _memory_rows(self, record: RunRecord) -> Iterator[Measured]:
        """Yield the most memory that the cell's process took, in MiB, if it is known: of a GPU's cell the GPU's memory is."""
        spec, machine = record.spec, Machine.of(record.hardware)
        if record.peak_memory_mib and record.hardware.get("device", "cpu") == "cpu":
            yield Measured(_memory_levels(spec, machine), record.peak_memory_mib, _kind(spec), machine)

    def _operations(self, spec: RunSpec) -> Operations:
        return operations(spec, self._methods[spec.method], self._sources[spec.dataset])

    def _usable(self, record: RunRecord) -> Iterator[RunRecord]:
        """Yield the record with settings of its method's own class, if it can be estimated by."""
        spec, method = record.spec, self._methods.get(record.spec.method)
        has_seconds = record.status == "ok" and bool(record.evaluations) and "total" in record.seconds
        if method is None or spec.dataset not in self._sources or not has_seconds:
            return
        try:
            settings = method.settings.model_validate(dict(spec.settings))
        except (ValidationError, UsageError):  # of another version of a user's file
            return
        yield record.model_copy(update={"spec": spec.model_copy(update={"settings": settings})})

    def seconds(self, spec: RunSpec) -> float:
        """Return about how long a cell will take, without its artefacts.

        Without any record it is a number that orders cells by their operations.
        """
        work = self._operations(spec)
        existing, total = self._distilled.get(spec.hash), 0.0
        if existing is None:
            total = work.distilling * self.distilling.predict(_distilling_levels(spec, self.machine))
            names = spec.networks * (1 + passed(spec, self._checkpoints))
        else:
            names = tuple(name for _, name in existing.missing_evaluations(spec, self._checkpoints))
        for name in names:
            total += work.evaluations[name] * self.evaluating.predict(_evaluating_levels(spec, self.machine, name))
        return total / self.machine.speedup

    def artefacts(self, spec: RunSpec) -> tuple[ArtefactSpec, ...]:
        """Return what has to be prepared before a cell is distilled; nothing if it lacks evaluations only."""
        return () if spec.hash in self._distilled else self._methods[spec.method].artefacts(spec)

    def preparing(self, specs: Iterable[RunSpec]) -> list[Preparing]:
        """Return the artefacts that cells share, each once."""
        planned: dict[str, Preparing] = {}
        for spec in specs:
            for artefact in self.artefacts(spec):
                if artefact.hash not in planned:
                    rate = self.distilling.predict(_distilling_levels(spec, self.machine)) / self.machine.speedup
                    work, present = preparing_operations(artefact, self._sources[spec.dataset]), self._is_made(artefact)
                    planned[artefact.hash] = Preparing(artefact, spec.hash, 0.0 if present else rate * work, present)
        return list(planned.values())

    def all_seconds(self, specs: Sequence[RunSpec]) -> dict[str, float]:
        """Return by hash what cells take together: each artefact counts once, in the first cell that needs it."""
        seconds = {spec.hash: self.seconds(spec) for spec in specs}
        for artefact in self.preparing(specs):
            seconds[artefact.first] += artefact.seconds
        return seconds

    def memory(self, spec: RunSpec) -> float | None:
        """Return about how much memory a cell's process will take at most, in MiB; None if there are no records."""
        return self.memory_model.predict(_memory_levels(spec, self.machine)) if self.memory_model.rows else None

    @property
    def basis(self) -> str:
        """What the estimates rest on, and how far off they may be, in a line."""
        if not self.records:
            return "no records to estimate by"
        machines = sorted({Machine.of(record.hardware).name for record in self.records})
        models = {"distilling": self.distilling, "evaluating": self.evaluating, "memory": self.memory_model}
        kind = _factors({what: model.error("kind") for what, model in models.items()})
        elsewhere = _factors({what: model.error("machine") for what, model in models.items()})
        of_a_machine = f"{elsewhere} for a processor, GPU or number of threads without records, or another one of the same name"
        here = (
            ""
            if self.measured_here
            else f"; none is of {self.machine.name}, which is taken to be as fast as they are on average"
        )
        made = f"{len(self.records)} records on {', '.join(machines)}"
        return f"{made}; typical error: {kind} for a kind of cell without records; {of_a_machine}{here}"


def _factors(errors: Mapping[str, float]) -> str:
    """Return errors in logarithms as factors, in a few words; those that are NaN are not known."""
    shown = {what: f"x/÷ {math.exp(error):.2g}" for what, error in errors.items() if not math.isnan(error)}
    return ", ".join(f"{what} {factor}" for what, factor in shown.items()) or "unknown"


def _kind(spec: RunSpec) -> str:
    return f"{spec.dataset} {spec.ipc} {spec.method}"


def _distilling_levels(spec: RunSpec, machine: Machine) -> Levels:
    return str(spec.precision), spec.method, machine.name, spec.dataset


def _evaluating_levels(spec: RunSpec, machine: Machine, network: str) -> Levels:
    return str(spec.protocol.training.precision), machine.name, network, spec.dataset


def _memory_levels(spec: RunSpec, machine: Machine) -> Levels:
    return spec.dataset, machine.name, spec.method


def usual_machine(records: Sequence[RunRecord]) -> Machine:
    """Return the machine that most records were made on, GPUs before processors; if there are none, one without a name."""
    on_gpu = [record.hardware for record in records if "gpu" in record.hardware]
    machines = Counter(Machine.of(machine) for machine in on_gpu or [record.hardware for record in records])
    return machines.most_common(1)[0][0] if machines else Machine("", 1)


def record_folders(out: Path, reference: Path) -> list[Path]:
    """Return the folders of records that estimates are made from: that of a run, and those of the suite, if they exist."""
    return [folder for folder in (out / "records", *sorted(reference.glob("*/records"))) if folder.is_dir()]


def measured(*folders: Path) -> list[RunRecord]:
    """Return the records in folders, each once; other files are passed over. Images are not looked at."""
    contents = (_read(path, path.stat().st_mtime_ns) for folder in folders for path in sorted(folder.glob("*.json")))
    return list({record.hash: record for record in contents if isinstance(record, RunRecord)}.values())


@cache
def _read(path: Path, changed: int) -> RunRecord | RecordProblem | None:
    """Return the content of a file that was last changed then."""
    return read_record(path)
