"""How a gradient moves the images: SGD, as published, or steps that turn every image by the same angle.

The extractor of the field, a ConvNet with instance norm, does not see an image's norm: its first convolution has no bias that
matters, and the norm behind it divides any factor out. So psi(s·x) = psi(x) for s > 0, and for every loss on features

    <grad_x loss, x> = 0        and        grad loss at s·x = (grad loss at x) / s.

SGD then has two faults. The first: a step only ever lengthens the image, |x - lr·g|² = |x|² + lr²|g|², and turns it by the
angle arctan(lr·|g| / |x|), which shrinks as the image grows. The second: |g| is a property of the loss (in DM's mean difference
85 times that of the clipped critic in KR, at the same images), so one learning rate compares step sizes, not losses.

`Angular` takes the step along g/|g| in units of |x|, and keeps the norm. A loss and any multiple of it then give the same
images, and so do an image and any multiple of it.

If features are not invariant, the angle is still what is set, but the norm matters too: augmentation adds brightness, an
absolute number; zero padding is the mean grey whatever the norm, which is harmless, but a shift of brightness makes the border
visible; the `eps` of the norm shows in images of very low contrast; networks without a norm see the norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.cells.protocol import Match

_IMAGE = (-3, -2, -1)
"""The dimensions of one image: channels, height, width."""


class Angular(torch.optim.Optimizer):
    """Turns each image by about the same angle, whatever the scale of the loss and of the image, and keeps its norm.

        v <- momentum · v + g/|g|        x <- |x| · y/|y|    with    y = x - lr · |x| · v

    Norms are over one image, the last three dimensions. Without momentum and with g orthogonal to x the angle is arctan(lr):
    `lr` is the angle in radians, for small ones. An image whose gradient is zero goes on by its momentum alone. An image that
    is zero everywhere has no direction, and stays.
    """

    def __init__(self, images: list[Tensor], *, lr: float, momentum: float = 0.0) -> None:
        """Take tensors of images, `[..., channels, H, W]`, with gradient.

        Args:
            images: what is moved.
            lr: the angle of a step without momentum, in radians.
            momentum: from 0, none, to below 1.

        """
        super().__init__(images, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the images by their gradients; `closure` is not used."""
        for group in self.param_groups:
            for images in group["params"]:
                if images.grad is not None:
                    self._turn(images, lr=group["lr"], momentum=group["momentum"])

    def _turn(self, images: Tensor, *, lr: float, momentum: float) -> None:
        assert images.grad is not None
        state = self.state[images]
        if not state:
            state["velocity"], state["norm"] = torch.zeros_like(images), _norm(images)
        velocity, norm = state["velocity"], state["norm"]
        velocity.mul_(momentum).add_(_unit(images.grad))
        moved = images - lr * norm * velocity
        images.copy_(torch.where(norm > 0, norm * _unit(moved), images))


def _norm(images: Tensor) -> Tensor:
    """Return the Euclidean norm of each image, `[..., 1, 1, 1]`."""
    norm: Tensor = torch.linalg.vector_norm(images, dim=_IMAGE, keepdim=True)
    return norm


def _unit(images: Tensor) -> Tensor:
    """Return each image divided by its norm, or zeros if that is zero."""
    return images / _norm(images).clamp_min(torch.finfo(images.dtype).tiny)


def angles(before: Tensor, after: Tensor) -> Tensor:
    """Return the angle in radians between each image before and after, `[...]` for `[..., channels, H, W]`.

    From the chord, which is exact for small angles; the arc cosine of an inner product is not.
    """
    chord = _norm(_unit(after) - _unit(before))
    return 2 * torch.asin((chord / 2).clamp(max=1)).flatten(-3).squeeze(-1)


def image_optimizer(images: Tensor, match: Match) -> torch.optim.Optimizer:
    """Return the optimiser of the images that the settings ask for.

    Args:
        images: what is learned, `[..., channels, H, W]`, with gradient.
        match: complete settings, in which the size of a step is set.

    """
    size = _step_size(match)
    if match.optimizer == "angular":
        return Angular([images], lr=size, momentum=match.momentum)
    return torch.optim.SGD([images], lr=size, momentum=match.momentum)


def set_step_size(optimizer: torch.optim.Optimizer, match: Match, done: float) -> None:
    """Give the optimiser the step size of its schedule.

    Args:
        optimizer: from `image_optimizer`.
        match: its settings.
        done: the part of the iterations that is done, from 0 to 1.

    """
    factor = 1.0 if match.schedule == "constant" else 0.5 + 0.5 * math.cos(math.pi * done)
    for group in optimizer.param_groups:
        group["lr"] = factor * _step_size(match)


def _step_size(match: Match) -> float:
    size = match.rate if match.optimizer == "angular" else match.lr_images
    assert size is not None
    return size
