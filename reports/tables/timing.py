"""Seconds by stage and memory of each cell, and how far its images moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.frames.names import Column
from reports.frames.results import Results
from reports.frames.rows import STAGES, memory_kind
from reports.tables.captions import caption, machines_by_column, networks_heading
from reports.tables.table import Row, Table, TableCell

_WORDS = (
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
_PLACE = ["dataset", "ipc", "method", "variant"]
_STAGE_COLUMNS = tuple(f"{stage}_s" for stage in STAGES)

_COLUMNS = {
    "iterations": ("iterations", 0),
    "seconds_per_iteration": ("s / iteration", 3),
    **{name: (name[:-2], 1) for name in (*_STAGE_COLUMNS, "evaluation_s", "total_s")},
    "peak_memory_mib": ("peak MiB", 0),
}
_STEP_COLUMNS = {"rms_start": ("RMS at start", 2), "rms_end": ("RMS at end", 2), "angle": ("angle", 1)}


def timing_table(results: Results) -> Table:
    """Return seconds of each cell, mean over seeds; norms and angles where records have them."""
    frame, names = results.cells.assign(peak_memory_mib=memory_of_one_kind(results)), results.names
    columns = _COLUMNS | (_STEP_COLUMNS if frame["angle"].notna().any() else {})
    means = frame.groupby(_PLACE, sort=False, dropna=False)[list(columns)].mean().reset_index()
    means["angle"] = 1e3 * means["angle"] if "angle" in columns else float("nan")
    heading = networks_heading(results)
    rows = tuple(
        Row.of(tuple(row[name] for name in _PLACE), names, (_cell(row[name], digits) for name, (_, digits) in columns.items()))
        for row in means.to_dict("records")
    )
    return Table(
        name="timing",
        title=f"Seconds of each cell{f', evaluated by networks{heading}' if heading else ''}",
        label_heads=("Dataset", "IPC", "Method"),
        heads=tuple(head for head, _ in columns.values()),
        rows=rows,
        caption=(caption(results), _WORDS, *_several_machines(results), MEMORY, *((_STEPS,) if "angle" in columns else ())),
    )


def _several_machines(results: Results) -> Iterator[str]:
    """Yield a sentence with the columns whose seeds ran on several machines, where there are any."""
    names = results.names
    texts = [
        f"{names.column(Column(*column))} on {names.dataset(dataset)}, IPC {ipc} ({on})"
        for (dataset, ipc, *column), on in machines_by_column(results).items()
        if "; " in on
    ]
    if texts:
        yield f"Means over seconds of several machines: {'; '.join(texts)}."


def memory_of_one_kind(results: Results) -> pd.Series:
    """Return the peak memory of each row of `results.cells`; missing where the cells of its column measured both kinds."""
    cells = results.cells
    kinds = cells["hash"].map({digest: memory_kind(record) for digest, record in results.by_hash.items()})
    single = kinds.groupby([cells[name] for name in _PLACE], dropna=False).transform("nunique") == 1
    return cells["peak_memory_mib"].where(single & (kinds != "both"))


def _cell(value: Any, digits: int) -> TableCell:
    return TableCell() if pd.isna(value) else TableCell(value=float(value), digits=digits)


def timing_frame(results: Results) -> pd.DataFrame:
    """Return one row a cell: its seconds by stage, seconds an iteration, memory in MiB, norms and angle, and mean accuracy.

    Evaluation and total are those of the main evaluation alone, so that cells that were evaluated by more networks compare.
    """
    frame = results.cells
    names = ("dataset", "ipc", "method", "variant", "seed", *_COLUMNS, "accuracy", *_STEP_COLUMNS)
    return frame.assign(ipc=frame["ipc"].astype("string").fillna("all"))[list(names)]
