"""Figures 3 to 7 of the paper: accuracy of each method, a picture a dataset."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.figures.figure import Drawing, Figure
from reports.figures.style import legend, palette, panels
from reports.frames.names import Column
from reports.frames.published import BEST_CORESET
from reports.frames.results import Results
from reports.statistics.comparable import not_compared
from reports.verdicts.cells import Cell, table2_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUP = 0.86
"""The width that the bars of an IPC take together; 1 is from one IPC to the next."""

_OTHER = "///"
"""The hatching of bars with another protocol than that of the losses beside them."""


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset."""
    cells = [cell for cell in table2_cells(results) if cell.column.method != BEST_CORESET]
    measured = [cell for cell in cells if cell.measured]
    colors = palette((cell.column for cell in measured), results)
    for dataset in dict.fromkeys(cell.dataset for cell in measured):
        columns = {cell.column for cell in measured if cell.dataset == dataset}
        shown = {column: color for column, color in colors.items() if column in columns}
        # Values that were published for IPCs that were not run show what is still open.
        own = [cell for cell in cells if cell.dataset == dataset and cell.column in columns]
        ipcs = sorted({cell.ipc for cell in own if cell.column.method != "whole"}) or [own[0].ipc]
        canvas, (axes,) = panels(1, width=max(4.0, 0.3 * len(shown) * len(ipcs) + 1.5))
        frame = _placed([cell for cell in own if cell.ipc in ipcs], ipcs, list(shown), not_compared(results))
        _bars(axes, frame, list(shown.values()))
        axes.set_xticks(range(len(ipcs)), [str(ipc) for ipc in ipcs])
        axes.set(title=results.names.dataset(dataset), xlabel="images per class", ylabel="test accuracy (%)")
        legend(canvas, shown, results.names, _marks(frame))
        yield Drawing(canvas, frame.drop(columns=["position", "color"]), dataset, results.names.dataset(dataset))


def _marks(frame: pd.DataFrame) -> list[Line2D | Patch]:
    """Return the marks of the legend that are no method's colour."""
    marks: list[Line2D | Patch] = []
    if frame["published"].notna().any():
        marks.append(Line2D([], [], color="black", lw=2, label="published"))
    if not frame.loc[frame["mean"].notna(), "compared"].all():
        marks.append(Patch(facecolor="none", edgecolor="grey", hatch=_OTHER, label="another protocol"))
    return marks


def _placed(
    cells: Sequence[Cell], ipcs: Sequence[int], columns: Sequence[Column], other: Mapping[tuple[str, int], Container[Column]]
) -> pd.DataFrame:
    """Return the numbers of the cells, with the position of each bar and the index of its colour.

    Args:
        cells: of one dataset.
        ipcs: in the order of groups.
        columns: in the order of bars.
        other: the columns of each dataset and IPC that have another protocol.

    """
    rows = []
    for cell in cells:
        number = columns.index(cell.column)
        position = ipcs.index(cell.ipc) + _GROUP * ((number + 0.5) / len(columns) - 0.5)
        reference = cell.published
        ours = (cell.measured.mean, cell.measured.spread, cell.measured.seeds) if cell.measured else (None, None, None)
        theirs = (reference.value, reference.plus_minus) if reference else (None, None)
        compared = cell.column not in other.get((cell.dataset, cell.ipc), ())
        rows.append((cell.dataset, cell.ipc, *cell.column, *ours, *theirs, compared, position, number))
    numbers = ("mean", "plus_minus", "published", "published_pm")
    columns_of_frame = [
        *("dataset", "ipc", "method", "variant", "mean", "plus_minus", "seeds", "published", "published_pm", "compared"),
        *("position", "color"),
    ]
    return pd.DataFrame(rows, columns=columns_of_frame).astype(dict.fromkeys(numbers, float) | {"seeds": "Int64"})


def _bars(axes: Axes, frame: pd.DataFrame, colors: Sequence[str]) -> None:
    """Draw the bars with their deviations, the mean at the foot of each, and a tick at each published value."""
    width, run = _GROUP / len(colors), frame.dropna(subset="mean")
    spread = run["plus_minus"].fillna(0.0)
    shown = [colors[number] for number in run["color"]]
    hatches = ["" if compared else _OTHER for compared in run["compared"]]
    style: dict[str, Any] = {"color": shown, "hatch": hatches, "edgecolor": "white", "linewidth": 0}
    bars = axes.bar(run["position"], run["mean"], 0.9 * width, yerr=spread, error_kw={"lw": 1, "capsize": 2}, **style)
    for bar, mean, color in zip(bars, run["mean"], shown, strict=True):
        red, green, blue = to_rgb(color)
        ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        foot = bar.get_x() + bar.get_width() / 2, 0.0
        style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 7, "color": ink}
        axes.annotate(f"{mean:.1f}", foot, (0, 3), textcoords="offset points", **style)
    given = frame.dropna(subset="published")
    left, right = given["position"] - width / 2, given["position"] + width / 2
    axes.hlines(given["published"], left, right, color="black", lw=2)


FIGURE = Figure(
    name="accuracy",
    title="Accuracy by method (the paper's Figures 3 to 7)",
    section="accuracy",
    caption=(
        "Bars: mean test accuracy, written at their foot, hatched if its protocol differs from that of the losses "
        "beside it; lines: the deviation of Table 2; thick ticks: published values, also of cells that were not run."
    ),
    draw=draw,
)
