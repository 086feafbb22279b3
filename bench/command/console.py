"""How a grid's progress is shown: two bars on a terminal, otherwise plain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from bench.types import Progress

_PLAIN_SECONDS = 15


def summary(record: RunRecord) -> str:
    """Return a cell's outcome in short."""
    if record.status == "failed":
        return f"failed: {record.error}"
    accuracies = record.main_evaluation.accuracies
    mean = sum(accuracies) / len(accuracies)
    return f"{mean:.1f} % over {len(accuracies)} networks, {record.seconds['total']:.0f} s"


class PlainObserver(AbstractContextManager["PlainObserver"]):
    """A line when a cell begins and ends, and one every 15 seconds between."""

    def __init__(self, stream: TextIO, *, total: int) -> None:
        """Write to `stream`; `total` cells are to come."""
        self._stream, self._total, self._count, self._label = stream, total, 0, ""
        self._written = 0.0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave nothing open."""

    def _write(self, message: str) -> None:
        self._written = time.monotonic()
        self._stream.write(f"[{self._count}/{self._total}] {self._label}: {message}\n")
        self._stream.flush()

    def started(self, spec: RunSpec) -> None:
        """Write that a cell has begun."""
        self._count += 1
        self._label = spec.label
        self._write("started")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Write, now and then, that other processes are running the cells that are left."""
        if time.monotonic() - self._written > _PLAIN_SECONDS:
            self._label = specs[0].label
            self._write(f"waiting for another process ({len(specs)} cells are left)")

    def progress(self, progress: Progress) -> None:
        """Write how far the cell has come, now and then."""
        if time.monotonic() - self._written > _PLAIN_SECONDS:
            self._write(f"{progress.stage} {progress.done}/{progress.total} {progress.note}")

    def finished(self, record: RunRecord) -> None:
        """Write the outcome."""
        self._write(summary(record))

    def cell_finished(self, record: RunRecord, remaining: str) -> None:
        """Write the outcome of a cell that another process ran, and what is left."""
        self._count += 1
        self._label = record.spec.label
        self._write("; ".join(filter(None, (summary(record), remaining))))


class RichObserver(AbstractContextManager["RichObserver"]):
    """One bar for the grid and one for the cell, with time left and the current loss; outcomes scroll above them."""

    def __init__(self, console: Console, *, total: int) -> None:
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
        self._cell = self._bars.add_task("cell", total=None, note="")
        self._label, self._stage = "", ""

    def __enter__(self) -> RichObserver:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the bars as they are."""
        self._bars.stop()

    def started(self, spec: RunSpec) -> None:
        """Begin a new bar for the cell."""
        self._label, self._stage = spec.label, ""
        self._bars.reset(self._cell, description=spec.label, total=None, note="")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Say in the cell's bar that other processes are running the cells that are left."""
        self._bars.reset(self._cell, description=f"{specs[0].label}: waiting for another process", total=None, note="")

    def progress(self, progress: Progress) -> None:
        """Move the cell's bar; each stage has a run of it."""
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._bars.reset(self._cell, description=f"{self._label}: {progress.stage}", total=progress.total)
        self._bars.update(self._cell, completed=progress.done, note=progress.note)

    def finished(self, record: RunRecord) -> None:
        """Write the outcome above the bars and move the grid's."""
        self._bars.console.print(f"{self._label}: {summary(record)}", highlight=False, markup=False)
        self._bars.advance(self._grid)

    def cell_finished(self, record: RunRecord, remaining: str) -> None:
        """Write the outcome of a cell that another process ran; the grid's bar says what is left."""
        self._label = record.spec.label
        self.finished(record)
        self._bars.update(self._grid, note=remaining)
        self._bars.update(self._cell, visible=False)  # several run at once, and this process sees none of them


def observer(stream: TextIO, *, total: int) -> PlainObserver | RichObserver:
    """Return what fits `stream`: bars on a terminal, else plain lines."""
    return RichObserver(Console(file=stream), total=total) if stream.isatty() else PlainObserver(stream, total=total)
