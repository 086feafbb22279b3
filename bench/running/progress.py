"""How far each worker of a grid is: the workers report it, and the driver shows it.

`Reporter` is a worker's observer. It sends what it sees through a channel, which the driver reads: `ProgressFolder`, a folder
that both see, or on Ray an actor, which keeps a `Board`. Progress that is lost or late changes nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from bench.cells.spec import RunSpec
from bench.running.observer import Silent
from bench.types import Progress

_SECONDS = 1.0
"""A worker reports at most this often, and whenever a stage begins."""


class Channel(Protocol):
    """Brings the progress of cells from workers to the driver; it can be pickled."""

    def send(self, cell: str, progress: Progress) -> None:
        """Report how far the cell of a hash has come."""

    def read(self) -> Mapping[str, Progress]:
        """Return the last report of each cell, by hash."""


@dataclass(frozen=True)
class ProgressFolder:
    """A folder that workers and driver see, with a small file a cell: no worker that dies keeps others from reporting."""

    path: Path

    def send(self, cell: str, progress: Progress) -> None:
        """Report how far the cell of a hash has come."""
        temporary = self.path / f"{cell}.part"
        with suppress(OSError):  # no cell ends for want of a report
            temporary.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            temporary.replace(self.path / f"{cell}.json")

    def read(self) -> Mapping[str, Progress]:
        """Return the last report of each cell, by hash."""
        reports = {}
        for file in sorted(self.path.glob("*.json")):
            with suppress(OSError, ValueError, TypeError):
                reports[file.stem] = Progress(**json.loads(file.read_text(encoding="utf-8")))
        return reports


class Board:
    """The last report of each cell, kept by a process of its own."""

    def __init__(self) -> None:
        """Begin without a report."""
        self._reports: dict[str, Progress] = {}

    def send(self, cell: str, progress: Progress) -> None:
        """Take how far the cell of a hash has come."""
        self._reports[cell] = progress

    def read(self) -> dict[str, Progress]:
        """Return the last report of each cell, by hash."""
        return dict(self._reports)


class Reporter(Silent):
    """The observer of a worker."""

    def __init__(self, channel: Channel, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Report through `channel`; `clock` returns seconds."""
        self._channel, self._clock, self._cell, self._stage, self._sent = channel, clock, "", "", 0.0

    def started(self, spec: RunSpec) -> None:
        """Report that a cell has begun; the next reports are of it."""
        self._begin(spec, "started")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Report that another process is running the cell."""
        self._begin(specs[0], "waiting for another process")

    def _begin(self, spec: RunSpec, stage: str) -> None:
        self._cell, self._stage = spec.hash, ""
        self.progress(Progress(stage, 0, 0))

    def progress(self, progress: Progress) -> None:
        """Report how far the cell has come, now and then."""
        now = self._clock()
        if progress.stage != self._stage or now - self._sent > _SECONDS:
            self._stage, self._sent = progress.stage, now
            self._channel.send(self._cell, progress)
