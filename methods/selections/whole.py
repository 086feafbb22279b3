"""Whole: the full training set, the upper end of every table."""

from __future__ import annotations

from bench.cells.method import Method
from bench.loops.images import whole_set

METHOD = Method(
    name="whole",
    label="Whole",
    citation="Li, Xue and Shi 2025, Table 2",
    procedure=whole_set,
    sections=("whole",),
    whole_set=True,
    order=1000,
    color="#4d4d4d",
)
