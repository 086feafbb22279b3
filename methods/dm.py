"""DM: distribution matching by means (Zhao and Bilen 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MeanMatching:
    """Squared distance of class means: |mean_i x_i - mean_j y_j|², the biased squared MMD of the linear kernel.

    Zhao and Bilen 2023, "Dataset Condensation with Distribution Matching", eq. 4.
    """

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss a class, `[C]`, of `real` `[C, n, d]` and `syn` `[C, m, d]`; in squared units of the features."""
        difference = real.mean(1) - syn.mean(1)  # [C, d]
        return difference.square().sum(1)
