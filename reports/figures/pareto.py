"""What accuracy costs: accuracy against seconds of distilling, with labels at the points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from reports.figures.figure import Drawing, Figure, settle
from reports.figures.style import log_axis, palette, panels
from reports.frames.names import Column, Names
from reports.frames.results import Results
from reports.statistics.comparable import not_compared
from reports.statistics.comparisons import is_loss
from reports.tables.captions import machines_by_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_PLACE = ["dataset", "ipc"]
_COLUMN = ["method", "variant"]

_WIDEST = 40
"""Characters of a line of a label."""

_NEAR = 5
"""Dots, of 100 to an inch, up to which a label stands at its point."""


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset, with a panel for each IPC; nothing where no record has an IPC."""
    frame = points(results)
    colors = palette((Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)), results)
    for dataset, own in frame.groupby("dataset", sort=False):
        groups = list(own.groupby("ipc"))
        title = results.names.dataset(str(dataset))
        canvas, axes_list = panels(len(groups), height=3.4)
        labels = []
        for axes, (ipc, part) in zip(axes_list, groups, strict=True):
            labels.append(_panel(axes, part.copy(), colors, results.names))
            axes.set(title=f"{title}, IPC {ipc}", xlabel="seconds of distilling", ylabel="accuracy (%)")
        marks = _marks(equal="equal seconds" in set(own["at"]))
        canvas.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8)
        settle(canvas)
        _place(labels, axes_list)
        yield Drawing(canvas, own, str(dataset), title)


@lru_cache(maxsize=8)
def points(results: Results) -> pd.DataFrame:
    """Return seconds and accuracy of each dataset, IPC and column.

    `at` is "all iterations" or "equal seconds"; `compared`: whether the column has the protocol that columns are compared by.
    """
    parts = [_ends(results), _at_equal_seconds(results)]
    return pd.concat(parts, ignore_index=True).astype({"seconds": float, "accuracy": float})


def _marks(*, equal: bool) -> list[Line2D]:
    """Return the marks of the legend; the hollow ones where there are points at `equal` seconds."""
    point: dict[str, Any] = {"color": "grey", "marker": "o", "linestyle": "none"}
    marks = [Line2D([], [], label="all iterations", **point)]
    if equal:
        marks.append(Line2D([], [], label="in the seconds of the fastest loss", markerfacecolor="none", **point))
    return [*marks, Line2D([], [], color="lightgrey", label="the best up to there")]


def _ends(results: Results) -> pd.DataFrame:
    """Return accuracy and seconds of each column at its end, means over seeds."""
    cells = results.cells[results.cells["ipc"].notna()]
    means = cells.groupby([*_PLACE, *_COLUMN], sort=False)[["distilling_s", "accuracy"]].mean().reset_index()
    other = not_compared(results)
    compared = [
        Column(method, variant) not in other.get((dataset, ipc), {})
        for dataset, ipc, method, variant in means[[*_PLACE, *_COLUMN]].itertuples(index=False)
    ]
    return means.rename(columns={"distilling_s": "seconds"}).assign(at="all iterations", compared=compared)


def _at_equal_seconds(results: Results) -> pd.DataFrame:
    """Return accuracy of each loss at its last checkpoint within the seconds that the fastest loss of its row took in all.

    Losses of another protocol have no such point, and there is none where losses were distilled on several machines.
    """
    checkpoints = results.main_checkpoints
    by_iteration = [*_PLACE, *_COLUMN, "iteration"]
    means = checkpoints.groupby(by_iteration, sort=False)[["seconds", "accuracy"]].mean().reset_index()
    machines, rows = machines_by_column(results), []
    for key, part in means.groupby(_PLACE, sort=False):
        place = cast("tuple[str, int]", key)
        ends, other = part.groupby(_COLUMN, sort=False)["seconds"].max(), not_compared(results)[place]
        columns = [Column(*cast("tuple[str, str]", name)) for name in ends.index]
        losses = [column for column in columns if is_loss(results, column) and column not in other]
        on = {machine for name in losses for machine in machines[(*place, *name)].split("; ")}
        if len(losses) < 2 or len(on) > 1:
            continue
        limit = ends[[tuple(name) for name in losses]].min()
        for name in losses:
            own = part[(part["method"] == name[0]) & (part["variant"] == name[1]) & (part["seconds"] <= limit)]
            if len(own):
                last = own.loc[own["seconds"].idxmax()]
                rows.append((*place, *name, last["seconds"], last["accuracy"], "equal seconds", True))
    return pd.DataFrame(rows, columns=[*_PLACE, *_COLUMN, "seconds", "accuracy", "at", "compared"])


