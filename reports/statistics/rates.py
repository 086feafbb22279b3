"""Accuracy by the rate of the step: how much a loss loses under a rate that is not its own best one."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from reports.frames.names import CELL, by_cell
from reports.frames.results import Results
from reports.statistics.variance import statistics


@lru_cache(maxsize=8)
def rates_frame(results: Results) -> pd.DataFrame:
    """Return accuracy by rate: a row for each rate of each dataset, IPC, method and variant that has several."""
    rows = []
    for key, group in by_cell(results.all_rates):
        if group["rate"].nunique() < 2:
            continue
        cells = {rate: statistics(of_rate) for rate, of_rate in group.groupby("rate")}
        best = max(cell.mean for cell in cells.values())
        for rate, cell in cells.items():
            numbers = cell.mean, cell.spread, cell.std_seeds, cell.std_networks, cell.seeds, best - cell.mean
            rows.append((*key, rate, *numbers))
    columns = [*CELL, "rate", "mean", "plus_minus", "std_seeds", "std_networks", "seeds", "below_best"]
    return pd.DataFrame(rows, columns=columns)
