"""Where the cells of a grid are run: one file for each kind of executor.

An executor has one method:

    map(start, digests) -> records, as they finish

`start` is a function that can be sent to another process. There it takes the number of the worker and returns the worker: a
function that takes the hash of a cell, runs that cell and returns its record. Records and images lie in the folder of the run
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bench.records import RunRecord

Worker = Callable[[str], RunRecord]
Start = Callable[[int], Worker]
"""Takes the number of the worker, from 0: threads and devices are dealt out by it."""


class Executor(Protocol):
    """Runs cells somewhere."""

    def map(self, start: Start, digests: Sequence[str]) -> Iterator[RunRecord]:
        """Yield the record of each cell as it finishes; a failed cell has a failed record."""
