"""The metrics of each cell that are measured beside its accuracy."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from reports.frames.names import CELL, by_cell
from reports.frames.results import Results
from reports.statistics.variance import statistics


@lru_cache(maxsize=8)
def metrics_frame(results: Results) -> pd.DataFrame:
    """Return a row for each metric of each dataset, IPC, method and variant: its mean and spreads over seeds and networks."""
    rows = []
    for key, group in by_cell(results.metrics):
        for metric, of_metric in group.groupby("metric", sort=False):
            cell = statistics(of_metric, of="value")
            rows.append((*key, metric, cell.mean, cell.spread, cell.std_seeds, cell.std_networks, cell.seeds, cell.networks))
    columns = [*CELL, "metric", "mean", "plus_minus", "std_seeds", "std_networks", "seeds", "networks"]
    return pd.DataFrame(rows, columns=columns)
