"""The pictures of a report, with seaborn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")  # no window, wherever the report is made

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from bench.records import RunRecord
from reports.cells import table2_cells
from reports.frames import METHOD_ORDER, Labels, cell_rows, network_rows, rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DISTILL = ("features", "loss", "update")


def _palette(methods: Sequence[str], labels: Labels) -> dict[str, tuple[float, float, float]]:
    ordered = sorted(set(methods), key=lambda name: rank(name, METHOD_ORDER))
    colors = [*sns.color_palette("colorblind"), *sns.color_palette("dark")]  # ten each; alone, either would begin again
    if len(ordered) > len(colors):
        colors = sns.color_palette("husl", len(ordered))
    return dict(zip(map(labels.column, ordered), colors, strict=False))


def _panels(count: int, *, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    size = (4.6 * columns + 1.2, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]


def _legend(figure: Figure, palette: Mapping[str, tuple[float, float, float]], *more: Line2D) -> None:
    """Put the methods' colours, and `more` marks, beside the panels, where they cover nothing."""
    marks = [Line2D([], [], color=color, marker="o", linestyle="none", label=name) for name, color in palette.items()]
    figure.legend(handles=[*marks, *more], loc="outside right upper", fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_accuracy(records: Sequence[RunRecord], path: Path) -> None:
    """Draw accuracy by IPC and method: circles are means with deviations, dots networks, dashes published values."""
    frame, labels = network_rows(records), Labels.of(records)
    palette = _palette(list(frame["method"]), labels)
    frame["label"] = frame["method"].map(labels.column)
    datasets = list(dict.fromkeys(frame["dataset"]))
    cells = table2_cells(records)
    figure, panels = _panels(len(datasets))
    for axes, dataset in zip(panels, datasets, strict=True):
        part = frame[frame["dataset"] == dataset]
        ipcs, shown = sorted(part["ipc"].unique()), [name for name in palette if name in set(part["label"])]
        how = {"data": part, "x": "ipc", "y": "accuracy", "hue": "label", "hue_order": shown, "order": ipcs, "ax": axes}
        width = 0.8 / len(shown)
        aside = {"dodge": 0.8 - width} if len(shown) > 1 else {}
        sns.stripplot(**how, dodge=True, palette=["grey"] * len(shown), size=2.5, legend=False)
        sns.pointplot(**how, **aside, palette=palette, errorbar="sd", linestyle="none", markersize=5, legend=False)
        for cell in cells:
            if cell.dataset == dataset and cell.published and cell.ipc in ipcs and labels.column(cell.method) in shown:
                place = ipcs.index(cell.ipc) + width * (shown.index(labels.column(cell.method)) - (len(shown) - 1) / 2)
                value = cell.published.value
                axes.hlines(value, place - width / 2, place + width / 2, color="black", linestyle="dashed", lw=1.5)
        axes.set(title=labels.dataset(dataset), xlabel="images per class", ylabel="test accuracy (%)")
    _legend(figure, palette, Line2D([], [], color="black", linestyle="dashed", label="published"))
    _save(figure, path)


def plot_timing(records: Sequence[RunRecord], path: Path) -> None:
    """Draw seconds an iteration by method, stacked by stage."""
    frame, labels = cell_rows(records), Labels.of(records)
    frame = frame[frame["iterations"] > 0]
    groups = list(dict.fromkeys(zip(frame["dataset"], frame["ipc"], strict=True)))
    figure, panels = _panels(max(1, len(groups)), height=3.0)
    for axes, (dataset, ipc) in zip(panels, groups, strict=False):
        part = frame[(frame["dataset"] == dataset) & (frame["ipc"] == ipc)]
        names = [f"{stage}_s" for stage in _DISTILL]
        each = part[names].div(part["iterations"], axis=0).assign(method=part["method"])
        means = each.groupby("method", sort=False)[names].mean()
        left = np.zeros(len(means))
        for name, color in zip(names, sns.color_palette("colorblind", 3), strict=True):
            axes.barh([labels.column(method) for method in means.index], means[name], left=left, color=color, label=name[:-2])
            left += means[name].to_numpy()
        axes.invert_yaxis()
        axes.set(title=f"{labels.dataset(dataset)}, IPC {ipc}", xlabel="seconds an iteration (mean)")
    if groups:
        panels[0].legend(fontsize=7)
    else:
        panels[0].set_title("no method of these records iterates")
    _save(figure, path)


def plot_accuracy_vs_time(records: Sequence[RunRecord], path: Path) -> None:
    """Draw each cell's mean accuracy against the seconds of distilling it (selections, which take none, at the left edge)."""
    frame, labels = cell_rows(records), Labels.of(records)
    frame["distilling"] = frame[[f"{stage}_s" for stage in _DISTILL]].sum(axis=1)
    frame["label"] = frame["method"].map(labels.column)
    palette = _palette(list(frame["method"]), labels)
    frame = frame[frame["ipc"] != "all"]
    datasets = list(dict.fromkeys(frame["dataset"]))
    figure, panels = _panels(max(1, len(datasets)))
    for axes, dataset in zip(panels, datasets, strict=False):
        part = frame[frame["dataset"] == dataset].copy()
        timed = part["distilling"][part["distilling"] > 0]
        part["distilling"] = part["distilling"].clip(lower=timed.min() / 3 if len(timed) else 0.1)
        ipcs = sorted(part["ipc"].unique(), key=int)
        for ipc, marker in zip(ipcs, itertools.cycle("os^Dv"), strict=False):
            one = part[part["ipc"] == ipc]
            axes.scatter(one["distilling"], one["accuracy"], c=[palette[name] for name in one["label"]], marker=marker, s=60)
        marks = [
            Line2D([], [], color="grey", marker=m, linestyle="none")
            for _, m in zip(ipcs, itertools.cycle("os^Dv"), strict=False)
        ]
        axes.legend(marks, [f"IPC {ipc}" for ipc in ipcs], fontsize=7)
        axes.set(xscale="log", title=labels.dataset(dataset), xlabel="seconds of distilling", ylabel="test accuracy (%)")
        axes.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
        axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 1)))
    _legend(figure, {name: color for name, color in palette.items() if name in set(frame["label"])})
    _save(figure, path)


def plot_images(images: np.ndarray, classes: Sequence[str], path: Path, *, most: int = 10) -> None:
    """Draw synthetic images, `[C, m, H, W]` or `[C, m, H, W, 3]` in [0, 1]: a class a row, up to `most` of each."""
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
