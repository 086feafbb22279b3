"""The interactive charts of the page, by Vega-Altair: accuracy against seconds, and learning curves.

The page has their specifications, their numbers and the library itself, so they need no network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import platformdirs
import vl_convert
from altair.utils.schemapi import debug_mode

from bench.errors import UnwritableError
from bench.files import APPLICATION, atomic
from reports.figures.style import ACCURACY, palette
from reports.frames.names import columns_of
from reports.frames.results import Results
from reports.statistics.curves import curves, points

MOST_POINTS = 4000
"""Points of all curves of the page together; the more curves there are, the fewer points has each."""

_HEIGHT = 340
_SHORT = 12
"""Characters below which four names fit beside one another in the legend, on a phone too."""

_LABEL_HEIGHT, _LABEL_WIDTH = 0.055, 0.12
"""The share of a plot's height and width that a label takes."""


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
        """The specification for a script of a page: no name in it ends the script."""
        return self.specification.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which defines `vegaEmbed`.

    Bundling them takes seconds, so the script is kept in the user's cache folder, behind a line with its checksum.
    """
    vega_lite, converter = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0], version("vl-convert-python")
    cache = platformdirs.user_cache_path(APPLICATION) / f"vega-lite-{vega_lite}-{converter}.js"
    with suppress(OSError, UnicodeDecodeError):
        first, _, script = cache.read_text(encoding="utf-8").partition("\n")
        if first == _checksum(script):
            return script
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite)
    with suppress(UnwritableError), atomic(cache) as temporary:  # without a cache it is made again next time
        temporary.write_text(f"{_checksum(script)}\n{script}", encoding="utf-8")
    return script


def _checksum(script: str) -> str:
    return f"// sha256 {hashlib.sha256(script.encode()).hexdigest()}"


def charts(results: Results) -> list[Chart]:
    """Return the charts that the records have points for."""
    with debug_mode(False):  # Altair would validate each of thousands of points against its schema of data
        return [*_pareto(results), *_learning_curves(results)]


def _pareto(results: Results) -> Iterator[Chart]:
    """Yield accuracy against seconds of distilling, of one dataset and IPC at a time."""
    frame = points(results)
    if frame.empty:
        return
    frame, chosen, color = _named(frame, results)
    frame["shown_at"] = positive(frame, "seconds", ["cell"])
    ends = frame[frame["at"] == "all iterations"].sort_values("shown_at")
    front = ends.assign(best=ends.groupby("cell", sort=False)["accuracy"].cummax())[["cell", "name", "shown_at", "best"]]
    ends = ends.assign(label_at=pd.concat([label_heights(group) for _, group in ends.groupby("cell", sort=False)]))
    x = alt.X("shown_at:Q", title="seconds of distilling", scale=alt.Scale(type="log", padding=30, nice=False))
    y = alt.Y("accuracy:Q", title=ACCURACY, scale=alt.Scale(zero=False, padding=30, nice=False))
    tips = _tooltips("name", "accuracy", "seconds", "at")
    full = alt.datum["at"] == "all iterations"
    layers = (
        alt.Chart(_data(front)).mark_line(interpolate="step-after", color="#999").encode(x=x, y="best:Q"),
        alt.Chart(_data(frame))
        .mark_point(size=90, strokeWidth=2, opacity=1)
        .encode(x=x, y=y, tooltip=tips, stroke=color, fill=alt.when(full).then(color).otherwise(alt.value("transparent"))),
        alt.Chart(_data(ends)).mark_text(align="left", dx=9, dy=-7).encode(x, alt.Y("label_at:Q"), alt.Text("name:N")),
    )
    picked = alt.selection_point(name="picked", fields=["name"], bind="legend", toggle="true")
    shown = (layer.transform_filter(alt.datum["cell"] == chosen).transform_filter(picked) for layer in layers)
    first, *others = shown
    yield _chart("pareto", "Accuracy against seconds", alt.layer(first, *others).add_params(chosen, picked))


def label_heights(points: pd.DataFrame) -> pd.Series:
    """Return the height of the label of each point of one plot: its accuracy, or higher if another label is there.

    Args:
        points: has the columns `shown_at`, the seconds as they are drawn, and `accuracy`.

    """
    across = np.log(points["shown_at"]) / max(np.ptp(np.log(points["shown_at"])), 1e-9)
    line = max(np.ptp(points["accuracy"]), 1e-9) * _LABEL_HEIGHT
    placed: dict[Hashable, tuple[float, float]] = {}
    for index in points["accuracy"].sort_values().index:
        height = float(points["accuracy"][index])
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
    frame = thinned(frame, ["cell", "name", "quantity"])
    for name in ("iteration", "seconds"):
        frame[f"{name}_at"] = positive(frame, name, ["cell"])
    frame["low"], frame["high"] = frame["value"] - frame["std_seeds"], frame["value"] + frame["std_seeds"]
    axis = alt.param(
        "axis",
        value="iteration",
        bind=alt.binding_radio(options=["iteration", "seconds"], labels=["iterations", "seconds"], name="against "),
    )
    titles = {
        "accuracy": ("Test accuracy at checkpoints", ACCURACY),
        "loss": ("Loss over its value at the start", "loss over its start"),
    }
    for quantity, (title, unit) in titles.items():
        shown = frame[(frame["quantity"] == quantity) & (frame["value"] > 0)]
        if shown.empty:
            continue
        scale = alt.Scale(zero=False) if quantity == "accuracy" else alt.Scale(type="log", nice=False)
        base = alt.Chart(_data(shown)).transform_filter(alt.datum["cell"] == chosen)
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
    """Return a frame with the labels of cells and columns, the choice of a dataset and IPC, and the colours of columns."""
    names = results.names
    columns = columns_of(frame)
    colors = {names.column(column): color for column, color in palette(columns, results).items()}
    cells = [f"{names.dataset(dataset)}, IPC {ipc}" for dataset, ipc in zip(frame["dataset"], frame["ipc"], strict=True)]
    frame = frame.assign(name=list(map(names.column, columns)), cell=cells)
    options = list(dict.fromkeys(cells))
    chosen = alt.param("cell", value=options[0], bind=alt.binding_select(options=options, name="Dataset and IPC "))
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    legend = alt.Legend(columns=4 if max(map(len, colors)) < _SHORT else 2)
    return frame, chosen, alt.Color("name:N", title=None, scale=scale, legend=legend)


def positive(frame: pd.DataFrame, name: str, by: list[str]) -> pd.Series:
    """Return a column for a logarithmic axis: zero becomes a third of the least value above zero.

    Args:
        frame: has the column.
        name: of the column.
        by: the columns by which axes differ.

    """
    values = frame[name].astype(float)
    least = values.where(values > 0).groupby([frame[key] for key in by], sort=False).transform("min").fillna(1.0)
    return values.where(values > 0, least / 3)


def thinned(frame: pd.DataFrame, by: list[str], *, most: int = MOST_POINTS) -> pd.DataFrame:
    """Return a frame of which each line has about its share of `most` points, the first and the last among them.

    Args:
        frame: the points of all lines, in order.
        by: the columns that tell lines apart.
        most: the number of points of all lines together.

    """
    groups = frame.groupby(by, sort=False)
    number, size = groups.cumcount(), groups["value"].transform("size")
    step = (size * len(groups) / most).apply(lambda value: max(1, round(value)))
    kept: pd.DataFrame = frame[(number % step == 0) | (number == size - 1)]
    return kept.copy()


def _data(frame: pd.DataFrame) -> alt.InlineData:
    """Return the rows of a frame with five digits, which are enough for a picture."""
    columns = frame.drop(columns=["dataset", "ipc", "method", "variant", "quantity", "std_seeds"], errors="ignore")
    rows: list[dict[str, Any]] = json.loads(columns.to_json(orient="records"))
    return alt.InlineData(values=[{key: _short(value) for key, value in row.items() if value is not None} for row in rows])


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _tooltips(*names: str) -> list[alt.Tooltip]:
    titles = {"name": "method", "at": "after"}
    return [alt.Tooltip(f"{name}:{'N' if name in titles else 'Q'}", title=titles.get(name, name)) for name in names]


def _chart(name: str, title: str, chart: alt.LayerChart | alt.FacetChart) -> Chart:
    """Return a chart as wide as the page."""
    whole = chart.properties(width="container", height=_HEIGHT, description=title)
    whole = whole.configure_legend(orient="bottom", labelLimit=0, symbolOpacity=1).configure_view(stroke=None)
    return Chart(name, title, whole.to_json(indent=None))
