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
from collections.abc import Iterable, Mapping
from pkgutil import resolve_name

import torch
from torch import Tensor

from bench.cells.protocol import Match

_IMAGE = (-3, -2, -1)
"""The dimensions of one image: channels, height, width."""


class Optimizer:
    """Moves tensors by their gradients, and keeps other tensors for each of them, by name, from step to step.

    `torch.optim.Optimizer` is not its base: the first instance of that imports torch's compiler, for two seconds or more.
    """

    def __init__(self, tensors: Iterable[Tensor], *, lr: float, momentum: float = 0.0) -> None:
        """Take the tensors, with gradient; `lr` may be changed between steps."""
        self.tensors, self.lr, self.momentum = list(tensors), lr, momentum
        self.kept: list[dict[str, Tensor]] = [{} for _ in self.tensors]

    def step(self) -> None:
        """Move the tensors that have a gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for tensor in self.tensors:
            tensor.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Return what is kept, as `"INDEX NAME"`."""
        return {f"{index} {name}": tensor for index, kept in enumerate(self.kept) for name, tensor in kept.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` returned; what has the shape of its tensor is laid out like it, as fused steps need."""
        self.kept = [{} for _ in self.tensors]
        for key, saved in state.items():
            index, _, name = key.partition(" ")
            tensor = self.tensors[int(index)].detach()
            like = tensor if saved.shape == tensor.shape else saved
            self.kept[int(index)][name] = torch.empty_like(like).copy_(saved)


class SGD(Optimizer):
    """`torch.optim.SGD`, step by step to the same bits: it is the function behind it.

        v <- momentum · v + g + weight_decay · x        x <- x - lr · v

    and x - lr · (g + weight_decay · x + momentum · v) if `nesterov`.
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        fused: bool = False,
    ) -> None:
        """Take the tensors and torch's settings; `fused` steps are faster, and round otherwise."""
        super().__init__(tensors, lr=lr, momentum=momentum)
        self._weight_decay, self._nesterov, self._fused = weight_decay, nesterov, fused
        # torch hides the module `torch.optim.sgd` after importing it.
        self._sgd = resolve_name("torch.optim.sgd:sgd")

    @torch.no_grad()
    def step(self) -> None:
        """Move the tensors that have a gradient."""
        moved = [index for index, tensor in enumerate(self.tensors) if tensor.grad is not None]
        buffers = [self.kept[index].get("momentum_buffer") for index in moved]
        self._sgd(
            [self.tensors[index] for index in moved],
            [self.tensors[index].grad for index in moved],
            buffers,
            fused=self._fused,
            foreach=False,
            weight_decay=self._weight_decay,
            momentum=self.momentum,
            lr=self.lr,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
        )
        for index, buffer in zip(moved, buffers, strict=True):
            if buffer is not None:  # there is momentum
                self.kept[index]["momentum_buffer"] = buffer


class Angular(Optimizer):
    """Turns each image by about the same angle, whatever the scale of the loss and of the image, and keeps its norm.

        v <- momentum · v + g/|g|        x <- |x| · y/|y|    with    y = x - lr · |x| · v

    Norms are over one image, the last three dimensions. Without momentum and with g orthogonal to x the angle is arctan(lr):
    `lr` is the angle in radians, for small ones. An image whose gradient is zero goes on by its momentum alone. An image that
    is zero everywhere has no direction, and stays. The tensors are images, `[..., channels, H, W]`.
    """

    @torch.no_grad()
    def step(self) -> None:
        """Move the images by their gradients."""
        for images, kept in zip(self.tensors, self.kept, strict=True):
            if images.grad is not None:
                self._turn(images, images.grad, kept)

    def _turn(self, images: Tensor, gradient: Tensor, kept: dict[str, Tensor]) -> None:
        if not kept:
            kept["velocity"], kept["norm"] = torch.zeros_like(images), _norm(images)
        velocity, norm = kept["velocity"], kept["norm"]
        velocity.mul_(self.momentum).add_(_unit(gradient))
        moved = images - self.lr * norm * velocity
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


def image_optimizer(images: Tensor, match: Match) -> Optimizer:
    """Return the optimiser of the images that the settings ask for.

    Args:
        images: what is learned, `[..., channels, H, W]`, with gradient.
        match: complete settings, in which the size of a step is set.

    """
    size = _step_size(match)
    if match.optimizer == "angular":
        return Angular([images], lr=size, momentum=match.momentum)
    return SGD([images], lr=size, momentum=match.momentum)


def set_step_size(optimizer: Optimizer, match: Match, done: float) -> None:
    """Give the optimiser the step size of its schedule.

    Args:
        optimizer: from `image_optimizer`.
        match: its settings.
        done: the part of the iterations that is done, from 0 to 1.

    """
    factor = 1.0 if match.schedule == "constant" else 0.5 + 0.5 * math.cos(math.pi * done)
    optimizer.lr = factor * _step_size(match)


def _step_size(match: Match) -> float:
    size = match.rate if match.optimizer == "angular" else match.lr_images
    assert size is not None
    return size
