"""Accuracy by evaluation network, as heat maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.figures.figure import Drawing, Figure
from reports.figures.style import ACCURACY, panels
from reports.frames.names import CELL, COLUMN, ROW, Column, by_row
from reports.frames.results import Results
from reports.statistics.transfer import network_labels, transfer_frame


def draw(results: Results) -> Iterator[Drawing]:
    """Yield one picture, with a panel for each dataset and IPC, and a row for each method that several networks evaluated."""
    frame, labels = transfer_frame(results), network_labels(results)
    frame = frame[frame.groupby(CELL)["eval_network"].transform("size") > 1]
    if frame.empty:
        return
    groups = list(by_row(frame))
    rows = frame.drop_duplicates(CELL).groupby(ROW).size().max()
    canvas, axes_list = panels(len(groups), across=2, width=0.9 * len(labels) + 2.6, height=0.4 * float(rows) + 1.4)
    for axes, ((dataset, ipc), group) in zip(axes_list, groups, strict=True):
        table = group.pivot_table("mean", index=COLUMN, columns="eval_network", sort=False)
        table = table[[network for network in labels if network in table.columns]]
        table.index = [results.names.column(Column(*cast("tuple[str, str]", name))) for name in table.index]
        _heat_map(axes, table.rename(columns=labels))
        axes.set_title(f"{results.names.dataset(dataset)}, IPC {ipc}")
    yield Drawing(canvas, frame)


def _heat_map(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the numbers of a table as colours, each with its number. Seaborn's would draw the whole figure at every panel."""
    values = table.to_numpy(float)
    colours = axes.pcolormesh(values, cmap="viridis")
    axes.figure.colorbar(colours, ax=axes, label=ACCURACY)
    bright = np.nanmin(values) + 0.6 * np.ptp(values[~np.isnan(values)])
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value < bright else "black"
            axes.annotate(f"{value:.1f}", (column + 0.5, row + 0.5), ha="center", va="center", color=ink)
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, table.columns, rotation=30)
    axes.set_yticks(np.arange(len(table)) + 0.5, table.index)
    axes.invert_yaxis()


FIGURE = Figure(
    name="transfer",
    title="Accuracy by evaluation network",
    section="networks",
    caption="Mean test accuracy of images that several networks evaluated: methods down, networks across.",
    draw=draw,
)
