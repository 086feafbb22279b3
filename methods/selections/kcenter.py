"""k-center: a coreset that covers the class (Gonzalez 1985; Sener and Savarese 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import torch
from methods.selections.coreset import coreset, distances

if TYPE_CHECKING:
    from torch import Generator, Tensor


def kcenter(features: Tensor, count: int, *, generator: Generator) -> Tensor:
    """Choose the row nearest to the mean, then repeatedly the row farthest from all chosen rows (Gonzalez 1985).

    The largest distance of a row to its nearest chosen row is at most twice the least possible with `count` rows (as a coreset:
    Sener and Savarese 2018). It is deterministic; the first choices do not depend on `count`. See `Rule`.
    """
    index = distances(features.mean(0, keepdim=True), features)[0].argmin()
    nearest = torch.full_like(features[:, 0], torch.inf)  # [n], distance to the nearest chosen row
    chosen = [index]
    for _ in range(count - 1):
        nearest = nearest.minimum(distances(features[index][None], features)[0])
        nearest[index] = -1  # below 0, the distance of a duplicate, so that no row is chosen twice
        index = nearest.argmax()
        chosen.append(index)
    return torch.stack(chosen)


METHOD = coreset(
    name="kcenter",
    label="k-center",
    citation="Gonzalez 1985; Sener and Savarese 2018",
    rule=kcenter,
    presets={"quick": {"epochs": 5}, "cpu": {"epochs": 2}},
    order=30,
    color="#8c613c",
)
