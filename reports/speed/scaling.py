"""How the time and memory of each loss grow: sweeps of one size at a time, fitted exponents, crossovers, log-log plots."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator

from bench.records.sections import MethodFacts
from reports.figures.figure import Drawing
from reports.figures.style import log_axis
from reports.speed.measurements import Measurement
from reports.tables.table import Row, Table, TableCell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["time", "memory"]
QUANTITIES: tuple[Quantity, ...] = ("time", "memory")

AXES = {
    "n": "n, real points a class",
    "m": "m, synthetic points a class",
    "d": "d, dimensions",
    "C": "C, classes",
    "n = m": "n = m, points a class on both sides",
}
_COMPARED = ("sinkhorn", "emd", "kr")
"""The losses whose times are compared pair by pair."""
_NOISE_MIB = 1.0
"""A rise of resident memory below this comes from pages, not tensors: it is neither drawn nor fitted."""
_TIE = 0.1
"""Times that differ by less than this share are taken as equal: they differ as much from run to run."""
_FAR = 100.0
"""An extrapolated crossover further than this many times beyond the measured range is not named."""


@dataclass(frozen=True)
class Curve:
    """A loss's time (seconds) or memory (MiB) along one axis: at least two points, in rising order."""

    loss: str
    axis: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    facts: MethodFacts

    @property
    def line(self) -> tuple[float, float]:
        """Exponent and log of the factor of the fitted power law."""
        exponent, factor = np.polyfit(np.log(self.sizes), np.log(self.values), 1)
        return float(exponent), float(factor)


def curves(points: Sequence[Measurement], quantity: Quantity, axis: str) -> list[Curve]:
    """Return the curve of each loss along an axis, in the order of methods.

    Args:
        points: all measurements of the scaling of losses.
        quantity: which of their values.
        axis: the size that is changed; all others are those of the base.

    """
    names = axis.split(" = ")
    values: dict[str, dict[int, float]] = defaultdict(dict)
    facts: dict[str, MethodFacts] = {}
    for point in points:
        value = point.seconds if quantity == "time" else point.peak_mib
        if value is None or (quantity == "memory" and value < _NOISE_MIB) or set(names) - set(point.sizes):
            continue
        others = all(point.sizes[name] == size for name, size in point.base.items() if name not in names)
        if others and len({point.sizes[name] for name in names}) == 1:
            values[point.loss][point.sizes[names[0]]] = value
            facts[point.loss] = point.facts
    return [
        Curve(loss, axis, tuple(sorted(values[loss])), tuple(values[loss][size] for size in sorted(values[loss])), facts[loss])
        for loss in sorted(values, key=lambda loss: (facts[loss].order, loss))
        if len(values[loss]) > 1
    ]


def crossover(a: Curve, b: Curve) -> str:
    """Return which of two losses is faster along an axis, and where that changes: between points, or on the fitted lines."""
    sizes = sorted(set(a.sizes) & set(b.sizes))
    if len(sizes) < 2:
        return ""
    labels = a.facts.label, b.facts.label
    # The logarithm of the ratio of times at each size: if it is above 0, b is faster.
    gaps = [float(np.log(a.values[a.sizes.index(size)] / b.values[b.sizes.index(size)])) for size in sizes]
    clear = [(size, gap) for size, gap in zip(sizes, gaps, strict=True) if abs(gap) > _TIE]
    if not clear:
        return f"{labels[0]} and {labels[1]} are equally fast from {sizes[0]} to {sizes[-1]}"
    crossings = [
        f"{np.exp(np.log(left) + before / (before - after) * np.log(right / left)):.0f}"
        for (left, before), (right, after) in itertools.pairwise(clear)
        if before * after < 0
    ]
    if crossings:
        first, last = labels[int(clear[0][1] > 0)], labels[int(clear[-1][1] > 0)]
        return f"{first} is faster at {clear[0][0]}, {last} at {clear[-1][0]}; they cross at about {', '.join(crossings)}"
    sign = 1 if clear[0][1] > 0 else -1
    factors = sorted(float(np.exp(sign * gap)) for gap in gaps)
    slower, faster = labels[::sign]
    sentence = f"{faster} is faster than {slower} from {sizes[0]} to {sizes[-1]}, {factors[0]:.1f} to {factors[-1]:.1f} times"
    return sentence + _crossing_beyond(a, b, sizes)


def _crossing_beyond(a: Curve, b: Curve, sizes: Sequence[int]) -> str:
    """Return where the fitted lines would cross outside of the measured sizes; empty if that is too far away."""
    size = _extrapolated(a, b)
    if size is None or size < 1 or sizes[0] <= size <= sizes[-1] or not sizes[0] / _FAR <= size <= sizes[-1] * _FAR:
        return ""
    return f"; the fitted lines would cross at about {size:,.0f} (extrapolated)"


