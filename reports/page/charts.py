"""What is interactive on the page: accuracy against seconds, and learning curves, as charts of Vega-Altair.

The page holds their specifications, their numbers and the library itself, so they need no network.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from altair.utils.schemapi import debug_mode

from reports.figures.learning_curves import curves
from reports.figures.pareto import points
from reports.figures.style import palette
from reports.frames.names import Column
from reports.frames.results import Results

_MOST_POINTS = 4000
"""Points of loss curves in the page; there are fewer of each curve where there are many curves."""

_HEIGHT = 340
_SHORT = 12
"""Characters below which four names stand beside one another in the legend, on a phone too."""

_LABEL_HEIGHT, _LABEL_WIDTH = 0.055, 0.12
"""How much of a plot a label takes, up and across."""


@dataclass(frozen=True)
class Chart:
    """A chart for the figure of the same `name`: its title, and its specification in Vega-Lite, as JSON."""

    name: str
    title: str
    specification: str

    @property
    def picks(self) -> bool:
        """Whether methods can be picked in its legend."""
        return '"picked"' in self.specification

    @property
    def escaped(self) -> str:
        """The specification as it can stand in a script of a page, whatever names are in it."""
        return self.specification.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which defines `vegaEmbed`."""
    return vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", vl_version=alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    )


def charts(results: Results) -> list[Chart]:
    """Return the charts that the records have something for."""
    with debug_mode(False):  # Altair would hold each of thousands of points against the schema of any data
        return [*_pareto(results), *_learning_curves(results)]


def _pareto(results: Results) -> Iterator[Chart]:
    """Yield accuracy against seconds of distilling, of one dataset and IPC at a time."""
    frame = points(results)
    if frame.empty:
        return
    frame, chosen, color = _named(frame, results)
    frame["shown_at"] = _positive(frame, "seconds", ["place"])
    ends = frame[frame["at"] == "all iterations"].sort_values("shown_at")
    front = ends.assign(best=ends.groupby("place", sort=False)["accuracy"].cummax())[["place", "name", "shown_at", "best"]]
    ends = ends.assign(label_at=pd.concat([_apart(part) for _, part in ends.groupby("place", sort=False)]))
    x = alt.X("shown_at:Q", title="seconds of distilling", scale=alt.Scale(type="log", padding=30, nice=False))
    y = alt.Y("accuracy:Q", title="accuracy (%)", scale=alt.Scale(zero=False, padding=30, nice=False))
    tips = _tooltips("name", "accuracy", "seconds", "at")
    full = alt.datum["at"] == "all iterations"
    layers = (
        alt.Chart(_data(front)).mark_line(interpolate="step-after", color="#999").encode(x=x, y="best:Q"),
        alt.Chart(_data(frame))
        .mark_point(size=90, strokeWidth=2, opacity=1)
        .encode(x=x, y=y, tooltip=tips, stroke=color, fill=alt.when(full).then(color).otherwise(alt.value("transparent"))),
        alt.Chart(_data(ends)).mark_text(align="left", dx=9, dy=-7).encode(x=x, y="label_at:Q", text="name:N"),
    )
    picked = alt.selection_point(name="picked", fields=["name"], bind="legend", toggle="true")
    shown = (layer.transform_filter(alt.datum["place"] == chosen).transform_filter(picked) for layer in layers)
    first, *others = shown
    yield _chart("pareto", "Accuracy against seconds", alt.layer(first, *others).add_params(chosen, picked))


def _apart(part: pd.DataFrame) -> pd.Series:
    """Return the height of each label of one plot, moved up until it does not lie on another one.

    Args:
        part: the points, with the columns `shown_at` and `accuracy`.

    """
    across = np.log(part["shown_at"]) / max(np.ptp(np.log(part["shown_at"])), 1e-9)
    line = max(np.ptp(part["accuracy"]), 1e-9) * _LABEL_HEIGHT
    placed: dict[Hashable, tuple[float, float]] = {}
    for index in part["accuracy"].sort_values().index:
        height = float(part["accuracy"][index])
        near = sorted(top for left, top in placed.values() if abs(left - across[index]) < _LABEL_WIDTH)
        for top in near:
            if abs(top - height) < line:
                height = top + line
        placed[index] = float(across[index]), height
    return pd.Series({index: height for index, (_, height) in placed.items()})


