"""DM: distribution matching by means (Zhao and Bilen 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cells.loss import FeatureLoss, by_class
from bench.cells.method import FeatureMatching

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@by_class
class MeanMatching(FeatureLoss):
    """Squared distance of class means: |mean_i x_i - mean_j y_j|², the biased squared MMD of the linear kernel.

    Zhao and Bilen 2023, "Dataset Condensation with Distribution Matching", eq. 4.
    """

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss of each class, `[C]`, in squared units of the features.

        Args:
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.
            generator: not used; this loss draws nothing.

        """
        difference = real.mean(1) - syn.mean(1)  # [C, d]
        return difference.square().sum(1)


METHOD = FeatureMatching(
    name="dm",
    label="DM",
    citation="Zhao and Bilen 2023, eq. 4",
    settings=MeanMatching,
    order=80,
    color="#0173b2",
)
