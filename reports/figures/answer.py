"""The answer at a glance: how far each loss is behind the best one, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.figures.figure import Drawing, Figure
from reports.figures.style import legend, log_axis, palette, panels
from reports.frames.names import columns_of
from reports.frames.results import Results
from reports.statistics.answer import answer_frame

_SPREAD = 0.6
"""The share of the height of a dataset and IPC that its losses take."""


def draw(results: Results) -> Iterator[Drawing]:
    """Yield one picture, with a row for each dataset and IPC; nothing if there are no losses."""
    frame = answer_frame(results)
    if frame.empty:
        return
    cells = list(dict.fromkeys(zip(frame["dataset"], frame["ipc"], strict=True)))
    columns = columns_of(frame)
    colors = palette(columns, results)
    canvas, (behind, cost) = panels(2, height=0.5 * len(cells) + 1.5)
    for row, column in zip(frame.to_dict("records"), columns, strict=True):
        offset = _SPREAD * ((list(colors).index(column) + 0.5) / len(colors) - 0.5)
        height = cells.index((row["dataset"], row["ipc"])) + offset
        style: dict[str, Any] = {"marker": "o", "markersize": 5, "color": colors[column]}
        behind.plot(-row["behind_best"], height, **style)
        behind.hlines(height, -row["high"], -row["low"], color=colors[column], lw=1.5)
        cost.plot(max(row["distilling_s"], 1e-3), height, **style)
    labels = [f"{results.names.dataset(dataset)}, IPC {ipc}" for dataset, ipc in cells]
    for axes in (behind, cost):
        axes.set_yticks(range(len(cells)), labels)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.grid(axis="x", color="lightgrey", lw=0.5)
    cost.tick_params(labelleft=False)
    behind.locator_params(axis="x", nbins=5)  # more labels would touch one another
    log_axis(cost)
    behind.set_xlabel("points of test accuracy below the best loss")
    cost.set_xlabel("seconds of distilling")
    legend(canvas, colors, results.names)
    yield Drawing(canvas, frame)


FIGURE = Figure(
    name="answer",
    title="Which loss, at what cost?",
    section="answer",
    caption=(
        "Left: mean test accuracy less that of the best loss, with the 95 % interval of the paired difference if there are "
        "several seeds. Right: seconds of distilling, on the machine of each cell. Losses of another protocol are left out."
    ),
    draw=draw,
)
