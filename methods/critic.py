"""Weight-clipped critics of the Kantorovich-Rubinstein dual: one hidden layer each, one batched routine for all classes.

(On the CPU it is called on one class at a time, so that weights and moments stay in cache.)

The objective is linear in the critic's output, so its gradient is known in closed form. With the rows of Z holding real and
synthetic features and s their weights (1/n and -1/m), hidden units H = relu(Z W1ᵀ + b1) and A = 1[H > 0] w2:

    dJ/dw2 = sᵀ H        dJ/dW1 = Aᵀ (s ⊙ Z)        dJ/db1 = Aᵀ s
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
    critics: Critics, real: Tensor, syn: Tensor, *, clip: float, steps: int, lr: float, optimizer: Optimizer
) -> Critics:
    """Return the critics after `steps` full-batch ascents on mean f(real) - mean f(syn), clamped to [-clip, clip] after each.

    `real` is `[C, n, d]`, `syn` `[C, m, d]`. Adam and RMSprop have torch's default moments (0.9, 0.999; 0.99) and epsilon 1e-8.
    """
    # On the CPU class follows class, so that weights and moments stay in cache; elsewhere all classes go in one batch.
    size = 1 if real.device.type == "cpu" else len(real)
    with torch.no_grad():
        parts = [
            _train(Critics(*(p[c : c + size].clone() for p in critics.parameters())), real[c : c + size], syn[c : c + size],
                   clip, steps, _Ascent(lr, optimizer))
            for c in range(0, len(real), size)
        ]  # fmt: skip
    return Critics(*(torch.cat(tensors) for tensors in zip(*(part.parameters() for part in parts), strict=True)))


def _train(critics: Critics, real: Tensor, syn: Tensor, clip: float, steps: int, ascend: _Ascent) -> Critics:
    points = torch.cat([real, syn], 1)  # [B, n + m, d]
    n, m = real.shape[1], syn.shape[1]
    weights = torch.cat([real.new_full((n,), 1 / n), real.new_full((m,), -1 / m)])  # [n + m]
    weighted = points * weights[:, None]
    parameters = critics.parameters()
    w1, b1, w2 = parameters
    for _ in range(steps):
        hidden = torch.baddbmm(b1[:, None], points, w1.transpose(1, 2)).relu_()  # [B, n + m, h]
        active = (hidden > 0) * w2[:, None]  # [B, n + m, h]
        gradients = [active.transpose(1, 2) @ weighted, weights @ active, weights @ hidden]
        ascend(parameters, gradients)
        torch._foreach_clamp_min_(parameters, -clip)
        torch._foreach_clamp_max_(parameters, clip)
    return critics


class _Ascent:
    """One gradient ascent of a list of tensors, in place, with the optimizer's moments."""

    def __init__(self, lr: float, optimizer: Optimizer) -> None:
        self.lr, self.optimizer = lr, optimizer
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []
        self.steps: list[Tensor] = []

    def __call__(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        if self.optimizer == "sgd":
            torch._foreach_add_(parameters, gradients, alpha=self.lr)
            return
        if not self.second:
            self.first = [torch.zeros_like(p) for p in parameters]
            self.second = [torch.zeros_like(p) for p in parameters]
            self.steps = [torch.zeros((), device=p.device) for p in parameters]
        if self.optimizer == "rmsprop":
            torch._foreach_mul_(self.second, 0.99)
            torch._foreach_addcmul_(self.second, gradients, gradients, 0.01)
            roots = torch._foreach_sqrt(self.second)
            torch._foreach_add_(roots, 1e-8)
            torch._foreach_addcdiv_(parameters, gradients, roots, self.lr)
            return
        torch._foreach_add_(self.steps, 1)
        torch._fused_adam_(
            parameters, gradients, self.first, self.second, [], self.steps,
            lr=self.lr, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=True,
        )  # fmt: skip
