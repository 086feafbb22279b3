"""What is measured of the evaluation networks beside their accuracy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from reports.frames.metrics import ACCURACY, metric_label
from reports.frames.results import Results
from reports.statistics.metrics import metrics_frame
from reports.tables.captions import caption
from reports.tables.table import Table, TableCell, rows_across

_CAPTION = "Metrics of the networks whose accuracy is in Table 2; `bench/loops/metrics.py` defines them."


def metrics_table(results: Results) -> Table | None:
    """Return the table, or None if no record has a metric beside the accuracy."""
    frame = metrics_frame(results)
    metrics = list(frame["metric"].unique())
    if set(metrics) == {ACCURACY}:
        return None
    return Table(
        name="metrics",
        title="Other metrics",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(map(metric_label, metrics)),
        rows=rows_across(frame, results.names, by="metric", heads=metrics, cell=_cell),
        caption=(caption(results), _CAPTION),
    )


def _cell(row: Mapping[Hashable, Any]) -> TableCell:
    return TableCell(value=row["mean"], spread=row["plus_minus"])
