"""Differentiable siamese augmentation (DSA; Zhao and Bilen 2021), for many groups of images at once.

One operation is drawn uniformly from the strategy for each group, with one set of parameters: all images of a group, real and
synthetic, are changed alike. In matching a group is a class; in evaluation it is one image, and all groups share the operation.
Images are in normalised units; what comes in from outside is zero, the channel's mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.cells.protocol import operations_of
from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

UNIFORMS = 3
"""Uniform numbers drawn for a group, whatever its operation."""


def color(images: Tensor, u: Tensor) -> Tensor:
    """Change brightness by u0-0.5, then saturation by the factor 2·u1, then contrast by u2+0.5."""
    brightness, saturation, contrast = u[:, :, None, None, None, None].unbind(1)  # each [G, 1, 1, 1, 1]
    images = images + (brightness - 0.5)
    grey = images.mean(2, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((2, 3, 4), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def crop(images: Tensor, u: Tensor) -> Tensor:
    """Shift by up to an eighth of the side (4 pixels of 28 or 32) in both directions."""
    groups, _, _, height, width = images.shape
    reach_y, reach_x = int(height / 8 + 0.5), int(width / 8 + 0.5)
    top = (u[:, 0] * (2 * reach_y + 1)).long()  # [G], 0..2·reach
    left = (u[:, 1] * (2 * reach_x + 1)).long()
    padded = torch.nn.functional.pad(images, (reach_x, reach_x, reach_y, reach_y))
    rows = top[:, None, None] + torch.arange(height, device=images.device)[None, :, None]  # [G, H, 1]
    columns = left[:, None, None] + torch.arange(width, device=images.device)[None, None, :]  # [G, 1, W]
    group = torch.arange(groups, device=images.device)[:, None, None]
    return padded[group, :, :, rows, columns].permute(0, 3, 4, 1, 2)  # from [G, H, W, n, channels]


def cutout(images: Tensor, u: Tensor) -> Tensor:
    """Blank a square of half the side, its centre anywhere, clipped at the border."""
    height, width = images.shape[-2:]
    kept = []
    for side, at in ((height, u[:, 0]), (width, u[:, 1])):
        size = int(side / 2 + 0.5)
        start = (at * (side + 1 - size % 2)).long()[:, None] - size // 2  # [G, 1]
        index = torch.arange(side, device=images.device)[None, :]
        kept.append((index < start) | (index >= start + size))  # [G, side]
    mask = kept[0][:, :, None] | kept[1][:, None, :]  # [G, H, W]
    return images * mask[:, None, None].to(images.dtype)


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror left and right if u0 < 0.5."""
    return torch.where(u[:, 0, None, None, None, None] < 0.5, images.flip(-1), images)


def _warp(images: Tensor, theta: Tensor) -> Tensor:
    """Resample bilinearly: one map `theta` `[G, 2, 3]` a group, the images of a group being channels to it."""
    flat = images.flatten(1, 2)  # [G, n·channels, H, W]
    grid = torch.nn.functional.affine_grid(theta, list(flat.shape), align_corners=False)
    return torch.nn.functional.grid_sample(flat, grid, align_corners=False).view_as(images)


def scale(images: Tensor, u: Tensor) -> Tensor:
    """Stretch rows and columns by independent factors from U(1/1.2, 1.2)."""
    factors = u[:, :2] * (1.2 - 1 / 1.2) + 1 / 1.2
    return _warp(images, torch.nn.functional.pad(torch.diag_embed(factors), (0, 1)))


def rotate(images: Tensor, u: Tensor) -> Tensor:
    """Turn by an angle from U(-15°, 15°)."""
    angle = (u[:, 0] - 0.5) * 2 * (15 * math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    return _warp(images, torch.nn.functional.pad(theta, (0, 1)))


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
"""Each takes images `[G, n, channels, H, W]` and uniform numbers `[G, UNIFORMS]`, and returns images of the same shape."""


@dataclass(frozen=True)
class Draws:
    """What was drawn: the operation of each group, and its uniform numbers `[G, UNIFORMS]`, on the CPU."""

    operations: tuple[str, ...]
    uniforms: Tensor

    def of_groups(self, numbers: Sequence[int]) -> Draws:
        """Return what was drawn for some of the groups, in the order of their `numbers`."""
        operations = tuple(self.operations[number] for number in numbers) if self.operations else ()
        return Draws(operations, self.uniforms[list(numbers)])


@dataclass(frozen=True)
class Augmentation:
    """A strategy: the operations to draw from; none of them leaves images as they are."""

    operations: tuple[str, ...]

    @classmethod
    def parse(cls, strategy: str, *, flip: bool) -> Augmentation:
        """Return the strategy that `color_crop_...` or `none` names; `flip` False leaves that operation out."""
        return cls(tuple(name for name in operations_of(strategy) if flip or name != "flip"))

    def draw(self, generator: torch.Generator, groups: int, *, shared: bool) -> Draws:
        """Draw for `groups` groups; `shared` gives all of them one operation, each with its own parameters."""
        uniforms = torch.rand(groups, UNIFORMS, generator=generator)
        if not self.operations:
            return Draws((), uniforms)
        count = 1 if shared else groups
        chosen = torch.randint(len(self.operations), (count,), generator=generator).tolist()
        names = [self.operations[index] for index in chosen]
        return Draws(tuple(names * groups if shared else names), uniforms)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return `images` `[G, n, channels, H, W]`, each group changed by its operation; differentiable in `images`."""
        names = list(dict.fromkeys(draws.operations))
        uniforms = draws.uniforms.to(images, non_blocking=True)
        if not names:
            return images
        if len(names) == 1:
            return OPERATIONS[names[0]](images, uniforms)
        members = [[g for g, name in enumerate(draws.operations) if name == wanted] for wanted in names]
        parts = []
        for name, groups in zip(names, members, strict=True):
            index = torch.tensor(groups).to(images.device, non_blocking=True)
            parts.append(OPERATIONS[name](images[index], uniforms[index]))
        order = torch.tensor([group for groups in members for group in groups]).argsort()
        return torch.cat(parts)[order.to(images.device, non_blocking=True)]
