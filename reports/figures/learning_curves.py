"""Learning curves: accuracy and loss against iterations and against seconds of distilling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import pandas as pd

from reports.figures.figure import Drawing, Figure
from reports.figures.style import ACCURACY, band, legend, log_axis, palette, panels
from reports.frames.names import COLUMN, Column, by_row, columns_of
from reports.frames.results import Results
from reports.statistics.curves import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_X = {"iteration": "iterations", "seconds": "seconds of distilling"}


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset and IPC that has checkpoints."""
    frame = curves(results)
    colors = palette(columns_of(frame), results)
    for (dataset, ipc), group in by_row(frame):
        title = f"{results.names.dataset(dataset)}, IPC {ipc}"
        canvas, axes_list = panels(4, across=2, height=3.0, aligned=True)
        for axes, (quantity, x) in zip(axes_list, ((of, x) for of in ("accuracy", "loss") for x in _X), strict=True):
            _lines(axes, group[group["quantity"] == quantity], x, colors)
            log_axis(axes)
            axes.set_xlabel(_X[x])
        log_axis(axes_list[2], "y")
        axes_list[0].set_ylabel(ACCURACY)
        axes_list[2].set_ylabel("loss over its start")
        canvas.suptitle(title)
        shown = set(columns_of(group))
        legend(canvas, {column: color for column, color in colors.items() if column in shown}, results.names)
        yield Drawing(canvas, group, f"{dataset}_{ipc}", title)


def _lines(axes: Axes, frame: pd.DataFrame, x: str, colors: Mapping[Column, str]) -> None:
    """Draw a line for each column, with the deviation between seeds as a band.

    Args:
        axes: of the panel.
        frame: the points of one dataset, IPC and quantity.
        x: the column of the horizontal axis.
        colors: of the lines.

    """
    for name, line in frame.groupby(COLUMN, sort=False):
        color = colors[Column(*cast("tuple[str, str]", name))]
        marker = "o" if (line["quantity"] == "accuracy").all() else ""
        axes.plot(line[x].astype(float), line["value"], color=color, marker=marker, markersize=3, lw=1.2)
        band(axes, line, x, "value", color)


FIGURE = Figure(
    name="learning_curves",
    title="Learning curves",
    section="cost",
    caption=(
        "Test accuracy at checkpoints, and the loss over its value at the start (losses of different methods have different "
        "units), against iterations and seconds. Bands: the deviation between seeds. Nothing is chosen by these curves."
    ),
    draw=draw,
)
