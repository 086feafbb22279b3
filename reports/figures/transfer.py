"""Accuracy by evaluation network, as heat maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import seaborn as sns

from reports.figures.figure import Drawing, Figure
from reports.figures.style import panels
from reports.names import Column
from reports.results import Results
from reports.tables.transfer import has_transfer, network_labels, transfer_frame


def draw(results: Results) -> Iterator[Drawing]:
    """Yield one picture, with a panel for each dataset and IPC; nothing where each row has one network."""
    if not has_transfer(results):
        return
    frame, labels = transfer_frame(results), network_labels(results)
    groups = list(frame.groupby(["dataset", "ipc"], sort=False))
    rows = frame.groupby(["dataset", "ipc"]).apply(lambda part: len(part[["method", "variant"]].drop_duplicates())).max()
    canvas, axes_list = panels(len(groups), across=2, width=0.9 * len(labels) + 2.6, height=0.4 * float(rows) + 1.4)
    for axes, (place, part) in zip(axes_list, groups, strict=True):
        dataset, ipc = cast("tuple[str, int]", place)
        table = part.pivot_table("mean", index=["method", "variant"], columns="eval_network", sort=False)
        table = table[[network for network in labels if network in table.columns]]
        table.index = [results.names.column(Column(*cast("tuple[str, str]", name))) for name in table.index]
        shown = table.rename(columns=labels)
        sns.heatmap(shown, ax=axes, annot=True, fmt=".1f", cmap="viridis", cbar_kws={"label": "test accuracy (%)"})
        axes.set(title=f"{results.names.dataset(dataset)}, IPC {ipc}", xlabel="", ylabel="")
        axes.tick_params(axis="x", rotation=30)
        axes.tick_params(axis="y", rotation=0)
    yield Drawing(canvas, frame)


FIGURE = Figure(
    name="transfer",
    title="Accuracy by evaluation network",
    section="networks",
    caption="Mean test accuracy, methods down and evaluation networks across.",
    draw=draw,
)
