"""What an executor is made from, and what it has to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Protocol

from bench.cells.artefact import ArtefactSpec
from bench.cells.spec import RunSpec
from bench.plan import schedule
from bench.plan.estimates import Estimates
from bench.plan.lines import duration
from bench.records.record import RunRecord
from bench.records.storage import worth_keeping, write_record
from bench.running.executors import EXECUTORS, Choice
from bench.running.observer import Done
from bench.running.progress import Channel
from bench.running.runner import Runner
from bench.running.setup import WorkerSetup
from bench.types import Bundle, Progress

_MARGIN = 1.5
"""How much more memory is asked for than cells took before."""


class Executor(Protocol):
    """Runs cells somewhere."""

    def map(self, specs: Sequence[RunSpec]) -> Iterator[Done]:
        """Yield the outcome of each cell as it finishes; a failed cell has a failed record.

        Raises:
            UsageError: if nothing can be run, for example because no cluster answers.
            Interrupted: if a signal was received; the running cells have written resume states then.

        """


class Watcher(Protocol):
    """Shows the cells that other processes run."""

    def cell_finished(self, record: RunRecord, remaining: str) -> None:
        """Take the record of a cell that has ended, and a few words on what remains."""

    def finished_elsewhere(self, record: RunRecord) -> None:
        """Take the record of a cell that another process finished, which shares the folder."""

    def workers(self, read: Callable[[], Mapping[str, Progress]]) -> None:
        """Show how far the workers are, if it is time: `read` returns the progress of each running cell, by its label."""


@dataclass(frozen=True)
class Driver:
    """What an executor is made from, in the process that drives the grid.

    Attributes:
        setup: what workers in other processes are sent.
        runner: runs cells in this process.
        observer: receives the record of each cell from the executor.
        jobs: the number of cells that may run side by side; None leaves it to the executor.
        choice: the executor's own settings.
        bundle: returns a dataset by its name, with its published test split.
        estimates: returns what cells will take, by records.

    """

    setup: WorkerSetup
    runner: Runner
    observer: Watcher
    jobs: int | None
    choice: Choice
    bundle: Callable[[str], Bundle]
    estimates: Callable[[], Estimates]
    _left: dict[str, float] = field(default_factory=dict)  # the seconds that cells will take, by hash, until they end
    _labels: dict[str, str] = field(default_factory=dict)  # of all cells, by hash

    def longest_first(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Return the cells in the order that leaves the fewest workers idle at the end."""
        self._left.update(self.estimates().all_seconds(specs))
        self._labels.update((spec.hash, spec.label) for spec in specs)
        return sorted(specs, key=lambda spec: self._left[spec.hash], reverse=True)

    def artefacts(self, spec: RunSpec) -> tuple[ArtefactSpec, ...]:
        """Return what has to be prepared before a cell is distilled; nothing if it is distilled already."""
        return self.estimates().artefacts(spec)

    def memory(self, spec: RunSpec) -> float | None:
        """Return how many GiB a cell asks for: as set, or else half as much again as cells like it took, if there are any."""
        expected = self.estimates().memory(spec)
        usual = _MARGIN * expected / 2**10 if expected is not None else None
        return self.choice.settings.memory or usual

    def show(self, channel: Channel) -> None:
        """Let the observer show how far the cells that are running have come, as workers report it."""
        self.observer.workers(
            lambda: {self._labels[cell]: progress for cell, progress in channel.read().items() if cell in self._left}
        )

    def lost(self, spec: RunSpec, reason: str) -> Done:
        """Return the outcome of a cell whose worker died; its record is written if there is no result."""
        record = self.runner.lost(spec, reason)
        if worth_keeping(self.setup.folder, spec) is None:
            write_record(self.setup.folder, record)
        return Done(record=record)

    def finished(self, done: Done) -> Done:
        """Give the observer the outcome of a cell that a worker ran; return it."""
        self._left.pop(done.record.hash, None)
        if done.elsewhere:
            self.observer.finished_elsewhere(done.record)
        else:
            self.observer.cell_finished(done.record, self._remaining())
        return done

    def _remaining(self) -> str:
        """Return how many cells are left and how long they will take, the running ones in full; empty if none are left."""
        left = f"{len(self._left)} left" if self._left else ""
        if not left or not self.estimates().records:
            return left
        if self.jobs is None:  # the cluster decides how many run side by side
            return f"{left}, about {duration(sum(self._left.values()))} of work"
        return f"{left}, about {duration(schedule.longest_first(self._left.values(), self.jobs).makespan)}"


def make(choice: Choice, driver: Driver) -> Executor:
    """Return the executor that was chosen."""
    executor: Executor = resolve_name(EXECUTORS[choice.name].make)(driver)
    return executor
