"""Seconds an iteration by stage, and peak memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns

from reports.figures.figure import Drawing, Figure
from reports.figures.style import panels
from reports.frames.names import CELL, columns_of
from reports.frames.results import Results
from reports.frames.rows import STAGES
from reports.statistics.timing import memory_of_one_kind
from reports.tables.timing import MEMORY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STAGE_COLUMNS = [f"{stage}_s" for stage in STAGES]


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset: seconds and memory of each IPC and column; nothing if no method iterates."""
    cells, names = results.cells.assign(peak_memory_mib=memory_of_one_kind(results)), results.names
    cells = cells[cells["iterations"] > 0]
    each = cells[_STAGE_COLUMNS].div(cells["iterations"].astype(float), axis=0)
    frame = pd.concat([cells[[*CELL, "peak_memory_mib"]], each], axis=1)
    means = frame.groupby(CELL, sort=False, dropna=False).mean().reset_index()
    for dataset, group in means.groupby("dataset", sort=False):
        columns = zip(columns_of(group), group["ipc"], strict=True)
        labels = [f"{names.column(column)}, IPC {ipc}" for column, ipc in columns]
        canvas, (seconds, memory) = panels(2, height=0.22 * len(group) + 1.2)
        _stacked(seconds, group)
        memory.barh(range(len(group)), group["peak_memory_mib"], color="grey")
        for axes in (seconds, memory):
            axes.set_yticks(range(len(group)), labels)
            axes.invert_yaxis()
        memory.tick_params(labelleft=False)
        seconds.legend(fontsize=7)
        seconds.set_xlabel("seconds an iteration (mean)")
        memory.set_xlabel("peak memory (MiB)")
        canvas.suptitle(names.dataset(str(dataset)))
        yield Drawing(canvas, group, str(dataset), names.dataset(str(dataset)))


def _stacked(axes: Axes, group: pd.DataFrame) -> None:
    left = np.zeros(len(group))
    for name, color in zip(_STAGE_COLUMNS, sns.color_palette("colorblind", 3), strict=True):
        values = group[name].fillna(0.0)
        axes.barh(range(len(group)), values, left=left, color=color, label=name[:-2])
        left += values.to_numpy()


FIGURE = Figure(
    name="timing",
    title="Seconds an iteration, and memory",
    section="cost",
    caption=f"Mean seconds an iteration by stage, first iterations (compiling) included. {MEMORY}",
    draw=draw,
)
