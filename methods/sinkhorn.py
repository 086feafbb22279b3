"""Sinkhorn: entropic optimal transport, with geomloss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bench.options import Positive, Range, check_options

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sinkhorn:
    """Entropic optimal transport with cost |x - y|^p / p, at temperature (blur · median distance)^p.

    `blur` is relative to each class's median real-to-synthetic distance, so the loss of scaled features is the scaled loss, and
    no class's loss depends on another's. `scaling` is the ratio of successive temperatures of the annealing (its p-th root).
    `debias` subtracts the self-transport terms (Feydy et al. 2019, eq. 3); it is off, because without it W1 is approached from
    above at small blur, and m = 1 is exact. With `p=2` the value is half the squared W2.

    The gradient holds the temperature fixed. One Sinkhorn step is taken at each temperature: the value's error is of second
    order in 1 - scaling, the gradient's of first order, and large where the blur is small (at 0.999 it is under 1 %).
    """

    p: Literal[1, 2] = 1
    blur: Positive = 0.01
    scaling: Annotated[float, Range(low=0.1, below=1)] = 0.9
    debias: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` where a hyper-parameter is out of range."""
        check_options(self)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss a class, `[C]`, of `real` `[C, n, d]` and `syn` `[C, m, d]`; in units of the features to the p."""
        import torch
        from geomloss import SamplesLoss

        from methods.distance import euclidean

        def cost(x: Tensor, y: Tensor) -> Tensor:
            return euclidean(x, y).pow(self.p) / self.p

        distances = euclidean(real, syn.detach()).flatten(1)  # [C, n·m]
        median = distances.median(1).values
        unit = torch.where(median > 0, median, distances.mean(1)).clamp_min(_TINY)  # [C]
        # The annealing starts at the diameter, one for the batch. Taken a whole number of steps above the blur, it gives every
        # class the same last temperatures, whatever the other classes are.
        spread = max(float((distances.amax(1) / unit).max()), 2 * self.blur)
        diameter = self.blur * self.scaling ** -math.ceil(math.log(spread / self.blur) / -math.log(self.scaling))
        loss = SamplesLoss(
            "sinkhorn",
            p=self.p,
            blur=self.blur,
            scaling=self.scaling,
            debias=self.debias,
            diameter=diameter,
            cost=cost,
            backend="tensorized",
        )
        scale = unit[:, None, None]
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # geomloss leaves gradients on behind it
            values: Tensor = loss(real / scale, syn / scale)  # [C], in units of the median distance to the p
        return values * unit.pow(self.p)


_TINY = 1e-12
"""The unit of length of a class whose points all coincide."""
