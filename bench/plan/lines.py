"""What a plan prints: the lines of a dry run, and of a simulation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from bench.cells.spec import RunSpec
from bench.plan import schedule
from bench.plan.estimates import Estimates

_STRAGGLERS = 3


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    for unit, size in (("y", 365.25 * 86400), ("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def dry_run(specs: Sequence[RunSpec], present: Collection[str], estimates: Estimates, *, jobs: int | None) -> Iterator[str]:
    """Yield what a dry run prints: a line for each artefact that is needed, and for each cell, then what all of them take.

    Args:
        specs: the cells.
        present: the hashes of those that need not run.
        estimates: their seconds and memory.
        jobs: the number of cells that run side by side; None for all.

    """
    left = [spec for spec in specs if spec.hash not in present]
    for artefact in estimates.preparing(left):
        cost = "there   " if artefact.present else "to make "
        more = "" if artefact.present else f": {_seconds(artefact.seconds, estimates)}"
        yield f"{artefact.spec.hash} {cost}{artefact.spec.label}{more}"
    for spec in specs:
        if spec.hash not in present:
            memory = estimates.memory(spec)
            cost = f"{_seconds(estimates.seconds(spec), estimates)}, {'?' if memory is None else f'{memory / 1024:.1f} GiB'}"
            yield f"{spec.hash} to run  {spec.label}: {cost}"
        else:
            yield f"{spec.hash} there   {spec.label}"
    yield f"{len(left)} of {len(specs)} cells to run; estimates are from {estimates.basis}"
    if left and estimates.records:
        workers = jobs or len(left)
        plan = schedule.longest_first(estimates.all_seconds(left).values(), workers)
        who = f"--jobs {workers}" if jobs else f"{workers} workers, one a cell"
        yield f"with {who}: {duration(plan.makespan)} of {duration(sum(plan.seconds))} of work, {plan.idle_share:.0%} idle"


def _seconds(value: float, estimates: Estimates) -> str:
    return f"about {duration(value)}" if estimates.records else "?"


def simulation(
    specs: Sequence[RunSpec], estimates: Estimates, workers: Sequence[int], *, speedup: float, folders: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of a simulation.

    Args:
        specs: the cells.
        estimates: their seconds.
        workers: the numbers of GPUs to show.
        speedup: how many times faster a GPU is taken to be than what was measured.
        folders: of the records.

    """
    seconds = {digest: value / speedup for digest, value in estimates.all_seconds(specs).items()}
    yield f"SIMULATION of {len(specs)} cells, one worker a GPU, the longest cell first. Nothing of it was run."
    yield f"Seconds are extrapolated from {estimates.basis}."
    yield f"The records are those of {', '.join(folders)}."
    machine = f"{estimates.machine.name} with {estimates.machine.threads} threads"
    yield f"A GPU is taken to be {speedup:g} times as fast as {machine}, as --speedup says; that was not measured."
    yield f"{'GPUs':>6} {'makespan':>10} {'idle':>6} {'speed-up':>9} {'first idle until the end':>25}"
    for count in workers:
        plan = schedule.longest_first(seconds.values(), count)
        row = f"{duration(plan.makespan):>10} {plan.idle_share:>6.0%} {plan.speedup:>9.1f} {duration(plan.wait):>25}"
        yield f"{count:>6} {row}"
    longest = sorted(specs, key=lambda spec: seconds[spec.hash], reverse=True)[:_STRAGGLERS]
    yield "Stragglers: " + "; ".join(f"{spec.label} {duration(seconds[spec.hash])}" for spec in longest) + "."
    enough = schedule.enough_workers(tuple(seconds.values()))
    yield f"Past {enough} GPUs more do not help: the longest cell alone takes {duration(max(seconds.values(), default=0.0))}."