def _place(labels: Sequence[list[Text]], axes_list: Sequence[Axes]) -> None:
    """Move the labels of each panel apart, and join those that stand away from their points with them."""
    for axes in axes_list:  # the library draws the whole figure for each panel, but needs none of it
        axes.set_visible(False)
    for texts, axes in zip(labels, axes_list, strict=True):
        targets = axes.transData.transform([text.get_position() for text in texts])
        adjust_text(texts, ax=axes, iter_lim=200)
        lines = [line for text, target in zip(texts, targets, strict=True) if (line := _joint(text, target)) is not None]
        lines = [axes.transData.inverted().transform(line) for line in lines]
        axes.add_collection(LineCollection(lines, colors="grey", linewidths=0.5), autolim=False)
    for axes in axes_list:
        axes.set_visible(True)


def _joint(text: Text, target: np.ndarray) -> np.ndarray | None:
    """Return the line from a point to the nearest edge of its label, or None where they are closer than `_NEAR`.

    Args:
        text: the label.
        target: the point, in dots.

    """
    box = text.get_window_extent()
    nearest = np.clip(target, box.min, box.max)
    return np.stack([target, nearest]) if np.hypot(*(nearest - target)) > _NEAR else None


def _panel(axes: Axes, part: pd.DataFrame, colors: Mapping[Column, str], names: Names) -> list[Text]:
    """Draw the points of one dataset and IPC, and return their labels; what takes no time stands at the left edge."""
    timed = part["seconds"][part["seconds"] > 0]
    part["seconds"] = part["seconds"].clip(lower=timed.min() / 3 if len(timed) else 0.1)
    _front(axes, part[(part["at"] == "all iterations") & part["compared"]])
    columns = [Column(*pair) for pair in zip(part["method"], part["variant"], strict=True)]
    edges = [colors[column] for column in columns]
    faces = [color if at == "all iterations" else "none" for color, at in zip(edges, part["at"], strict=True)]
    axes.scatter(part["seconds"], part["accuracy"], s=36, zorder=3, facecolors=faces, edgecolors=edges)
    texts = [
        axes.text(seconds, accuracy, fill(names.column(column), _WIDEST), fontsize=7, in_layout=False)
        for column, seconds, accuracy, at in zip(columns, part["seconds"], part["accuracy"], part["at"], strict=True)
        if at == "all iterations"
    ]
    log_axis(axes)
    axes.margins(0.15)
    return texts


def _front(axes: Axes, part: pd.DataFrame) -> None:
    """Draw the steps above which no point of `part` lies: the best accuracy up to each number of seconds."""
    ordered = part.sort_values("seconds")
    axes.step(ordered["seconds"], ordered["accuracy"].cummax(), where="post", color="lightgrey", lw=1, zorder=1)


FIGURE = Figure(
    name="pareto",
    title="Accuracy against seconds",
    section="cost",
    caption=(
        "Mean accuracy and seconds of distilling, without those of evaluation; what takes none stands at the left edge. "
        "Filled: after all iterations. Hollow, where cells have checkpoints: at the last checkpoint within the seconds that "
        "the fastest loss took in all; losses that ran on several machines, or have another protocol, have no such point. "
        "The grey line leaves out what has another protocol. "
        "Seconds are of the machine of each cell, which the cards name."
    ),
    draw=draw,
    by_dataset=True,
)
