"""What accuracy costs: accuracy against seconds of distilling, with labels at the points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from adjustText import adjust_text
from matplotlib.lines import Line2D

from reports.comparisons import is_loss
from reports.figures.figure import Drawing, Figure, settle
from reports.figures.style import log_axis, palette, panels
from reports.names import Column, Names
from reports.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

_PLACE = ["dataset", "ipc"]
_COLUMN = ["method", "variant"]


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset, with a panel for each IPC; nothing where no record has an IPC."""
    frame = points(results)
    colors = palette((Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)), results.names)
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


def points(results: Results) -> pd.DataFrame:
    """Return seconds and accuracy of each dataset, IPC and column, and `at`: "all iterations", or "equal seconds"."""
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
    return means.rename(columns={"distilling_s": "seconds"}).assign(at="all iterations")


def _at_equal_seconds(results: Results) -> pd.DataFrame:
    """Return accuracy of each loss at its last checkpoint within the seconds that the fastest loss of its row took in all."""
    checkpoints = results.main_checkpoints
    by_iteration = [*_PLACE, *_COLUMN, "iteration"]
    means = checkpoints.groupby(by_iteration, sort=False)[["seconds", "accuracy"]].mean().reset_index()
    rows = []
    for place, part in means.groupby(_PLACE, sort=False):
        ends = part.groupby(_COLUMN, sort=False)["seconds"].max()
        losses = [name for name in ends.index if is_loss(results, Column(*cast("tuple[str, str]", name)))]
        if len(losses) < 2:
            continue
        limit = ends[losses].min()
        for name in losses:
            own = part[(part["method"] == name[0]) & (part["variant"] == name[1]) & (part["seconds"] <= limit)]
            if len(own):
                last = own.loc[own["seconds"].idxmax()]
                rows.append((*cast("tuple", place), *name, last["seconds"], last["accuracy"], "equal seconds"))
    return pd.DataFrame(rows, columns=[*_PLACE, *_COLUMN, "seconds", "accuracy", "at"])


def _place(labels: Sequence[list[Text]], axes_list: Sequence[Axes]) -> None:
    """Move the labels of each panel apart. The library draws the figure for each, so the other panels are hidden meanwhile."""
    for texts, axes in zip(labels, axes_list, strict=True):
        for other in axes_list:
            other.set_visible(other is axes)
        adjust_text(texts, ax=axes, arrowprops={"arrowstyle": "-", "color": "grey", "lw": 0.5}, iter_lim=200)
    for axes in axes_list:
        axes.set_visible(True)


def _panel(axes: Axes, part: pd.DataFrame, colors: Mapping[Column, str], names: Names) -> list[Text]:
    """Draw the points of one dataset and IPC, and return their labels; what takes no time stands at the left edge."""
    timed = part["seconds"][part["seconds"] > 0]
    part["seconds"] = part["seconds"].clip(lower=timed.min() / 3 if len(timed) else 0.1)
    _front(axes, part[part["at"] == "all iterations"])
    texts = []
    for row in part.to_dict("records"):
        column = Column(row["method"], row["variant"])
        ended = row["at"] == "all iterations"
        face: dict[str, Any] = {"color": colors[column]} if ended else {"facecolors": "none", "edgecolors": colors[column]}
        axes.scatter(row["seconds"], row["accuracy"], s=36, zorder=3, **face)
        if ended:
            texts.append(axes.text(row["seconds"], row["accuracy"], names.column(column), fontsize=7))
    log_axis(axes)
    axes.margins(0.15)
    return texts


def _front(axes: Axes, part: pd.DataFrame) -> None:
    """Draw the steps above which no point lies: the best accuracy up to each number of seconds."""
    ordered = part.sort_values("seconds")
    axes.step(ordered["seconds"], ordered["accuracy"].cummax(), where="post", color="lightgrey", lw=1, zorder=1)


FIGURE = Figure(
    name="pareto",
    title="Accuracy against seconds",
    section="cost",
    caption=(
        "Mean accuracy and seconds of distilling, without those of evaluation; what takes none stands at the left edge. "
        "Filled: after all iterations. Hollow, where cells have checkpoints: at the last checkpoint within the seconds that "
        "the fastest loss took in all."
    ),
    draw=draw,
)
