"""The pictures of a report, with seaborn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from bench.records import RunRecord
from reports.cells import Cell, table2_cells
from reports.frames import cell_rows, network_rows
from reports.names import Names
from reports.transfer import network_labels, panels, transfer_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

matplotlib.use("Agg")  # no window, wherever the report is made

_DISTILL = ("features", "loss", "update")
_MARKERS = "os^Dv"


def palette(columns: Sequence[str], names: Names) -> dict[str, str]:
    """Return a colour for each column by what is printed for it, in the order of columns; no two columns share one.

    A method has the colour that its file names. Further variants of it, and methods without a colour, take spare ones.
    """
    ordered = sorted(set(columns), key=names.column_rank)
    chosen = {names.facts(name).color for name in ordered}
    # Seaborn's qualitative palettes have ten colours each; behind them come as many hues as there are columns.
    colors = [*sns.color_palette("colorblind"), *sns.color_palette("dark"), *sns.color_palette("husl", len(ordered))]
    spare = (color for color in dict.fromkeys(map(to_hex, colors)) if color not in chosen)
    shown: dict[str, str] = {}
    for name in ordered:
        own = names.facts(name).color
        shown[names.column(name)] = own if own and own not in shown.values() else next(spare)
    return shown


def _panels(count: int, *, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    size = (4.6 * columns + 1.2, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]


def _legend(figure: Figure, colors: Mapping[str, str], *more: Line2D) -> None:
    """Put the methods' colours, and `more` marks, beside the panels, where they cover nothing."""
    marks = [Line2D([], [], color=color, marker="o", linestyle="none", label=name) for name, color in colors.items()]
    figure.legend(handles=[*marks, *more], loc="outside right upper", fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_accuracy(records: Sequence[RunRecord], path: Path) -> None:
    """Draw accuracy by IPC and method: circles are means with deviations, dots networks, dashes published values."""
    frame, names = network_rows(records), Names.of(records)
    colors = palette(list(frame["method"]), names)
    frame["label"] = frame["method"].map(names.column)
    datasets = list(dict.fromkeys(frame["dataset"]))
    cells = table2_cells(records)
    figure, axes_list = _panels(len(datasets))
    for axes, dataset in zip(axes_list, datasets, strict=True):
        part = frame[frame["dataset"] == dataset]
        ipcs, shown = sorted(part["ipc"].unique()), [name for name in colors if name in set(part["label"])]
        style = {"data": part, "x": "ipc", "y": "accuracy", "hue": "label", "hue_order": shown, "order": ipcs, "ax": axes}
        width = 0.8 / len(shown)
        aside = {"dodge": 0.8 - width} if len(shown) > 1 else {}
        sns.stripplot(**style, dodge=True, palette=["grey"] * len(shown), size=2.5, legend=False)
        sns.pointplot(**style, **aside, palette=colors, errorbar="sd", linestyle="none", markersize=5, legend=False)
        for cell in cells:
            label = names.column(cell.method)
            if cell.dataset == dataset and cell.ipc in ipcs and label in shown:
                middle = ipcs.index(cell.ipc) + width * (shown.index(label) - (len(shown) - 1) / 2)
                _draw_published(axes, cell, middle, width)
        axes.set(title=names.dataset(dataset), xlabel="images per class", ylabel="test accuracy (%)")
    _legend(figure, colors, Line2D([], [], color="black", linestyle="dashed", label="published"))
    _save(figure, path)


def _draw_published(axes: Axes, cell: Cell, middle: float, width: float) -> None:
    """Draw a dash at the published value of a cell, if there is one.

    Args:
        axes: where to draw.
        cell: whose value.
        middle: the place of the cell's mean on the axis of IPCs.
        width: of the dash.

    """
    if cell.published:
        left, right = middle - width / 2, middle + width / 2
        axes.hlines(cell.published.value, left, right, color="black", linestyle="dashed", lw=1.5)


def plot_timing(records: Sequence[RunRecord], path: Path) -> None:
    """Draw seconds an iteration by method, stacked by stage."""
    frame, names = cell_rows(records), Names.of(records)
    frame = frame[frame["iterations"] > 0]
    groups = list(dict.fromkeys(zip(frame["dataset"], frame["ipc"], strict=True)))
    figure, axes_list = _panels(max(1, len(groups)), height=3.0)
    for axes, (dataset, ipc) in zip(axes_list, groups, strict=False):
        part = frame[(frame["dataset"] == dataset) & (frame["ipc"] == ipc)]
        stages = [f"{stage}_s" for stage in _DISTILL]
        each = part[stages].div(part["iterations"], axis=0).assign(method=part["method"])
        means = each.groupby("method", sort=False)[stages].mean()
        left = np.zeros(len(means))
        for name, color in zip(stages, sns.color_palette("colorblind", 3), strict=True):
            axes.barh([names.column(method) for method in means.index], means[name], left=left, color=color, label=name[:-2])
            left += means[name].to_numpy()
        axes.invert_yaxis()
        axes.set(title=f"{names.dataset(dataset)}, IPC {ipc}", xlabel="seconds an iteration (mean)")
    if groups:
        axes_list[0].legend(fontsize=7)
    else:
        axes_list[0].set_title("no method of these records iterates")
    _save(figure, path)


def plot_accuracy_vs_time(records: Sequence[RunRecord], path: Path) -> None:
    """Draw each cell's mean accuracy against the seconds of distilling it (selections, which take none, at the left edge)."""
    frame, names = cell_rows(records), Names.of(records)
    frame["distilling"] = frame[[f"{stage}_s" for stage in _DISTILL]].sum(axis=1)
    frame["label"] = frame["method"].map(names.column)
    colors = palette(list(frame["method"]), names)
    frame = frame[frame["ipc"] != "all"]
    datasets = list(dict.fromkeys(frame["dataset"]))
    figure, axes_list = _panels(max(1, len(datasets)))
    for axes, dataset in zip(axes_list, datasets, strict=False):
        _draw_times(axes, frame[frame["dataset"] == dataset].copy(), colors)
        axes.set(title=names.dataset(dataset))
    _legend(figure, {name: color for name, color in colors.items() if name in set(frame["label"])})
    _save(figure, path)


def _draw_times(axes: Axes, part: pd.DataFrame, colors: Mapping[str, str]) -> None:
    """Draw the cells of one dataset, a marker for each IPC."""
    timed = part["distilling"][part["distilling"] > 0]
    part["distilling"] = part["distilling"].clip(lower=timed.min() / 3 if len(timed) else 0.1)
    markers = dict(zip(sorted(part["ipc"].unique(), key=int), itertools.cycle(_MARKERS), strict=False))
    for ipc, marker in markers.items():
        cells = part[part["ipc"] == ipc]
        axes.scatter(cells["distilling"], cells["accuracy"], c=[colors[name] for name in cells["label"]], marker=marker, s=60)
    marks = [Line2D([], [], color="grey", marker=marker, linestyle="none") for marker in markers.values()]
    axes.legend(marks, [f"IPC {ipc}" for ipc in markers], fontsize=7)
    axes.set(xscale="log", xlabel="seconds of distilling", ylabel="test accuracy (%)")
    axes.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
    axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))