def _learning_curves(results: Results) -> Iterator[Chart]:
    """Yield accuracy and loss against iterations or seconds, of one dataset and IPC at a time."""
    frame = curves(results)
    if frame.empty:
        return
    frame, chosen, color = _named(frame, results)
    frame = _thinned(frame, ["place", "name", "quantity"])
    for name in ("iteration", "seconds"):
        frame[f"{name}_at"] = _positive(frame, name, ["place"])
    frame["low"], frame["high"] = frame["value"] - frame["std_seeds"], frame["value"] + frame["std_seeds"]
    axis = alt.param(
        "axis",
        value="iteration",
        bind=alt.binding_radio(options=["iteration", "seconds"], labels=["iterations", "seconds"], name="against "),
    )
    titles = {
        "accuracy": ("Test accuracy at checkpoints", "accuracy (%)"),
        "loss": ("Loss over its value at the start", "loss over its start"),
    }
    for quantity, (title, unit) in titles.items():
        part = frame[(frame["quantity"] == quantity) & (frame["value"] > 0)]
        if part.empty:
            continue
        scale = alt.Scale(zero=False) if quantity == "accuracy" else alt.Scale(type="log", nice=False)
        base = alt.Chart(_data(part)).transform_filter(alt.datum["place"] == chosen)
        base = base.transform_calculate(x="axis == 'iteration' ? datum.iteration_at : datum.seconds_at")
        base = base.encode(x=alt.X("x:Q", title=None, scale=alt.Scale(type="log", nice=False)), color=color)
        band = base.transform_filter("datum.low > 0").mark_area(opacity=0.2, line=False)
        lines = base.mark_line(point=quantity == "accuracy")
        layers = (
            band.encode(y=alt.Y("low:Q", title=unit, scale=scale), y2="high:Q"),
            lines.encode(y=alt.Y("value:Q", title=unit), tooltip=_tooltips("name", "value", "iteration", "seconds", "seeds")),
        )
        yield _chart("learning_curves", title, alt.layer(*layers).add_params(chosen, axis))


def _named(frame: pd.DataFrame, results: Results) -> tuple[pd.DataFrame, alt.Parameter, alt.Color]:
    """Return a frame with what places and columns are called, the choice of a place, and the colours of columns."""
    names = results.names
    columns = [Column(*pair) for pair in zip(frame["method"], frame["variant"], strict=True)]
    colors = {names.column(column): color for column, color in palette(columns, results).items()}
    places = [f"{names.dataset(dataset)}, IPC {ipc}" for dataset, ipc in zip(frame["dataset"], frame["ipc"], strict=True)]
    frame = frame.assign(name=list(map(names.column, columns)), place=places)
    options = list(dict.fromkeys(places))
    chosen = alt.param("place", value=options[0], bind=alt.binding_select(options=options, name="Dataset and IPC "))
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    legend = alt.Legend(columns=4 if max(map(len, colors)) < _SHORT else 2)
    return frame, chosen, alt.Color("name:N", title=None, scale=scale, legend=legend)


def _positive(frame: pd.DataFrame, name: str, by: list[str]) -> pd.Series:
    """Return a column for an axis of logarithms: what is zero stands left of the least that is not.

    Args:
        frame: has the column.
        name: of the column.
        by: the columns of which each value has an axis of its own.

    """
    values = frame[name].astype(float)
    least = values.where(values > 0).groupby([frame[key] for key in by], sort=False).transform("min").fillna(1.0)
    return values.where(values > 0, least / 3)


def _thinned(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return a frame of which each line has at most its share of `_MOST_POINTS`, the first and the last among them."""
    groups = frame.groupby(by, sort=False)
    number, size = groups.cumcount(), groups["value"].transform("size")
    step = (size * len(groups) / _MOST_POINTS).apply(lambda value: max(1, round(value)))
    kept: pd.DataFrame = frame[(number % step == 0) | (number == size - 1)]
    return kept.copy()


def _data(frame: pd.DataFrame) -> alt.InlineData:
    """Return the rows of a frame with five digits, which a picture does not need more of."""
    columns = frame.drop(columns=["dataset", "ipc", "method", "variant", "quantity", "std_seeds"], errors="ignore")
    rows: list[dict[str, Any]] = json.loads(columns.to_json(orient="records"))
    return alt.InlineData(values=[{key: _short(value) for key, value in row.items() if value is not None} for row in rows])


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _tooltips(*names: str) -> list[alt.Tooltip]:
    titles = {"name": "method", "at": "after"}
    return [alt.Tooltip(f"{name}:{'N' if name in titles else 'Q'}", title=titles.get(name, name)) for name in names]


def _chart(name: str, title: str, chart: alt.LayerChart | alt.FacetChart) -> Chart:
    """Return a chart as wide as the page lets it be."""
    whole = chart.properties(width="container", height=_HEIGHT, description=title)
    whole = whole.configure_legend(orient="bottom", labelLimit=0, symbolOpacity=1).configure_view(stroke=None)
    return Chart(name, title, whole.to_json(indent=None))
