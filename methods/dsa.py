"""DSA: gradient matching under differentiable siamese augmentation (Zhao and Bilen 2021)."""

from __future__ import annotations

from bench.method import OwnProcedure
from bench.protocol import ALL_OPERATIONS, Augment, Start
from methods.gradient import PRESETS, GradientMatching, match_gradients, passes_per_class


class SiameseGradientMatching(GradientMatching):
    """The settings of DSA, as published: DC's, but for real images as the start, and augmentation.

    The augmentation serves the inner epochs too, where its parameters are drawn for each image, as in evaluation.
    """

    start: Start = "real"
    augment: Augment = ALL_OPERATIONS


METHOD = OwnProcedure(
    name="dsa",
    label="DSA",
    citation="Zhao and Bilen 2021",
    settings=SiameseGradientMatching,
    procedure=match_gradients,
    passes_per_class=passes_per_class,
    presets=PRESETS,
    has_passes=True,
    by_class=True,
    order=60,
    color="#ca9161",
)
