"""Seconds an iteration by stage, and peak memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns

from reports.figures.figure import Drawing, Figure
from reports.figures.style import panels
from reports.frames.names import Column
from reports.frames.results import Results
from reports.frames.rows import STAGES
from reports.tables.timing import MEMORY, memory_of_one_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLACE = ["dataset", "ipc", "method", "variant"]
_STAGE_COLUMNS = [f"{stage}_s" for stage in STAGES]


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset: seconds and memory of each IPC and column; nothing where no method iterates."""
    cells, names = results.cells.assign(peak_memory_mib=memory_of_one_kind(results)), results.names
    cells = cells[cells["iterations"] > 0]
    each = cells[_STAGE_COLUMNS].div(cells["iterations"].astype(float), axis=0)
    frame = pd.concat([cells[[*_PLACE, "peak_memory_mib"]], each], axis=1)
    means = frame.groupby(_PLACE, sort=False, dropna=False).mean().reset_index()
    for dataset, part in means.groupby("dataset", sort=False):
        places = zip(part["ipc"], part["method"], part["variant"], strict=True)
        labels = [f"{names.column(Column(method, variant))}, IPC {ipc}" for ipc, method, variant in places]
        canvas, (seconds, memory) = panels(2, height=0.22 * len(part) + 1.2)
        _stacked(seconds, part)
        memory.barh(range(len(part)), part["peak_memory_mib"], color="grey")
        for axes in (seconds, memory):
            axes.set_yticks(range(len(part)), labels)
            axes.invert_yaxis()
        memory.tick_params(labelleft=False)
        seconds.legend(fontsize=7)
        seconds.set_xlabel("seconds an iteration (mean)")
        memory.set_xlabel("peak memory (MiB)")
        canvas.suptitle(names.dataset(str(dataset)))
        yield Drawing(canvas, part, str(dataset), names.dataset(str(dataset)))


def _stacked(axes: Axes, part: pd.DataFrame) -> None:
    left = np.zeros(len(part))
    for name, color in zip(_STAGE_COLUMNS, sns.color_palette("colorblind", 3), strict=True):
        values = part[name].fillna(0.0)
        axes.barh(range(len(part)), values, left=left, color=color, label=name[:-2])
        left += values.to_numpy()


FIGURE = Figure(
    name="timing",
    title="Seconds an iteration, and memory",
    section="cost",
    caption=f"Mean seconds an iteration by stage, first iterations (compiling) included. {MEMORY}",
    draw=draw,
    by_dataset=True,
)
