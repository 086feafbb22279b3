"""EMD: exact optimal transport, the 1-Wasserstein distance of the two samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import DistillationError
from bench.options import Count, check_options

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ExactTransport:
    """W1 of the two samples, exact on these atoms: min_P sum_ij P_ij |x_i - y_j| over plans with marginals 1/n and 1/m.

    POT's network simplex (Bonneel et al. 2011) solves each class; the gradient goes through the costs at the optimal plan
    (envelope theorem): dW1/dy_j = sum_i P_ij (y_j - x_i) / |y_j - x_i|, zero where the points coincide. Of two optimal plans
    one is taken: there W1 has a kink, and this is a subgradient. `max_iterations` bounds the simplex.
    """

    max_iterations: Count = 1_000_000

    def __post_init__(self) -> None:
        """Raise `UsageError` where a hyper-parameter is out of range."""
        check_options(self)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return W1 a class, `[C]`, of `real` `[C, n, d]` and `syn` `[C, m, d]`, in units of the features.

        Raise `DistillationError` where a cost is no finite number or the simplex does not converge.
        """
        import warnings

        import torch

        from bench.compute import one_thread_each
        from methods.distance import euclidean

        cost = euclidean(real, syn)  # [C, n, m]
        values = cost.detach().to("cpu", torch.float64).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what POT warns of is read from its log
            plans = one_thread_each(self._plan, values)  # in parallel: the solver releases the interpreter's lock
        plan = torch.stack([torch.from_numpy(one) for one in plans]).to(cost)  # [C, n, m]
        return (plan * cost).sum((1, 2))

    def _plan(self, cost: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return an optimal plan `[n, m]` for `cost` `[n, m]`, float64."""
        import numpy as np
        import ot

        if not np.isfinite(cost).all():
            raise DistillationError("emd: a distance between features is no finite number")
        n, m = cost.shape
        plan, log = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=self.max_iterations, log=True)
        if log["warning"] is not None:
            raise DistillationError(f"emd: the network simplex did not converge: {log['warning']}")
        return np.asarray(plan)
