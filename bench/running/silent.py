"""An observer that shows nothing, for a process whose progress another process shows."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cells.spec import RunSpec
from bench.records.record import RunRecord
from bench.types import Progress


class Silent:
    """Shows nothing."""

    def started(self, spec: RunSpec) -> None:
        """Show nothing."""

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Show nothing."""

    def progress(self, progress: Progress) -> None:
        """Show nothing."""

    def finished(self, record: RunRecord) -> None:
        """Show nothing."""
