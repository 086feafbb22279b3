"""Learning curves: accuracy and loss against iterations and against seconds of distilling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import pandas as pd

from reports.figures.figure import Drawing, Figure
from reports.figures.style import band, legend, log_axis, palette, panels
from reports.frames.names import Column
from reports.frames.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLACE = ["dataset", "ipc"]
_COLUMN = ["method", "variant"]
_X = {"iteration": "iterations", "seconds": "seconds of distilling"}


def draw(results: Results) -> Iterator[Drawing]:
    """Yield a picture for each dataset and IPC that has checkpoints."""
    frame = curves(results)
    colors = palette((Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)), results)
    for place, part in frame.groupby(_PLACE, sort=False):
        dataset, ipc = cast("tuple[str, int]", place)
        title = f"{results.names.dataset(dataset)}, IPC {ipc}"
        canvas, axes_list = panels(4, across=2, height=3.0, aligned=True)
        for axes, (quantity, x) in zip(axes_list, ((of, x) for of in ("accuracy", "loss") for x in _X), strict=True):
            _lines(axes, part[part["quantity"] == quantity], x, colors)
            log_axis(axes)
            axes.set_xlabel(_X[x])
        log_axis(axes_list[2], "y")
        axes_list[0].set_ylabel("accuracy (%)")
        axes_list[2].set_ylabel("loss over its start")
        canvas.suptitle(title)
        shown = {Column(*pair) for pair in zip(part["method"], part["variant"], strict=True)}
        legend(canvas, {column: color for column, color in colors.items() if column in shown}, results.names)
        yield Drawing(canvas, part, f"{dataset}_{ipc}", title)


@lru_cache(maxsize=8)
def curves(results: Results) -> pd.DataFrame:
    """Return accuracy at checkpoints and relative losses of the same cells: mean and deviation over seeds, in long form."""
    checkpoints = results.main_checkpoints
    losses = results.losses[results.losses["hash"].isin(checkpoints["hash"])]
    losses = losses.assign(variant=losses["hash"].map(checkpoints.groupby("hash")["variant"].first()))
    by_seed = [*_PLACE, *_COLUMN, "iteration", "seed"]
    parts = []
    for quantity, frame in (("accuracy", checkpoints), ("loss", losses.rename(columns={"relative": "accuracy"}))):
        seeds = frame.groupby(by_seed, sort=False)[["seconds", "accuracy"]].mean().reset_index()
        means = seeds.groupby(by_seed[:-1], sort=False)
        parts.append(
            means[["seconds", "accuracy"]]
            .mean()
            .rename(columns={"accuracy": "value"})
            .assign(std_seeds=means["accuracy"].std(), seeds=means.size(), quantity=quantity)
            .reset_index()
        )
    return pd.concat(parts, ignore_index=True)


def _lines(axes: Axes, part: pd.DataFrame, x: str, colors: Mapping[Column, str]) -> None:
    """Draw one line a column, with the deviation between seeds as a band.

    Args:
        axes: where.
        part: of one dataset, IPC and quantity.
        x: the column of the horizontal axis.
        colors: of the lines.

    """
    for name, line in part.groupby(_COLUMN, sort=False):
        color = colors[Column(*cast("tuple[str, str]", name))]
        marker = "o" if (line["quantity"] == "accuracy").all() else ""
        axes.plot(line[x].astype(float), line["value"], color=color, marker=marker, markersize=3, lw=1.2)
        band(axes, line, x, "value", color)


FIGURE = Figure(
    name="learning_curves",
    title="Learning curves",
    section="cost",
    caption=(
        "Test accuracy at checkpoints, and the loss over its value at the start (losses of different methods have different "
        "units), against iterations and seconds. Bands: the deviation between seeds. Nothing is chosen by these curves."
    ),
    draw=draw,
    by_dataset=True,
)
