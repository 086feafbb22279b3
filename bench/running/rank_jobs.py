"""The jobs that ranks do together: distilling a cell, and evaluating its images.

The leader's runner decides what is done, prepares what a cell shares with others, and writes. It sends each job to the other
ranks, which do the same beside it; their results are dropped. `bench.machine.ranks` says how they exchange what each has
computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.cells.method import Method
from bench.cells.protocol import Training
from bench.cells.task import Task
from bench.machine.ranks import ALONE, Ranks
from bench.records.sections import Unfinished
from bench.running.workplace import Workplace
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RankJob:
    """What all jobs have: the description of the cell as JSON, its checkpoints, and `Compute.chunk_bytes`."""

    spec_json: str
    checkpoints: tuple[int, ...]
    chunk_bytes: int | None

    @classmethod
    def of(cls, task: Task, **fields: Any) -> RankJob:
        """Return the job of a cell; `fields` are those of its own class."""
        return cls(task.spec.model_dump_json(), task.checkpoints, task.compute.chunk_bytes, **fields)

    def task(self, workplace: Workplace) -> Task:
        """Return the cell for another rank, which writes no resume state."""
        compute = replace(workplace.compute, chunk_bytes=self.chunk_bytes)
        return replace(workplace, compute=compute).task(workplace.described(self.spec_json), self.checkpoints)

    def perform(self, workplace: Workplace) -> None:
        """Do the job as another rank, beside the leader."""
        raise NotImplementedError


@dataclass(frozen=True)
class Distilling(RankJob):
    """A cell is distilled; the tensors of its artefacts are sent along."""

    prepared: Mapping[str, Mapping[str, Tensor]]

    def perform(self, workplace: Workplace) -> None:
        """Do what the leader does in `distill`."""
        task = replace(self.task(workplace), prepared=self.prepared)
        workplace.procedure(task.spec)(task)


@dataclass(frozen=True)
class Evaluating(RankJob):
    """Networks are trained and tested: the arguments of `evaluate`. The full training set is not sent, and None."""

    syn: SyntheticSet | None
    settings: Training
    name: str
    earlier: Unfinished

    def perform(self, workplace: Workplace) -> None:
        """Evaluate as the leader does; see `bench.running.evaluations`."""
        task = self.task(workplace)
        syn = self.syn or workplace.procedure(task.spec)(task)
        workplace.evaluate(task, syn.to(task.compute.device), self.settings, self.name, earlier=self.earlier)


def ranks_of(task: Task, method: Method) -> Ranks:
    """Return the ranks that distill a cell: all, or this one alone if the cell is not divisible."""
    return ALONE if task.ranks.count == 1 or method.reason_not_divisible(task.spec, task.bundle) else task.ranks


def distill(workplace: Workplace, task: Task, ranks: Ranks) -> SyntheticSet:
    """Return the images of a cell, distilled by `ranks`."""
    procedure = partial(workplace.procedure(task.spec), replace(task, ranks=ranks))
    return ranks.lead(Distilling.of(task, prepared=task.prepared), procedure)


def evaluating(task: Task, syn: SyntheticSet, settings: Training, name: str, earlier: Unfinished) -> RankJob:
    """Return the job of evaluating a cell's images."""
    sent = None if task.spec.ipc is None else SyntheticSet(syn.images, syn.labels, lr=syn.lr).to("cpu")
    return Evaluating.of(task, syn=sent, settings=settings, name=name, earlier=earlier)
