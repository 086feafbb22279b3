"""Seconds by stage and memory of each cell, and how far its images moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.frames.machines import machines_by_column
from reports.frames.names import CELL
from reports.frames.results import Results
from reports.frames.rows import STAGES
from reports.statistics.timing import memory_of_one_kind
from reports.tables.captions import caption, networks_heading
from reports.tables.table import Row, Table, TableCell

_CAPTION = (
    "Seconds of distilling by stage (features, loss, update), of training and testing all evaluation networks of a seed, "
    "and in all; mean over seeds. Seconds an iteration: the median, the first five left out; the stages hold all of them, "
    "with what the first ones cost (compiling, imports)."
)
MEMORY = (
    "Memory: the peak of what the process held on a CPU, and of what was allocated on the device on a GPU. The two are not "
    "averaged: where cells have both, memory is left blank."
)
_STEPS = (
    "RMS: root mean square of the images in normalised units, at the start and at the end; angle: by how much an iteration "
    "turned an image, in milliradians, on average."
)
_STAGE_COLUMNS = tuple(f"{stage}_s" for stage in STAGES)

_COLUMNS = {
    "iterations": ("iterations", 0),
    "seconds_per_iteration": ("s / iteration", 3),
    **{name: (name[:-2], 1) for name in (*_STAGE_COLUMNS, "evaluation_s", "total_s")},
    "peak_memory_mib": ("peak MiB", 0),
}
_PREPARATION = (
    "Preparation: the seconds of making what several cells share, such as a trained network, in full for each cell that was "
    "made with it; they are in no other column."
)
_PREPARATION_COLUMNS = {"preparation_s": ("preparation", 1)}
_STEP_COLUMNS = {"rms_start": ("RMS at start", 2), "rms_end": ("RMS at end", 2), "angle": ("angle", 1)}


def timing_table(results: Results) -> Table:
    """Return seconds of each cell, mean over seeds; those of its preparation, and norms and angle, if records have them."""
    frame, names = results.cells.assign(peak_memory_mib=memory_of_one_kind(results)), results.names
    prepared, stepped = _preparation_columns(results), _STEP_COLUMNS if frame["angle"].notna().any() else {}
    columns = _COLUMNS | prepared | stepped
    means = frame.groupby(CELL, sort=False, dropna=False)[list(columns)].mean().reset_index()
    means["angle"] = 1e3 * means["angle"] if "angle" in columns else float("nan")
    heading = networks_heading(results)
    rows = tuple(
        Row.of(tuple(row[name] for name in CELL), names, (_cell(row[name], digits) for name, (_, digits) in columns.items()))
        for row in means.to_dict("records")
    )
    notes = (*((_PREPARATION,) if prepared else ()), *_several_machines(results), MEMORY, *((_STEPS,) if stepped else ()))
    return Table(
        name="timing",
        title=f"Seconds of each cell{f', evaluated by networks{heading}' if heading else ''}",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(head for head, _ in columns.values()),
        rows=rows,
        caption=(caption(results), _CAPTION, *notes),
    )


def _preparation_columns(results: Results) -> dict[str, tuple[str, int]]:
    """Return the column of the preparation, or nothing if no record has one."""
    return _PREPARATION_COLUMNS if results.cells["preparation_s"].notna().any() else {}


def _several_machines(results: Results) -> Iterator[str]:
    """Yield a sentence with the columns whose seeds ran on several machines, if there are any."""
    names = results.names
    columns = [
        f"{names.column(key.column)} on {names.dataset(key.dataset)}, IPC {key.ipc} ({'; '.join(machines)})"
        for key, machines in machines_by_column(results.cells).items()
        if len(machines) > 1
    ]
    if columns:
        yield f"Means over seconds of several machines: {'; '.join(columns)}."


def _cell(value: Any, digits: int) -> TableCell:
    return TableCell() if pd.isna(value) else TableCell(value=float(value), digits=digits)


def timing_frame(results: Results) -> pd.DataFrame:
    """Return a row for each cell: seconds by stage and an iteration, memory in MiB, mean accuracy, norms and angle.

    Evaluation and total are those of the main evaluation alone, so that cells that were evaluated by more networks compare.
    """
    frame = results.cells
    names = (*CELL, "seed", *_COLUMNS, *_preparation_columns(results), "accuracy", *_STEP_COLUMNS)
    return frame.assign(ipc=frame["ipc"].astype("string").fillna("all"))[list(names)]
