"""How much each loss suffers from a rate of the step that is not its own best one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from reports.frames.machines import machines
from reports.frames.results import Results
from reports.statistics.rates import rates_frame
from reports.tables.table import Table, TableCell, rows_across

_CAPTION = (
    "Mean accuracy at each rate of the step (match.rate, radians an iteration), ± as in Table 2, and in brackets how much less "
    "that is than at the loss's best rate here, in points. The best of several accuracies is flattered by chance. Other tables "
    "take the rate that most methods have, or that of the profile, whatever these numbers say."
)


def rates_table(results: Results) -> Table | None:
    """Return the table, or None if no records differ in the rate alone."""
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
        caption=(_CAPTION, f"Accuracy on the {splits} split; hardware: {machines(results.records)}."),
    )


def _cell(row: Mapping[Hashable, Any]) -> TableCell:
    best = row["below_best"] == 0
    return TableCell(value=row["mean"], spread=row["plus_minus"], best=best, bracket=None if best else row["below_best"])
