"""CAFE: aligning the features of all layers, under networks trained on the synthetic set (Wang et al. 2022).

`methods.procedures.cafe_loop` has the formula and the loop.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.cells.method import Method
from bench.cells.protocol import Augment, NetworkName, Start
from bench.cells.settings import Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings, Valid, checked_by
from bench.errors import UsageError

_MILESTONES = (0.6, 0.8, 0.9)  # 1200, 1600 and 1800 of the published 2000 iterations
_DECAY = 0.5


def _check_layers(name: str) -> str:
    if not name.startswith("convnet"):
        raise UsageError(f"network {name!r} has no layers to match; valid: convnet, and variants of it such as convnet-d4")
    return name


class LayerAlignment(Settings):
    """The settings of CAFE, as published, but for the limits `outer_limit` and `inner_limit`.

    The authors' code has no limits, and does not end if accuracy stops changing.
    """

    iterations: NonNegativeInt = Field(default=2000, description="Number of networks, drawn one after another.")
    real_batch: Count = Field(default=256, description="Real images of each class in a step.")
    lr_images: Positive = Field(
        default=0.1, description="Learning rate of SGD on the images, halved after 0.6, 0.8 and 0.9 of the iterations."
    )
    momentum: Fraction = Field(default=0.5, description="Momentum of SGD on the images.")
    lr_network: Positive = Field(default=0.01, description="Learning rate of plain SGD on the network.")
    early_weight: NonNegative = Field(default=0.1, description="Weight of the maps after each ReLU but the last.")
    late_weight: NonNegative = Field(default=1.0, description="Weight of the maps after the last ReLU, and of the features.")
    discrimination_weight: NonNegative = Field(default=0.01, description="Weight of the discrimination loss.")
    query_batch: Count = Field(default=128, description="Real images of each class on which an accuracy is taken.")
    window: Annotated[int, Field(ge=2)] = Field(default=10, description="Number of the last accuracies whose range is taken.")
    outer_range: Positive = Field(
        default=0.04, description="Range of accuracies, as fractions, below which the steps under a network end."
    )
    inner_range: NonNegative = Field(
        default=0.03, description="Range of accuracies, as fractions, above which training between two steps ends."
    )
    outer_limit: Count = Field(default=100, description="Steps on the images under a network at most.")
    inner_limit: Count = Field(default=100, description="Epochs of training between two steps at most.")
    start: Start = "noise"
    augment: Augment = "none"
    network: Annotated[NetworkName, Valid("convnet, or a variant of it such as convnet-d4"), checked_by(_check_layers)] = Field(
        default="convnet", description="Network whose layers are matched, a ConvNet."
    )

    def layer_weights(self, depth: int) -> tuple[float, ...]:
        """Return the weights of the maps after each of `depth` ReLUs, and of the features: 0.1, 0.1, 1, 2 at depth 3.

        The features count twice, as in the authors' code: as the last pooled map, and flattened.
        """
        return (*[self.early_weight] * (depth - 1), self.late_weight, self.late_weight + 1)

    def rate(self, iteration: int) -> float:
        """Return the learning rate on the images at `iteration`."""
        passed = sum(iteration >= milestone * self.iterations for milestone in _MILESTONES)
        return self.lr_images * _DECAY**passed


def passes_per_class(settings: LayerAlignment, ipc: int) -> float:
    """Return the fewest images of a class that pass through the network: accuracies decide when its loops end."""
    inner = settings.window * (settings.query_batch + 3 * ipc)
    return float(settings.iterations * settings.window * (settings.real_batch + 3 * ipc + settings.query_batch + inner))


METHOD = Method(
    name="cafe",
    label="CAFE",
    citation="Wang et al. 2022",
    settings=LayerAlignment,
    procedure="methods.procedures.cafe_loop:align_features",
    passes_per_class=passes_per_class,
    presets={
        "quick": {
            "iterations": 5,
            "real_batch": 32,
            "query_batch": 32,
            "window": 3,
            "outer_limit": 6,
            "inner_limit": 6,
        },
        "cpu": {"iterations": 40, "real_batch": 64, "query_batch": 16, "outer_limit": 15, "inner_limit": 10},
    },
    has_passes=True,
    each_size=True,
    order=70,
    color="#fbafe4",
)
