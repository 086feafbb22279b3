"""Sinkhorn: entropic optimal transport, with geomloss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bench.cells.loss import FeatureLoss, by_class
from bench.cells.method import FeatureMatching
from bench.cells.settings import Positive
from bench.lazy import geomloss, torch
from methods.losses.distances import euclidean

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_REAL, _SYN = 0, 1
"""The coordinate that says which set a point belongs to."""
_TINY = 1e-12
"""The unit of length of a class whose points all coincide."""


@by_class
class Sinkhorn(FeatureLoss):
    """Entropic optimal transport with cost |x - y|^p / p, at temperature (blur · median distance)^p.

    The unit of `blur` is the median distance of each class. So the loss of scaled features is the scaled loss, and no class's
    loss depends on another class. `debias` (Feydy et al. 2019, eq. 3) is off, because without it W1 is approached
    from above at small blur, and m = 1 is exact. With `p=2` the value is half the squared W2.

    The gradient holds the temperature fixed. One Sinkhorn step is taken at each temperature: the value's error is of second
    order in 1 - scaling. The gradient's is of first order, and large if the blur is small (at 0.999 it is under 1 %).
    """

    p: Literal[1, 2] = Field(default=1, description="Exponent of the distance in the cost.")
    blur: Positive = Field(
        default=0.01,
        description="Last temperature as a length, relative to the median distance of real and synthetic points of a class.",
    )
    scaling: Annotated[float, Field(ge=0.1, lt=1)] = Field(
        default=0.9, description="Ratio of the lengths of successive temperatures of the annealing."
    )
    debias: bool = Field(
        default=False, description="Whether to subtract the transport of each set to itself: the Sinkhorn divergence."
    )

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss of each class, `[C]`, in units of the features to the power p.

        Args:
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.
            generator: not used; this loss draws nothing.

        """
        between = euclidean(real, syn)  # [C, n, m]
        unit = _unit_of_length(between.detach())  # [C]
        loss = geomloss.SamplesLoss(
            "sinkhorn",
            p=self.p,
            blur=self.blur,
            scaling=self.scaling,
            debias=self.debias,
            diameter=self._diameter(between.detach(), unit),
            cost=self._cost_function(real, syn, between, unit),
            backend="tensorized",
        )
        sets = real.new_full((*real.shape[:2], 1), _REAL), syn.new_full((*syn.shape[:2], 1), _SYN)
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # geomloss enables gradients, and leaves them enabled
            values: Tensor = loss(*sets)  # [C], in units of length to the p
        return values * unit.pow(self.p)

    def _cost_function(self, real: Tensor, syn: Tensor, between: Tensor, unit: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function by which geomloss gets its cost matrices.

        geomloss builds cost matrices from points. We already have the distances, so we give it points of one coordinate, which
        says whether a point is real or synthetic, and the function returns the costs between the two sets that it is given.
        Only with `debias` is it asked for the costs within a set.

        Args:
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.
            between: their distances, `[C, n, m]`.
            unit: the unit of length of each class, `[C]`.

        """

        def cost(x: Tensor, y: Tensor) -> Tensor:
            """Return the costs `[C, |x|, |y|]` in units of length to the p; geomloss expects a gradient to `x` alone."""
            first, second = int(x[0, 0, 0]), int(y[0, 0, 0])
            if first == second:
                points = real if first == _REAL else syn
                lengths = euclidean(points, points.detach())
            else:
                lengths = between.detach() if first == _REAL else between.transpose(1, 2)
            return (lengths / unit[:, None, None]).pow(self.p) / self.p

        return cost

    def _diameter(self, between: Tensor, unit: Tensor) -> float:
        """Return the blur at which the annealing starts, in units of length: the largest distance of the batch, or a bit more.

        It is a whole number of steps above `blur`. So the last temperatures do not depend on the other classes.

        Args:
            between: the distances of real and synthetic points, `[C, n, m]`.
            unit: the unit of length of each class, `[C]`.

        """
        relative = between.flatten(1).amax(1) / unit
        # If a feature of a class is no finite number, its loss is none either, whatever the start of the annealing.
        largest = max(float(relative.where(relative.isfinite(), 0).max()), 2 * self.blur)
        return self.blur * self.scaling ** -math.ceil(math.log(largest / self.blur) / -math.log(self.scaling))


def _unit_of_length(between: Tensor) -> Tensor:
    """Return the median of each class's distances `between` `[C, n, m]`, or their mean if the median is zero: `[C]`."""
    lengths = between.flatten(1)
    median = lengths.median(1).values
    return torch.where(median > 0, median, lengths.mean(1)).clamp_min(_TINY)


METHOD = FeatureMatching(
    name="sinkhorn",
    label="Sinkhorn",
    citation="Cuturi 2013; Feydy et al. 2019, eq. 3",
    settings=Sinkhorn,
    order=100,
    color="#029e73",
)
