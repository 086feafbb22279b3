"""ConvNet, the field's usual extractor and evaluator (Gidaris and Komodakis 2018, as in DC, DSA and DM)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Architecture, normalisation
from bench.networks.fast import LEAKY_RELU, RELU, SIGMOID, GroupNorm, average_pooled, grey_block

_Function = Callable[[Tensor], Tensor]

_ACTIVATIONS = {"ar": RELU, "as": SIGMOID, "al": LEAKY_RELU}


def _max_pooling(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 2)


def _no_pooling(maps: Tensor) -> Tensor:
    return maps


_POOLINGS: dict[str, _Function] = {"ap": average_pooled, "mp": _max_pooling, "np": _no_pooling}


class Block(nn.Module):
    """Convolution 3x3, norm and activation, with average pooling or without; other pooling is the network's."""

    def __init__(self, inputs: int, width: int, *, side: int, padding: int, norm: str, activation: str) -> None:
        """Take the numbers of channels, the side of the maps, the convolution's padding, and the variants."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, 3, padding=padding)
        self.norm: Any = normalisation(norm, width, side)
        self.activation = _ACTIVATIONS[activation]
        # Instance norm subtracts the mean of each channel, and the bias with it: then the bias is not added in the first place.
        self.adds_bias = norm != "in"

    def forward(self, x: Tensor, *, averaged: bool = False) -> Tensor:
        """Return the maps `[N, width, s, s]` of `x` `[N, inputs, h, h]` after the activation, or means of 2x2 squares."""
        maps = F.conv2d(x, self.conv.weight, self.conv.bias if self.adds_bias else None, padding=self.conv.padding)
        if isinstance(self.norm, GroupNorm):
            normalised: Tensor = self.norm(maps, self.activation, averaged=averaged)
            return normalised
        values = self.activation.function(self.norm(maps))
        return average_pooled(values) if averaged else values


class ConvNet(Architecture):
    """Blocks of Conv 3x3, norm, activation and pooling 2x2, then a linear layer.

    Variants: depth, width, norm (`in` instance, `bn` batch, `ln` layer, `gn` 4 groups, `nn` none), activation (`ar` ReLU,
    `as` sigmoid, `al` leaky ReLU) and pooling (`ap` average, `mp` maximum, `np` none), as in the evaluation pools of DC's code.
    It takes images of any side. One-channel images are padded by 3 instead of 1 in the first block, as there: 28 pixels become
    32.
    """

    sizes: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        width: int,
        depth: int,
        norm: str = "in",
        activation: str = "ar",
        pooling: str = "ap",
    ) -> None:
        """Take the shape of the images, the number of classes, and the variants."""
        super().__init__()
        side, inputs = _first_side(channels, size), channels
        self.blocks = nn.ModuleList()
        for number in range(depth):
            padding = 3 if number == 0 and channels == 1 else 1
            self.blocks.append(Block(inputs, width, side=side, padding=padding, norm=norm, activation=activation))
            inputs, side = width, side if pooling == "np" else side // 2
        self.pool = _POOLINGS[pooling]
        self.averages = pooling == "ap"
        self.has_grey_block = channels == 1 and norm == "in" and pooling == "ap"
        self.classifier = nn.Linear(width * side**2, classes)

    @classmethod
    def complete(cls, channels: int, size: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with a depth; raise `UsageError` if the images are too small for the one they have.

        Depth None means the field's: a last map of 4x4 (3 blocks at 28 and 32 pixels, 4 at 64), but at least two blocks if
        the image allows them (8x8 images: two blocks, a last map of 2x2 or, with one channel, 3x3).
        """
        side, depth = _first_side(channels, size), options.get("depth")
        deepest = side.bit_length() - 1
        if depth is None:
            depth = min(max(2, round(math.log2(side)) - 2), deepest)
        if not 1 <= depth <= deepest and options.get("pooling") != "np":
            raise UsageError(f"depth {depth} does not fit images of {size}x{size}: at most {deepest}")
        if options.get("norm") == "gn" and options["width"] % 4:
            raise UsageError(f"width {options['width']} does not fit group norm: it takes multiples of 4")
        return {**options, "depth": depth}

    def features(self, images: Tensor) -> Tensor:
        """Return the flattened last maps `[N, features_dim]` of `images` `[N, channels, H, H]`."""
        return self._after(images, self._blocks)

    def features_without_gradient(self, images: Tensor) -> Tensor:
        """Return the features, with `grey_block` as the first block if that computes it."""
        if not self.has_grey_block:
            return self.features(images)
        first, *others = self._blocks
        maps = grey_block(images, first.conv.weight, first.norm.weight, first.norm.bias, first.activation)
        return self._after(maps, others)

    def layers(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of `images` after each activation, `[N, width, s, s]`, then the features."""
        layers, x = [], images
        for block in self._blocks:
            layers.append(block(x))
            x = self.pool(layers[-1])
        return *layers, x.flatten(1)

    @property
    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def _after(self, x: Tensor, blocks: Sequence[Block]) -> Tensor:
        """Return the flattened output `[N, features_dim]` of the given blocks for `x` `[N, channels, s, s]`."""
        for block in blocks:
            x = block(x, averaged=True) if self.averages else self.pool(block(x))
        return x.flatten(1)


def _first_side(channels: int, size: int) -> int:
    """Return the side of the first maps: 3 pixels of padding on each side add 4 to that of one-channel images."""
    return size + 4 if channels == 1 else size
