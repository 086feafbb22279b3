"""Time to the published accuracy: how long each loss is distilled until its checkpoints reach the published value."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from reports.frames.names import CELL, by_cell
from reports.frames.published import published
from reports.frames.results import Results
from reports.verdicts.verdict import incomparable

_SUBSTITUTE = "dm"
"""The method whose published value a loss without one is compared with."""


@lru_cache(maxsize=8)
def reached_frame(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, IPC, method and variant that has checkpoints and a published value.

    `reached_s` and `within_s` are the seconds of the first checkpoint at, or within a point of, the value; missing if there is
    none, or if the cell is not `comparable` with the value: the `note` says why. It also says what speaks against the value.
    `best` is the highest mean accuracy of a checkpoint. `real_batch`: real images a class and iteration.
    """
    frame = results.main_checkpoints
    means = frame.groupby([*CELL, "iteration"], sort=False)[["seconds", "accuracy"]].mean().reset_index()
    digests = {key: group["hash"].unique() for key, group in by_cell(frame)}
    speed = {key: group[["seconds_per_iteration", "real_batch"]].mean() for key, group in by_cell(results.cells)}
    rows = []
    for key, curve in by_cell(means):
        named = key.method if (*key.row, key.method) in published() else _SUBSTITUTE
        value = published().get((*key.row, named))
        if value is None:
            continue
        records = [results.by_hash[digest] for digest in digests[key]]
        reasons = dict.fromkeys(reason for record in records for reason in incomparable(record, value, named))
        note = "; ".join(reasons) or (f"published value: {value.doubt}" if value.doubt else "")
        seconds = [None if reasons else _first(curve, value.value - margin) for margin in (0.0, 1.0)]
        ends = curve["accuracy"].max(), curve["seconds"].max()
        rows.append((*key, value.value, *seconds, *ends, *speed[key], not reasons, note))
    columns = ["published", "reached_s", "within_s", "best", "distilling_s", "seconds_per_iteration", "real_batch"]
    return pd.DataFrame(rows, columns=[*CELL, *columns, "comparable", "note"])


def _first(curve: pd.DataFrame, value: float) -> float | None:
    """Return the seconds of the first checkpoint of a curve whose accuracy is at least `value`, or None."""
    reached = curve.loc[curve["accuracy"] >= value, "seconds"]
    return None if reached.empty else float(reached.min())
