"""Seconds and memory of each cell of a table."""

from __future__ import annotations

import pandas as pd

from reports.frames.names import CELL
from reports.frames.results import Results


def memory_of_one_kind(results: Results) -> pd.Series:
    """Return the peak memory of each row of `results.cells`; missing if the cells of its column measured both kinds."""
    cells = results.cells
    single = cells.groupby(CELL, dropna=False)["memory_kind"].transform("nunique") == 1
    return cells["peak_memory_mib"].where(single & (cells["memory_kind"] != "both"))
