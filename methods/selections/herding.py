"""Herding: a coreset whose mean stays near the mean of the class (Welling 2009; Rebuffi et al. 2017, Algorithm 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import torch
from methods.selections.coreset import coreset, distances

if TYPE_CHECKING:
    from torch import Generator, Tensor


def herding(features: Tensor, count: int, *, generator: Generator) -> Tensor:
    """Choose greedily so that the mean of the chosen rows stays near the mean mu of all.

    The i-th choice, from 0, is argmin_x |(i+1) mu - sum of the chosen - x|, without repetition. It is deterministic; the first
    choices do not depend on `count`. (Another implementation has argmax here, which chooses the farthest.) See `Rule`.
    """
    mean, total = features.mean(0), torch.zeros_like(features[0])  # [d], [d]
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for step in range(count):
        distance = distances(((step + 1) * mean - total)[None], features)[0]  # [n]
        index = distance.where(free, torch.inf).argmin()
        total = total + features[index]
        free[index] = False
        chosen.append(index)
    return torch.stack(chosen)


METHOD = coreset(
    name="herding",
    label="Herding",
    citation="Welling 2009; Rebuffi et al. 2017, Algorithm 4",
    rule=herding,
    presets={"quick": {"epochs": 5}, "cpu": {"epochs": 2}},
    order=20,
    color="#de8f05",
)
