"""What is seen of a grid while it runs, and how a cell has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from bench.types import Progress


class Done(BaseModel):
    """A cell that has ended: its record, and whether another process finished it, which shares the folder."""

    model_config = ConfigDict(frozen=True)

    record: RunRecord
    elsewhere: bool = False


class Observer(Protocol):
    """Receives the progress of a grid."""

    def started(self, spec: RunSpec) -> None:
        """Take the cell that has begun."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Take the cells that are left, all of which other processes are running."""

    def progress(self, progress: Progress) -> None:
        """Take the progress of the cell."""

    def finished(self, record: RunRecord) -> None:
        """Take the record of the cell that has ended."""

    def finished_elsewhere(self, record: RunRecord) -> None:
        """Take the record of a cell that another process finished while this one ran others."""


class Silent:
    """Shows nothing: another process shows the progress of this one."""

    def started(self, spec: RunSpec) -> None:
        """Show nothing."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Show nothing."""

    def progress(self, progress: Progress) -> None:
        """Show nothing."""

    def finished(self, record: RunRecord) -> None:
        """Show nothing."""

    def finished_elsewhere(self, record: RunRecord) -> None:
        """Show nothing."""
