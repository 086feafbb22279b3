"""ConvNet: the network of extractor and evaluation, as functions of a tuple of parameters.

Three blocks of Conv 3x3 -> GroupNorm with one group a channel ("instance norm", affine) -> ReLU -> AvgPool 2, then a linear
layer (Gidaris and Komodakis 2018, as in DC, DSA and DM). Parameters are passed in, so that a fresh network each step costs its
random draws alone, and one compiled graph serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_NORM_EPS = 1e-5
"""What `group_norm` adds to a variance."""

Parameters = tuple[Tensor, ...]
"""Convolution weight, bias, norm weight, bias for each block; then weight and bias of the linear layer."""


def _pooled(x: Tensor) -> Tensor:
    """Return the means of 2x2 squares of `x` `[N, width, s, s]`, as `avg_pool2d` does."""
    if not (torch.is_grad_enabled() and torch.compiler.is_compiling()):
        return F.avg_pool2d(x, 2)
    side = x.shape[3] // 2  # its gradient is a plain copy, which fuses with the norm's: a tenth of a training step
    squares: Tensor = x[..., : 2 * side, : 2 * side].unflatten(3, (side, 2)).unflatten(2, (side, 2))
    return squares.mean((3, 5))


@dataclass(frozen=True)
class ConvNet:
    """A ConvNet for images of `channels` x `size` x `size`: `depth` blocks of `width` channels, `classes` outputs."""

    channels: int
    size: int
    classes: int
    width: int
    depth: int

    @classmethod
    def fit(cls, shape: tuple[int, int, int], *, classes: int, width: int, depth: int | None) -> ConvNet:
        """Return the network for images of `shape`.

        Depth None means the field's: a last map of 4x4 (3 blocks at 28 and 32, 4 at 64), but at least two blocks
        where the image allows them (8x8 images: two blocks, a last map of 2x2 or, with one channel, 3x3).
        Raise `ValueError` where an image is too small for the depth.
        """
        channels, height, width_px = shape
        if height != width_px:
            raise ValueError(f"images are {height}x{width_px}; the network takes square ones")
        size = cls._first_map(channels, height)
        deepest = size.bit_length() - 1
        if depth is None:
            depth = min(max(2, round(math.log2(size)) - 2), deepest)
        if not 1 <= depth <= deepest:
            raise ValueError(f"depth {depth} does not fit images of {height}x{height}: at most {deepest}")
        return cls(channels, height, classes, width, depth)

    @staticmethod
    def _first_map(channels: int, size: int) -> int:
        # One channel is padded by 3, as in the reference code: 28 becomes 32.
        return size + 4 if channels == 1 else size

    @property
    def maps(self) -> tuple[int, ...]:
        """Side lengths of the maps: after the first convolution, then after each pooling."""
        size = self._first_map(self.channels, self.size)
        return tuple(size >> block for block in range(self.depth + 1))

    @property
    def features_dim(self) -> int:
        """Length of a feature vector, the flattened last map: 2048 for 28x28 and 32x32 images at width 128."""
        return self.width * self.maps[-1] ** 2

    @property
    def flops(self) -> int:
        """Floating-point operations of one forward pass of one image, multiplications and additions of the convolutions."""
        inputs = (self.channels, *[self.width] * (self.depth - 1))
        return sum(2 * 9 * ins * self.width * side**2 for ins, side in zip(inputs, self.maps, strict=False))

    def init(self, generator: torch.Generator) -> Parameters:
        """Draw fresh parameters on the CPU, distributed as torch's default: weights and biases U(±1/sqrt(fan in))."""
        parameters: list[Tensor] = []
        for block in range(self.depth):
            inputs = self.channels if block == 0 else self.width
            bound = (9 * inputs) ** -0.5
            weight = torch.empty(self.width, inputs, 3, 3).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(self.width).uniform_(-bound, bound, generator=generator)
            norm = (torch.ones(self.width), torch.zeros(self.width))
            parameters += [weight.contiguous(memory_format=torch.channels_last), bias, *norm]
        bound = self.features_dim**-0.5
        parameters.append(torch.empty(self.classes, self.features_dim).uniform_(-bound, bound, generator=generator))
        parameters.append(torch.empty(self.classes).uniform_(-bound, bound, generator=generator))
        return tuple(parameters)

    def _relu(self, block: int, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        weight, _, scale, shift = (p.to(x.dtype) for p in parameters[4 * block : 4 * block + 4])
        padding = 3 if block == 0 and self.channels == 1 else 1
        x = F.conv2d(x, weight, padding=padding)  # [N, width, s, s]; the bias is left out: the norm would cancel it
        return F.relu(F.group_norm(x, self.width, scale, shift, _NORM_EPS))

    def features(self, images: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return the features of `images` `[N, channels, H, W]`: the flattened last map, `[N, features_dim]`, not negative.

        They are computed, and come, in the images' dtype.
        """
        x, first = images, 0
        if self.channels == 1 and not torch.is_grad_enabled():
            x, first = self._grey_block(images, parameters[0], *parameters[2:4]), 1
        for block in range(first, self.depth):
            x = _pooled(self._relu(block, x, parameters))  # [N, width, s/2, s/2]
        return x.flatten(1)

    def _grey_block(self, images: Tensor, weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return the first block's map `[N, width, s/2, s/2]` of one-channel `images`: the same values in half the time.

        A convolution is linear, so each channel's mean and variance follow from those of the nine taps (the bias cancels), and
        convolution and norm become one matrix product with weights of each image's own. The maps, half a megabyte an image, are
        then passed over once, not thrice. With a gradient, or with three channels (27 taps), it is slower.
        """
        taps = F.unfold(images, 3, padding=3)  # [N, 9, s²]
        exact = taps.float() if taps.dtype == torch.bfloat16 else taps
        mean = exact.mean(2, keepdim=True)  # [N, 9, 1]
        centred = exact - mean
        covariance = centred @ centred.transpose(1, 2) / centred.shape[2]  # [N, 9, 9]
        kernels = weight.flatten(1).to(exact.dtype)  # [width, 9]
        variance = ((kernels @ covariance) * kernels).sum(2)  # [N, width]
        factor = scale * (variance + _NORM_EPS).rsqrt()
        offset = shift - factor * (kernels @ mean).squeeze(2)
        weights = (kernels[None] * factor[:, :, None]).transpose(1, 2)  # [N, 9, width]
        maps = torch.baddbmm(offset[:, None].to(taps.dtype), taps.transpose(1, 2), weights.to(taps.dtype))  # [N, s², width]
        side = self.maps[0] // 2
        maps = F.relu(maps[:, : self.maps[0] * 2 * side].unflatten(1, (-1, self.maps[0])))  # [N, 2·(s/2), s, width]
        even, odd = maps[:, 0::2, : 2 * side], maps[:, 1::2, : 2 * side]
        pooled = (even[:, :, 0::2] + even[:, :, 1::2] + odd[:, :, 0::2] + odd[:, :, 1::2]) * 0.25
        return pooled.permute(0, 3, 1, 2)  # channels last in memory

    def layers(self, images: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the maps of `images` `[N, channels, H, W]` after each ReLU, `[N, width, s, s]`, then the features."""
        found, x = [], images
        for block in range(self.depth):
            found.append(self._relu(block, x, parameters))
            x = _pooled(found[-1])  # [N, width, s/2, s/2]
        return *found, x.flatten(1)

    def logits(self, images: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return the scores of `images` `[N, channels, H, W]` for each class, `[N, classes]`, in the parameters' dtype."""
        return F.linear(self.features(images, parameters).to(parameters[-2].dtype), parameters[-2], parameters[-1])
