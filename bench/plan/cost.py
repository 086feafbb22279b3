"""How much work a cell is: floating-point operations, from its description alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.cells.method import Method
from bench.cells.spec import RunSpec
from bench.networks.fitting import fit
from bench.types import Shaped

GRADIENT = 3
"""A pass through a network with its gradient counts as three passes forward."""


class Counted(Shaped, Protocol):
    """What is asked of a dataset."""

    @property
    def counts(self) -> tuple[int, int]: ...  # noqa: D102  (of training and test images)


@dataclass(frozen=True)
class Operations:
    """Operations of the passes through networks: of distilling, and of each network's evaluation."""

    distilling: float
    evaluations: Mapping[str, float]


def operations(spec: RunSpec, method: Method, source: Counted) -> Operations:
    """Return about how many floating-point operations the passes of a cell are.

    What a loss does with the features, such as a critic or a transport plan, is not among them: `bench.plan.estimates` fits a
    factor for each method.

    Args:
        spec: the cell.
        method: its method.
        source: its dataset.

    """
    classes, (train, test) = len(source.classes), source.counts
    size = spec.protocol.network

    def flops(name: str) -> float:
        return float(fit(name, source.shape, classes=classes, width=size.width, depth=size.depth).flops)

    images, name = method.passes(spec, classes=classes, images=train)
    training = spec.protocol.training
    assert training.epochs is not None
    shown = GRADIENT * training.epochs * (train if spec.ipc is None else classes * spec.ipc) + test
    return Operations(
        distilling=images * flops(name) if images else 0.0,
        evaluations={name: training.nets * shown * flops(name) for name in training.networks},
    )


def passed(spec: RunSpec, checkpoints: Iterable[int]) -> int:
    """Return how many of the checkpoints that are asked for a cell passes on its way; each is evaluated like the last images.

    A method of its own may take several steps in an iteration; they count as one here.
    """
    match = spec.protocol.match
    iterations = (match.iterations if match else getattr(spec.settings, "iterations", 0)) or 0
    return sum(iteration < iterations for iteration in checkpoints)
