"""KR: the Kantorovich-Rubinstein dual of W1 with a weight-clipped critic (Li, Xue and Shi 2025, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.options import Count, Positive, check_options

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KantorovichRubinstein:
    """mean_i f(x_i) - mean_j f(y_j) for f = w2 · relu(W1 x + b1), trained to maximise it with all parameters in [-clip, clip].

    A critic a class, from torch's default initialisation, afresh at each call, full batch, on detached features; the loss is
    then the trained critics' difference, with gradient to `syn` alone. By the paper's Lemma 1 f is Lipschitz with
    L <= clip² · hidden · sqrt(d), so the value is at most L · W1, not W1. The output's bias cancels and is left out.

    From the paper: `steps` (K2) = 100, `critic_lr` (eta2) = 1e-3. It is silent on the others, and these defaults are ours:
    `hidden` = 128 (width), `clip` = 0.01 (truncation b), `critic_optimizer` = adam (the pseudocode's gradient step is sgd).
    `precision` is that of the critics' matrix products while they are trained; `auto` is the run's, and float32 outside a run.
    """

    hidden: Count = 128
    clip: Positive = 0.01
    steps: Count = 100
    critic_lr: Positive = 1e-3
    critic_optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        """Raise `UsageError` where a hyper-parameter is out of range."""
        check_options(self)

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss a class, `[C]`, of `real` `[C, n, d]` and `syn` `[C, m, d]`."""
        from methods.critic import init_critics, train_critics

        critics = init_critics(real, hidden=self.hidden, generator=generator)
        critics = train_critics(
            critics,
            real,
            syn.detach(),
            clip=self.clip,
            steps=self.steps,
            lr=self.critic_lr,
            optimizer=self.critic_optimizer,
            half=self.precision == "bf16",
        )
        return critics(real).mean(1) - critics(syn).mean(1)
