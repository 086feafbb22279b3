"""Sensitivity: accuracy against the rate of the step, one line a loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from reports.figures.figure import Drawing, Figure
from reports.figures.style import band, legend, log_axis, palette, panels
from reports.frames.names import Column
from reports.frames.results import Results
from reports.tables.rates import rates_frame

_PLACE = ["dataset", "ipc"]
_COLUMN = ["method", "variant"]


def draw(results: Results) -> Iterator[Drawing]:
    """Yield one picture, with a panel for each dataset and IPC; nothing where records do not differ in the rate."""
    frame = rates_frame(results)
    if frame.empty:
        return
    groups = list(frame.groupby(_PLACE, sort=False))
    colors = palette((Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)), results)
    canvas, axes_list = panels(len(groups))
    for axes, (place, part) in zip(axes_list, groups, strict=True):
        dataset, ipc = cast("tuple[str, int]", place)
        for name, line in part.groupby(_COLUMN, sort=False):
            color = colors[Column(*cast("tuple[str, str]", name))]
            axes.plot(line["rate"], line["mean"], marker="o", markersize=4, color=color)
            band(axes, line, "rate", "mean", color)
        axes.set_xlim(frame["rate"].min() / 1.3, frame["rate"].max() * 1.3)
        log_axis(axes)
        axes.set(title=f"{results.names.dataset(dataset)}, IPC {ipc}", xlabel="rate (radians)", ylabel="accuracy (%)")
    legend(canvas, colors, results.names)
    yield Drawing(canvas, frame)


FIGURE = Figure(
    name="rates",
    title="Sensitivity to the rate of the step",
    section="rates",
    caption=(
        "Accuracy against match.rate, by how many radians an iteration turns an image, on one axis for all losses. Bands: the "
        "deviation between seeds, where there are several."
    ),
    draw=draw,
)
