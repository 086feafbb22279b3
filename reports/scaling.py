"""How each loss's time and memory grow: sweeps of one size at a time, fitted exponents, crossovers, log-log plots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib

matplotlib.use("Agg")  # no window, wherever the report is made

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import FixedLocator, NullLocator

from reports.benchmarks import Measurement

Quantity = Literal["time", "memory"]

AXES = {
    "n": "n, real points a class",
    "m": "m, synthetic points a class",
    "d": "d, dimensions",
    "C": "C, classes",
    "n = m": "n = m, points a class on both sides",
}
LABELS = {"dm": "DM", "kr": "KR", "sinkhorn": "Sinkhorn", "emd": "EMD"}
_NOISE_MIB = 1.0
"""A rise of resident memory below this is pages, not tensors: it is neither drawn nor fitted."""
_TIE = 0.1
"""Times that differ by less than this share are taken as equal: that much comes and goes from run to run."""
_FAR = 100.0
"""An extrapolated crossover further than this many times beyond the measured range is not named."""


@dataclass(frozen=True)
class Curve:
    """A loss's time (seconds) or memory (MiB) along one axis: at least two points, in rising order."""

    loss: str
    axis: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def line(self) -> tuple[float, float]:
        """Exponent and log of the factor of the fitted power law."""
        exponent, factor = np.polyfit(np.log(self.sizes), np.log(self.values), 1)
        return float(exponent), float(factor)


def curves(points: Sequence[Measurement], quantity: Quantity, axis: str) -> list[Curve]:
    """Return the curve of each loss along `axis`, all other sizes being the base's."""
    names = axis.split(" = ")
    found: dict[str, dict[int, float]] = {}
    for one in points:
        value = one.seconds if quantity == "time" else one.peak_mib
        if value is None or (quantity == "memory" and value < _NOISE_MIB) or set(names) - set(one.sizes):
            continue
        others = all(one.sizes[name] == size for name, size in one.base.items() if name not in names)
        if others and len({one.sizes[name] for name in names}) == 1:
            found.setdefault(one.loss, {})[one.sizes[names[0]]] = value
    order = [*LABELS, *sorted(set(found) - set(LABELS))]
    return [
        Curve(loss, axis, tuple(sorted(found[loss])), tuple(found[loss][size] for size in sorted(found[loss])))
        for loss in order
        if len(found.get(loss, {})) > 1
    ]


def crossover(a: Curve, b: Curve) -> str:
    """Say which of two losses is faster along an axis, and where that changes, read between points or from the fitted lines."""
    sizes = sorted(set(a.sizes) & set(b.sizes))
    if len(sizes) < 2:
        return ""
    gap = [
        float(np.log(a.values[a.sizes.index(size)] / b.values[b.sizes.index(size)])) for size in sizes
    ]  # over 0: b is faster
    names = LABELS.get(a.loss, a.loss), LABELS.get(b.loss, b.loss)
    told = [(size, one) for size, one in zip(sizes, gap, strict=True) if abs(one) > _TIE]
    if not told:
        return f"{names[0]} and {names[1]} are equally fast from {sizes[0]} to {sizes[-1]}"
    places = []
    for (left, before), (right, after) in itertools.pairwise(told):
        if before * after < 0:
            share = before / (before - after)
            places.append(f"{np.exp(np.log(left) + share * np.log(right / left)):.0f}")
    if places:
        first, last = names[int(told[0][1] > 0)], names[int(told[-1][1] > 0)]
        return f"{first} is faster at {told[0][0]}, {last} at {told[-1][0]}; they cross at about {', '.join(places)}"
    sign = 1 if told[0][1] > 0 else -1
    factors = sorted(float(np.exp(sign * one)) for one in gap)
    slower, faster = names[::sign]
    text = f"{faster} is faster than {slower} from {sizes[0]} to {sizes[-1]}, {factors[0]:.1f} to {factors[-1]:.1f} times"
    beyond = _extrapolated(a, b)
    if beyond is not None and not sizes[0] <= beyond <= sizes[-1] and sizes[0] / _FAR <= beyond <= sizes[-1] * _FAR:
        text += f"; the fitted lines would cross at about {beyond:,.0f} (extrapolated)" if beyond >= 1 else ""
    return text


