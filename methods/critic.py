"""Weight-clipped critics of the Kantorovich-Rubinstein dual: one hidden layer each, one routine for one or for all of them.

The objective is linear in the critic's output, so its gradient is known in closed form. With the rows of Z holding real and
synthetic features and s their weights (1/n and -1/m), hidden units H = relu(Z W1ᵀ + b1) and A = 1[H > 0] w2:

    dJ/dw2 = Hᵀ s        dJ/db1 = Aᵀ s        dJ/dW1 = (s ⊙ A)ᵀ Z
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Literal

import torch
from torch import Tensor

from bench.compute import one_thread_each

Optimizer = Literal["adam", "sgd", "rmsprop"]


@dataclass(frozen=True)
class Critics:
    """C critics f = w2 · relu(W1 x + b1): `w1` `[C, h, d]`, `b1` `[C, h]`, `w2` `[C, h]`."""

    w1: Tensor
    b1: Tensor
    w2: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Return the critics' values, `[C, n]`, at `points` `[C, n, d]`."""
        hidden = torch.baddbmm(self.b1[:, None], points, self.w1.transpose(1, 2)).relu()  # [C, n, h]
        return (hidden @ self.w2[:, :, None]).squeeze(2)

    def parameters(self) -> list[Tensor]:
        """Return the three tensors."""
        return [self.w1, self.b1, self.w2]


def init_critics(like: Tensor, *, hidden: int, generator: torch.Generator) -> Critics:
    """Draw a critic for each class of `like` `[C, n, d]`: torch's default for linear layers, U(±1/sqrt(fan in))."""
    classes, _, dim = like.shape
    shapes = ((classes, hidden, dim), dim), ((classes, hidden), dim), ((classes, hidden), hidden)
    drawn = []
    for shape, fan_in in shapes:
        bound = fan_in**-0.5
        drawn.append(torch.empty(shape).uniform_(-bound, bound, generator=generator).to(like, non_blocking=True))
    return Critics(*drawn)


def train_critics(
    critics: Critics, real: Tensor, syn: Tensor, *, clip: float, steps: int, lr: float, optimizer: Optimizer, half: bool = False
) -> Critics:
    """Return the critics after `steps` full-batch ascents on mean f(real) - mean f(syn), clamped to [-clip, clip] after each.

    `real` is `[C, n, d]`, `syn` `[C, m, d]`. Adam and RMSprop have torch's default moments (0.9, 0.999; 0.99) and epsilon 1e-8.
    Where `half`, the products are of bfloat16 numbers; weights and moments are float32 all the same.
    """
    each = (*critics.parameters(), real, syn)
    dtype = torch.bfloat16 if half else real.dtype

    def train(*tensors: Tensor) -> list[Tensor]:
        return _train(*tensors, clip=clip, steps=steps, ascend=_Ascent(lr, optimizer), dtype=dtype)

    if real.device.type == "cpu":  # a class a thread: its weights and moments stay in that core's cache
        return Critics(*(torch.stack(tensors) for tensors in zip(*one_thread_each(train, *each), strict=True)))
    return Critics(*train(*each))


@torch.no_grad()
def _train(
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    real: Tensor,
    syn: Tensor,
    *,
    clip: float,
    steps: int,
    ascend: _Ascent,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Return the three tensors after training, products in `dtype`; `...` below is nothing, for one critic, or the classes."""
    points = torch.cat([real, syn], -2).to(dtype)  # [..., n + m, d]
    n, m = real.shape[-2], syn.shape[-2]
    # Rounded to bfloat16 the weights would not sum to zero; in this unit they are whole numbers, which it holds up to 256.
    unit = gcd(n, m) / (n * m) if dtype != real.dtype else 1.0
    weights = torch.cat([real.new_full((n,), 1 / n / unit), real.new_full((m,), -1 / m / unit)]).to(dtype)  # [n + m]
    # W1 is held transposed, in which layout both products are fastest; all parameters are one buffer, so that the optimiser and
    # the clamp are one pass each. `flat` and `gradient` have a second copy in `dtype` only where that is another.
    start = [w1.transpose(-2, -1), b1, w2]
    shapes = [p.shape for p in start]
    flat = torch.cat([p.flatten() for p in start])
    gradient = torch.empty_like(flat)
    low, low_gradient = flat.to(dtype), gradient.to(dtype)
    low_w1, low_b1, low_w2 = _views(low, shapes)  # [..., d, h], [..., h], [..., h]
    slope_w1, slope_b1, slope_w2 = _views(low_gradient, shapes)
    hidden = points.new_empty(*points.shape[:-1], w2.shape[-1])  # [..., n + m, h]
    active = torch.empty_like(hidden)
    for _ in range(steps):
        torch.matmul(points, low_w1, out=hidden)
        hidden.add_(low_b1[..., None, :]).relu_()
        torch.sum(
            torch.mul(hidden, weights[:, None], out=active), -2, out=slope_w2
        )  # a product with a vector is slow in bfloat16
        torch.sign(hidden, out=active).mul_(low_w2[..., None, :]).mul_(weights[:, None])
        torch.sum(active, -2, out=slope_b1)
        torch.matmul(points.transpose(-2, -1), active, out=slope_w1)
        if low_gradient is not gradient:
            gradient.copy_(low_gradient)
        ascend(flat, gradient, unit=unit)
        flat.clamp_(-clip, clip)
        if low is not flat:
            low.copy_(flat)
    w1, b1, w2 = _views(flat, shapes)
    return [w1.transpose(-2, -1), b1, w2]


def _views(flat: Tensor, shapes: list[torch.Size]) -> list[Tensor]:
    parts = flat.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


class _Ascent:
    """Gradient ascent of one tensor, in place, with the optimizer's moments."""

    def __init__(self, lr: float, optimizer: Optimizer) -> None:
        self.lr, self.optimizer = lr, optimizer
        self.first = self.second = self.steps = torch.empty(0)

    def __call__(self, parameters: Tensor, gradient: Tensor, *, unit: float) -> None:
        """Take a step along `unit` · `gradient`; the moments are kept in these units, and epsilon with them."""
        epsilon = 1e-8 / unit
        if self.optimizer == "sgd":
            parameters.add_(gradient, alpha=self.lr * unit)
            return
        if not len(self.second):
            self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
            self.steps = torch.zeros((), device=parameters.device)
        if self.optimizer == "rmsprop":
            self.second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
            parameters.addcdiv_(gradient, self.second.sqrt().add_(epsilon), value=self.lr)
            return
        self.steps += 1
        torch._fused_adam_(
            [parameters], [gradient], [self.first], [self.second], [], [self.steps],
            lr=self.lr, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=epsilon, amsgrad=False, maximize=True,
        )  # fmt: skip
