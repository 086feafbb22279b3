"""How a grid's progress is shown: bars on a terminal, otherwise plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from bench.types import Progress

_PLAIN_SECONDS = 15
_BAR_SECONDS = 2
_MOST_LINES = 20
_ELSEWHERE = "run by another process"

WORKER_SECONDS = 60.0
"""The progress of the cells that workers run is written to a log this often."""

Workers = Callable[[], Mapping[str, Progress]]
"""Returns how far each cell has come that a worker is running, by the cell's label. Reading it may take a while."""

Clock = Callable[[], float]
"""Returns seconds."""


def summary(record: RunRecord) -> str:
    """Return a cell's outcome in short."""
    if record.status == "failed":
        return f"failed: {record.error}"
    accuracies = record.main_evaluation.accuracies
    mean = sum(accuracies) / len(accuracies)
    return f"{mean:.1f} % over {len(accuracies)} networks, {record.seconds['total']:.0f} s"


def _step(progress: Progress) -> str:
    """Return how far a cell has come in short."""
    count = f"{progress.done}/{progress.total}" if progress.total else ""
    return " ".join(filter(None, (progress.stage, count, progress.note)))


class PlainObserver(AbstractContextManager["PlainObserver"]):
    """A line when a cell begins and ends, and one every 15 seconds between; of a cell that a worker runs, one every minute."""

    def __init__(self, stream: TextIO, *, total: int, clock: Clock = time.monotonic) -> None:
        """Write to `stream`; `total` cells are to come."""
        self._stream, self._total, self._count, self._label = stream, total, 0, ""
        self._clock, self._written, self._workers_written = clock, 0.0, clock()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave nothing open."""

    def _write(self, message: str) -> None:
        self._written = self._clock()
        self._stream.write(f"[{self._count}/{self._total}] {self._label}: {message}\n")
        self._stream.flush()

    def started(self, spec: RunSpec) -> None:
        """Write that a cell has begun."""
        self._count += 1
        self._label = spec.label
        self._write("started")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Write, now and then, that other processes are running the cells that are left."""
        if self._clock() - self._written > _PLAIN_SECONDS:
            self._label = specs[0].label
            self._write(f"waiting for another process ({len(specs)} cells are left)")

    def progress(self, progress: Progress) -> None:
        """Write how far the cell has come, now and then."""
        if self._clock() - self._written > _PLAIN_SECONDS:
            self._write(_step(progress))

    def workers(self, read: Workers) -> None:
        """Write how far the workers are, a line each, now and then."""
        if self._clock() - self._workers_written < WORKER_SECONDS:
            return
        cells = read()
        if cells:
            self._workers_written = self._clock()
        for self._label, progress in list(cells.items())[:_MOST_LINES]:
            self._write(_step(progress))
        if len(cells) > _MOST_LINES:
            self._label = "other workers"
            self._write(f"{len(cells) - _MOST_LINES} more cells are running")

    def finished(self, record: RunRecord) -> None:
        """Write the outcome."""
        self._write(summary(record))

    def finished_elsewhere(self, record: RunRecord) -> None:
        """Write the outcome of a cell that another process finished, which shares the folder."""
        self._count += 1
        self._label = record.spec.label
        self._write(f"{_ELSEWHERE}: {summary(record)}")

    def cell_finished(self, record: RunRecord, remaining: str) -> None:
        """Write the outcome of a cell that a worker ran, and what is left."""
        self._count += 1
        self._label = record.spec.label
        self._write("; ".join(filter(None, (summary(record), remaining))))


class RichObserver(AbstractContextManager["RichObserver"]):
    """One bar for the grid and one for each running cell, with time left and the current loss; outcomes scroll above them."""

    def __init__(self, console: Console, *, total: int, clock: Clock = time.monotonic) -> None:
        """Draw on `console`; `total` cells are to come."""
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._grid = self._bars.add_task("grid", total=total, note="")
        self._cells: dict[str, tuple[TaskID, str]] = {}  # the bar and the stage of each running cell, by its label
        self._label, self._clock, self._workers_drawn = "", clock, 0.0

    def __enter__(self) -> RichObserver:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the bars as they are."""
        self._bars.stop()

    def _show(self, cells: Mapping[str, Progress]) -> None:
        """Show a bar for each of these cells alone; each stage of a cell has a run of it."""
        for label in [label for label in self._cells if label not in cells]:
            self._remove(label)
        for label, progress in cells.items():
            bar, stage = self._cells.get(label) or (self._bars.add_task(label, total=None, note=""), "")
            if stage != progress.stage:
                self._bars.reset(bar, description=f"{label}: {progress.stage}")
            self._cells[label] = bar, progress.stage
            self._bars.update(bar, total=progress.total or None, completed=progress.done, note=progress.note)

    def started(self, spec: RunSpec) -> None:
        """Begin a new bar for the cell."""
        self._label = spec.label
        self._show({self._label: Progress("", 0, 0)})

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Say in a cell's bar that other processes are running the cells that are left."""
        self._show({specs[0].label: Progress("waiting for another process", 0, 0)})

    def progress(self, progress: Progress) -> None:
        """Move the cell's bar."""
        self._show({self._label: progress})

    def workers(self, read: Workers) -> None:
        """Move the bars of the cells that workers run."""
        if self._clock() - self._workers_drawn > _BAR_SECONDS:
            self._show(read())
            self._workers_drawn = self._clock()

    def finished(self, record: RunRecord) -> None:
        """Write the outcome above the bars and move the grid's."""
        self._print(record.spec.label, summary(record))

    def finished_elsewhere(self, record: RunRecord) -> None:
        """Write the outcome of a cell that another process finished, which shares the folder."""
        self._print(record.spec.label, f"{_ELSEWHERE}: {summary(record)}")

    def cell_finished(self, record: RunRecord, remaining: str) -> None:
        """Write the outcome of a cell that a worker ran, and remove its bar; the grid's bar says what is left."""
        self.finished(record)
        if record.spec.label in self._cells:
            self._remove(record.spec.label)
        self._bars.update(self._grid, note=remaining)

    def _remove(self, label: str) -> None:
        self._bars.remove_task(self._cells.pop(label)[0])

    def _print(self, label: str, outcome: str) -> None:
        self._bars.console.print(f"{label}: {outcome}", highlight=False, markup=False)
        self._bars.advance(self._grid)


def observer(stream: TextIO, *, total: int) -> PlainObserver | RichObserver:
    """Return what fits `stream`: bars on a terminal, else plain lines."""
    return RichObserver(Console(file=stream), total=total) if stream.isatty() else PlainObserver(stream, total=total)
