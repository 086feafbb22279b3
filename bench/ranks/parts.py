"""The parts of a cell that ranks work on together: its distillation, and each of its evaluations.

The leader does a part itself; the other ranks are sent it, and do the same beside the leader. What they leave is dropped: only
what the leader has is kept. `bench.ranks` says how they meet on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from bench import interrupts
from bench.cores import bind
from bench.evaluate import evaluate
from bench.executors.work import Work, described
from bench.ranks import ALONE, Ranks
from bench.records import Unfinished
from bench.types import SyntheticSet

if TYPE_CHECKING:
    from bench.method import Method
    from bench.protocol import Training
    from bench.runner import Runner
    from bench.spec import RunSpec
    from bench.task import Task


@dataclass(frozen=True)
class Part:
    """What all parts have: the description of the cell as JSON, its checkpoints, and `Compute.chunk_bytes`."""

    text: str
    checkpoints: tuple[int, ...]
    chunk_bytes: int | None

    @classmethod
    def of(cls, task: Task, **more: Any) -> Part:
        """Return the part of a cell; `more` are the fields of its own."""
        return cls(task.spec.model_dump_json(), task.checkpoints, task.compute.chunk_bytes, **more)

    def task(self, runner: Runner) -> Task:
        """Return the cell for another rank, which writes no resume state."""
        compute = replace(runner.compute, chunk_bytes=self.chunk_bytes)
        return replace(runner, compute=compute).task(described(runner, self.text), self.checkpoints)

    def work_on(self, runner: Runner) -> None:
        """Do the part as another rank, beside the leader."""
        raise NotImplementedError


@dataclass(frozen=True)
class Distilling(Part):
    """A cell is distilled."""

    def work_on(self, runner: Runner) -> None:
        """Do what the leader does in `distill`."""
        task = self.task(runner)
        runner.methods[task.spec.method].distill(task, task.spec.settings)


@dataclass(frozen=True)
class Evaluating(Part):
    """Networks are trained and tested: the arguments of `evaluate`. The full training set is not sent, and None."""

    syn: SyntheticSet | None
    settings: Training
    name: str
    earlier: Unfinished

    @classmethod
    def by(cls, task: Task, syn: SyntheticSet, settings: Training, name: str, earlier: Unfinished) -> Part:
        """Return the evaluation of a cell's images."""
        sent = None if task.spec.ipc is None else SyntheticSet(syn.images, syn.labels).to("cpu")
        return cls.of(task, syn=sent, settings=settings, name=name, earlier=earlier)

    def work_on(self, runner: Runner) -> None:
        """Do what the leader does in `bench.evaluations`."""
        task = self.task(runner)
        syn = self.syn or runner.methods[task.spec.method].distill(task, task.spec.settings)
        evaluate(task, syn.to(task.compute.device), self.settings, self.name, earlier=self.earlier)


def ranks_of(task: Task, method: Method) -> Ranks:
    """Return the ranks that distill a cell: all, or this one alone where a method does not fall into classes."""
    return ALONE if task.ranks.count == 1 or method.undivided(task.spec, task.bundle) else task.ranks


def distill(task: Task, method: Method, ranks: Ranks) -> SyntheticSet:
    """Return the images of a cell, from all `ranks`; see `Method.distill`."""
    function = partial(method.distill, replace(task, ranks=ranks), task.spec.settings)
    return ranks.lead(Distilling.of(task), function)


def lead(ranks: Ranks, work: Work, runner: Runner, specs: Iterable[RunSpec], *, log: TextIO) -> Runner:
    """Return the leader's runner, when the others have theirs.

    Args:
        ranks: this process among them.
        work: what the others are given.
        runner: runs cells in this process alone.
        specs: the cells. Of each method that rank 0 has to distill alone, `log` is told why.
        log: where lines are written to.

    """
    alone: dict[str, str] = {}
    for spec in specs:
        method, bundle = runner.methods[spec.method], runner.load(spec.dataset, spec.protocol, spec.seed)
        passes, _ = method.passes(spec, classes=len(bundle.classes), images=len(bundle.train))
        if passes and spec.method not in alone:  # choosing images at random is nothing to share
            alone[spec.method] = method.undivided(spec, bundle)
    log.writelines(f"{name} is distilled by rank 0 alone: {reason}\n" for name, reason in alone.items() if reason)
    ranks.lead(work, lambda: None)
    return replace(runner, ranks=ranks)


def follow(ranks: Ranks) -> int:
    """Work on the leader's parts until it ends; return the exit status. The first part is the `Work` of the grid."""
    runners: list[Runner] = []

    def work_on(part: Work | Part) -> None:
        if isinstance(part, Work):
            bind(ranks.local_rank, part.threads)
            runners.append(replace(part.open(ranks.local_rank), ranks=ranks))
        else:
            part.work_on(runners[-1])

    with interrupts.listening(follow=True), suppress(interrupts.Interrupted):  # the leader says that it came
        ranks.follow(work_on)
    return 0
