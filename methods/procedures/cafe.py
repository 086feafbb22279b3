"""CAFE: aligning the features of all layers, under networks trained on the synthetic set (Wang et al. 2022).

`methods.procedures.cafe_loop` has the formula and the loop.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.cells.method import Method
from bench.cells.protocol import Augment, NetworkName, Start
from bench.cells.settings import Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings, checked_by
from bench.errors import UsageError

_MILESTONES = (0.6, 0.8, 0.9)  # 1200, 1600 and 1800 of the published 2000 iterations
_DECAY = 0.5


def _check_layers(name: str) -> str:
    if not name.startswith("convnet"):
        raise UsageError(f"network {name!r} has no layers to match; valid: convnet, and variants of it such as convnet-d4")
    return name


class LayerAlignment(Settings):
    """The settings of CAFE, as published, but for the two limits.

    `iterations` networks; `real_batch` images a class; `lr_images` (halved after 0.6, 0.8 and 0.9 of the iterations) and
    `momentum` of SGD on the images, `lr_network` of plain SGD on the network; `early_weight` of each ReLU but the last,
    `late_weight` of the last ReLU and of the features, `discrimination_weight`; `query_batch` images a class for each accuracy
    (a fraction), the last `window` of which must range under `outer_range` or over `inner_range`; `start` and `augment` as in
    the protocol's section `match`. `network` is a ConvNet, whose layers are matched.

    `outer_limit` steps on the images and `inner_limit` epochs between two of them are the most there are. The authors' code
    has no limits, and does not end where accuracy stands still.
    """

    iterations: NonNegativeInt = 2000
    real_batch: Count = 256
    lr_images: Positive = 0.1
    momentum: Fraction = 0.5
    lr_network: Positive = 0.01
    early_weight: NonNegative = 0.1
    late_weight: NonNegative = 1.0
    discrimination_weight: NonNegative = 0.01
    query_batch: Count = 128
    window: Annotated[int, Field(ge=2)] = 10
    outer_range: Positive = 0.04
    inner_range: NonNegative = 0.03
    outer_limit: Count = 100
    inner_limit: Count = 100
    start: Start = "noise"
    augment: Augment = "none"
    network: Annotated[
        NetworkName, Field(description="convnet, or a variant of it such as convnet-d4"), checked_by(_check_layers)
    ] = "convnet"

    def layer_weights(self, depth: int) -> tuple[float, ...]:
        """Return the weights of the maps after each of `depth` ReLUs, and of the features: 0.1, 0.1, 1, 2 at depth 3.

        The features count twice, as in the authors' code: as the last pooled map, and flattened.
        """
        return (*[self.early_weight] * (depth - 1), self.late_weight, self.late_weight + 1)

    def rate(self, iteration: int) -> float:
        """Return the learning rate on the images at `iteration`."""
        passed = sum(iteration >= part * self.iterations for part in _MILESTONES)
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
    order=70,
    color="#fbafe4",
)
