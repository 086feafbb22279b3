"""Time to the published accuracy: how long each loss is distilled until its checkpoints reach the published value."""

from __future__ import annotations

import pandas as pd

from reports.frames.machines import machine_label
from reports.frames.names import CELL
from reports.frames.results import Results
from reports.tables.table import Row, Table, TableCell
from reports.verdicts.reached import reached_frame

_CAPTION = (
    "Seconds of distilling until the mean test accuracy of a checkpoint first reaches the published value, and until it is "
    "within a point of it; the evaluation of checkpoints is not counted. A loss that nobody has published is compared with the "
    "value of DM. Checkpoints are few, so these seconds are upper bounds. Nothing is chosen by them. Not comparable: the cell "
    "answers another question than the published one, as the note says."
)


def reached_table(results: Results) -> Table | None:
    """Return the table, or None if no cell with a published value has checkpoints."""
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
        rows.append(Row.of(tuple(row[name] for name in CELL), results.names, cells))
    machines = "; ".join(sorted({machine_label(record.hardware) for record in results.records if record.checkpoints}))
    return Table(
        name="reached",
        title="Time to the published accuracy",
        label_heads=("Dataset", "IPC", "Method"),
        heads=("published", "reached (s)", "within 1 point (s)", "best checkpoint", "distilled for (s)"),
        rows=tuple(rows),
        caption=(_CAPTION, f"Hardware: {machines}."),
        notes=tuple(notes),
    )


def _seconds(value: float, lacking: str = "") -> TableCell:
    return TableCell(label=lacking) if pd.isna(value) else TableCell(value=value, digits=0)