def _extrapolated(a: Curve, b: Curve) -> float | None:
    """Return the size at which the fitted power laws are equal, or None where they are nearly parallel."""
    (slope_a, factor_a), (slope_b, factor_b) = a.line, b.line
    if abs(slope_a - slope_b) < 0.05:
        return None
    with np.errstate(over="ignore"):
        return float(np.exp((factor_b - factor_a) / (slope_a - slope_b)))


def scaling_markdown(points: Sequence[Measurement], quantity: Quantity, picture: str) -> str:
    """Return the section of one quantity: the picture, the fitted exponents, and for time the crossovers."""
    base = ", ".join(f"{name} = {size}" for name, size in points[0].base.items())
    what = "Time" if quantity == "time" else "Memory"
    about = "Seconds of loss and gradient" if quantity == "time" else "Rise of resident memory during loss and gradient, in MiB"
    swept = {axis: {curve.loss: curve for curve in curves(points, quantity, axis)} for axis in AXES}
    losses = [
        loss
        for loss in [*LABELS, *sorted({one.loss for one in points} - set(LABELS))]
        if any(loss in c for c in swept.values())
    ]
    lines = [
        f"## {what} of each loss as sizes grow",
        "",
        f"{about}; one size is changed at a time from {base}. Exponents are of power laws fitted to all points of a sweep; "
        "a fixed cost makes them smaller than they are for large sizes.",
        "",
        f"![{what} by size]({picture})",
        "",
        "| exponent of | " + " | ".join(LABELS.get(loss, loss) for loss in losses) + " |",
        "| --- |" + " ---: |" * len(losses),
    ]
    for axis, found in swept.items():
        if found:
            cells = [f"{found[loss].line[0]:.2f}" if loss in found else "" for loss in losses]
            lines.append(f"| {axis} | {' | '.join(cells)} |")
    if quantity == "time":
        lines += ["", "Crossovers of Sinkhorn, EMD and KR (differences under a tenth count as none):", ""]
        for axis, found in swept.items():
            for a, b in itertools.combinations([loss for loss in ("sinkhorn", "emd", "kr") if loss in found], 2):
                if text := crossover(found[a], found[b]):
                    lines.append(f"- over {axis}: {text}.")
    return "\n".join(lines) + "\n"


def plot_scaling(points: Sequence[Measurement], quantity: Quantity, path: Path) -> bool:
    """Draw a log-log panel for each axis, exponents in the legends; return False, and draw nothing, where no loss was swept."""
    swept = {axis: found for axis in AXES if (found := curves(points, quantity, axis))}
    if not swept:
        return False
    colors = dict(zip(LABELS, sns.color_palette("colorblind", len(LABELS)), strict=True))
    figure, grid = plt.subplots(
        1, len(swept), figsize=(4.2 * len(swept), 4.2), squeeze=False, sharey=True, layout="constrained"
    )
    for panel, (axis, found) in zip(grid[0], swept.items(), strict=True):
        for curve in found:
            color = colors.get(curve.loss, "grey")
            exponent, factor = curve.line
            label = f"{LABELS.get(curve.loss, curve.loss)}: exponent {exponent:.2f}"
            panel.plot(curve.sizes, curve.values, marker="o", linestyle="none", color=color, label=label)
            panel.plot(curve.sizes, np.exp(factor) * np.asarray(curve.sizes, float) ** exponent, color=color, linewidth=1)
        ticks = sorted({size for curve in found for size in curve.sizes})
        panel.set(xscale="log", yscale="log", xlabel=AXES[axis])
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticklabels([str(tick) for tick in ticks])
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    grid[0, 0].set_ylabel("seconds, loss and gradient" if quantity == "time" else "rise of resident memory (MiB)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
