"""Schedules: cells dealt out to workers, the longest first, each to the worker that is free first.

Executors work in that order, so this is what a grid does if cells take what is expected of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Seconds of each cell, in the order in which they begin, and when the workers end.

    `ends`: when each worker that has a cell has no more to do. `workers`: the number of workers, with those that have no cell.
    """

    seconds: tuple[float, ...]
    ends: tuple[float, ...]
    workers: int

    @property
    def makespan(self) -> float:
        """Seconds until all cells are done."""
        return max(self.ends, default=0.0)

    @property
    def idle_share(self) -> float:
        """The share of the workers' time, until the last cell ends, in which they have nothing to do."""
        return 1 - sum(self.seconds) / (self.makespan * self.workers) if self.makespan else 0.0

    @property
    def wait(self) -> float:
        """Seconds from when the first worker has no more to do until the end: how long stragglers delay the rest."""
        return self.makespan - (min(self.ends, default=0.0) if self.workers == len(self.ends) else 0.0)

    @property
    def speedup(self) -> float:
        """How many times faster this is than one worker."""
        return sum(self.seconds) / self.makespan if self.makespan else 1.0


def longest_first(seconds: Iterable[float], workers: int) -> Schedule:
    """Return the schedule of cells that take `seconds` each on a number of workers."""
    ordered = tuple(sorted(seconds, reverse=True))
    ends = [0.0] * min(workers, len(ordered))
    for value in ordered:
        heapq.heapreplace(ends, ends[0] + value)
    return Schedule(ordered, tuple(ends), workers)


def enough_workers(seconds: Sequence[float]) -> int:
    """Return the fewest workers with which a grid takes no longer than its longest cell: more cannot help."""
    longest = max(seconds, default=0.0)
    workers, most = 1, max(1, len(seconds))
    while workers < most:  # the makespan need not fall with every worker, but never below the longest cell
        middle = (workers + most) // 2
        if longest_first(seconds, middle).makespan <= longest * (1 + 1e-9):
            most = middle
        else:
            workers = middle + 1
    return workers
