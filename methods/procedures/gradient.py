"""Matching the gradients that real and synthetic images give a network: the methods `dc` and `dsa`.

`methods.procedures.gradient_loop` has the formula and the loop.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from bench.cells.method import Method
from bench.cells.protocol import ALL_OPERATIONS, Augment, NetworkName, Start, by_ipc
from bench.cells.settings import Count, Fraction, NonNegativeInt, Positive, Settings

_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""The published numbers of outer steps and inner epochs, by IPC."""
_EPOCHS = 500  # outer · inner at other IPCs: the usual product
_NETWORKS = 1000
_SHORT = {1: (300, 1, 1), 10: (40, 5, 10)}
"""Networks, outer steps and inner epochs of the short budget, from these IPCs on; docs/methods.md says how they were chosen."""

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"outer": 1, "inner": 1, "iterations": 40, "real_batch": 32, "lr_images": 1.0},
    "cpu": {"budget": "short", "iterations": None, "real_batch": 64, "lr_images": 1.0},
}
"""What the short profiles ask for; docs/methods.md says how it was chosen."""


class GradientMatching(Settings):
    """The settings of DC, as published. A cell's description has the numbers instead of the budget."""

    budget: Literal["published", "short"] = Field(
        default="published",
        exclude=True,
        description="Numbers of networks, steps and epochs that are not set: published, or short for two CPU cores.",
    )
    iterations: NonNegativeInt | None = Field(
        default=_NETWORKS, description="Number of networks, drawn one after another; none for that of the budget."
    )
    outer: Count | None = Field(
        default=None, description="Steps on the images under each network; none for the number of the budget at the IPC."
    )
    inner: Count | None = Field(
        default=None, description="Epochs of training between two steps; none for the number of the budget at the IPC."
    )
    real_batch: Count = Field(default=256, description="Real images of each class in a step.")
    lr_images: Positive = Field(default=0.1, description="Learning rate of SGD on the images.")
    momentum: Fraction = Field(default=0.5, description="Momentum of SGD on the images.")
    lr_network: Positive = Field(default=0.01, description="Learning rate of plain SGD on the network.")
    start: Start = "noise"
    augment: Augment = "none"
    network: NetworkName = Field(default="convnet", description="Network whose gradients are matched.")

    def loops(self, ipc: int) -> tuple[int, int, int]:
        """Return the numbers of networks, outer steps and inner epochs: those set, else those of the budget.

        In the published budget, at other IPCs, there are as many outer steps as images a class, at most 50, and the product of
        outer steps and inner epochs is 500.
        """
        if self.budget == "short":
            networks, outer, inner = by_ipc(_SHORT, ipc)
        else:
            networks, (outer, inner) = _NETWORKS, _LOOPS.get(ipc) or (min(ipc, 50), _EPOCHS // min(ipc, 50))
        return networks if self.iterations is None else self.iterations, self.outer or outer, self.inner or inner

    def at_ipc(self, ipc: int) -> Self:
        """Return the settings with the numbers of the budget, if none are set, for this number of images a class.

        In the published budget `outer` and `inner` stay None; `loops` returns them.
        """
        networks, outer, inner = self.loops(ipc)
        if self.budget == "published":
            return self.changed(iterations=networks)
        return self.changed(budget="published", iterations=networks, outer=outer, inner=inner)


class SiameseGradientMatching(GradientMatching):
    """The settings of DSA, as published: DC's, but for real images as the start, and augmentation.

    The inner epochs are augmented too; their parameters are drawn for each image, as in evaluation.
    """

    start: Start = "real"
    augment: Augment = ALL_OPERATIONS


def passes_per_class(settings: GradientMatching, ipc: int) -> float:
    """Return how many images of a class pass through the network; a pass with gradient counts as three, with two as six."""
    networks, outer, inner = settings.loops(ipc)
    return float(networks * outer * (3 * settings.real_batch + 6 * ipc + 3 * inner * ipc))


def _method(**facts: Any) -> Method:
    """Return a method that matches gradients."""
    return Method(
        procedure="methods.procedures.gradient_loop:match_gradients",
        passes_per_class=passes_per_class,
        presets=PRESETS,
        has_passes=True,
        by_class=True,
        each_size=True,
        **facts,
    )


DC = _method(
    name="dc",
    label="DC",
    citation="Zhao, Mopuri and Bilen 2021, Algorithm 1",
    settings=GradientMatching,
    order=50,
    color="#56b4e9",
)

DSA = _method(
    name="dsa",
    label="DSA",
    citation="Zhao and Bilen 2021",
    settings=SiameseGradientMatching,
    order=60,
    color="#ca9161",
)
