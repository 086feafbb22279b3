"""How much work a cell is: floating-point operations, from its description alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.cells.artefact import ArtefactSpec
from bench.cells.method import Method
from bench.cells.protocol import ConvNetSize
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
    """Operations of the passes through networks: of preparing artefacts, of distilling, and of each network's evaluation."""

    preparing: float
    distilling: float
    evaluations: Mapping[str, float]


def operations(spec: RunSpec, method: Method, source: Counted) -> Operations:
    """Return about how many floating-point operations the passes of a cell are.

    What a loss does with the features, such as a critic or a transport plan, is not among them: `bench.plan.estimates` takes
    the seconds for an operation from records of the same method.

    Args:
        spec: the cell.
        method: its method.
        source: its dataset.

    """
    classes, (train, test) = len(source.classes), source.counts

    def flops(name: str) -> float:
        return _flops(name, spec.protocol.network, source)

    images, name = method.passes(spec, classes=classes, images=train)
    training = spec.protocol.training
    assert training.epochs is not None
    trained_on = GRADIENT * training.epochs * (train if spec.ipc is None else classes * spec.ipc) + test
    return Operations(
        preparing=sum(preparing_operations(artefact, source) for artefact in method.artefacts(spec)),
        distilling=images * flops(name) if images else 0.0,
        evaluations={name: training.nets * trained_on * flops(name) for name in training.networks},
    )


def preparing_operations(artefact: ArtefactSpec, source: Counted) -> float:
    """Return about how many floating-point operations making an artefact takes."""
    return artefact.passes(source.counts[0]) * _flops(artefact.network, artefact.size, source)


def _flops(name: str, size: ConvNetSize, source: Shaped) -> float:
    """Return the floating-point operations of an image's pass through a network."""
    return float(fit(name, source.shape, classes=len(source.classes), width=size.width, depth=size.depth).flops)


def passed(spec: RunSpec, checkpoints: Iterable[int]) -> int:
    """Return how many of the checkpoints asked for a cell reaches before its end; each is evaluated like the last images.

    A method of its own may take several steps in an iteration; they count as one here.
    """
    match = spec.protocol.match
    iterations = (match.iterations if match else getattr(spec.settings, "iterations", 0)) or 0
    return sum(iteration < iterations for iteration in checkpoints)
