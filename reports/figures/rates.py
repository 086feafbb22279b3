"""Sensitivity: accuracy against the rate of the step, a line for each loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from reports.figures.figure import Drawing, Figure
from reports.figures.style import ACCURACY, band, legend, log_axis, palette, panels
from reports.frames.names import COLUMN, Column, by_row, columns_of
from reports.frames.results import Results
from reports.statistics.rates import rates_frame


def draw(results: Results) -> Iterator[Drawing]:
    """Yield one picture, with a panel for each dataset and IPC; nothing if records do not differ in the rate."""
    frame = rates_frame(results)
    if frame.empty:
        return
    groups = list(by_row(frame))
    colors = palette(columns_of(frame), results)
    canvas, axes_list = panels(len(groups))
    for axes, ((dataset, ipc), group) in zip(axes_list, groups, strict=True):
        for name, line in group.groupby(COLUMN, sort=False):
            color = colors[Column(*cast("tuple[str, str]", name))]
            axes.plot(line["rate"], line["mean"], marker="o", markersize=4, color=color)
            band(axes, line, "rate", "mean", color)
        axes.set_xlim(frame["rate"].min() / 1.3, frame["rate"].max() * 1.3)
        log_axis(axes)
        axes.set(title=f"{results.names.dataset(dataset)}, IPC {ipc}", xlabel="rate (radians)", ylabel=ACCURACY)
    legend(canvas, colors, results.names)
    yield Drawing(canvas, frame)


FIGURE = Figure(
    name="rates",
    title="Sensitivity to the rate of the step",
    section="rates",
    caption=(
        "Test accuracy against match.rate, the radians by which an iteration turns an image, on one axis for all losses. "
        "Bands: the deviation between seeds, if there are several."
    ),
    draw=draw,
)
