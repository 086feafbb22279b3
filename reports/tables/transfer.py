"""The cross-architecture table: how well images serve networks of other architectures. Methods are rows, networks columns."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

from reports.frames.results import Results
from reports.statistics.transfer import REFERENCE_NETWORK, network_labels, transfer_frame
from reports.tables.captions import transfer_caption
from reports.tables.table import Table, TableCell, rows_across

_DROP = (
    "In brackets: the drop, which is the ConvNet's mean accuracy less this network's, in points; "
    "it is negative where this network is better."
)


def transfer_table(results: Results) -> Table:
    """Return the table: mean ± deviation, and in brackets the drop against the ConvNet."""
    frame, labels = transfer_frame(results), network_labels(results)
    return Table(
        name="transfer",
        title="Accuracy by evaluation network",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(labels.values()),
        rows=rows_across(frame, results.names, by="eval_network", heads=labels, cell=_cell),
        caption=(transfer_caption(results), _DROP),
    )


def _cell(row: Mapping[Hashable, Any]) -> TableCell:
    spread = row["std_seeds"] if row["seeds"] > 1 else row["std_networks"]
    has_drop = row["eval_network"] != REFERENCE_NETWORK and not math.isnan(row["drop"])
    return TableCell(value=row["mean"], spread=spread, bracket=row["drop"] if has_drop else None)
