"""How much each loss suffers from a rate of the step that is not its own best one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, cast

import pandas as pd

from reports.frames.results import Results
from reports.statistics.variance import statistics
from reports.tables.captions import machines
from reports.tables.table import Table, TableCell, rows_across

_PLACE = ["dataset", "ipc", "method", "variant"]
_WORDS = (
    "Mean accuracy at each rate of the step (match.rate, radians an iteration), ± as in Table 2, and in brackets how much less "
    "that is than at the loss's best rate here, in points. The best of several accuracies is flattered by chance. Other tables "
    "take the rate that most methods have, or that of the profile, whatever these numbers say."
)


@lru_cache(maxsize=8)
def rates_frame(results: Results) -> pd.DataFrame:
    """Return accuracy by rate: a row for each rate of each dataset, IPC, method and variant that has several."""
    frame = results.all_rates
    rows = []
    for place, part in frame.groupby(_PLACE, sort=False):
        if part["rate"].nunique() < 2:
            continue
        cells = {rate: statistics(of_rate) for rate, of_rate in part.groupby("rate")}
        best = max(cell.mean for cell in cells.values())
        for rate, cell in cells.items():
            numbers = cell.mean, cell.spread, cell.std_seeds, cell.std_networks, cell.seeds, best - cell.mean
            rows.append((*cast("tuple", place), rate, *numbers))
    columns = [*_PLACE, "rate", "mean", "plus_minus", "std_seeds", "std_networks", "seeds", "below_best"]
    return pd.DataFrame(rows, columns=columns)


def rates_table(results: Results) -> Table | None:
    """Return the table, or None where no records differ in the rate alone."""
    frame = rates_frame(results)
    if frame.empty:
        return None
    shown = sorted(frame["rate"].unique())
    splits = ", ".join(sorted(results.all_rates["split"].unique()))
    return Table(
        name="rates",
        title="Accuracy by the rate of the step",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(f"{rate:g}" for rate in shown),
        rows=rows_across(frame, results.names, by="rate", heads=shown, cell=_cell),
        caption=(_WORDS, f"Accuracy on the {splits} split; hardware: {machines(results.records)}."),
    )


def _cell(row: Mapping[Hashable, Any]) -> TableCell:
    best = row["below_best"] == 0
    return TableCell(value=row["mean"], spread=row["plus_minus"], best=best, bracket=None if best else row["below_best"])