def plot_transfer(records: Sequence[RunRecord], path: Path) -> None:
    """Draw a heat map of accuracy for each dataset and IPC, methods down and evaluation networks across."""
    frames, names, labels = panels(transfer_table(records)), Names.of(records), network_labels(records)
    columns = min(len(frames), 2)
    rows = -(-len(frames) // columns)
    width = max(len(frame.columns) for frame in frames.values())
    height = max(len(frame) for frame in frames.values())
    size = (columns * (0.9 * width + 2.6), rows * (0.4 * height + 1.4))
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes_list: list[Axes] = list(grid.flat)
    for spare in axes_list[len(frames) :]:
        spare.remove()
    for axes, ((dataset, ipc), frame) in zip(axes_list, frames.items(), strict=False):
        shown = frame.rename(index=names.column, columns=labels)
        sns.heatmap(shown, ax=axes, annot=True, fmt=".1f", cmap="viridis", cbar_kws={"label": "test accuracy (%)"})
        axes.set(title=f"{names.dataset(dataset)}, IPC {ipc}", xlabel="", ylabel="")
        axes.tick_params(axis="x", rotation=30)
        axes.tick_params(axis="y", rotation=0)
    _save(figure, path)


def plot_images(images: np.ndarray, classes: Sequence[str], path: Path, *, most: int = 10) -> None:
    """Draw synthetic images, a class a row.

    Args:
        images: `[C, m, H, W]` or `[C, m, H, W, 3]` in [0, 1].
        classes: the names of the classes.
        path: where the picture goes.
        most: how many images of a class are drawn at most.

    """
    shown = images[:, :most]
    rows, columns = shown.shape[:2]
    figure, axes = plt.subplots(rows, columns, figsize=(0.62 * columns + 1.4, 0.62 * rows), squeeze=False)
    for row in range(rows):
        for column in range(columns):
            axis = axes[row, column]
            axis.imshow(shown[row, column], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_frame_on(False)
        axes[row, 0].set_ylabel(classes[row], rotation=0, ha="right", va="center", fontsize=7)
    figure.subplots_adjust(left=1.2 / (0.62 * columns + 1.4), right=0.99, top=0.99, bottom=0.01, wspace=0.06, hspace=0.06)
    figure.savefig(path, dpi=100)
    plt.close(figure)
