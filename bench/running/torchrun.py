"""A grid under torchrun: rank 0 runs it, and the other ranks do its jobs beside it until it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TextIO

from bench.cells.spec import RunSpec
from bench.machine import signals
from bench.machine.cores import bind
from bench.machine.ranks import Ranks
from bench.running.rank_jobs import RankJob
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.running.worker import create_runner
from bench.running.workplace import Workplace


def run(ranks: Ranks, command: Callable[[], int]) -> int:
    """Return the exit status of the command, which the leader runs; the other ranks do its jobs until it ends."""
    with ranks.joined():
        return command() if ranks.leads else _follow(ranks)


def lead(ranks: Ranks, setup: WorkerSetup, runner: Runner, specs: Iterable[RunSpec], *, log: TextIO) -> Runner:
    """Return the leader's runner, when the others have theirs.

    Args:
        ranks: this process among them.
        setup: what the others are sent.
        runner: runs cells in this process alone.
        specs: the cells. For each method that rank 0 has to distill alone, the reason is written to `log`.
        log: the stream of progress.

    """
    workplace, alone = runner.workplace, dict[str, str | None]()
    for spec in specs:
        method, bundle = workplace.methods[spec.method], workplace.load(spec.dataset, spec.protocol, spec.seed)
        passes, _ = method.passes(spec, classes=len(bundle.classes), images=len(bundle.train))
        if passes and spec.method not in alone:  # choosing images at random is nothing to share
            alone[spec.method] = method.reason_not_divisible(spec, bundle)
    log.writelines(f"{name} is distilled by rank 0 alone: {reason}\n" for name, reason in alone.items() if reason)
    ranks.lead(setup, lambda: None)
    return replace(runner, workplace=replace(workplace, ranks=ranks))


def _follow(ranks: Ranks) -> int:
    """Do the leader's jobs until it ends; return the exit status. The first thing it sends is the `WorkerSetup` of the grid."""
    workplaces: list[Workplace] = []

    def perform(job: WorkerSetup | RankJob) -> None:
        if isinstance(job, WorkerSetup):
            bind(ranks.local_rank, job.threads)
            workplaces.append(replace(create_runner(job, ranks.local_rank).workplace, ranks=ranks))
        else:
            with workplaces[-1].compute.serving():
                job.perform(workplaces[-1])

    with signals.listening(policy="remember"), suppress(signals.Interrupted):  # the leader reports the signal
        ranks.follow(perform)
    return 0
