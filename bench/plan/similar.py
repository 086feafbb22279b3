"""Estimating a value by the records that are most like what is asked for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Literal

Levels = tuple[str, ...]
"""What a value depends on, the most telling first, such as precision, method, processor and dataset."""


@dataclass(frozen=True)
class Measured:
    """A measured value, what it depends on, the kind of cell it is of, whatever the seed, and the machine."""

    levels: Levels
    value: float
    kind: str
    machine: Hashable


class SimilarRecords:
    """Estimates a value by the geometric mean of the values that are most like it.

    These are the values that have the first of the levels asked for, of these the ones that have the second, and so on. A level
    that none of those left has is passed over: what was never measured is taken to be average.
    """

    def __init__(self, rows: Sequence[Measured]) -> None:
        """Take what was measured."""
        self.rows, self._estimates = rows, dict[Levels, float]()

    def predict(self, levels: Levels) -> float:
        """Return the value for these levels; 1 if nothing was measured."""
        if levels not in self._estimates:
            similar = self.rows
            for index, level in enumerate(levels):
                similar = [row for row in similar if row.levels[index] == level] or similar
            self._estimates[levels] = geometric_mean(row.value for row in similar) if similar else 1.0
        return self._estimates[levels]

    def error(self, group: Literal["kind", "machine"]) -> float:
        """Return the root mean square of the logarithms of value over estimate, each group estimated by the others alone.

        It is NaN if all values are of the same group.
        """
        groups, errors = {getattr(row, group) for row in self.rows}, []
        for name in groups:
            others = SimilarRecords([row for row in self.rows if getattr(row, group) != name])
            errors += [math.log(row.value / others.predict(row.levels)) for row in self.rows if getattr(row, group) == name]
        return math.sqrt(fmean(error**2 for error in errors)) if len(groups) > 1 else math.nan
