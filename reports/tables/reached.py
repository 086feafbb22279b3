"""Time to the published accuracy: how long each loss is distilled until its checkpoints reach the published value."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import pandas as pd

from reports.frames.published import published
from reports.frames.results import Results
from reports.tables.captions import distilled_on
from reports.tables.table import Row, Table, TableCell
from reports.verdicts.verdict import incomparable

_PLACE = ["dataset", "ipc", "method", "variant"]
_SUBSTITUTE = "dm"
_WORDS = (
    "Seconds of distilling until the mean test accuracy of a checkpoint first reaches the published value, and until it is "
    "within a point of it; the evaluation of checkpoints is not counted. A loss that nobody has published is held against the "
    "value of DM. Checkpoints are few, so these seconds are upper bounds. Nothing is chosen by them. Not comparable: the cell "
    "answers another question than the published one, as the note says."
)


@lru_cache(maxsize=8)
def reached_frame(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, IPC, method and variant that has checkpoints and a published value.

    `reached_s` and `within_s` are the seconds of the first checkpoint at, or within a point of, the value; missing where there
    is none, or where the cell is not `comparable` with the value: the `note` says why. It also says what speaks against the
    value. `best` is the highest mean accuracy of a checkpoint. `real_batch`: real images a class and iteration.
    """
    frame = results.main_checkpoints
    curves = frame.groupby([*_PLACE, "iteration"], sort=False)[["seconds", "accuracy"]].mean().reset_index()
    speed, rows, digests = _speed(results), [], frame.groupby(_PLACE, sort=False)["hash"].unique()
    for place, curve in curves.groupby(_PLACE, sort=False):
        dataset, ipc, method, variant = cast("tuple[str, int, str, str]", place)
        named = method if (dataset, int(ipc), method) in published() else _SUBSTITUTE
        value = published().get((dataset, int(ipc), named))
        if value is None:
            continue
        records = [results.by_hash[digest] for digest in digests[dataset, ipc, method, variant]]
        reasons = dict.fromkeys(reason for record in records for reason in incomparable(record, value, named))
        note = "; ".join(reasons) or (f"published value: {value.doubt}" if value.doubt else "")
        seconds = [None if reasons else _first(curve, value.value - margin) for margin in (0.0, 1.0)]
        ends = curve["accuracy"].max(), curve["seconds"].max()
        rows.append((*place, value.value, *seconds, *ends, *speed.loc[cast("tuple", place)], not reasons, note))
    columns = [*_PLACE, "published", "reached_s", "within_s", "best", "distilling_s", "seconds_per_iteration", "real_batch"]
    return pd.DataFrame(rows, columns=[*columns, "comparable", "note"])


def _speed(results: Results) -> pd.DataFrame:
    """Return seconds an iteration and real images a class of each dataset, IPC, method and variant, mean over seeds."""
    matches = {digest: record.spec.protocol.match for digest, record in results.by_hash.items()}
    batches = {digest: match.real_batch for digest, match in matches.items() if match}
    frame = results.cells.assign(real_batch=results.cells["hash"].map(batches))
    return frame.groupby(_PLACE, sort=False)[["seconds_per_iteration", "real_batch"]].mean()


def _first(curve: pd.DataFrame, value: float) -> float | None:
    """Return the seconds of the first checkpoint of a curve whose accuracy is at least `value`, or None."""
    reached = curve.loc[curve["accuracy"] >= value, "seconds"]
    return None if reached.empty else float(reached.min())


def reached_table(results: Results) -> Table | None:
    """Return the table, or None where no cell with a published value has checkpoints."""
    frame = reached_frame(results)
    if frame.empty:
        return None
    rows = []
    notes = {note: number for number, note in enumerate(dict.fromkeys(filter(None, frame["note"])), start=1)}
    for row in frame.to_dict("records"):
        lacking = "not reached" if row["comparable"] else "not comparable"
        times = [_seconds(row["reached_s"], lacking), _seconds(row["within_s"], lacking)]
        last = [TableCell(value=row["best"]), _seconds(row["distilling_s"])]
        cells = (TableCell(value=row["published"], note=notes.get(row["note"])), *times, *last)
        rows.append(Row.of(tuple(row[name] for name in _PLACE), results.names, cells))
    where = distilled_on(record for record in results.records if record.checkpoints)
    return Table(
        name="reached",
        title="Time to the published accuracy",
        label_heads=("Dataset", "IPC", "Method"),
        heads=("published", "reached (s)", "within 1 point (s)", "best checkpoint", "distilled for (s)"),
        rows=tuple(rows),
        caption=(_WORDS, f"Hardware: {where}."),
        notes=tuple(notes),
    )


def _seconds(value: float, lacking: str = "") -> TableCell:
    return TableCell(text=lacking) if pd.isna(value) else TableCell(value=value, digits=0)
