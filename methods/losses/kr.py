"""KR: the Kantorovich-Rubinstein dual of W1 with a weight-clipped critic (Li, Xue and Shi 2025, Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from bench.cells.loss import FeatureLoss, by_class
from bench.cells.method import FeatureMatching
from bench.cells.settings import Count, Positive
from bench.lazy import torch
from bench.types import Precision
from methods.losses.critic.ascent import Optimizer
from methods.losses.critic.critic import CriticTraining, init_critics

if TYPE_CHECKING:
    from torch import Tensor

    from bench.types import LossContext


@by_class
class KantorovichRubinstein(FeatureLoss):
    """mean_i f(x_i) - mean_j f(y_j) for a critic f that is trained to maximise it with all its parameters in [-clip, clip].

    Each class has its own critic f = w2 · relu(W1 x + b1). At each call it starts afresh from torch's default initialisation
    and is trained with the full batch, on detached features. The loss is then the difference of the trained critic's means; its
    gradient goes to `syn` alone, with the critic held fixed. The output's bias cancels and is left out.

    By Lemma 1 of the paper f is Lipschitz with L <= clip² · hidden · sqrt(d), so the value is at most L · W1; it is not W1.

    The paper gives `steps` (K2) and `critic_lr` (eta2). It does not give the other settings, such as `clip` (its truncation b),
    and their defaults are ours; the gradient step of its pseudocode is `critic_optimizer=sgd`.
    """

    hidden: Count = Field(default=128, description="Width of the critic's hidden layer.")
    clip: Positive = Field(default=0.01, description="Bound of the critic's parameters, which are clamped to [-clip, clip].")
    steps: Count = Field(default=100, description="Number of steps of training a critic.")
    critic_lr: Positive = Field(default=1e-3, description="Learning rate of the critic.")
    critic_optimizer: Optimizer = Field(default="adam", description="Optimizer of the critic.")
    precision: Precision = Field(
        default="auto",
        description="Precision of the matrix products that train critics; auto for the run's, and float32 outside a run.",
    )

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator, context: LossContext | None = None) -> Tensor:
        """Return the loss of each class, `[C]`.

        Args:
            real: features of the real images, `[C, n, d]`.
            syn: features of the synthetic images, `[C, m, d]`.
            generator: the critics' first parameters are drawn from it.
            context: if `real` and `syn` are features of some classes only, these classes; each has the same critic as among
                all classes.

        """
        training = CriticTraining(
            clip=self.clip,
            steps=self.steps,
            lr=self.critic_lr,
            optimizer=self.critic_optimizer,
            dtype=torch.bfloat16 if self.precision == "bf16" else real.dtype,
        )
        critics = init_critics(real, hidden=self.hidden, generator=generator, context=context)
        critics = training.train(critics, real, syn.detach())
        return critics(real).mean(1) - critics(syn).mean(1)


METHOD = FeatureMatching(
    name="kr",
    label="KR",
    citation="Li, Xue and Shi 2025, Algorithm 1",
    settings=KantorovichRubinstein,
    order=90,
    color="#d55e00",
)
