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

        between = euclidean(real, syn)  # [C, n, m]
        distances = between.detach().flatten(1)
        median = distances.median(1).values
        unit = torch.where(median > 0, median, distances.mean(1)).clamp_min(_TINY)  # [C]
        # The annealing starts at the diameter, one for the batch. Taken a whole number of steps above the blur, it gives every
        # class the same last temperatures, whatever the other classes are.
        spread = max(float((distances.amax(1) / unit).max()), 2 * self.blur)
        diameter = self.blur * self.scaling ** -math.ceil(math.log(spread / self.blur) / -math.log(self.scaling))
        # geomloss asks for the costs of its points, of both sides twice. The two are one matrix, which is known already: the
        # points it is given stand for real and synthetic ones, whose costs, in units of the median distance, are looked up.
        reals, syns = real.new_zeros(*real.shape[:2], 1), syn.new_zeros(*syn.shape[:2], 1)
        points = {reals.data_ptr(): real, syns.data_ptr(): syn}

        def cost(x: Tensor, y: Tensor) -> Tensor:
            """Return the costs `[C, |x|, |y|]`, with gradient to `x` alone, as geomloss wants it."""
            first, second = points[x.data_ptr()], points[y.data_ptr()]
            if first is second:
                found = euclidean(first, second.detach())
            else:
                found = between.detach() if first is real else between.transpose(1, 2)
            return (found / unit[:, None, None]).pow(self.p) / self.p

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
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # geomloss leaves gradients on behind it
            values: Tensor = loss(reals, syns)  # [C], in units of the median distance to the p
        return values * unit.pow(self.p)


_TINY = 1e-12
"""The unit of length of a class whose points all coincide."""
