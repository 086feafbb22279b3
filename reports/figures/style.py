"""What the figures have in common: colours of methods, panels, legends, logarithmic axes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from reports.frames.metrics import axis_label
from reports.frames.names import Column, Names
from reports.frames.results import Results

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY = f"test {axis_label()}"
"""The label of axes that show the metric which tables and figures compare."""


def palette(columns: Iterable[Column], results: Results) -> dict[Column, str]:
    """Return the colour of each column: the same in every figure of a report, and never that of another column.

    A method has the colour that its file names. Further variants of it, and methods without a colour, take spare ones by
    their names, so that they have the same colour in other reports too, unless it is taken there.
    """
    names, wanted = results.names, set(columns)
    ordered = sorted(wanted.union(results.columns), key=names.column_rank)
    own = {facts.color for facts in names.methods.values()}
    # Seaborn's qualitative palettes have ten colours each; after them come as many hues as there are columns.
    spare = [color for color in _colors("dark", 10) + _colors("bright", 10) if color not in own]
    more = [color for color in _colors("husl", len(ordered)) if color not in own]
    shown: dict[Column, str] = {}
    for column in ordered:
        first, start = names.facts(column.method).color, zlib.crc32(column.name.encode()) % len(spare)
        preferred = (first, *spare[start:], *spare[:start], *more)
        shown[column] = next(color for color in preferred if color and color not in shown.values())
    return {column: color for column, color in shown.items() if column in wanted}


def _colors(name: str, count: int) -> list[str]:
    return [to_hex(color) for color in sns.color_palette(name, count)]


def panels(
    count: int, *, across: int = 3, width: float = 4.6, height: float = 3.6, aligned: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes, at most `across` of them in a row.

    Args:
        count: the number of axes, at least 1.
        across: the number of axes in a row.
        width: of each, in inches.
        height: of each, in inches.
        aligned: whether the panels of a row share their vertical axis.

    """
    columns = min(count, across)
    rows = -(-count // columns)
    size = (width * columns + 1.2, height * rows)
    sharing: Literal["row", "none"] = "row" if aligned else "none"
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", sharey=sharing)
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]


def legend(figure: Figure, colors: Mapping[Column, str], names: Names, more: Sequence[Artist] = ()) -> None:
    """Put the methods' colours, and `more` marks, beside the panels, where they cover nothing.

    Args:
        figure: the figure.
        colors: of the columns to name.
        names: the labels of columns.
        more: further marks.

    """
    marks = [
        Line2D([], [], color=color, marker="o", linestyle="none", label=names.column(column))
        for column, color in colors.items()
    ]
    figure.legend(handles=[*marks, *more], loc="outside right upper", fontsize=8)


def band(axes: Axes, line: pd.DataFrame, x: str, mean: str, color: str) -> None:
    """Draw the deviation between seeds around a line, at points with several seeds.

    Args:
        axes: of the panel.
        line: its points, with the columns `seeds` and `std_seeds`.
        x: the column of the horizontal axis.
        mean: the column of the line.
        color: of the band.

    """
    several = line[line["seeds"] > 1]
    low, high = several[mean] - several["std_seeds"], several[mean] + several["std_seeds"]
    axes.fill_between(several[x].astype(float), low, high, color=color, alpha=0.2, lw=0)


def log_axis(axes: Axes, which: str = "x") -> None:
    """Make an axis logarithmic, with ticks at 1, 2 and 5 that are written as numbers."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
