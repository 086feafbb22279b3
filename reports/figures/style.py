"""What the figures have in common: colours of methods, panels, legends, axes of logarithms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from reports.names import Column, Names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def palette(columns: Iterable[Column], names: Names) -> dict[Column, str]:
    """Return a colour for each column, in the order of columns; no two columns share one.

    A method has the colour that its file names. Further variants of it, and methods without a colour, take spare ones.
    """
    ordered = sorted(set(columns), key=names.column_rank)
    chosen = {names.facts(column.method).color for column in ordered}
    # Seaborn's qualitative palettes have ten colours each; behind them come as many hues as there are columns.
    colors = [*sns.color_palette("colorblind"), *sns.color_palette("dark"), *sns.color_palette("husl", len(ordered))]
    spare = (color for color in dict.fromkeys(map(to_hex, colors)) if color not in chosen)
    shown: dict[Column, str] = {}
    for column in ordered:
        own = names.facts(column.method).color
        shown[column] = own if own and own not in shown.values() else next(spare)
    return shown


def panels(count: int, *, across: int = 3, width: float = 4.6, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many axes, at most `across` beside one another.

    Args:
        count: how many axes, at least one.
        across: how many in a row.
        width: of each, in inches.
        height: of each, in inches.

    """
    columns = min(count, across)
    rows = -(-count // columns)
    size = (width * columns + 1.2, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]


def legend(figure: Figure, colors: Mapping[Column, str], names: Names, more: Sequence[Line2D] = ()) -> None:
    """Put the methods' colours, and `more` marks, beside the panels, where they cover nothing.

    Args:
        figure: where.
        colors: of the columns to name.
        names: what they are called.
        more: further marks.

    """
    marks = [
        Line2D([], [], color=color, marker="o", linestyle="none", label=names.column(column))
        for column, color in colors.items()
    ]
    figure.legend(handles=[*marks, *more], loc="outside right upper", fontsize=8)


def band(axes: Axes, part: pd.DataFrame, x: str, mean: str, color: str) -> None:
    """Draw the deviation between seeds around a line, where there are several.

    Args:
        axes: where.
        part: the line's points, with the columns `seeds` and `std_seeds`.
        x: the column of the horizontal axis.
        mean: the column of the line.
        color: of the band.

    """
    several = part[part["seeds"] > 1]
    low, high = several[mean] - several["std_seeds"], several[mean] + several["std_seeds"]
    axes.fill_between(several[x].astype(float), low, high, color=color, alpha=0.2, lw=0)


def log_axis(axes: Axes, which: str = "x") -> None:
    """Make an axis logarithmic, with ticks at 1, 2 and 5 that are written as numbers."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