def _extrapolated(a: Curve, b: Curve) -> float | None:
    """Return the size at which the fitted power laws are equal, or None if they are nearly parallel."""
    (slope_a, factor_a), (slope_b, factor_b) = a.line, b.line
    if abs(slope_a - slope_b) < 0.05:
        return None
    with np.errstate(over="ignore"):
        return float(np.exp((factor_b - factor_a) / (slope_a - slope_b)))


def swept_curves(points: Sequence[Measurement], quantity: Quantity) -> dict[str, list[Curve]]:
    """Return the curves of each axis along which a loss was swept."""
    return {axis: swept for axis in AXES if (swept := curves(points, quantity, axis))}


def scaling_table(points: Sequence[Measurement], quantity: Quantity) -> Table:
    """Return the fitted exponents: a row for each axis, a column for each loss."""
    swept = swept_curves(points, quantity)
    facts = {curve.loss: curve.facts for of_axis in swept.values() for curve in of_axis}
    losses = sorted(facts, key=lambda loss: (facts[loss].order, loss))
    base = ", ".join(f"{name} = {size}" for name, size in points[0].base.items())
    values = (
        "Seconds of loss and gradient" if quantity == "time" else "Rise of resident memory during loss and gradient, in MiB"
    )
    rows = []
    for axis, of_axis in swept.items():
        exponents = {curve.loss: TableCell(value=curve.line[0], digits=2) for curve in of_axis}
        rows.append(Row((axis,), tuple(exponents.get(loss, TableCell()) for loss in losses)))
    return Table(
        name=f"benchmarks_{quantity}",
        title=f"{'Time' if quantity == 'time' else 'Memory'} of each loss as sizes grow",
        label_heads=("exponent of",),
        heads=tuple(facts[loss].label for loss in losses),
        rows=tuple(rows),
        caption=(
            f"{values}; one size is changed at a time from {base}. Exponents are of power laws fitted to all points of a "
            "sweep; a fixed cost makes them smaller than they are for large sizes.",
        ),
        level=2,
    )


def crossovers(points: Sequence[Measurement]) -> list[str]:
    """Return for each axis which of Sinkhorn, EMD and KR is faster, pair by pair, and where that changes."""
    lines = []
    for axis, of_axis in swept_curves(points, "time").items():
        by_loss = {curve.loss: curve for curve in of_axis}
        compared = [by_loss[loss] for loss in _COMPARED if loss in by_loss]
        sentences = [crossover(a, b) for a, b in itertools.combinations(compared, 2)]
        lines += [f"over {axis}: {sentence}" for sentence in sentences if sentence]
    return lines


def draw_scaling(points: Sequence[Measurement], quantity: Quantity) -> Drawing | None:
    """Return a log-log panel for each axis, with exponents in the legends, or None if no loss was swept."""
    by_axis = swept_curves(points, quantity)
    if not by_axis:
        return None
    size = (4.2 * len(by_axis), 4.2)
    canvas, grid = plt.subplots(1, len(by_axis), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axes, (axis, of_axis) in zip(grid[0], by_axis.items(), strict=True):
        _draw_axis(axes, of_axis)
        axes.set_xlabel(AXES[axis])
    grid[0, 0].set_ylabel("seconds, loss and gradient" if quantity == "time" else "rise of resident memory (MiB)")
    numbers = [
        (axis, curve.loss, size, value, curve.line[0])
        for axis, of_axis in by_axis.items()
        for curve in of_axis
        for size, value in zip(curve.sizes, curve.values, strict=True)
    ]
    unit = "seconds" if quantity == "time" else "mib"
    return Drawing(canvas, pd.DataFrame(numbers, columns=["axis", "loss", "size", unit, "exponent"]))


def _draw_axis(axes: Axes, swept: Sequence[Curve]) -> None:
    """Draw the curves of one axis, as points and fitted lines."""
    for curve in swept:
        color = curve.facts.color or "grey"
        exponent, factor = curve.line
        label = f"{curve.facts.label}: exponent {exponent:.2f}"
        axes.plot(curve.sizes, curve.values, marker="o", linestyle="none", color=color, label=label)
        axes.plot(curve.sizes, np.exp(factor) * np.asarray(curve.sizes, float) ** exponent, color=color, linewidth=1)
    ticks = sorted({size for curve in swept for size in curve.sizes})
    log_axis(axes)
    log_axis(axes, "y")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
