"""The cost of accuracy: accuracy against seconds of distilling, with labels at the points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text

from reports.figures.figure import Drawing, Figure, settle
from reports.figures.style import ACCURACY, log_axis, palette, panels
from reports.frames.names import Column, Names, columns_of
from reports.frames.results import Results
from reports.statistics.curves import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDEST = 40
"""Characters of a line of a label."""

_NEAR = 5
"""Dots, 100 to an inch, within which a label needs no line to its point."""


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset, with a panel for each IPC; nothing if no record has an IPC."""
    frame = points(results)
    colors = palette(columns_of(frame), results)
    for dataset, own in frame.groupby("dataset", sort=False):
        groups = list(own.groupby("ipc"))
        title = results.names.dataset(str(dataset))
        canvas, axes_list = panels(len(groups), height=3.4)
        labels = []
        for axes, (ipc, group) in zip(axes_list, groups, strict=True):
            labels.append(_panel(axes, group.copy(), colors, results.names))
            axes.set(title=f"{title}, IPC {ipc}", xlabel="seconds of distilling", ylabel=ACCURACY)
        marks = _marks(equal="equal seconds" in set(own["at"]))
        canvas.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8)
        settle(canvas)
        _move_apart(labels, axes_list)
        yield Drawing(canvas, own, str(dataset), title)


def _marks(*, equal: bool) -> list[Line2D]:
    """Return the marks of the legend; the hollow one if there are points at `equal` seconds."""
    point: dict[str, Any] = {"color": "grey", "marker": "o", "linestyle": "none"}
    marks = [Line2D([], [], label="all iterations", **point)]
    if equal:
        marks.append(Line2D([], [], label="in the seconds of the fastest loss", markerfacecolor="none", **point))
    return [*marks, Line2D([], [], color="lightgrey", label="the best up to there")]


def _move_apart(labels: Sequence[list[Text]], axes_list: Sequence[Axes]) -> None:
    """Move the labels of each panel apart, and draw a line from those that are far from their points to them."""
    for axes in axes_list:  # the library draws the whole figure for each panel, but needs none of it
        axes.set_visible(False)
    for own, axes in zip(labels, axes_list, strict=True):
        targets = axes.transData.transform([label.get_position() for label in own])
        adjust_text(own, ax=axes, iter_lim=200)
        lines = [line for label, target in zip(own, targets, strict=True) if (line := _joint(label, target)) is not None]
        lines = [axes.transData.inverted().transform(line) for line in lines]
        axes.add_collection(LineCollection(lines, colors="grey", linewidths=0.5), autolim=False)
    for axes in axes_list:
        axes.set_visible(True)


def _joint(label: Text, target: np.ndarray) -> np.ndarray | None:
    """Return the line from a point to the nearest edge of its label, or None if they are closer than `_NEAR`.

    Args:
        label: the label.
        target: the point, in dots.

    """
    box = label.get_window_extent()
    nearest = np.clip(target, box.min, box.max)
    return np.stack([target, nearest]) if np.hypot(*(nearest - target)) > _NEAR else None


def _panel(axes: Axes, frame: pd.DataFrame, colors: Mapping[Column, str], names: Names) -> list[Text]:
    """Draw the points of one dataset and IPC, and return their labels; cells without distilling are at the left edge."""
    timed = frame["seconds"][frame["seconds"] > 0]
    frame["seconds"] = frame["seconds"].clip(lower=timed.min() / 3 if len(timed) else 0.1)
    _front(axes, frame[(frame["at"] == "all iterations") & frame["compared"]])
    columns = columns_of(frame)
    edges = [colors[column] for column in columns]
    faces = [color if at == "all iterations" else "none" for color, at in zip(edges, frame["at"], strict=True)]
    axes.scatter(frame["seconds"], frame["accuracy"], s=36, zorder=3, facecolors=faces, edgecolors=edges)
    labels = [
        Text(seconds, accuracy, fill(names.column(column), _WIDEST), fontsize=7, in_layout=False, clip_on=False)
        for column, seconds, accuracy, at in zip(columns, frame["seconds"], frame["accuracy"], frame["at"], strict=True)
        if at == "all iterations"
    ]
    for label in labels:
        axes.add_artist(label)
    log_axis(axes)
    axes.margins(0.15)
    return labels


def _front(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw the best accuracy up to each number of seconds: no point lies above these steps."""
    ordered = frame.sort_values("seconds")
    axes.step(ordered["seconds"], ordered["accuracy"].cummax(), where="post", color="lightgrey", lw=1, zorder=1)


FIGURE = Figure(
    name="pareto",
    title="Accuracy against seconds",
    section="cost",
    caption=(
        "Mean test accuracy and seconds of distilling, without evaluation; cells without distilling are at the left edge. "
        "Filled: after all iterations. Hollow, if cells have checkpoints: at the last checkpoint within the seconds that "
        "the fastest loss took in all; losses that ran on several machines, or have another protocol, have no such point. "
        "The grey line leaves out methods of another protocol. "
        "Seconds are of the machine of each cell, which the cards name."
    ),
    draw=draw,
)
