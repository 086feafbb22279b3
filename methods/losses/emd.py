"""EMD: exact optimal transport, the 1-Wasserstein distance of the two samples."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bench.cells.loss import FeatureLoss, by_class
from bench.cells.method import FeatureMatching
from bench.cells.settings import Count
from bench.errors import DistillationError
from bench.lazy import numpy as np
from bench.lazy import ot, torch
from bench.machine.threads import side_by_side
from methods.losses.distances import euclidean

if TYPE_CHECKING:
    from torch import Tensor


@by_class
class ExactTransport(FeatureLoss):
    """W1 of the two samples, exact on these atoms: min_P sum_ij P_ij |x_i - y_j| over plans with marginals 1/n and 1/m.

    POT's network simplex (Bonneel et al. 2011) solves each class on the CPU. The gradient goes through the costs at the optimal
    plan (envelope theorem): dW1/dy_j = sum_i P_ij (y_j - x_i) / |y_j - x_i|, in which coincident points count as zero. If
    several plans are optimal, W1 has a kink; one of the plans is used, which gives a subgradient.
    """

    max_iterations: Count = Field(
        default=1_000_000, description="Iterations of the network simplex after which a cell fails as not converged."
    )

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return W1 of each class, `[C]`, in units of the features.

        Args:
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.
            generator: not used; this loss draws nothing.

        Raises:
            DistillationError: if the simplex does not converge.

        """
        cost = euclidean(real, syn)  # [C, n, m]
        costs = cost.detach().to("cpu", torch.float64).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # POT's log has the same message
            plans = side_by_side(self._plan, costs)  # the solver releases the interpreter's lock
        plan = torch.stack([torch.from_numpy(class_plan) for class_plan in plans]).to(cost)  # [C, n, m]
        return (plan * cost).sum((1, 2))

    def _plan(self, cost: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an optimal plan `[n, m]` of one class for its `cost` `[n, m]`, float64."""
        n, m = cost.shape
        if not np.isfinite(cost).all():
            return np.full((n, m), 1 / (n * m))  # the loss is then no finite number either, which ends the cell
        plan, log = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=self.max_iterations, log=True)
        if log["warning"] is not None:
            raise DistillationError(f"emd: the network simplex did not converge: {log['warning']}")
        return np.asarray(plan)


METHOD = FeatureMatching(
    name="emd",
    label="EMD",
    citation="Bonneel et al. 2011 (network simplex)",
    settings=ExactTransport,
    order=110,
    color="#cc78bc",
)
