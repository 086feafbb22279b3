"""Plans: how long a grid will take, before it runs.

    python run_all.py ... --dry-run                            each cell, on this machine
    python -m bench.plan --profile paper --gpus 1,8,64         a simulation for so many GPUs

The second takes the options of `run_all.py`; without `--datasets` and `--ipc` the grid is that of the paper's Table 2. It is a
simulation: seconds come from the model of `bench.estimates`, which is fitted to records, and the schedule from
`bench.schedule`. Nothing is run.
"""

from __future__ import annotations

import argparse
import math
import pkgutil
import sys
from collections.abc import Collection, Iterator, Sequence

from bench import schedule
from bench.errors import UsageError
from bench.estimates import Estimates
from bench.options import numbers
from bench.spec import RunSpec

TABLE_2 = ("--datasets", "mnist,fashionmnist,svhn,cifar10,cifar100", "--ipc", "1,10,50")
"""The grid where none is named."""

_STRAGGLERS = 3


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    for unit, size in (("y", 365.25 * 86400), ("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def lines(specs: Sequence[RunSpec], present: Collection[str], estimates: Estimates, *, jobs: int | None) -> Iterator[str]:
    """Yield what a dry run prints: a line for each cell, and below them what all that are to run take.

    Args:
        specs: the cells.
        present: the hashes of those that need not run.
        estimates: their seconds and memory.
        jobs: how many run side by side; None for as many as there are cells.

    """
    left = {spec.hash: estimates.seconds(spec) for spec in specs if spec.hash not in present}
    for spec in specs:
        if spec.hash in left:
            memory = estimates.memory(spec)
            cost = f"{_seconds(left[spec.hash], estimates)}, {'?' if memory is None else f'{memory / 1024:.1f} GiB'}"
            yield f"{spec.hash} to run  {spec.label}: {cost}"
        else:
            yield f"{spec.hash} there   {spec.label}"
    yield f"{len(left)} of {len(specs)} cells to run; estimates are from {estimates.basis}"
    if left and estimates.records:
        workers = jobs or len(left)
        plan = schedule.longest_first(left.values(), workers)
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
        folders: where the records come from.

    """
    seconds = {spec: estimates.seconds(spec) / speedup for spec in specs}
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
    longest = sorted(seconds, key=lambda spec: seconds[spec], reverse=True)[:_STRAGGLERS]
    yield "Stragglers: " + "; ".join(f"{spec.label} {duration(seconds[spec])}" for spec in longest) + "."
    enough = schedule.enough_workers(tuple(seconds.values()))
    yield f"Past {enough} GPUs more do not help: the longest cell alone takes {duration(max(seconds.values(), default=0.0))}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--gpus", default="1,8,64", help="how many, with commas between")
    parser.add_argument("--speedup", default="1", help="how many times faster a GPU is than the machine of the records")
    own, rest = parser.parse_known_args(arguments)
    try:
        workers, speedup = numbers("--gpus", own.gpus, low=1), _speedup(own.speedup)
        # The grid is the command line's own, which this package does not know: it is asked for by name, as workers are started.
        specs, estimates, folders = pkgutil.resolve_name("run_all:planned")([*TABLE_2, *rest, "--dry-run"])
    except UsageError as error:
        sys.stderr.write(f"plan: error: {error}\n")
        return 2
    for line in simulation(specs, estimates, workers, speedup=speedup, folders=folders):
        sys.stdout.write(f"{line}\n")
    return 0


def _speedup(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"--speedup {text!r} is not valid; valid: a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
