"""Weight-clipped critics of the Kantorovich-Rubinstein dual: one hidden layer each, trained one by one or all at once.

In the shapes below `...` is an optional leading dimension: absent for one critic, `C` for the critics of C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.machine.threads import side_by_side
from methods.losses.critic.ascent import ASCENTS, Optimizer
from methods.losses.critic.critic_gradient import Gradient, ReusingGradient, Sample, Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from bench.types import LossContext

_PRUNE_STEP = 24
"""Dead units are pruned before this step: the momentum of a unit without gradient has decayed after about 20 steps."""


@dataclass(frozen=True)
class Critics:
    """Critics f = w2 · relu(W1 x + b1): `w1` `[..., h, d]`, `b1` `[..., h]`, `w2` `[..., h]`."""

    w1: Tensor
    b1: Tensor
    w2: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Return the values, `[C, n]`, of C critics at `points` `[C, n, d]`."""
        hidden = torch.baddbmm(self.b1[:, None], points, self.w1.transpose(1, 2)).relu()  # [C, n, h]
        return (hidden @ self.w2[:, :, None]).squeeze(2)

    def parameters(self) -> list[Tensor]:
        """Return the three tensors."""
        return [self.w1, self.b1, self.w2]

    def split(self) -> list[Critics]:
        """Return the critic of each class."""
        return [Critics(*tensors) for tensors in zip(*self.parameters(), strict=True)]

    @classmethod
    def stack(cls, critics: Sequence[Critics]) -> Critics:
        """Return the critics of all classes in one object; the inverse of `split`."""
        return cls(*(torch.stack(tensors) for tensors in zip(*(critic.parameters() for critic in critics), strict=True)))


def init_critics(like: Tensor, *, hidden: int, generator: torch.Generator, context: LossContext | None = None) -> Critics:
    """Draw a critic for each class from torch's default for linear layers, U(±1/sqrt(fan in)).

    Args:
        like: features, `[C, n, d]`, whose shape, dtype and device the critics fit.
        hidden: the width of the hidden layer.
        generator: a CPU generator.
        context: if `like` has the features of some classes only, these classes. Critics are drawn for all classes, so that a
            class has the same critic whichever classes it is computed with.

    Returns:
        `C` critics.

    """
    dim = like.shape[2]
    classes = len(context.classes) if context else len(like)
    shapes = ((classes, hidden, dim), dim), ((classes, hidden), dim), ((classes, hidden), hidden)
    tensors = []
    for shape, fan_in in shapes:
        bound = fan_in**-0.5
        values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        if context and len(like) < classes:
            values = values[context.labels.cpu()]
        tensors.append(values.to(like, non_blocking=True))
    return Critics(*tensors)


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """Full-batch gradient ascent on mean f(real) - mean f(syn), with all parameters clamped after each step.

    Attributes:
        clip: parameters are clamped to [-clip, clip].
        steps: the number of steps.
        lr: the learning rate.
        optimizer: Adam and RMSprop have torch's default moments, (0.9, 0.999) and 0.99, and epsilon 1e-8.
        dtype: that of the matrix products; parameters and moments keep the dtype of the critics.

    """

    clip: float
    steps: int
    lr: float
    optimizer: Optimizer
    dtype: torch.dtype

    def train(self, critics: Critics, real: Tensor, syn: Tensor) -> Critics:
        """Return the trained critics; the arguments are not changed.

        Args:
            critics: the untrained critics of C classes.
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.

        """
        if real.device.type != "cpu":
            return self.train_together(critics, real, syn)
        # One class at a time: its parameters and moments fit into the cache of one core.
        return Critics.stack(side_by_side(self.train_together, critics.split(), real, syn))

    def train_together(self, critics: Critics, real: Tensor, syn: Tensor) -> Critics:
        """Return the trained critics of one class, or of several at once.

        Args:
            critics: the untrained critics, `...`.
            real: features of the real images, `[..., n, d]`.
            syn: features of the synthetic images, `[..., m, d]`.

        """
        # Reusing products needs to know which units have changed; on an accelerator that would wait for it at each step.
        reuses = real.dim() == 2 and real.device.type == "cpu"
        with torch.no_grad():
            sample = Sample(real, syn, dtype=self.dtype)
            units = Units(*critics.parameters(), dtype=self.dtype)
            gradient = (ReusingGradient if reuses else Gradient)(sample, units)
            ascent = ASCENTS[self.optimizer](units.values, units.gradient, lr=self.lr, scale=sample.scale)
            for step in range(self.steps):
                if step == _PRUNE_STEP and isinstance(gradient, ReusingGradient):
                    gradient.prune_dead_units(ascent, self.steps - step)
                gradient.compute()
                ascent.step()
                units.clamp(self.clip)
            units.restore_order()
        return Critics(*units.parameters())
