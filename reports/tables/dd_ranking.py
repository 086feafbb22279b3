"""The table of DD-Ranking's scores; `reports.statistics.dd_ranking` has the formulas."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from reports.frames.names import CELL
from reports.frames.results import Results
from reports.statistics.dd_ranking import dd_ranking_frame
from reports.tables.table import Row, Table, TableCell

_WORDS = (
    "After Li et al. 2025 (arXiv 2505.13300), in percent, higher is better. HLR: accuracy of the whole training set less the "
    "set's; IOR: the set's less that of as many random images of the same seed under the same evaluation; both in points. "
    "LRS = (exp(a) − exp(−1)) / (exp(1) − exp(−1)) with a = (IOR − HLR) / 200. Gains: IOR with augmentation in the evaluation, "
    "and without it (cells that differ in eval.augment=none alone); ARS is the same function of a = (sum of both gains) / 200. "
    "± is the sample standard deviation over the seeds that have all parts."
)
_LIMITS = (
    "Labels are hard here, so that HLR and IOR use the same accuracy of the set; sets with soft labels are left out, for "
    "lack of an evaluation with hard ones. DD-Ranking searches a learning rate for each set and takes the best epoch on the "
    "test set; here all have one protocol and the last epoch counts. So these scores compare within this table only."
)


def dd_ranking_table(results: Results) -> Table | None:
    """Return the table, or None if no set has a score: random images and the whole training set, or twins, are lacking."""
    frame = dd_ranking_frame(results)
    if frame.empty:
        return None
    return Table(
        name="dd_ranking",
        title="DD-Ranking's scores",
        label_heads=("Dataset", "IPC", "Method"),
        heads=("HLR", "IOR", "LRS", "gain with augmentation", "gain without", "ARS"),
        rows=tuple(Row.of(tuple(row[name] for name in CELL), results.names, _cells(row)) for row in frame.to_dict("records")),
        caption=(_WORDS, _LIMITS),
    )


def _cells(row: Mapping[Hashable, float]) -> tuple[TableCell, ...]:
    return (
        *(_cell(row[name]) for name in ("hlr", "ior")),
        _cell(row["lrs"], row["lrs_std"]),
        *(_cell(row[name]) for name in ("gain_with", "gain_without")),
        _cell(row["ars"], row["ars_std"]),
    )


def _cell(value: float, spread: float | None = None) -> TableCell:
    return TableCell() if math.isnan(value) else TableCell(value=value, spread=spread)
