"""Average ranks of the methods over pairs of dataset and IPC, with Friedman's and Nemenyi's tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy.stats import friedmanchisquare

from reports.frames.names import ROW
from reports.frames.results import Results
from reports.statistics.comparable import not_compared

FEWEST_METHODS, FEWEST_BLOCKS = 3, 5
"""Average ranks need at least this number of methods, and this number of pairs of dataset and IPC that all of them have."""


@dataclass(frozen=True)
class Ranks:
    """Average ranks over `blocks` (pairs of dataset and IPC), 1 being the best; p-values of Friedman's and Nemenyi's tests."""

    ranks: pd.Series
    blocks: int
    p: float
    pairs: pd.DataFrame


@lru_cache(maxsize=8)
def average_ranks(results: Results) -> Ranks | None:
    """Return the average ranks of the methods with the most datasets and IPCs, or None if there are few.

    Means over seeds are ranked. Nemenyi's test says which ranks differ. A method that has another protocol than others of a
    dataset and IPC has no rank there.
    """
    frame = results.main[(results.main["method"] != "whole") & (results.main["variant"] == "")]
    other = {(*row, column.method) for row, columns in not_compared(results).items() for column in columns}
    keys = zip(frame["dataset"], frame["ipc"], frame["method"], strict=True)
    frame = frame.loc[[key not in other for key in keys]]
    means = frame.groupby([*ROW, "seed", "method"])["accuracy"].mean().groupby([*ROW, "method"]).mean()
    table = means.unstack("method")
    complete = table.loc[:, table.notna().sum() == table.notna().sum().max()].dropna()
    if len(complete) < FEWEST_BLOCKS or complete.shape[1] < FEWEST_METHODS:
        return None
    order = complete.rank(axis="columns", ascending=False).mean().sort_values(kind="stable")
    test = friedmanchisquare(*(complete[method] for method in complete.columns))
    pairs = posthoc_nemenyi_friedman(complete.to_numpy())
    pairs.index, pairs.columns = complete.columns, complete.columns
    return Ranks(order, len(complete), float(test.pvalue), pairs)
